// Package leadership has a process write only while nobody else can lead.
//
// A leader election alone does not see to that. A process that was stopped for longer than its Lease lasts (by a signal, a
// debugger, a machine that slept) wakes up in the middle of its work, beside its successor: client-go lets it go on for as
// long as a renewal may take, ten seconds, and what it writes is what it decided before: it could bind people whose access the
// successor took away since. So the Lock notes when the Lease was renewed, and the transports of its clients refuse what
// would change anything once that is too long ago, or as soon as the Lease is seen to be another's.
//
// It stands between client-go's leader election and the clients of the controllers, and imports neither of them.
package leadership

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Term is how long after a renewal a process may write: as long as it may try to renew the Lease, so that it is over before
// another process may take the Lease, five seconds later.
const Term = 10 * time.Second

// Durations of an election with such terms, as controller-runtime has them by default.
const (
	LeaseDuration = 15 * time.Second
	RetryPeriod   = 2 * time.Second
)

// errAnothers refuses to touch a Lease that another process held since it was this one's.
var errAnothers = errors.New("the Lease was another's meanwhile")

// Lock is a lock of a leader election that knows whether its process may write. Its Interface must be set before it is used.
type Lock struct {
	resourcelock.Interface

	// Now is the clock; nil for time.Now.
	Now func() time.Time

	mutex sync.Mutex
	// renewed is when the last renewal that succeeded was sent; zero where the Lease is not this process's.
	renewed time.Time
	// deposed says that the Lease was this process's and was seen not to be.
	deposed bool
}

// MayWrite says whether no other process can have come to lead.
func (l *Lock) MayWrite() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.renewed.IsZero() {
		return false
	}
	now := l.now()
	// The one clock stands still while the machine sleeps, the other one may be set: the later one counts.
	return max(now.Sub(l.renewed), now.Round(0).Sub(l.renewed.Round(0))) < Term
}

func (l *Lock) now() time.Time {
	if l.Now != nil {
		return l.Now()
	}
	return time.Now()
}

// Get reads the Lease. Where it was this process's and is so no more, the process never leads again: what it knows is from
// before another one led. The election finds no way to renew the Lease, and ends the process.
func (l *Lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err == nil && record.HolderIdentity != l.Identity() {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		l.deposed = l.deposed || !l.renewed.IsZero()
		l.renewed = time.Time{}
	}
	return record, raw, err
}

// Create makes the Lease this process's.
func (l *Lock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if l.isDeposed() {
		return errAnothers
	}
	begun := l.now()
	err := l.Interface.Create(ctx, record)
	if err == nil {
		l.set(begun)
	}
	return err
}

// Update takes or renews the Lease, or gives it back. Only who holds it gives it back: client-go's election, when it ends,
// goes by what it saw last and not by what the Lease says.
func (l *Lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if l.isDeposed() {
		return errAnothers
	}
	begun := l.now()
	if record.HolderIdentity == l.Identity() {
		err := l.Interface.Update(ctx, record)
		if err == nil {
			l.set(begun)
		}
		return err
	}
	l.set(time.Time{}) // whoever takes it may have it before the answer comes
	return l.Interface.Update(ctx, record)
}

func (l *Lock) isDeposed() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.deposed
}

func (l *Lock) set(renewed time.Time) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.renewed = renewed
}
