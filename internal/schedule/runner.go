package schedule

import (
	"context"
	"time"
)

// runner runs one key, until no call is left. The scheduler's mutex guards its fields.
type runner[W, R any] struct {
	// next is what the next run does; nil for none.
	next *batch[W, R]
	// since is when the run under way began; zero for none.
	since time.Time
	// hurry ends the wait before a run.
	hurry chan struct{}
	// overtaken is closed when an urgent call comes during a run, preceded when one comes that is first; nil from then on, and while no
	// run is under way.
	overtaken, preceded chan struct{}
	// interruptions since a run was not interrupted.
	interruptions int
}

// hasten ends what a run waits for that is less urgent.
func (r *runner[W, R]) hasten(first bool) {
	select {
	case r.hurry <- struct{}{}:
	default: // an urgent call came before
	}
	if r.overtaken != nil {
		close(r.overtaken)
		r.overtaken = nil
	}
	if first && r.preceded != nil {
		close(r.preceded)
		r.preceded = nil
	}
}

// work runs batches of one key, one after the other, until none is left.
func (s *Scheduler[K, W, R]) work(key K, r *runner[W, R]) {
	for {
		release := s.waitForTurn(key, r)
		current, run := s.begin(key, r)
		if current == nil {
			release()
			return
		}
		s.run(key, r, current, run)
		s.mutex.Lock()
		r.since, r.overtaken, r.preceded = time.Time{}, nil, nil
		s.mutex.Unlock()
		release()
	}
}

// begin takes the next batch, and makes its run. It returns nil, and forgets the runner, where there is none.
func (s *Scheduler[K, W, R]) begin(key K, r *runner[W, R]) (current *batch[W, R], run *Run[W]) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	select {
	case <-r.hurry: // it was this batch's
	default:
	}
	if r.next == nil {
		delete(s.runners, key)
		lane := s.laneOf(key)
		if s.busy[lane]--; s.busy[lane] == 0 {
			delete(s.busy, lane)
		}
		return nil, nil
	}
	current, r.next = r.next, nil
	r.since, r.overtaken, r.preceded = time.Now(), make(chan struct{}), make(chan struct{})
	return current, &Run[W]{
		Want: current.want, Urgent: current.urgent, First: current.first, Removed: current.setRemoved, Overtaken: r.overtaken, Preceded: r.preceded,
	}
}

// waitForTurn returns when the next batch of a key may begin, and what gives back its slot among the runs that are not
// urgent.
func (s *Scheduler[K, W, R]) waitForTurn(key K, r *runner[W, R]) (release func()) {
	none := func() {}
	rest, urgent := s.restOf(key, r)
	if urgent {
		return none
	}
	if rest > 0 && !wait(rest, nil, r.hurry) {
		return none
	}
	release = none
	if s.options.Slots != nil {
		if release = s.options.Slots.Acquire(context.Background(), s.laneOf(key), r.hurry); release == nil {
			return none
		}
	}
	if s.options.Over != nil {
		wait(s.options.Yield, s.options.Over(), r.hurry)
	}
	return release
}

// wait returns after a time or once over is closed. It is false where hurry ended it before.
func wait(limit time.Duration, over, hurry <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-over:
	case <-hurry:
		return false
	}
	return true
}

// restOf returns how long the next batch of a key has to wait, or that it must not.
func (s *Scheduler[K, W, R]) restOf(key K, r *runner[W, R]) (rest time.Duration, urgent bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if r.next == nil || r.next.urgent {
		return 0, true
	}
	return max(time.Until(s.rests[key]), 0), false
}

func (s *Scheduler[K, W, R]) run(key K, r *runner[W, R], current *batch[W, R], run *Run[W]) {
	ctx, cancel := context.Background(), func() {}
	if s.options.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, s.options.Timeout)
	}
	defer cancel()
	begin := time.Now()
	mayInterrupt := r.interruptions < s.options.MaxInterruptions
	run.IsInterrupted = func() bool { return mayInterrupt && s.isUrgent(r) }
	run.MayStop = mayInterrupt
	result, ending := s.options.Run(ctx, key, run)
	if ending == Interrupted {
		r.interruptions++
		s.postpone(r, current, run.Want)
		return
	}
	r.interruptions = 0
	rest := s.restAfter(key, time.Since(begin))
	if s.options.Finished != nil {
		rest = s.options.Finished(key, run.Want, result, rest)
	}
	s.setRest(key, rest)
	current.setDone(result)
}

// isUrgent reports whether the next run of a key is urgent.
func (s *Scheduler[K, W, R]) isUrgent(r *runner[W, R]) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return r.next != nil && r.next.urgent
}

// postpone has the next run, for which this one stopped, do what is still wanted and serve its callers.
func (s *Scheduler[K, W, R]) postpone(r *runner[W, R], current *batch[W, R], want W) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if r.next == nil {
		r.next = newBatch[W, R]() // calls from now on need a ticket that was told of no removal
	}
	if s.options.Merge != nil {
		s.options.Merge(&r.next.want, want)
	}
	r.next.tickets = append(r.next.tickets, current.tickets...)
}

// restAfter returns the rest after a run of that duration.
func (s *Scheduler[K, W, R]) restAfter(key K, took time.Duration) time.Duration {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return min(time.Duration(s.options.RestShare*s.busy[s.laneOf(key)])*took, s.options.MaxRest)
}

// setRest has a key rest, and forgets that when the rest is over.
func (s *Scheduler[K, W, R]) setRest(key K, rest time.Duration) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if rest <= 0 {
		delete(s.rests, key)
		return
	}
	until := time.Now().Add(rest)
	s.rests[key] = until
	time.AfterFunc(rest, func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		if s.rests[key].Equal(until) {
			delete(s.rests, key)
		}
	})
}
