// Package leadership has a process write only while no other process can lead.
//
// A leader election alone does not ensure that. A process that was stopped for longer than its Lease lasts (by a signal, a
// debugger, a machine that slept) wakes up in the middle of its work, beside its successor. client-go lets it go on for as
// long as a renewal may take. It writes what it decided before, and could bind users after the successor took their access
// away. So the Lock notes when the Lease was renewed. Once that is too long ago, or the Lease is another process's, the
// transports of its clients refuse every write.
//
// The Lock also has a leader outlast an API server that is away. The election would give up after a few seconds and cost
// another start, with all that a controller reads at its start, just when the API server is back and work is waiting.
// Nothing is written meanwhile, by this package's first rule. The Lease is updated under its resourceVersion: the leader
// goes on only if no other process led in between.
//
// It stands between client-go's leader election and the clients of the controllers.
package leadership

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// No clock is compared with another machine's: a successor counts from when it saw a renewal, a leader from when it sent one.
// A successor takes the Lease LeaseDuration after it saw the last renewal at the earliest. It looks every RetryPeriod to 2.2
// times that, and so leads no later than LeaseDuration and 4.4 times RetryPeriod after the last leader was killed: 4.9 s.
const (
	LeaseDuration = 4 * time.Second
	RetryPeriod   = 200 * time.Millisecond
	// Term is how long after a renewal was sent a process may write. What was sent before its end has a second to arrive
	// before another process may take the Lease.
	Term = 3 * time.Second
	// RenewInterval is how often a leader writes the Lease. The election asks for that more often, every RetryPeriod.
	RenewInterval = time.Second
)

// errAnothers refuses to touch a Lease that another process held since it was this one's.
var errAnothers = errors.New("the Lease was another's meanwhile")

// Lock is a lock of a leader election that knows whether its process may write. Its Interface must be set before it is used.
type Lock struct {
	resourcelock.Interface

	// Away says whether an error means that no API server answers; nil for never.
	Away func(error) bool
	// Log is told when a leader may not write for a while, and when it may again. The zero value logs nothing.
	Log logr.Logger
	// Now is the clock; nil for time.Now.
	Now func() time.Time

	mutex sync.Mutex
	// renewed is when the last renewal that succeeded was sent; zero where the Lease is not this process's.
	renewed time.Time
	// deposed says that the Lease was this process's and was seen not to be.
	deposed bool
	// record and raw are the Lease as it was last read or written.
	record *resourcelock.LeaderElectionRecord
	raw    []byte
	// cutOff is since when renewals have failed because the API server is away.
	cutOff time.Time
}

// MayWrite says whether no other process can have come to lead.
func (l *Lock) MayWrite() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.within(Term)
}

// within says whether the last renewal was sent less than the duration ago. The mutex must be held.
func (l *Lock) within(duration time.Duration) bool {
	if l.renewed.IsZero() {
		return false
	}
	now := l.now()
	// The one clock stands still while the machine sleeps, the other one may be set: the later one counts.
	return max(now.Sub(l.renewed), now.Round(0).Sub(l.renewed.Round(0))) < duration
}

func (l *Lock) now() time.Time {
	if l.Now != nil {
		return l.Now()
	}
	return time.Now()
}

// Get reads the Lease. If it was this process's and is so no more, the process never leads again, because what it knows is
// from before another one led: the election finds no way to renew the Lease, and ends the term. While the API server is away
// a leader gets what it knew last, without an error, and goes on trying; a standby waits until ctx ends. Other errors are
// the API server's.
func (l *Lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	for {
		record, raw, err := l.Interface.Get(ctx)
		if err == nil {
			l.saw(record, raw)
			return record, raw, nil
		}
		if !l.away(err) || ctx.Err() != nil {
			return nil, nil, err
		}
		if record, raw, leads := l.known(); leads {
			return record, raw, nil
		}
		timer := time.NewTimer(RetryPeriod)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, nil, err
		case <-timer.C:
		}
	}
}

func (l *Lock) saw(record *resourcelock.LeaderElectionRecord, raw []byte) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.record, l.raw = record, raw
	if record.HolderIdentity != l.Identity() {
		l.deposed = l.deposed || !l.renewed.IsZero()
		l.renewed = time.Time{}
	}
}

// known returns the Lease as it was last read or written, and whether this process was its holder when it last heard of it.
func (l *Lock) known() (*resourcelock.LeaderElectionRecord, []byte, bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.record, l.raw, l.record != nil && !l.renewed.IsZero() && !l.deposed
}

func (l *Lock) away(err error) bool { return l.Away != nil && l.Away(err) }

// Create makes the Lease this process's. It fails once another process has taken the Lease from this one, and with the API
// server's errors.
func (l *Lock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if l.isDeposed() {
		return errAnothers
	}
	begun := l.now()
	err := l.Interface.Create(ctx, record)
	if err == nil {
		l.wrote(begun, record)
	}
	return err
}

// Update takes or renews the Lease, or gives it back. Only its holder gives it back, because an election that ends does not
// read the Lease again: client-go goes by the last state that it saw. A renewal is written every RenewInterval. One that
// fails because the API server is away is no error: it keeps the election going, and the process from writing.
func (l *Lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if l.isDeposed() {
		return errAnothers
	}
	if record.HolderIdentity != l.Identity() {
		l.resign() // another process may have taken it before the answer comes
		return l.Interface.Update(ctx, record)
	}
	if l.isFresh() {
		return nil
	}
	begun := l.now()
	err := l.Interface.Update(ctx, record)
	switch {
	case err == nil:
		l.wrote(begun, record)
	case l.away(err) && l.holds():
		l.missed(err)
		return nil
	}
	return err
}

func (l *Lock) isDeposed() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.deposed
}

func (l *Lock) isFresh() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.within(RenewInterval)
}

func (l *Lock) holds() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return !l.renewed.IsZero() && !l.deposed
}

// resign keeps the process from writing until it holds the Lease again.
func (l *Lock) resign() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.renewed = time.Time{}
}

// wrote notes a renewal that was sent at begun and succeeded.
func (l *Lock) wrote(begun time.Time, record resourcelock.LeaderElectionRecord) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if !l.cutOff.IsZero() {
		l.Log.Info("Renewed the Lease: no other process led meanwhile, this one goes on", "after", begun.Sub(l.cutOff).Round(time.Millisecond).String())
	}
	l.renewed, l.record, l.cutOff = begun, &record, time.Time{}
}

// missed notes that a renewal did not reach the API server.
func (l *Lock) missed(err error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.cutOff.IsZero() {
		l.cutOff = l.now()
		l.Log.Error(err, "Cannot renew the Lease: this leader writes nothing until it can", "term", Term.String())
	}
}
