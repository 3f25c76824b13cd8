package fair

import (
	"context"
	"sync"
	"time"
)

// Slots bounds how many callers do something at the same time, and takes Apps in turn.
type Slots struct {
	mutex   sync.Mutex
	shares  shares
	waiting turns[chan struct{}]
	// breaks slow down Apps that ask for much; nil for none.
	breaks *breaks
	// narrow says when an App gets no more than so few places; nil for never.
	narrow func(Lane) bool
	few    int
}

// NewSlots returns slots for so many callers in all, and at most perLane of one App; 0 for no bound but its share.
func NewSlots(capacity, perLane int) *Slots {
	return &Slots{shares: newShares(capacity, perLane)}
}

// Narrowed has an App hold a few slots at most, one at least, while narrow says so of it. Call it before the first Acquire.
func (s *Slots) Narrowed(few int, narrow func(Lane) bool) *Slots {
	s.few, s.narrow = max(1, few), narrow
	return s
}

// Acquire waits for a slot until ctx ends, or until give up is closed or receives; nil for neither. It returns what releases
// the slot, or nil where there is none.
func (s *Slots) Acquire(ctx context.Context, lane Lane, giveUp <-chan struct{}) (release func()) {
	s.mutex.Lock()
	e := &entry[chan struct{}]{value: make(chan struct{}), lane: lane}
	s.waiting.push(e)
	s.serve()
	s.mutex.Unlock()
	select {
	case <-e.value:
		return s.releaser(lane)
	default:
	}
	select {
	case <-e.value:
		return s.releaser(lane)
	case <-ctx.Done():
	case <-giveUp:
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	select {
	case <-e.value: // it came at the same moment
		s.release(lane, 0)
	default:
		e.gone = true
	}
	return nil
}

func (s *Slots) releaser(lane Lane) func() {
	begun := time.Now()
	return sync.OnceFunc(func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.release(lane, time.Since(begun))
	})
}

func (s *Slots) release(lane Lane, took time.Duration) {
	s.shares.release(lane)
	if s.breaks != nil {
		s.rest(lane, took)
	}
	s.serve()
}

// admits says whether a lane may take another slot. One that holds some is served again when it releases one.
func (s *Slots) admits(lane Lane) bool {
	held := s.shares.lanes[lane]
	return s.shares.admits(lane, s.shares.capacity) &&
		(s.breaks == nil || s.breaks.admits(lane, held, time.Now())) &&
		(s.narrow == nil || held < s.few || !s.narrow(lane))
}

// serve gives free slots to the lanes that are next.
func (s *Slots) serve() {
	for {
		next := s.waiting.pop(s.admits)
		if next == nil {
			return
		}
		s.shares.take(next.lane)
		close(next.value)
	}
}
