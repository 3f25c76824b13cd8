package user

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// bind records what a person holds, binds what is new and unbinds what is not held any more. groups are those that bind
// roles in the person's place. It returns why roles held may not be bound; an error means that what was lost may still
// be bound.
func (e *evaluation) bind(ctx context.Context, held map[earned.RoleInScope]bool, groups map[string]string) (failure, err error) {
	bound, err := e.Syncer.Subjects(ctx, e.name)
	if err != nil {
		return nil, err
	}
	before, _ := e.Index.Get(e.name)
	entry := earned.Entry{App: e.generation(), Subject: e.verdict.subject, Kept: e.kept}
	for key := range held {
		entry.Keys = append(entry.Keys, key)
		if group := groups[key.Role]; group != "" {
			if entry.Groups == nil {
				entry.Groups = map[earned.RoleInScope]string{}
			}
			entry.Groups[key] = group
		}
	}
	lost := map[earned.RoleInScope]bool{}
	for key, subject := range bound {
		lost[key] = !held[key]
		if isRenamed(subject, entry) && e.user.Status.ObservedGeneration == 0 && e.user.Generation > 1 {
			e.late.renamed(e.user, subject.Name)
		}
	}
	for _, key := range before.Keys {
		lost[key] = !held[key]
	}
	// The AppRoleBinding may have been edited while no controller led: then only the status knows the role.
	for key := range e.keysOf(e.user.Status.Roles) {
		lost[key] = !held[key]
	}
	for _, key := range e.pendingRemovals.of(e.name) {
		lost[key] = !held[key]
	}
	revision := e.Index.Set(e.name, entry)
	failure, gained, err := e.bindGained(ctx, entry, revision, bound, lost)
	if err != nil {
		return nil, err
	}
	if err := e.unbind(ctx, e.name, lost, e.Syncer.SyncRemovals); err != nil {
		return nil, err
	}
	return failure, e.checkBound(ctx, entry.Subject, gained)
}

// markBound says of each role how far bindings give it where they do not in full.
func (e *evaluation) markBound(ctx context.Context, roles []v1alpha1.EarnedRole, mode string) ([]v1alpha1.EarnedRole, error) {
	roles = slices.Clone(roles)
	entry, _ := e.Index.Get(e.name)
	for i := range roles {
		key := e.keyOf(roles[i])
		_, nowhere := missing(e.app, key.Scope)
		switch {
		case mode == v1alpha1.ModeObserve, nowhere:
			roles[i].Bound = v1alpha1.BoundNo
		case e.failed[key] != nil:
			named, err := e.Syncer.IsNamed(ctx, key, entry.Subject, entry.Groups[key])
			if err != nil {
				return nil, err
			}
			roles[i].Bound = v1alpha1.BoundNo
			if named {
				roles[i].Bound = v1alpha1.BoundPartly
			}
		}
	}
	return roles, nil
}

var (
	// errPending ends a reconcile that requested runs for gained roles: the user comes back when all of them ran. To wait
	// for them here would hold a worker that a removal of access may need.
	errPending = errors.New("asked for bindings")
	// errLeftOut ends a reconcile of a user that a run left out. Either the run saw an older state of the user, or an edit
	// removed the user from what it was to keep: what the user holds is to be found out anew.
	errLeftOut = errors.New("left out of a binding")
)

// leftOutDelay is how long a reconcile waits after a run left its user out of a binding.
const leftOutDelay = 50 * time.Millisecond

// checkBound fails where AppRoleBindings do not name the person under keys for which runs have just been done.
func (e *evaluation) checkBound(ctx context.Context, subject string, keys []earned.RoleInScope) error {
	if len(keys) == 0 {
		return nil
	}
	bound, err := e.Syncer.Bound(ctx, e.name)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if bound[key] != subject {
			return errLeftOut
		}
	}
	return nil
}

// gainsFirst is how many keys a person may gain before what the person loses is taken away, so that one role in another's place leaves no
// moment without access. Such gains are written as urgently as removals. More of them wait like those of others, after the removals:
// else one edit of an App has many thousand writes ahead of those of all other Apps.
const gainsFirst = 32

// bindGained has the held roles bound that are not bound yet. It returns why one may not be bound, and the keys with runs
// that were done without a failure. An error means that what was lost, or the earlier name of a renamed user, may still be bound.
func (e *evaluation) bindGained(ctx context.Context, entry earned.Entry, revision uint64,
	bound map[earned.RoleInScope]v1alpha1.AppRoleSubject, lost map[earned.RoleInScope]bool,
) (failure error, done []earned.RoleInScope, err error) {
	failed, answered := e.Syncer.GrantResults(e.name, revision)
	var gained []earned.RoleInScope
	var failures []error
	e.failed = map[earned.RoleInScope]error{}
	fail := func(key earned.RoleInScope, err error) {
		if err != nil {
			failures, e.failed[key] = append(failures, err), err
		}
	}
	renamed := false
	for _, key := range entry.Keys {
		switch {
		case isRenamed(bound[key], entry):
			gained, renamed = append(gained, key), true
		case failed[key] != nil:
			fail(key, failed[key])
		case answered && bound[key].Name == entry.Subject || e.Syncer.IsSettled(key, bound[key], entry):
			outcome, _ := e.Syncer.State(key)
			fail(key, outcome.Grant)
		default:
			gained = append(gained, key)
		}
	}
	if len(gained) > 0 && !renamed && (!hasTrue(lost) || len(gained) > gainsFirst) {
		if err := e.unbind(ctx, e.name, lost, e.Syncer.SyncRemovals); err != nil {
			return nil, nil, err
		}
		e.Syncer.RequestGrants(ctx, e.name, revision, gained)
		return nil, nil, errPending
	}
	outcomes := e.Syncer.SyncUrgently(ctx, gained)
	for i, key := range gained {
		if outcomes[i].Removal != nil && isRenamed(bound[key], entry) {
			return nil, nil, outcomes[i].Removal
		}
		fail(key, outcomes[i].Grant)
		if outcomes[i].Grant == nil {
			done = append(done, key)
		}
	}
	return firstError(failures), done, nil
}

// isRenamed says whether a person is bound under the subject of an earlier name: that must go.
func isRenamed(bound v1alpha1.AppRoleSubject, entry earned.Entry) bool {
	return bound.Name != "" && bound.Name != entry.Subject
}

func hasTrue(set map[earned.RoleInScope]bool) bool {
	for _, is := range set {
		if is {
			return true
		}
	}
	return false
}

// removal takes a user out of the bindings of keys, and returns the errors by key.
type removal func(ctx context.Context, user types.NamespacedName, keys []earned.RoleInScope) map[earned.RoleInScope]error

// unbind waits until a person is not bound any more under the keys that are true in the map.
func (r *Reconciler) unbind(ctx context.Context, name types.NamespacedName, lost map[earned.RoleInScope]bool, remove removal) error {
	var keys []earned.RoleInScope
	for key, isLost := range lost {
		if isLost {
			keys = append(keys, key)
		}
	}
	failures := remove(ctx, name, keys)
	failed := slices.SortedFunc(maps.Keys(failures), earned.Compare) // the text goes into a condition, which must not change
	r.pendingRemovals.set(name, failed)
	errs := make([]error, len(failed))
	for i, key := range failed {
		errs[i] = failures[key]
	}
	return errors.Join(errs...)
}

func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
