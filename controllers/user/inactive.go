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

// reconcileInactive takes everything from a user that left, is suspended or is being deleted.
func (e *evaluation) reconcileInactive(ctx context.Context) (reconcile.Result, error) {
	if !isRevoked(e.user) {
		defer e.Syncer.Removals.Begin()()
	}
	if err := e.endAccess(ctx); err != nil {
		e.verdict.revocationFailed(e.user, err)
		if written := e.writeStatus(ctx); written != nil && !apierrors.IsNotFound(written) {
			log.FromContext(ctx).V(1).Info("Could not write why the revocation failed", "reason", written.Error())
		}
		return reconcile.Result{}, err
	}
	if !e.user.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, e.letGo(ctx)
	}
	e.verdict.revoked(e.user)
	if err := e.findResidual(ctx); err != nil {
		return reconcile.Result{}, err
	}
	retry, err := e.verifyName(ctx)
	if err != nil {
		// The access is gone, and the server that waits for that shall know; the claim can wait.
		if written := e.writeStatus(ctx); written != nil {
			return reconcile.Result{}, written
		}
		return reconcile.Result{}, err
	}
	if err := e.writeStatus(ctx); err != nil {
		return reconcile.Result{}, err
	}
	again, err := e.deleteWhenDue(ctx)
	if retry > 0 && (again == 0 || retry < again) {
		again = retry
	}
	return reconcile.Result{RequeueAfter: again}, err
}

// letGo removes the finalizer of a User that nothing binds any more, then the claim of its name, so that the name can be
// used again at once.
func (e *evaluation) letGo(ctx context.Context) error {
	if len(e.user.Finalizers) > 1 {
		// Another finalizer holds the object: until that is released, the status shows that the access is gone.
		e.verdict.revoked(e.user)
		if err := e.findResidual(ctx); err != nil {
			return err
		}
		if err := e.writeStatus(ctx); err != nil {
			return err
		}
	}
	if controllerutil.ContainsFinalizer(e.user, v1alpha1.FinalizerAccess) {
		e.report().audit(&e.user.Status, &v1alpha1.UserStatus{}) // no status will tell it
		before := e.user.DeepCopy()
		controllerutil.RemoveFinalizer(e.user, v1alpha1.FinalizerAccess)
		err := e.Client.Patch(ctx, e.user, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if err == nil { // no status will tell that the access is gone
			gone := e.user.Status.DeepCopy()
			meta.SetStatusCondition(&gone.Conditions, condition(v1alpha1.ConditionAccessRevoked, true, v1alpha1.ReasonRevoked, ""))
			e.report().measure(&e.user.Status, gone)
		}
		if client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	if err := e.claimsOf(e.name.Namespace).Release(ctx, e.user); err != nil && ctx.Err() == nil {
		// The claim blocks no request: the next one for the name takes it over, and the reaper sweeps.
		log.FromContext(ctx).Error(err, "Failed to release the claim of a deleted user's name")
	}
	if e.app == nil {
		return nil
	}
	for _, protocol := range claims.ForOtherNames(e.Live, e.app) {
		if err := protocol.Release(ctx, e.user); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "Failed to release the claim of a deleted user's other name")
		}
	}
	return nil
}

// deleteWhenDue deletes a User that left longer ago than the App keeps them, or says when that will be.
func (e *evaluation) deleteWhenDue(ctx context.Context) (time.Duration, error) {
	if e.app == nil || e.app.Spec.Deactivation.DeleteAfter == nil || e.user.Spec.Active || e.user.Status.InactiveSince == nil {
		return 0, nil
	}
	due := e.user.Status.InactiveSince.Add(e.app.Spec.Deactivation.DeleteAfter.Duration)
	if remaining := time.Until(due); remaining > 0 {
		return remaining, nil
	}
	uid, version := e.user.UID, e.user.ResourceVersion
	err := e.Client.Delete(ctx, e.user, client.Preconditions{UID: &uid, ResourceVersion: &version})
	return 0, client.IgnoreNotFound(err)
}
