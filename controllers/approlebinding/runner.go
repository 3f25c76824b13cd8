package approlebinding

import (
	"context"
	"errors"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/internal/earned"
)

const (
	// restShare is the part of one run's duration that all keys of an App together may spend on runs that only grant: to write a full
	// AppRoleBinding costs the API server as much as dozens of small objects, so that a directory that is filled user by
	// user must not have its largest objects written once for each. A key that was idle begins at once, and a removal
	// waits for nothing.
	restShare = 8
	// maxRest bounds how long a key rests after a run.
	maxRest = 3 * time.Second
	// removalYield bounds how long a run that only grants waits for removals under other keys.
	removalYield = 250 * time.Millisecond
	// maxInterruptions of one key without a run that was not.
	maxInterruptions = 8
)

// runner runs one key. Whoever calls while a run is under way shares the next one.
type runner struct {
	running bool
	next    *batch
	// since is when the run that is under way began; zero for none.
	since time.Time
	// hurry ends a rest.
	hurry chan struct{}
	// interruptions since a run was not interrupted.
	interruptions int
}

// request is what somebody wants of a run.
type request struct {
	// urgent runs do not rest, nor wait for others; status says that somebody wants the AppRoleBindings' status written;
	// full that everything is to be looked at.
	urgent, status, full bool
	// asked is told when the run is done; nil for nobody.
	asked *grantRequest
}

// batch is one run, and who waits for it.
type batch struct {
	urgent, status, full bool
	asked                []*grantRequest
	// interrupted are earlier runs whose callers this one serves, too.
	interrupted []*batch
	// removed is closed when the removals of the run are done, and removal set: callers that lose a role need not wait for
	// grants.
	removed chan struct{}
	once    sync.Once
	removal error
	// done is closed when the run is done, and outcome set.
	done    chan struct{}
	outcome Outcome
}

func newBatch() *batch { return &batch{removed: make(chan struct{}), done: make(chan struct{})} }

func (b *batch) setRemoved(err error) {
	b.once.Do(func() {
		b.removal = err
		close(b.removed)
	})
	for _, earlier := range b.interrupted {
		earlier.setRemoved(err)
	}
}

func (b *batch) setDone(outcome Outcome) {
	b.setRemoved(outcome.Removal)
	b.outcome = outcome
	close(b.done)
	for _, earlier := range b.interrupted {
		earlier.setDone(outcome)
	}
}

func (s *Syncer) enqueue(key earned.RoleInScope, wish request) *batch {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.runners == nil {
		s.runners, s.memories, s.turns = map[earned.RoleInScope]*runner{}, map[earned.RoleInScope]*memory{}, newTurns()
	}
	r := s.runners[key]
	if r == nil {
		r = &runner{hurry: make(chan struct{}, 1)}
		s.runners[key] = r
		s.turns.busy[laneOf(key)]++
	}
	if r.next == nil {
		r.next = newBatch()
	}
	r.next.status = r.next.status || wish.status
	r.next.full = r.next.full || wish.full
	if wish.asked != nil {
		r.next.asked = append(r.next.asked, wish.asked)
	}
	if wish.urgent {
		r.next.urgent = true
		select {
		case r.hurry <- struct{}{}:
		default: // somebody is in a hurry already
		}
	}
	if !r.running {
		r.running = true
		go s.work(key, r)
	}
	return r.next
}

// work runs batches of one key, one after the other, until none is left. It is the only one to write that key's objects.
func (s *Syncer) work(key earned.RoleInScope, r *runner) {
	for {
		release := s.waitForTurn(key, r)
		s.mutex.Lock()
		current := r.next
		r.next = nil
		if current == nil {
			s.forgetRunner(key)
		} else {
			r.since = time.Now()
		}
		select {
		case <-r.hurry: // it was this batch's
		default:
		}
		s.mutex.Unlock()
		if current != nil {
			s.runBatch(key, r, current)
			s.mutex.Lock()
			r.since = time.Time{}
			s.mutex.Unlock()
		}
		release()
		if current == nil {
			return
		}
	}
}

func (s *Syncer) forgetRunner(key earned.RoleInScope) {
	delete(s.runners, key)
	if s.turns.busy[laneOf(key)]--; s.turns.busy[laneOf(key)] == 0 {
		delete(s.turns.busy, laneOf(key))
	}
}

// waitForTurn returns when the next batch of a key may begin, and what gives back the place that it takes among the runs
// that only grant, if it takes one.
func (s *Syncer) waitForTurn(key earned.RoleInScope, r *runner) (release func()) {
	none := func() {}
	rest, urgent := s.restOf(key, r)
	if urgent {
		return none
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.hurry:
		return none
	}
	if release = s.turns.runs.Acquire(context.Background(), laneOf(key), r.hurry); release == nil {
		return none
	}
	timer.Reset(removalYield)
	select {
	case <-s.Removals.Over():
	case <-timer.C:
	case <-r.hurry:
	}
	return release
}

// restOf says how long the next batch of a key has to wait, or that it must not.
func (s *Syncer) restOf(key earned.RoleInScope, r *runner) (rest time.Duration, urgent bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if r.next == nil || r.next.urgent {
		return 0, true
	}
	if m := s.memories[key]; m != nil {
		rest = time.Until(m.restUntil)
	}
	return max(rest, 0), false
}

func (s *Syncer) runBatch(key earned.RoleInScope, r *runner, current *batch) {
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	begin := time.Now()
	mayInterrupt := r.interruptions < maxInterruptions
	this := &run{
		Syncer: s, Client: s.writerOf(key, current.urgent), key: key, full: current.full, status: current.status,
		uncertain: map[overlay.ID]bool{}, unlabelled: map[overlay.ID]bool{}, names: map[rbacv1.RoleRef]map[string]int32{},
		isInterrupted: func() bool { return mayInterrupt && s.isUrgent(r) },
	}
	outcome := this.run(ctx, current.setRemoved)
	if errors.Is(outcome.Grant, errInterrupted) {
		r.interruptions++
		current.full = current.full && !errors.Is(outcome.Grant, errStatusLeft)
		s.postpone(r, current)
		return
	}
	r.interruptions = 0
	s.conclude(key, outcome, current.status, s.restAfter(key, time.Since(begin)))
	current.setDone(outcome)
	s.answer(key, current.allAsked(), outcome)
}

// isUrgent says whether somebody waits for the next run of a key who must lose access.
func (s *Syncer) isUrgent(r *runner) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return r.next != nil && r.next.urgent
}

// postpone has the next run, which interrupted this one, serve its callers.
func (s *Syncer) postpone(r *runner, current *batch) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	r.next.status = r.next.status || current.status
	r.next.full = r.next.full || current.full
	r.next.interrupted = append(r.next.interrupted, current)
}

func (b *batch) allAsked() []*grantRequest {
	asked := b.asked
	for _, earlier := range b.interrupted {
		asked = append(asked, earlier.allAsked()...)
	}
	return asked
}

// restAfter is the rest after a run of so long. It grows with the number of the App's keys that are at it.
func (s *Syncer) restAfter(key earned.RoleInScope, took time.Duration) time.Duration {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return min(time.Duration(restShare*s.turns.busy[laneOf(key)])*took, maxRest)
}
