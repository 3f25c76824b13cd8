package scimtoken

import (
	"context"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/token"
	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	// expiryNotice is how long before its end a token is said to expire.
	expiryNotice = 30 * 24 * time.Hour
	// conflictDelay is how long a reconcile that met a newer object waits for the informer to show it.
	conflictDelay = 10 * time.Millisecond
)

// Reconcile publishes one token, or withdraws it.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	object := &v1alpha1.ScimToken{}
	if err := r.Client.Get(ctx, request.NamespacedName, object); err != nil {
		if apierrors.IsNotFound(err) {
			r.wake(r.digests.forget(request.NamespacedName))
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, err
	}
	now := time.Now()
	verdict, err := r.judge(ctx, object, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	before := object.Status.DeepCopy()
	verdict.apply(object, now)
	if !apiequality.Semantic.DeepEqual(*before, object.Status) {
		err := r.Client.Status().Update(ctx, object)
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: conflictDelay}, nil
		}
		if err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
	}
	return reconcile.Result{RequeueAfter: nextChange(&object.Spec, now)}, nil
}

// verdict is what the status of a token will say. Only a valid token has a digest.
type verdict struct {
	digest          string
	reason, message string
}

func invalid(reason, message string) verdict { return verdict{reason: reason, message: message} }

// judge decides whether a token is accepted.
func (r *Reconciler) judge(ctx context.Context, object *v1alpha1.ScimToken, now time.Time) (verdict, error) {
	name := client.ObjectKeyFromObject(object)
	digest, problem, err := r.digestOf(ctx, object)
	if err != nil {
		return verdict{}, err
	}
	if problem != nil {
		r.wake(r.digests.forget(name))
		return *problem, nil
	}
	// A token decides which App a request is for. Where it stands for two, it stands for none.
	rival, touched := r.digests.set(name, digest, object.Spec.App)
	r.wake(touched)
	if rival.Name != "" {
		return invalid(v1alpha1.ReasonInvalidToken, "The same token is that of another App, too, by the ScimToken "+rival.String()+": make a token of its own for each App."), nil
	}
	app := &v1alpha1.App{}
	err = r.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: object.Spec.App}, app, client.UnsafeDisableDeepCopy)
	switch {
	case apierrors.IsNotFound(err):
		return invalid(v1alpha1.ReasonAppNotFound, "The App "+object.Spec.App+" does not exist."), nil
	case err != nil:
		return verdict{}, err
	case object.Spec.Suspended:
		return invalid(v1alpha1.ReasonSuspended, "The token is suspended."), nil
	case object.Spec.NotBefore != nil && now.Before(object.Spec.NotBefore.Time):
		return invalid(v1alpha1.ReasonNotYetValid, "The token is accepted from "+timeText(object.Spec.NotBefore)+" on."), nil
	case object.Spec.ExpiresAt != nil && !now.Before(object.Spec.ExpiresAt.Time):
		return invalid(v1alpha1.ReasonExpired, "The token expired at "+timeText(object.Spec.ExpiresAt)+"."), nil
	}
	return verdict{digest: digest, reason: v1alpha1.ReasonValid, message: "The token is accepted."}, nil
}

func timeText(at *metav1.Time) string { return at.UTC().Format(time.RFC3339) }

// apply computes the status of a token.
func (v verdict) apply(object *v1alpha1.ScimToken, now time.Time) {
	status := &object.Status
	status.ObservedGeneration = object.Generation
	status.Digest, status.TokenID = v.digest, token.ID(v.digest)
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v.reason, Message: v.message,
		ObservedGeneration: object.Generation,
	}
	if v.digest != "" {
		ready.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&status.Conditions, ready)
	expiresAt := object.Spec.ExpiresAt
	if expiresAt == nil || now.Before(expiresAt.Add(-expiryNotice)) {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionExpiring)
		return
	}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionExpiring, Status: metav1.ConditionTrue, Reason: v1alpha1.ConditionExpiring,
		Message:            "The token expires at " + timeText(expiresAt) + ". From then on provisioning and deprovisioning fail.",
		ObservedGeneration: object.Generation,
	})
}

// nextChange returns how long until time alone changes what is to be said of a token; 0 for never.
func nextChange(spec *v1alpha1.ScimTokenSpec, now time.Time) time.Duration {
	var moments []time.Time
	if spec.NotBefore != nil {
		moments = append(moments, spec.NotBefore.Time)
	}
	if spec.ExpiresAt != nil {
		moments = append(moments, spec.ExpiresAt.Add(-expiryNotice), spec.ExpiresAt.Time)
	}
	var next time.Duration
	for _, moment := range moments {
		if remaining := moment.Sub(now); remaining > 0 && (next == 0 || remaining < next) {
			next = remaining
		}
	}
	return next
}
