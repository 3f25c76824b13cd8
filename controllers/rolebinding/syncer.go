package rolebinding

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/recorder"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/access"
)

// Outcome is what became of one run of a key.
type Outcome struct {
	// Removal tells why people who lost the role may still be bound.
	Removal error
	// Grant tells why people who hold the role may not be bound.
	Grant error
	// Prune tells why bindings that bind nobody wrongly, but are not needed any more, may still be there.
	Prune error
}

// Err returns the first of the errors.
func (o Outcome) Err() error {
	for _, err := range []error{o.Removal, o.Grant, o.Prune} {
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	// runTimeout bounds one run, which does not end with the caller that asked for it.
	runTimeout = time.Minute
	// catchUpTimeout bounds how long a removal waits to be seen in the informers.
	catchUpTimeout = 2 * time.Second
	// concurrentWrites of one run.
	concurrentWrites = 8

	// restFactor and maxRest pace the runs of one key that only grant. To write a full AppRoleBinding costs the API
	// server as much as dozens of small objects: without a rest, a directory that is filled user by user would have its
	// largest objects written once for each. A key that was idle begins at once, and a removal waits for nothing.
	restFactor = 3
	maxRest    = 400 * time.Millisecond
)

// Syncer makes bindings of what the index says.
type Syncer struct {
	// Client reads from informers and writes.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Policies are shared with the user controller.
	Policies *access.Cache
	// Index is fed by the user controller.
	Index *Index
	// Recorder writes events.
	Recorder recorder.EventRecorder
	// Namespaces whose Apps are served; empty for all. Bindings of other Apps are another operator's.
	Namespaces []string

	writes      lastWrites
	permissions permissions

	mutex    sync.Mutex
	runners  map[Key]*runner
	memories map[Key]*memory
	// retry has the controller of this package run a key again.
	retry func(Key)
	// changed is told when the grants of a key begin or cease to fail, with the users who hold it.
	changed func(users []types.NamespacedName)
}

// runner runs one key. Whoever calls while a run is under way shares the next one.
type runner struct {
	running bool
	next    *batch
	// hurry ends a rest.
	hurry chan struct{}
}

// batch is one run, and who waits for it.
type batch struct {
	// urgent runs do not rest; status says that somebody wants the AppRoleBindings' status written.
	urgent, status bool
	// removed is closed when the removals of the run are done, and removal set: callers that lose a role need not wait for
	// grants.
	removed chan struct{}
	removal error
	// done is closed when the run is done, and outcome set.
	done    chan struct{}
	outcome Outcome
}

// memory is what is remembered of a key from one run to the next.
type memory struct {
	known   bool
	outcome Outcome
	// restUntil is when the next run may begin that is not urgent.
	restUntil time.Time
	// natives and generations tell edits by others from this process's own: resourceVersions of native bindings and
	// generations of AppRoleBindings, by name, after the last run.
	natives     map[objectID]string
	generations map[string]int64
}

func (s *Syncer) serves(key Key) bool {
	return len(s.Namespaces) == 0 || slices.Contains(s.Namespaces, key.Namespace)
}

// OnChange has f called when the grants of a key begin or cease to fail. It must be called before the Syncer is used.
func (s *Syncer) OnChange(f func(users []types.NamespacedName)) { s.changed = f }

// Sync brings the bindings of a key in line with the index, by a run that begins after the call.
func (s *Syncer) Sync(ctx context.Context, key Key) Outcome {
	return s.wait(ctx, s.enqueue(key, false, false))
}

// SyncUrgently is Sync for a caller whose person is bound under another subject than they should be: it is a removal, too.
func (s *Syncer) SyncUrgently(ctx context.Context, key Key) Outcome {
	return s.wait(ctx, s.enqueue(key, true, false))
}

// syncWithStatus is Sync, and writes the status of the AppRoleBindings.
func (s *Syncer) syncWithStatus(ctx context.Context, key Key) Outcome {
	return s.wait(ctx, s.enqueue(key, false, true))
}

func (s *Syncer) wait(ctx context.Context, run *batch) Outcome {
	select {
	case <-run.done:
		return run.outcome
	case <-ctx.Done():
		return Outcome{Removal: ctx.Err(), Grant: ctx.Err()}
	}
}

// SyncRemoval is Sync for a caller that waits for the removals of people only.
func (s *Syncer) SyncRemoval(ctx context.Context, key Key) error {
	run := s.enqueue(key, true, false)
	select {
	case <-run.removed:
		return run.removal
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Syncer) enqueue(key Key, urgent, status bool) *batch {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.runners == nil {
		s.runners, s.memories = map[Key]*runner{}, map[Key]*memory{}
	}
	r := s.runners[key]
	if r == nil {
		r = &runner{hurry: make(chan struct{}, 1)}
		s.runners[key] = r
	}
	if r.next == nil {
		r.next = &batch{removed: make(chan struct{}), done: make(chan struct{})}
	}
	r.next.status = r.next.status || status
	if urgent {
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
func (s *Syncer) work(key Key, r *runner) {
	for {
		if rest := s.restOf(key, r); rest > 0 {
			timer := time.NewTimer(rest)
			select {
			case <-timer.C:
			case <-r.hurry:
				timer.Stop()
			}
		}
		s.mutex.Lock()
		current := r.next
		r.next = nil
		if current == nil {
			delete(s.runners, key)
			s.mutex.Unlock()
			return
		}
		select {
		case <-r.hurry: // it was this batch's
		default:
		}
		s.mutex.Unlock()
		s.runBatch(key, current)
	}
}

// restOf says how long the next batch of a key, if there is one, has to wait.
func (s *Syncer) restOf(key Key, r *runner) time.Duration {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	m := s.memories[key]
	if m == nil || r.next == nil || r.next.urgent {
		return 0
	}
	return time.Until(m.restUntil)
}

func (s *Syncer) runBatch(key Key, current *batch) {
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	begin := time.Now()
	outcome := s.run(ctx, key, current.status, func(removal error) {
		current.removal = removal
		close(current.removed)
	})
	s.conclude(key, outcome, current.status, time.Since(begin))
	current.outcome = outcome
	close(current.done)
}

// conclude remembers how a run ended and tells those whom it concerns. A failed run that the controller of this package
// asked for comes back by its queue's backoff; any other has to be put there.
func (s *Syncer) conclude(key Key, outcome Outcome, fromQueue bool, took time.Duration) {
	s.mutex.Lock()
	m := s.memoryOf(key)
	m.restUntil = time.Now().Add(min(restFactor*took, maxRest))
	turned := (m.outcome.Grant == nil) != (outcome.Grant == nil)
	m.known, m.outcome = true, outcome
	if len(m.natives) == 0 && len(m.generations) == 0 && outcome.Err() == nil {
		delete(s.memories, key)
	}
	retry, changed := s.retry, s.changed
	s.mutex.Unlock()
	if outcome.Err() != nil && !fromQueue && retry != nil {
		retry(key)
	}
	if turned && changed != nil {
		var users []types.NamespacedName
		for _, name := range s.Index.holderNames(key) {
			users = append(users, types.NamespacedName{Namespace: key.Namespace, Name: name})
		}
		changed(users)
	}
}

func (s *Syncer) memoryOf(key Key) *memory {
	m := s.memories[key]
	if m == nil {
		m = &memory{}
		s.memories[key] = m
	}
	return m
}

// State returns how the last run of a key ended, and whether this process ran it at all.
func (s *Syncer) State(key Key) (Outcome, bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	m := s.memories[key]
	if m == nil {
		return Outcome{}, false
	}
	return m.outcome, m.known
}

// Bound returns the keys under which AppRoleBindings name a person, each with the RBAC subject that they name.
func (s *Syncer) Bound(ctx context.Context, user types.NamespacedName) (map[Key]string, error) {
	subjectOf := func(binding *v1alpha1.AppRoleBinding) (string, bool) {
		i := slices.IndexFunc(binding.Spec.Subjects, func(subject v1alpha1.AppRoleSubject) bool { return subject.User == user.Name })
		if i < 0 {
			return "", false
		}
		return binding.Spec.Subjects[i].Name, true
	}
	bound := map[Key]string{}
	recent := s.writes.find(func(object client.Object) bool {
		binding, isBinding := object.(*v1alpha1.AppRoleBinding)
		if !isBinding || binding.Namespace != user.Namespace {
			return false
		}
		_, found := subjectOf(binding)
		return found
	})
	for _, key := range recent {
		bound[key] = "" // resolved below, from the freshest copies
	}
	var list v1alpha1.AppRoleBindingList
	if err := s.Client.List(ctx, &list, client.InNamespace(user.Namespace),
		client.MatchingFields{indexSubjectUser: user.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	for i := range list.Items {
		bound[KeyOf(&list.Items[i])] = ""
	}
	for key := range bound {
		bindings, err := s.bindingsOf(ctx, key)
		if err != nil {
			return nil, err
		}
		found := false
		for _, binding := range bindings {
			if name, named := subjectOf(binding); named {
				bound[key], found = name, true
			}
		}
		if !found {
			delete(bound, key)
		}
	}
	return bound, nil
}
