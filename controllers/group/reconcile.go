package group

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/membership"
)

const (
	// readAtOnce bounds live reads of users under way, readInAll those of one reconcile.
	readAtOnce = 8
	readInAll  = 1024
)

// Reconcile brings one Group in order. It returns the errors of the API server.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	name := request.NamespacedName
	group := &v1alpha1.Group{}
	if err := r.Client.Get(ctx, name, group); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(name)
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, err
	}
	if group.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	if err := r.Memberships.settle(ctx, name); err != nil {
		return reconcile.Result{}, err
	}
	more, err := r.removeDeparted(ctx, group)
	if err != nil {
		return reconcile.Result{}, err
	}
	var v verdict
	retry, err := r.verifyName(ctx, group, &v)
	if err != nil {
		return reconcile.Result{}, err
	}
	v.members = r.Memberships.index.Count(name)
	v.unknown = unknownOf(group)
	if v.roles, err = r.rolesOf(ctx, group, &v); err != nil {
		return reconcile.Result{}, err
	}
	wait, err := r.writeStatus(ctx, group, &v)
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: soonest(more, retry, wait)}, nil
}

// rolesOf returns the roles that membership of the group confers: none without the name.
func (r *Reconciler) rolesOf(ctx context.Context, group *v1alpha1.Group, v *verdict) ([]string, error) {
	if v.reservedKey == "" {
		return nil, nil
	}
	app := &v1alpha1.App{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: group.Namespace, Name: group.Spec.App}, app, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) || err == nil && !app.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	policy, fieldErrors := r.Policies.Compile(app)
	if len(fieldErrors) > 0 {
		return group.Status.Roles, nil // nothing changes until the App is corrected
	}
	return policy.ConferredBy(namesOf(group)), nil
}

func (r *Reconciler) forget(name types.NamespacedName) {
	r.suspects.forget(name)
	r.unclaimed.DeleteEntry(name.String())
	r.written.forget(name)
}

// soonest returns the shortest of delays, of which 0 is none.
func soonest(delays ...time.Duration) time.Duration {
	var shortest time.Duration
	for _, delay := range delays {
		if delay > 0 && (shortest == 0 || delay < shortest) {
			shortest = delay
		}
	}
	return shortest
}

// removeDeparted removes members that are no users of the group's App any more: those with a deletion that was seen, or that
// were absent for long. Absence alone proves nothing: a restore may put groups back before users. What the informer does not
// show is read live, because the informer may be behind. It returns when to go on, where there is more to look at.
func (r *Reconciler) removeDeparted(ctx context.Context, group *v1alpha1.Group) (more time.Duration, err error) {
	name, now := client.ObjectKeyFromObject(group), time.Now()
	var suspected []string
	for _, id := range append(r.suspects.take(name), r.suspects.absentees(name)...) {
		switch {
		case r.knows(ctx, group, id):
			r.suspects.present(name, id)
		case r.suspects.isAbsent(group, id, now):
			more = lookAgain
		default:
			suspected = append(suspected, id)
		}
	}
	slices.Sort(suspected)
	suspected = slices.Compact(suspected)
	if len(suspected) > readInAll {
		r.suspects.add(name, suspected[readInAll:]...)
		suspected, more = suspected[:readInAll], time.Second
	}
	departed, absent, err := r.departed(ctx, group, suspected)
	if err != nil {
		r.suspects.add(name, suspected...)
		return 0, err
	}
	gone, again := r.suspects.judge(group, absent, now)
	departed, more = append(departed, gone...), soonest(more, again)
	if len(departed) == 0 {
		return more, nil
	}
	var delta membership.Delta
	delta.Remove(departed...)
	_, _, err = r.membersOf(group.Namespace).Apply(ctx, group.Name, func(*v1alpha1.Group) (membership.Decision, error) {
		return membership.Decision{Members: delta}, nil
	})
	if err != nil {
		r.suspects.add(name, departed...)
		return 0, client.IgnoreNotFound(err)
	}
	log.FromContext(ctx).Info("Took members out that are no users any more", "count", len(departed))
	return more, nil
}

// knows says whether the informer shows a user of the group's App.
func (r *Reconciler) knows(ctx context.Context, group *v1alpha1.Group, id string) bool {
	user := &v1alpha1.User{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: group.Namespace, Name: id}, user, client.UnsafeDisableDeepCopy)
	return err == nil && isMember(group, user)
}

func isMember(group *v1alpha1.Group, user *v1alpha1.User) bool {
	return user.Spec.App == group.Spec.App && user.DeletionTimestamp == nil
}

// departed returns, by live reads, the ids of users that are being deleted or belong to another App, and the ids that are no
// users.
func (r *Reconciler) departed(ctx context.Context, group *v1alpha1.Group, ids []string) (departed, absent []string, err error) {
	gone, missing := make([]bool, len(ids)), make([]bool, len(ids))
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(readAtOnce)
	for i, id := range ids {
		workers.Go(func() error {
			user := &v1alpha1.User{}
			err := r.Live.Get(ctx, types.NamespacedName{Namespace: group.Namespace, Name: id}, user)
			missing[i] = apierrors.IsNotFound(err)
			gone[i] = err == nil && !isMember(group, user)
			return client.IgnoreNotFound(err)
		})
	}
	if err := workers.Wait(); err != nil {
		return nil, nil, err
	}
	for i, id := range ids {
		switch {
		case gone[i]:
			departed = append(departed, id)
		case missing[i]:
			absent = append(absent, id)
		}
	}
	return departed, absent, nil
}

// ClaimGone makes the claim of a displayName anew that others deleted. Claims that this operator deletes were given up by their holders:
// a live read tells.
func (r *Reconciler) ClaimGone(ctx context.Context, namespace string, claim *v1alpha1.NameClaimSpec) {
	name := types.NamespacedName{Namespace: namespace, Name: claim.Holder}
	group := &v1alpha1.Group{}
	if err := r.Client.Get(ctx, name, group, client.UnsafeDisableDeepCopy); err != nil || group.Spec.App != claim.App ||
		!group.DeletionTimestamp.IsZero() || group.Spec.DisplayNameKey != claim.Value || !group.IsNameReserved() {
		return
	}
	if claimed, err := r.claimsOf(group.Namespace).Ensure(ctx, group.Name); err != nil || !claimed {
		log.FromContext(ctx).Info("The claim of a group's displayName was deleted and is not made anew", "group", name, "claimed", claimed, "error", err)
	}
}

// verifyName finds out whether the claim of the displayName names this Group, by a live read unless that was found out
// before: a claim never leaves a holder that exists and keeps its key. It returns when to look again where it does not.
func (r *Reconciler) verifyName(ctx context.Context, group *v1alpha1.Group, v *verdict) (retry time.Duration, err error) {
	name := client.ObjectKeyFromObject(group).String()
	if group.IsNameReserved() {
		v.nameReserved(group)
		return 0, nil
	}
	protocol := r.claimsOf(group.Namespace)
	holder, err := protocol.OwnerFor(ctx, group)
	if err != nil {
		return 0, err
	}
	if holder != group.Name && (group.Spec.CreatedAt == nil || time.Since(group.CreationTimestamp.Time) > claims.RestoredAge) {
		claimed, err := protocol.Ensure(ctx, group.Name)
		if err != nil {
			return 0, err
		}
		if claimed {
			holder = group.Name
		}
	}
	switch holder {
	case group.Name:
		r.unclaimed.DeleteEntry(name)
		v.nameReserved(group)
		return 0, nil
	case "":
		v.nameNotReserved(v1alpha1.ReasonNameNotClaimed, "No claim reserves the displayName for this group.")
	default:
		v.nameNotReserved(v1alpha1.ReasonNameTaken, "The displayName is reserved for the group "+holder+".")
	}
	r.unclaimed.Next(name, time.Now())
	retry = r.unclaimed.Get(name)
	v.fresh = len(group.Status.Conditions) == 0 && !group.HasForeignStatus() && retry < claims.Patience
	return retry, nil
}
