package schedule

import (
	"context"
	"sync"
	"time"

	"github.com/scim-operator/scim-operator/internal/fair"
)

// Options of a Scheduler. Run is required; the zero value of everything else switches it off.
type Options[K comparable, W, R any] struct {
	// Run does what the calls want of a key that share it. It is the only one to run for the key at that time.
	Run func(ctx context.Context, key K, run *Run[W]) (R, Ending)
	// Merge adds what one call wants to what a run is to do.
	Merge func(into *W, want W)
	// Finished is called with the result of each run that was not interrupted, before the callers get it. rest is the rest
	// that the key should take; the key takes what is returned.
	Finished func(key K, want W, result R, rest time.Duration) time.Duration
	// Timeout bounds a run, which does not end with its callers' contexts.
	Timeout time.Duration

	// Lane returns the App of a key.
	Lane func(K) fair.Lane
	// Slots bound the runs that are not urgent.
	Slots *fair.Slots
	// RestShare is the part of one run's duration that all keys of an App together may spend on runs that are not urgent: a
	// run rests for RestShare times its duration and the number of busy keys of its App, and for MaxRest at most. A key that
	// was idle begins at once.
	RestShare int
	MaxRest   time.Duration
	// Yield bounds how long a run that is not urgent waits until Over is closed: no removal is under way any more.
	Over  func() <-chan struct{}
	Yield time.Duration
	// MaxInterruptions of one key in a row; the run after that cannot be interrupted.
	MaxInterruptions int
}

// Ending says how a run ended.
type Ending int

const (
	// Ended runs did what was wanted, or failed.
	Ended Ending = iota
	// Interrupted runs stopped for an urgent one. The next run does what Run.Want says by then, and serves their callers.
	Interrupted
)

// Run is one run of a key.
type Run[W any] struct {
	// Want is what the callers want together. A run that ends as Interrupted may leave in it what is still to be done.
	Want W
	// Urgent says that a caller waits for a removal, and First that it is one that comes before other removals of its App.
	Urgent, First bool
	// Removed tells, at most once, that the removals of the run are done, or why not.
	Removed func(error)
	// IsInterrupted reports whether an urgent run waits for this one. Work that is not urgent can stop then.
	IsInterrupted func() bool
	// MayStop says that the run may end as Interrupted, also where no urgent run waits: the next one, which is not urgent unless it was
	// called to be, does the rest.
	MayStop bool
	// Overtaken is closed when an urgent call comes during the run, so that a wait for a slot can end; Preceded when one comes that is
	// first.
	Overtaken, Preceded <-chan struct{}
}

// Scheduler runs work by key. Make one by New.
type Scheduler[K comparable, W, R any] struct {
	options Options[K, W, R]

	mutex   sync.Mutex
	runners map[K]*runner[W, R]
	// rests are when the next run of a key may begin that is not urgent.
	rests map[K]time.Time
	// busy counts the keys of each App that run, or are about to.
	busy map[fair.Lane]int
}

// New returns a scheduler without work.
func New[K comparable, W, R any](options Options[K, W, R]) *Scheduler[K, W, R] {
	return &Scheduler[K, W, R]{
		options: options, runners: map[K]*runner[W, R]{}, rests: map[K]time.Time{}, busy: map[fair.Lane]int{},
	}
}

// Schedule has a key run once more, by a run that begins after the call, and returns at once.
func (s *Scheduler[K, W, R]) Schedule(key K, want W, urgent bool) *Ticket[R] {
	return s.schedule(key, want, urgent, false)
}

// ScheduleFirst is Schedule of an urgent run that comes before other urgent ones of its App, where those wait for each other. A run
// of the key that is under way learns of it, too: this one waits for its end.
func (s *Scheduler[K, W, R]) ScheduleFirst(key K, want W) *Ticket[R] {
	return s.schedule(key, want, true, true)
}

func (s *Scheduler[K, W, R]) schedule(key K, want W, urgent, first bool) *Ticket[R] {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	r := s.runners[key]
	if r == nil {
		r = &runner[W, R]{hurry: make(chan struct{}, 1)}
		s.runners[key] = r
		s.busy[s.laneOf(key)]++
		go s.work(key, r)
	}
	if r.next == nil {
		r.next = newBatch[W, R]()
	}
	if s.options.Merge != nil {
		s.options.Merge(&r.next.want, want)
	} else {
		r.next.want = want
	}
	if urgent {
		r.next.urgent, r.next.first = true, r.next.first || first
		r.hasten(first)
	}
	return r.next.tickets[0]
}

func (s *Scheduler[K, W, R]) laneOf(key K) fair.Lane {
	if s.options.Lane == nil {
		return fair.Lane{}
	}
	return s.options.Lane(key)
}

// State returns the runs under way, for metrics and checks.
func (s *Scheduler[K, W, R]) State() fair.State {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var state fair.State
	now := time.Now()
	for key, r := range s.runners {
		if r.since.IsZero() {
			continue
		}
		state.Working++
		if age := now.Sub(r.since); age > state.Longest {
			state.Longest, state.Lane = age, s.laneOf(key)
		}
	}
	return state
}
