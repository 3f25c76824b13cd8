package safety

import (
	"time"
)

// ledger is what is known of one App: who lost a role within the window, and who is held back.
type ledger struct {
	// removed tells when each person lost a role, by name of the User. written says of each whether the App's status
	// counts them: nobody loses anything before that.
	removed map[string]time.Time
	written map[string]bool
	// earlier people were counted by another process, since that time.
	earlier int32
	since   time.Time
	// held are people who keep roles that they do not earn any more.
	held map[string]bool
	// released is the value of the annotation that was last acted upon.
	released string
}

func newLedger() *ledger {
	return &ledger{removed: map[string]time.Time{}, written: map[string]bool{}, held: map[string]bool{}}
}

// expire forgets removals that the window does not reach back to. Those of another process go together, when the first
// of them does.
func (l *ledger) expire(now time.Time, window time.Duration) {
	for user, when := range l.removed {
		if now.Sub(when) >= window {
			delete(l.removed, user)
			delete(l.written, user)
		}
	}
	if l.earlier > 0 && now.Sub(l.since) >= window {
		l.earlier, l.since = 0, time.Time{}
	}
}

func (l *ledger) count() int32 { return l.earlier + int32(len(l.removed)) }

// begin returns when the oldest removal that counts was; zero where none does.
func (l *ledger) begin() time.Time {
	oldest := l.since
	for _, when := range l.removed {
		if oldest.IsZero() || when.Before(oldest) {
			oldest = when
		}
	}
	return oldest
}

// answer to somebody who is about to lose a role.
type answer int

const (
	// hold: the role is kept.
	hold answer = iota
	// record: the role may go when the removal is written.
	record
	// let: the role may go.
	let
)

// ask decides about one person. wasHeld says that the person's status tells of roles that are held.
func (l *ledger) ask(user string, wasHeld, releasing bool, most int32, now time.Time) answer {
	_, counted := l.removed[user]
	switch {
	case wasHeld || l.held[user]:
		if releasing {
			delete(l.held, user)
			return let
		}
		l.held[user] = true
		return hold
	case counted && l.written[user]:
		return let
	case counted:
		return record
	case l.count() >= most:
		l.held[user] = true
		return hold
	}
	l.removed[user] = now
	return record
}

// release begins anew once nobody is held any more.
func (l *ledger) release(value string) {
	l.removed, l.written = map[string]time.Time{}, map[string]bool{}
	l.earlier, l.since, l.released = 0, time.Time{}, value
}
