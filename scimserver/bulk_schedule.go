package scimserver

import "sync"

// bulkSchedule does the steps of a bulk request, several at a time, with the result of one after the other.
type bulkSchedule struct {
	// after lists for each step those before it that it waits for.
	after [][]int
	// stops says whether, after so many errors, no further step is to be begun.
	stops func(errors int) bool

	mu     sync.Mutex
	ended  *sync.Cond
	states []stepState
	// first is the first step that has not ended: all before it have.
	first, running int
	// failed is how many of the steps before first have.
	failed int
}

type stepState int8

const (
	stepWaits stepState = iota
	stepRuns
	stepDone
	stepFailed
)

func (s stepState) over() bool { return s >= stepDone }

// run calls do for the steps, atOnce of them at a time, and returns when none is left, or none may begin any more. do
// reports whether the step ended in an error.
func (s *bulkSchedule) run(atOnce int, do func(at int) (failed bool)) {
	s.ended = sync.NewCond(&s.mu)
	s.states = make([]stepState, len(s.after))
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if at, ok := s.next(); ok && s.running < atOnce {
			s.states[at] = stepRuns
			s.running++
			go s.do(at, do)
			continue
		}
		if s.running == 0 {
			return
		}
		s.ended.Wait()
	}
}

func (s *bulkSchedule) do(at int, do func(at int) bool) {
	failed := do(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if s.states[at] = stepDone; failed {
		s.states[at] = stepFailed
	}
	for s.first < len(s.states) && s.states[s.first].over() {
		if s.states[s.first] == stepFailed {
			s.failed++
		}
		s.first++
	}
	s.ended.Signal()
}

// next finds the first step that may begin. One after the other, a step would be reached unless too many before it had
// failed: so it may begin once too few can have, counting all that have not ended.
func (s *bulkSchedule) next() (int, bool) {
	errors := s.failed
	for at := s.first; at < len(s.states) && !s.stops(errors); at++ {
		if s.states[at] == stepWaits && s.ready(at) {
			return at, true
		}
		if s.states[at] != stepDone {
			errors++
		}
	}
	return 0, false
}

func (s *bulkSchedule) ready(at int) bool {
	for _, before := range s.after[at] {
		if !s.states[before].over() {
			return false
		}
	}
	return true
}
