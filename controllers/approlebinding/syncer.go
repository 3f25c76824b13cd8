package approlebinding

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/recorder"

	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/precedence"

	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/internal/earned"
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
	Index *earned.Index
	// Recorder writes events.
	Recorder recorder.EventRecorder
	// Namespaces whose Apps are served; empty for all. Bindings of other Apps are another operator's.
	Namespaces []string
	// Removals are those of people who leave, and keep what only grants waiting. Loss of a role is none of them: a change of an
	// App can take one from everybody.
	Removals precedence.Removals

	writes             overlay.Writes
	unlabelledBindings unlabelledBindings
	permissions        permissions

	mutex    sync.Mutex
	runners  map[earned.RoleInScope]*runner
	memories map[earned.RoleInScope]*memory
	// turns share runs and writes among Apps.
	turns *turns
	// grantRequests are the questions of people who wait for runs, and the answers that were not fetched yet.
	grantRequests map[types.NamespacedName]*grantRequest
	// retry has the controller of this package run a key again.
	retry func(earned.RoleInScope)
	// unchecked are keys that something happened to which calls for a full run.
	unchecked map[earned.RoleInScope]bool
	// changed is told when the grants of a key begin or cease to fail, with the users who hold it, and when what they asked
	// for is answered.
	changed func(users []types.NamespacedName)
}

// memory is what is remembered of a key from one run to the next.
type memory struct {
	known   bool
	outcome Outcome
	// restUntil is when the next run may begin that is not urgent.
	restUntil time.Time
	// statusDue is when the status of what runs wrote is to be written; zero where none wrote anything since.
	statusDue time.Time

	// clean says that the last run did everything, for that state of the App.
	clean bool
	app   earned.AppGeneration
	// lastFull is when a run last looked at everything.
	lastFull time.Time
	// waiting are chunks with people who are to be evaluated for that state of the App.
	waiting map[int32]bool
	// unevaluated are chunks with people whom this process had not evaluated at all: when it has, they may have lost the
	// key without the index knowing that they held it.
	unevaluated map[int32]bool
	// natives and generations tell edits by others from this process's own: resourceVersions of native bindings and
	// generations of AppRoleBindings, by name, after the last run.
	natives     map[overlay.ID]string
	generations map[string]int64
}

func (s *Syncer) serves(key earned.RoleInScope) bool {
	return len(s.Namespaces) == 0 || slices.Contains(s.Namespaces, key.Namespace)
}

// OnChange has f called with people whom the end of a run concerns: because the grants of a key that they hold begin or
// cease to fail, or because all that they asked for by RequestGrants was run. It must be called before the Syncer is used.
func (s *Syncer) OnChange(f func(users []types.NamespacedName)) { s.changed = f }

// Sync brings the bindings of a key in line with the index, by a run that begins after the call.
func (s *Syncer) Sync(ctx context.Context, key earned.RoleInScope) Outcome {
	return s.wait(ctx, s.enqueue(key, request{}))
}

// SyncUrgently is Sync for a caller whose person is bound under another subject than they should be: it is a removal, too.
func (s *Syncer) SyncUrgently(ctx context.Context, key earned.RoleInScope) Outcome {
	return s.wait(ctx, s.enqueue(key, request{urgent: true}))
}

// syncWithStatus is Sync, and writes the status of the AppRoleBindings. A full run looks at everything, and not only at
// people whose standing changed.
func (s *Syncer) syncWithStatus(ctx context.Context, key earned.RoleInScope, full bool) Outcome {
	return s.wait(ctx, s.enqueue(key, request{status: true, full: full}))
}

func (s *Syncer) wait(ctx context.Context, run *batch) Outcome {
	select {
	case <-run.done:
		return run.outcome
	case <-ctx.Done():
		return Outcome{Removal: ctx.Err(), Grant: ctx.Err()}
	}
}

// SyncRemoval is Sync for a caller whose person lost the key, and waits for the removals of people only. That the person is
// not named any more it does not take on trust: where the freshest copies of the AppRoleBindings name them after the run,
// everything of the key is looked at once more, and it is an error if they are named even then.
func (s *Syncer) SyncRemoval(ctx context.Context, key earned.RoleInScope, user types.NamespacedName) error {
	for _, full := range []bool{false, true} {
		run := s.enqueue(key, request{urgent: true, full: full})
		select {
		case <-run.removed:
		case <-ctx.Done():
			return ctx.Err()
		}
		if run.removal != nil {
			return run.removal
		}
		bound, err := s.Subjects(ctx, user)
		if err != nil {
			return err
		}
		if _, isBound := bound[key]; !isBound {
			return nil
		}
	}
	return errStillBound
}

// errStillBound says that somebody who lost a role is named for it after all.
var errStillBound = errors.New("the AppRoleBinding of a role that was lost still names the person")

// conclude remembers how a run ended and tells those whom it concerns. A failed run that the controller of this package
// asked for comes back by its queue's backoff; any other has to be put there.
func (s *Syncer) conclude(key earned.RoleInScope, outcome Outcome, fromQueue bool, rest time.Duration) {
	s.mutex.Lock()
	m := s.memoryOf(key)
	m.restUntil = time.Now().Add(rest)
	if m.statusDue.IsZero() && !fromQueue {
		m.statusDue = time.Now().Add(ownDelay + ownDelayFactor*rest)
	}
	turned := (m.outcome.Grant == nil) != (outcome.Grant == nil)
	m.known, m.outcome = true, outcome
	m.clean = m.clean && outcome.Err() == nil
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
		for _, name := range s.Index.Holders(key) {
			users = append(users, types.NamespacedName{Namespace: key.Namespace, Name: name})
		}
		changed(users)
	}
}

func (s *Syncer) memoryOf(key earned.RoleInScope) *memory {
	m := s.memories[key]
	if m == nil {
		m = &memory{}
		s.memories[key] = m
	}
	return m
}

// Unchecked returns the keys of an App that AppRoleBindings exist for, and that this process has not run yet.
func (s *Syncer) Unchecked(ctx context.Context, app types.NamespacedName) []earned.RoleInScope {
	var keys []earned.RoleInScope
	for key := range s.keysOfApp(ctx, app.Namespace, app.Name) {
		if _, known := s.State(key); !known {
			keys = append(keys, key)
		}
	}
	return keys
}

// State returns how the last run of a key ended, and whether this process ran it at all.
func (s *Syncer) State(key earned.RoleInScope) (Outcome, bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	m := s.memories[key]
	if m == nil {
		return Outcome{}, false
	}
	return m.outcome, m.known
}
