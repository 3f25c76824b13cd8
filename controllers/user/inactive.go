package user

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

// leaver is the evaluation of a user that may have no access.
type leaver struct{ *evaluation }

// reconcileInactive takes everything from a user that left, is suspended or is being deleted.
func (l leaver) reconcileInactive(ctx context.Context) (reconcile.Result, error) {
	if !isRevoked(l.user) {
		defer l.Syncer.Removals.Begin()()
		l.turns.leaving.note(l.appName())
		defer l.turns.leaving.note(l.appName())
	}
	if err := l.endAccess(ctx); err != nil {
		l.verdict.revocationFailed(l.user, err)
		if written := l.writeStatus(ctx); written != nil && !apierrors.IsNotFound(written) {
			log.FromContext(ctx).V(1).Info("Could not write why the revocation failed", "reason", written.Error())
		}
		return reconcile.Result{}, err
	}
	if !l.user.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, l.letGo(ctx)
	}
	l.verdict.revoked(l.user)
	if err := l.findResidual(ctx); err != nil {
		return reconcile.Result{}, err
	}
	retry, err := l.verifyName(ctx)
	if err != nil {
		// The access is gone, and the server that waits for that shall know; the claim can wait.
		if written := l.writeStatus(ctx); written != nil {
			return reconcile.Result{}, written
		}
		return reconcile.Result{}, err
	}
	if err := l.writeStatus(ctx); err != nil {
		return reconcile.Result{}, err
	}
	again, err := l.deleteWhenDue(ctx)
	if retry > 0 && (again == 0 || retry < again) {
		again = retry
	}
	return reconcile.Result{RequeueAfter: again}, err
}

// letGo removes the finalizer of a User that nothing binds any more, then the claim of its name, so that the name can be
// used again at once.
func (l leaver) letGo(ctx context.Context) error {
	if len(l.user.Finalizers) > 1 {
		// Another finalizer holds the object: until that is released, the status shows that the access is gone.
		l.verdict.revoked(l.user)
		if err := l.findResidual(ctx); err != nil {
			return err
		}
		if err := l.writeStatus(ctx); err != nil {
			return err
		}
	}
	if controllerutil.ContainsFinalizer(l.user, v1alpha1.FinalizerAccess) {
		l.report().audit(&l.user.Status, &v1alpha1.UserStatus{}) // no status will tell it
		before := l.user.DeepCopy()
		controllerutil.RemoveFinalizer(l.user, v1alpha1.FinalizerAccess)
		err := l.Client.Patch(ctx, l.user, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if err == nil { // no status will tell that the access is gone
			gone := l.user.Status.DeepCopy()
			meta.SetStatusCondition(&gone.Conditions, condition(v1alpha1.ConditionAccessRevoked, true, v1alpha1.ReasonRevoked, ""))
			l.report().measure(&l.user.Status, gone)
		}
		if client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	if err := l.claimsOf(l.name.Namespace).Release(ctx, l.user); err != nil && ctx.Err() == nil {
		// The claim blocks no request: the next one for the name takes it over, and the reaper sweeps.
		log.FromContext(ctx).Error(err, "Failed to release the claim of a deleted user's name")
	}
	for _, attribute := range l.otherNames() {
		if err := claims.ForUsersBy(l.Live, l.name.Namespace, attribute).Release(ctx, l.user); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "Failed to release the claim of a deleted user's other name")
		}
	}
	return nil
}

// otherNames are those of claims.OtherNames that the user may have claimed. Of an App that is gone, or about to be, it is not known which
// it had unique.
func (l leaver) otherNames() []string {
	if l.app == nil {
		return claims.AllOtherNames()
	}
	return claims.OtherNames(l.app)
}

// deleteWhenDue deletes a User that left longer ago than the App keeps them, or says when that will be.
func (l leaver) deleteWhenDue(ctx context.Context) (time.Duration, error) {
	if l.app == nil || l.app.Spec.Deactivation.DeleteAfter == nil || l.user.Spec.Active || l.user.Status.InactiveSince == nil {
		return 0, nil
	}
	due := l.user.Status.InactiveSince.Add(l.app.Spec.Deactivation.DeleteAfter.Duration)
	if remaining := time.Until(due); remaining > 0 {
		return remaining, nil
	}
	uid, version := l.user.UID, l.user.ResourceVersion
	err := l.Client.Delete(ctx, l.user, client.Preconditions{UID: &uid, ResourceVersion: &version})
	return 0, client.IgnoreNotFound(err)
}
