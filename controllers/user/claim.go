package user

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

// verifyName finds out whether the claim of the userName names this User, by a live read unless that was found out
// before, or a watch has shown it: a claim never leaves a holder that exists and keeps its key, unless others delete it. It returns when
// to look again where it does not.
func (e *evaluation) verifyName(ctx context.Context) (retry time.Duration, err error) {
	protocol := e.claimsOf(e.name.Namespace)
	switch {
	case e.recent.takeDoubt(e.name):
		claimed, err := protocol.Ensure(ctx, e.user.Name)
		if err != nil {
			e.recent.doubt(e.name)
			return 0, err
		}
		if claimed { // by the user as it is now, which the informer may not show: no access is taken for that
			e.nameClaimed()
			return 0, nil
		}
	case e.user.IsNameReserved() || e.recent.isReserved(e.name, e.user):
		e.verdict.nameReserved(e.user)
		return 0, nil
	case e.isClaimSeen(e.user):
		e.nameClaimed()
		return 0, nil
	}
	holder, err := protocol.OwnerFor(ctx, e.user)
	if err != nil {
		return 0, err
	}
	if holder != e.user.Name && (e.user.Spec.CreatedAt == nil || time.Since(e.user.CreationTimestamp.Time) > claims.RestoredAge) {
		claimed, err := protocol.Ensure(ctx, e.user.Name)
		if err != nil {
			return 0, err
		}
		if claimed {
			holder = e.user.Name
		}
	}
	switch holder {
	case e.user.Name:
		e.nameClaimed()
		return 0, nil
	case "":
		e.verdict.nameNotReserved(v1alpha1.ReasonNameNotClaimed, "No claim reserves the userName for this user.")
	default:
		e.verdict.nameNotReserved(v1alpha1.ReasonNameTaken, "The userName is reserved for the user "+holder+".")
	}
	e.unclaimed.Next(e.name.String(), time.Now())
	return e.unclaimed.Get(e.name.String()), nil
}

func (e *evaluation) nameClaimed() {
	e.unclaimed.DeleteEntry(e.name.String())
	e.recent.reserve(e.name, e.user)
	e.verdict.nameReserved(e.user)
}

func (r *Reconciler) isClaimSeen(user *v1alpha1.User) bool {
	return r.Claims.Names(user.Spec.App, v1alpha1.ClaimUserName, user.Spec.UserNameKey, user)
}

// untilClaimed is how long a new User waits for its claim at most. claimSeen ends that.
func (r *Reconciler) untilClaimed(user *v1alpha1.User) time.Duration {
	switch {
	case r.isClaimSeen(user):
		return 0
	case r.Claims.Following():
		return watchedClaimDelay
	}
	return claimDelay
}

// claimSeen has a user evaluated that waits for its claim. The claim of a User that informers do not show yet comes first: then
// untilClaimed finds it.
func (r *Reconciler) claimSeen(name types.NamespacedName) {
	user := &v1alpha1.User{}
	if err := r.Client.Get(context.Background(), name, user, client.UnsafeDisableDeepCopy); err == nil && user.Status.ObservedGeneration == 0 {
		r.enqueue(0, name)
	}
}

// ClaimGone has the claim of a name made anew that others deleted. This operator deletes claims that their holders have given up, which
// the informer may show later: a live read decides.
func (r *Reconciler) ClaimGone(namespace string, claim *v1alpha1.NameClaimSpec) {
	name := types.NamespacedName{Namespace: namespace, Name: claim.Holder}
	user := &v1alpha1.User{}
	if err := r.Client.Get(context.Background(), name, user, client.UnsafeDisableDeepCopy); err != nil ||
		user.Spec.App != claim.App || !user.DeletionTimestamp.IsZero() {
		return
	}
	switch claim.Attribute {
	case v1alpha1.ClaimUserName:
		if user.Spec.UserNameKey != claim.Value {
			return
		}
		r.recent.doubt(name)
	case v1alpha1.ClaimEmail, v1alpha1.ClaimExternalID:
		if claims.KeyBy(claim.Attribute, &user.Spec) != claim.Value {
			return
		}
		r.recent.release(name, claim.Attribute)
	default:
		return
	}
	r.enqueue(0, name)
}

// FollowClaims watches claims while this process leads.
type FollowClaims struct {
	*Reconciler
	// Namespaces to follow; empty for all.
	Namespaces []string
	// GroupClaimGone is told of deleted claims of groups.
	GroupClaimGone func(ctx context.Context, namespace string, claim *v1alpha1.NameClaimSpec)
}

// NeedLeaderElection has one process watch.
func (f *FollowClaims) NeedLeaderElection() bool { return true }

// Start follows claims until the context ends. It returns nil.
func (f *FollowClaims) Start(ctx context.Context) error {
	f.Claims.Follow(ctx, f.Namespaces, f.claimSeen, func(claim *v1alpha1.NameClaim) {
		if claim.Spec.Attribute == v1alpha1.ClaimDisplayName {
			f.GroupClaimGone(ctx, claim.Namespace, &claim.Spec)
		} else {
			f.ClaimGone(claim.Namespace, &claim.Spec)
		}
	})
	return nil
}

// withholdUnclaimed takes every role away from a user without the claim of its userName. A User that was just written is not
// reported at once: its claim is being written.
func (e *evaluation) withholdUnclaimed(ctx context.Context, retry time.Duration) (reconcile.Result, error) {
	fresh := len(e.user.Status.Conditions) == 0 && !e.user.HasForeignStatus() && retry < claims.Patience
	if fresh {
		if err := e.revokeAll(ctx); err != nil {
			return reconcile.Result{}, err
		}
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	if _, err := e.withhold(ctx, e.verdict.name.Reason, e.verdict.name.Message); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: retry}, nil
}

// claimOtherNames makes the claims of the user's names other than userName where the App has them unique. It returns the attribute
// that the App makes Kubernetes names of, where another user holds this user's value of it: such a user has no Kubernetes name.
func (e *evaluation) claimOtherNames(ctx context.Context) (taken string, err error) {
	for _, attribute := range claims.OtherNames(e.app) {
		key := claims.KeyBy(attribute, &e.user.Spec)
		if key == "" || e.recent.holds(e.name, attribute, e.user.UID, key) {
			continue
		}
		claimed, err := claims.ForUsersBy(e.Live, e.name.Namespace, attribute).Claim(ctx, e.name.Name, key)
		if err != nil {
			return "", err
		}
		if claimed {
			e.recent.hold(e.name, attribute, e.user.UID, key)
		} else if attribute == e.app.Spec.Kubernetes.UsernameFrom {
			e.waiting.add(e.user.Namespace, e.user.Spec.App, attribute, key, e.name)
			taken = attribute
		}
	}
	return taken, nil
}

// withholdSharedName takes every role away from a user if another user holds its Kubernetes name. It looks again when that
// user gives the name up, and now and then.
func (e *evaluation) withholdSharedName(ctx context.Context, attribute string) (reconcile.Result, error) {
	message := "Another user of the App has this " + attribute + " and holds the Kubernetes name that is made of it. " +
		"Give this user another one in the identity provider, or delete the other user."
	if _, err := e.withhold(ctx, v1alpha1.ReasonKubernetesNameTaken, message); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: maxBackoff}, nil
}
