package user

import (
	"cmp"
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// keepHeld returns the held roles: the user does not earn them any more, and keeps them because too many users would lose
// roles by a change of a group or an edit of the App. What the person's own change takes is never held, nor what comes to an
// end that the status told, and neither is anything where nothing is bound. A held role ends when it would have. policy is nil
// where no RBAC name stands for the user.
func (e *evaluation) keepHeld(ctx context.Context, policy *access.Policy, stillEarned map[earned.RoleInScope]bool) ([]v1alpha1.EarnedRole, error) {
	var lost []earned.RoleInScope
	if e.app.Spec.Safety != nil && e.app.Spec.Mode != v1alpha1.ModeObserve {
		var err error
		if lost, err = e.lostByOthers(ctx, stillEarned); err != nil {
			return nil, err
		}
	}
	if len(lost) == 0 {
		e.Guard.Settle(e.appName(), e.name.Name)
		return nil, nil
	}
	hold, err := e.Guard.Hold(ctx, e.app, e.name.Name, slices.ContainsFunc(e.user.Status.Roles, access.IsHeld))
	if err != nil || !hold {
		return nil, err
	}
	kept := make([]v1alpha1.EarnedRole, len(lost))
	for i, key := range lost {
		kept[i] = v1alpha1.EarnedRole{Role: key.Role, Scope: key.Scope, Reasons: []string{access.ReasonHeld}, Until: e.endOf(policy, key)}
	}
	return kept, nil
}

// lostByOthers returns, in order, the keys that the user is bound by and does not earn any more, without those lost by the
// user's own change. A grant that was requested and is not bound yet is no loss.
func (e *evaluation) lostByOthers(ctx context.Context, stillEarned map[earned.RoleInScope]bool) ([]earned.RoleInScope, error) {
	bound, err := e.Syncer.Bound(ctx, e.name)
	if err != nil {
		return nil, err
	}
	var lost []earned.RoleInScope
	announced := e.announcedEnds()
	for key := range bound {
		if key.App == e.user.Spec.App && !stillEarned[key] && !announced[key] {
			lost = append(lost, key)
		}
	}
	if len(lost) == 0 {
		return nil, nil
	}
	status, err := e.latestStatus(ctx)
	if err != nil {
		return nil, err
	}
	if e.late.observed(e.user, status) < e.user.Generation { // the person's own change
		held := map[earned.RoleInScope]bool{}
		for _, role := range status.Roles {
			if access.IsHeld(role) {
				held[e.keyOf(role)] = true
			}
		}
		lost = slices.DeleteFunc(lost, func(key earned.RoleInScope) bool { return !held[key] })
	}
	slices.SortFunc(lost, func(a, b earned.RoleInScope) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Scope, b.Scope))
	})
	return lost, nil
}

// endOf returns when a held role ends, by the policy or as the status told last. An end that has come and was not told is none:
// what it takes is held.
func (e *evaluation) endOf(policy *access.Policy, key earned.RoleInScope) *metav1.Time {
	if policy != nil {
		if until := policy.End(key.Role, &e.user.Spec); until != nil && e.now.Before(until.Time) {
			return until
		}
	}
	for _, role := range e.user.Status.Roles {
		if e.keyOf(role) == key {
			return role.Until
		}
	}
	return nil
}

// latestStatus returns the person's status, live where the informer shows one that does not speak of them as they are: this
// process, or a former leader, may have written another one since.
func (e *evaluation) latestStatus(ctx context.Context) (*v1alpha1.UserStatus, error) {
	if e.user.Status.ObservedGeneration == e.user.Generation {
		return &e.user.Status, nil
	}
	live := &v1alpha1.User{}
	if err := e.Live.Get(ctx, e.name, live); client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	return &live.Status, nil // nothing is held of a user that is gone
}

// withholdNameless takes every role away from a user that no RBAC name stands for any more. Where that comes from an edit of
// the App, roles may be held, under a name that stood for the user before: as long as it is still one of the user's.
func (e *evaluation) withholdNameless(ctx context.Context, nameless error) (reconcile.Result, error) {
	kept, err := e.keepHeld(ctx, nil, nil)
	if err != nil {
		return reconcile.Result{}, err
	}
	e.watchEnds(kept)
	bound, err := e.Syncer.Bound(ctx, e.name)
	if err != nil {
		return reconcile.Result{}, err
	}
	names := e.namesAmong(bound)
	if len(kept) == 0 || len(names) == 0 {
		return e.withhold(ctx, v1alpha1.ReasonInvalidSubject, sentence(nameless.Error()))
	}
	e.verdict.subject = names[0]
	e.kept = e.keysOf(kept)
	if _, err := e.bind(ctx, e.kept, nil); err != nil {
		return reconcile.Result{}, err
	}
	e.verdict.withheld(v1alpha1.ReasonInvalidSubject, sentence(nameless.Error()))
	e.verdict.addHeld(kept)
	return reconcile.Result{}, e.writeStatus(ctx)
}
