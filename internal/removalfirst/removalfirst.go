// Package removalfirst has grants wait, for a moment, while a removal of access is under way in the same process. Both go to
// one API server. While its processors are busy each request waits for the earlier ones, so an import at full speed would
// delay a deactivation by all the requests that it has in flight.
package removalfirst

import (
	"context"
	"sync"
	"time"
)

// Removals counts the removals of access under way. The zero value is ready to use, by any number of goroutines.
type Removals struct {
	mutex    sync.Mutex
	underWay int
	over     chan struct{} // closed when none is under way any more
	last     time.Time     // when one ended last
}

// Begin says that a removal is under way until end is called, which may be called more than once.
func (r *Removals) Begin() (end func()) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.underWay == 0 {
		r.over = make(chan struct{})
	}
	r.underWay++
	return sync.OnceFunc(func() {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		r.last = time.Now()
		if r.underWay--; r.underWay == 0 {
			close(r.over)
		}
	})
}

// Over returns a channel that is closed once no removal is under way.
func (r *Removals) Over() <-chan struct{} {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.over == nil { // none has ever been
		r.over = make(chan struct{})
		close(r.over)
	}
	return r.over
}

// Lately reports whether a removal is under way, or one ended within that time.
func (r *Removals) Lately(within time.Duration) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.underWay > 0 || !r.last.IsZero() && time.Since(r.last) < within
}

// Yield waits until no removal is under way, for the limit at most and not beyond ctx. Endless removals delay no grant for
// longer.
func (r *Removals) Yield(ctx context.Context, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-r.Over():
	case <-timer.C:
	case <-ctx.Done():
	}
}
