package fair

import (
	"fmt"
	"time"
)

// State is what a queue has to do at a moment.
type State struct {
	// Removals and Others wait to be handed out.
	Removals, Others Waiting
	// Working counts the keys that are worked on; Longest is how long the oldest of them has been, and Lane is its App.
	Working int
	Longest time.Duration
	Lane    Lane
	// Quiet is how long no removal was ended; it is meant where some wait.
	Quiet time.Duration
}

// Waiting is one kind of work.
type Waiting struct {
	Count  int
	Oldest time.Duration
}

// State returns what the queue has to do. Before its workers were started it is empty: a standby's queue grows old.
func (q *Queue[T]) State() State {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if !q.served || q.closed {
		return State{}
	}
	now := time.Now()
	state := State{Removals: waitingIn(&q.removals, now), Others: waitingIn(&q.others, now), Working: len(q.working), Quiet: now.Sub(q.removed)}
	for _, work := range q.working {
		if age := now.Sub(work.since); age > state.Longest {
			state.Longest, state.Lane = age, work.lane
		}
	}
	return state
}

func waitingIn[T any](t *turns[T], now time.Time) Waiting {
	count, since := t.oldest()
	if count == 0 {
		return Waiting{}
	}
	return Waiting{Count: count, Oldest: now.Sub(since)}
}

// Stalled returns an error if work makes no progress: if a removal waits for longer than the limit, and none was ended in
// that time; or if a worker has been at one key for longer than the limit and the time that work may take. Many removals
// that go on, one after the other, are no stall, however long the last of them waits.
func (s State) Stalled(limit, work time.Duration) error {
	switch {
	case s.Removals.Oldest > limit && s.Quiet > limit:
		return fmt.Errorf("%d removals wait, the oldest for %v, and none was ended for %v", s.Removals.Count, s.Removals.Oldest.Round(time.Second), s.Quiet.Round(time.Second))
	case s.Longest > limit+work:
		return fmt.Errorf("a worker has been at one object of App %s for %v", s.Lane, s.Longest.Round(time.Second))
	}
	return nil
}
