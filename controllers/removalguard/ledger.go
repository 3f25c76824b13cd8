package removalguard

import (
	"time"
)

// ledger is what is known of one App: the users that lost a role within the window, and the held users.
type ledger struct {
	// removed tells when each user lost a role, by name of the User. written says of each whether the App's status counts
	// it: no user loses a role before that.
	removed map[string]time.Time
	written map[string]bool
	// earlier people were counted by another process, since that time.
	earlier int32
	since   time.Time
	// held are users that keep roles which they do not earn any more, freed those of them that may lose them.
	held, freed map[string]bool
	// released is the value of the annotation that was last acted upon, pending one that is being acted upon: empty for
	// none.
	released, pending string
}

func newLedger() *ledger {
	return &ledger{removed: map[string]time.Time{}, written: map[string]bool{}, held: map[string]bool{}, freed: map[string]bool{}}
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

// oldest returns when the oldest removal that counts was; zero where none does.
func (l *ledger) oldest() time.Time {
	oldest := l.since
	for _, when := range l.removed {
		if oldest.IsZero() || when.Before(oldest) {
			oldest = when
		}
	}
	return oldest
}

// answer of the ledger for a user that is about to lose a role.
type answer int

const (
	// hold: the role is kept.
	hold answer = iota
	// record: the role may go when the removal is written.
	record
	// let: the role may go.
	let
)

// ask decides about one user. wasHeld says that the user's status tells of held roles: if this process did not hold the
// user, a former one did, and a release that is under way frees it.
func (l *ledger) ask(user string, wasHeld bool, most int32, now time.Time) answer {
	_, counted := l.removed[user]
	switch {
	case l.freed[user]:
		delete(l.freed, user)
		return let
	case wasHeld && !l.held[user] && l.pending != "":
		return let
	case wasHeld || l.held[user]:
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

// begin frees all held users, once for each new value of the annotation. It does not free a user that is held later.
func (l *ledger) begin(value string) {
	if value == "" || value == l.released || value == l.pending {
		return
	}
	l.pending = value
	for user := range l.held {
		l.freed[user] = true
	}
	l.held = map[string]bool{}
}

// conclude ends a release after all its users lost their roles, and counts anew.
func (l *ledger) conclude() {
	if l.pending == "" || len(l.freed) > 0 {
		return
	}
	l.removed, l.written = map[string]time.Time{}, map[string]bool{}
	l.earlier, l.since = 0, time.Time{}
	l.released, l.pending = l.pending, ""
}

// settle forgets that a user is held. It reports whether it was.
func (l *ledger) settle(user string) (differs bool) {
	differs = l.held[user] || l.freed[user]
	delete(l.held, user)
	delete(l.freed, user)
	return differs
}

func (l *ledger) heldCount() int32 { return int32(len(l.held) + len(l.freed)) }
