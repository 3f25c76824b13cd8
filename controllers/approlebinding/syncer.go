package approlebinding

import (
	"context"
	"errors"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/recorder"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
	"github.com/scim-operator/scim-operator/internal/fair"
	"github.com/scim-operator/scim-operator/internal/removalfirst"
	"github.com/scim-operator/scim-operator/internal/schedule"
	"github.com/scim-operator/scim-operator/internal/tracing"
)

// Syncer brings bindings in line with the index. Its exported fields are set before it is used and not changed after.
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
	// Namespaces with Apps that are served; empty for all. Bindings of other Apps are another operator's.
	Namespaces []string
	// Removals are those of leavers, and keep what only grants waiting. Loss of a role is none of them: a change of an App can
	// take one from all its users.
	Removals removalfirst.Removals
	// Speed slows down Apps that write more than others; nil for none.
	Speed *fair.Speed

	writes             overlay.Writes
	unlabelledBindings unlabelledBindings
	permissions        permissions
	memories           memories
	requests           grantRequests
	rechecks           rechecks
	trailing           trailing
	edits              fair.Edits

	once      sync.Once
	scheduler *schedule.Scheduler[earned.RoleInScope, want, Outcome]
	turns     *turns
	// changed is called with users that the end of a run concerns; see OnChange.
	changed func(users []types.NamespacedName)
}

func (s *Syncer) reader() bindingReader { return bindingReader{client: s.Client, writes: &s.writes} }

// OnChange has f called with users that the end of a run concerns: because the grants of a key that they hold begin or cease
// to fail, or because all that they requested by RequestGrants was run. It must be called before the Syncer is used.
func (s *Syncer) OnChange(f func(users []types.NamespacedName)) { s.changed = f }

// Sync brings the bindings of a key in line with the index, by a run that begins after the call.
func (s *Syncer) Sync(ctx context.Context, key earned.RoleInScope) Outcome {
	return wait(ctx, s.runs().Schedule(key, want{origins: tracing.From(ctx)}, false))
}

// SyncUrgently is Sync of keys, all at the same time, for a user that is bound under another subject than it should be: it is a
// removal, too. It returns the outcomes in the order of the keys.
func (s *Syncer) SyncUrgently(ctx context.Context, keys []earned.RoleInScope) []Outcome {
	outcomes := make([]Outcome, len(keys))
	for i, ticket := range s.scheduleUrgently(keys, want{grants: true, origins: tracing.From(ctx)}, false) {
		outcomes[i] = wait(ctx, ticket)
	}
	return outcomes
}

// scheduleUrgently has keys run urgently, all at the same time. A user can hold a thousand: none has a goroutine of its own.
func (s *Syncer) scheduleUrgently(keys []earned.RoleInScope, wanted want, first bool) []*schedule.Ticket[Outcome] {
	tickets := make([]*schedule.Ticket[Outcome], len(keys))
	for i, key := range keys {
		if first {
			tickets[i] = s.runs().ScheduleFirst(key, wanted)
		} else {
			tickets[i] = s.runs().Schedule(key, wanted, true)
		}
	}
	return tickets
}

// syncWithStatus is Sync, and writes the status of the AppRoleBindings. A full run looks at everything, and not only at
// users with a changed standing.
func (s *Syncer) syncWithStatus(ctx context.Context, key earned.RoleInScope, full bool) Outcome {
	return wait(ctx, s.runs().Schedule(key, want{status: true, full: full}, false))
}

func wait(ctx context.Context, ticket *schedule.Ticket[Outcome]) Outcome {
	outcome, err := ticket.Wait(ctx)
	if err != nil {
		return Outcome{Removal: err, Grant: err}
	}
	return outcome
}

// errStillBound says that a user that lost a role is named for it after all.
var errStillBound = errors.New("the AppRoleBinding of a role that was lost still names the person")

// SyncRemovals is Sync of keys that a user lost, all at the same time, and waits for the removals of the runs only. It does not take on
// trust that the user is not named any more: where the freshest copies of a key's AppRoleBindings name the user after the runs,
// everything is looked at once more, and it is an error if they do even then. It returns the errors by key, those of runs and of reading
// AppRoleBindings; none for a key under which the user is not bound any more.
func (s *Syncer) SyncRemovals(ctx context.Context, user types.NamespacedName, keys []earned.RoleInScope) map[earned.RoleInScope]error {
	return s.syncRemovals(ctx, user, keys, want{prompt: true}, false)
}

// SyncLeaver is SyncRemovals for a user that may have no access at all: it waits for no other writes of the App. It waits for native
// bindings: AppRoleBindings, by which nothing grants, are written within seconds for all that left by then.
func (s *Syncer) SyncLeaver(ctx context.Context, user types.NamespacedName, keys []earned.RoleInScope) map[earned.RoleInScope]error {
	return s.syncRemovals(ctx, user, keys, want{}, true)
}

// SyncGone is SyncLeaver for a user that is gone, or about to be: it waits for AppRoleBindings, too.
func (s *Syncer) SyncGone(ctx context.Context, user types.NamespacedName, keys []earned.RoleInScope) map[earned.RoleInScope]error {
	return s.syncRemovals(ctx, user, keys, want{prompt: true}, true)
}

func (s *Syncer) syncRemovals(ctx context.Context, user types.NamespacedName, keys []earned.RoleInScope, wanted want, first bool) map[earned.RoleInScope]error {
	failed := map[earned.RoleInScope]error{}
	wanted.origins = tracing.From(ctx)
	for _, wanted.full = range []bool{false, true} {
		if len(keys) == 0 {
			break
		}
		for i, ticket := range s.scheduleUrgently(keys, wanted, first) {
			if err := ticket.WaitRemoved(ctx); err != nil {
				failed[keys[i]] = err
			}
		}
		keys = s.stillBound(ctx, user, keys, wanted, failed)
	}
	return failed
}

// stillBound returns the keys under which AppRoleBindings name a user after runs for its removal, or has them among what failed if these
// were full ones. One look serves all keys: the bindings of a user are as many as its keys.
func (s *Syncer) stillBound(ctx context.Context, user types.NamespacedName, keys []earned.RoleInScope, wanted want, failed map[earned.RoleInScope]error) (left []earned.RoleInScope) {
	subjectsOf := s.Subjects
	if wanted.prompt {
		subjectsOf = s.reader().subjectsOf
	}
	bound, err := subjectsOf(ctx, user)
	for _, key := range keys {
		_, isBound := bound[key]
		switch {
		case failed[key] != nil:
		case err != nil:
			failed[key] = err
		case isBound && wanted.full:
			failed[key] = errStillBound
		case isBound:
			left = append(left, key)
		}
	}
	return left
}

// RequestGrants schedules a run per key for a user with that revision of its entry in the index, and returns at once;
// OnChange fires with the user when all have finished. Requesting twice for one revision is a no-op. Of ctx it takes the trace alone.
func (s *Syncer) RequestGrants(ctx context.Context, user types.NamespacedName, revision uint64, keys []earned.RoleInScope) {
	asked := s.requests.add(user, revision, len(keys))
	if asked == nil {
		return
	}
	for _, key := range keys {
		s.runs().Schedule(key, want{asked: []*grantRequest{asked}, origins: tracing.From(ctx)}, false)
	}
}

// GrantResults returns, once, the failed runs that RequestGrants scheduled for a user at that revision: by key, why it may not
// be bound. It is false while runs have not finished, and where none were requested.
func (s *Syncer) GrantResults(user types.NamespacedName, revision uint64) (map[earned.RoleInScope]error, bool) {
	return s.requests.take(user, revision)
}

// Cancel drops the request of a user that is gone or holds nothing any more. The runs still happen.
func (s *Syncer) Cancel(user types.NamespacedName) { s.requests.cancel(user) }

// Bound returns the keys under which AppRoleBindings name a user, each with its RBAC user name, without those under which no native
// binding does since the user left. It is at least as new as this process's own writes. Errors are those of reading AppRoleBindings.
func (s *Syncer) Bound(ctx context.Context, user types.NamespacedName) (map[earned.RoleInScope]string, error) {
	subjects, err := s.Subjects(ctx, user)
	if err != nil {
		return nil, err
	}
	bound := make(map[earned.RoleInScope]string, len(subjects))
	for key, subject := range subjects {
		bound[key] = subject.Name
	}
	return bound, nil
}

// Subjects is Bound with the whole subject. It fails where an informer cannot be read.
func (s *Syncer) Subjects(ctx context.Context, user types.NamespacedName) (map[earned.RoleInScope]v1alpha1.AppRoleSubject, error) {
	trailing := s.trailing.of(user) // before the AppRoleBindings, which are written first
	subjects, err := s.reader().subjectsOf(ctx, user)
	for key := range trailing {
		delete(subjects, key)
	}
	return subjects, err
}

// IsNamed reports whether a native binding of a key names an RBAC user, or the group in the user's place where group is not
// empty. It fails where an informer cannot be read.
func (s *Syncer) IsNamed(ctx context.Context, key earned.RoleInScope, user, group string) (bool, error) {
	return s.reader().isNamed(ctx, key, user, group)
}

// IsSettled reports, for a user that holds a key and is bound as an AppRoleBinding says, whether the native bindings name the
// user as the App asks for: a run of the key would change nothing for it. It is false where this process has not run the key
// for that state of the App.
func (s *Syncer) IsSettled(key earned.RoleInScope, bound v1alpha1.AppRoleSubject, entry earned.Entry) bool {
	return bound.Name == entry.Subject && bound.Group == entry.Groups[key] && s.memories.isSettled(key, entry.App)
}

// Unchecked returns the keys of an App that AppRoleBindings exist for or that are held, and that this process has not run yet.
func (s *Syncer) Unchecked(ctx context.Context, app types.NamespacedName) []earned.RoleInScope {
	var keys []earned.RoleInScope
	for key := range s.keysOfApp(ctx, app.Namespace, app.Name) {
		if _, known := s.State(key); !known {
			keys = append(keys, key)
		}
	}
	return keys
}

// keysOfApp returns the keys of an App that are bound or held.
func (s *Syncer) keysOfApp(ctx context.Context, namespace, app string) map[earned.RoleInScope]bool {
	keys := map[earned.RoleInScope]bool{}
	for _, key := range s.Index.OfApp(namespace, app) {
		keys[key] = true
	}
	for _, key := range s.reader().boundKeys(ctx, client.InNamespace(namespace)) {
		if key.App == app {
			keys[key] = true
		}
	}
	return keys
}

// State returns how the last run of a key ended, and whether this process ran it at all.
func (s *Syncer) State(key earned.RoleInScope) (Outcome, bool) {
	m := s.memories.read(key)
	return m.outcome, m.known
}

// MayBind reports whether this process was given the verb bind on a role in a namespace, or, where that is "", everywhere. It
// asks the API server, or remembers an answer of the last seconds. Errors are those of that question.
func (s *Syncer) MayBind(ctx context.Context, namespace string, ref rbacv1.RoleRef) (bool, error) {
	return s.permissions.mayBind(ctx, s.Client, namespace, ref)
}
