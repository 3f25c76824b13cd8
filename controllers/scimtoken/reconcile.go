package scimtoken

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

const (
	// expiryNotice is how long before its end a token is said to expire.
	expiryNotice = 30 * 24 * time.Hour
	// conflictDelay is how long a reconcile that met a newer object waits for the informer to show it.
	conflictDelay = 10 * time.Millisecond
	// refusedDelay is the time between two attempts to make a Secret that quota or admission refused.
	refusedDelay = time.Minute
)

// Reconcile publishes one token, or withdraws it. It returns the errors of the API server.
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
		r.tell(object, before)
	}
	if before.Digest != "" && before.Digest != verdict.digest {
		r.wake(r.digests.claimants(request.NamespacedName, before.Digest))
	}
	r.deleteRetired(ctx, verdict.retired)
	if verdict.retryAfter > 0 {
		return reconcile.Result{RequeueAfter: verdict.retryAfter}, nil
	}
	return reconcile.Result{RequeueAfter: nextChange(object, now)}, nil
}

// verdict is what the status of a token will say. Only a token that its App accepts has a digest.
type verdict struct {
	digest          string
	reason, message string
	// ownURLOnly says that another App's token has the digest, and had it first.
	ownURLOnly bool
	// rotation is what the status says of it; retired are Secrets to be deleted once it does.
	rotation *v1alpha1.TokenRotationStatus
	retired  []*corev1.Secret
	// opens says that the token opens its App now.
	opens bool
	// retryAfter is when to try again what no watch tells of; 0 for never.
	retryAfter time.Duration
}

func invalid(reason, message string) verdict { return verdict{reason: reason, message: message} }

// judge decides whether a token opens its App. The App decides first: no Secret is read or made for a token that its App
// does not list.
func (r *Reconciler) judge(ctx context.Context, object *v1alpha1.ScimToken, now time.Time) (verdict, error) {
	name := client.ObjectKeyFromObject(object)
	state, problem, err := r.acceptedState(ctx, object, now)
	if err != nil {
		return verdict{}, err
	}
	if problem != nil {
		r.wake(r.digests.forget(name))
		r.wake(r.digests.claimants(name, object.Spec.Digest)) // which may have counted this one as accepted
		return *problem, nil
	}
	inUse := false
	if opensApps(object) {
		if inUse, err = r.claim(ctx, object, state.digest); err != nil {
			return verdict{}, err
		}
	}
	accepted := verdict{digest: state.digest, ownURLOnly: inUse, rotation: state.rotation, retired: state.retired, retryAfter: state.retryAfter}
	switch {
	case object.Spec.Suspended:
		accepted.reason, accepted.message = v1alpha1.ReasonSuspended, "The token is suspended, as spec.suspended asks for."
	case object.Spec.NotBefore != nil && now.Before(object.Spec.NotBefore.Time):
		accepted.reason, accepted.message = v1alpha1.ReasonNotYetValid, "The token is accepted from "+timeText(object.Spec.NotBefore)+" on."
	case object.Spec.ExpiresAt != nil && !now.Before(object.Spec.ExpiresAt.Time):
		accepted.reason, accepted.message = v1alpha1.ReasonExpired, "The token expired at "+timeText(object.Spec.ExpiresAt)+"."
	case inUse:
		accepted.opens, accepted.reason = true, v1alpha1.ReasonOwnURLOnly
		accepted.message = fmt.Sprintf("The token opens its App at /apps/%s/%s/scim/v2 alone: a token of another App has the same digest and "+
			"had it first, and at /scim/v2 requests may reach that App. Use the URL that names the App, or make another token.",
			object.Namespace, object.Spec.App)
	default:
		accepted.opens, accepted.reason, accepted.message = true, v1alpha1.ReasonValid, acceptedAs(object)
		if state.secretName != "" {
			accepted.message += " " + howToRead(object.Namespace, state.secretName)
		}
	}
	if state.trouble != "" {
		accepted.message += " The next token could not be made. " + state.trouble
	}
	return accepted, nil
}

// acceptedState returns the digests of a token that its App accepts, or the verdict on one that it does not.
func (r *Reconciler) acceptedState(ctx context.Context, object *v1alpha1.ScimToken, now time.Time) (tokenState, *verdict, error) {
	app := &v1alpha1.App{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: object.Spec.App}, app, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		problem := invalid(v1alpha1.ReasonAppNotFound, "The App "+object.Spec.App+" does not exist in this namespace.")
		return tokenState{}, &problem, nil
	}
	if err != nil {
		return tokenState{}, nil, err
	}
	if !app.Spec.Lists(object) && object.Spec.Grant != "" {
		problem := invalid(v1alpha1.ReasonNotAccepted, "The App "+app.Name+" has no spec.oauth any more: tokens that were issued for it are refused.")
		return tokenState{}, &problem, nil
	}
	notAccepted := invalid(v1alpha1.ReasonNotAccepted,
		"The App "+app.Name+" does not accept this token. If it shall, add to its spec:\n"+v1alpha1.AcceptanceOf(object))
	if !app.Spec.Lists(object) {
		return tokenState{}, &notAccepted, nil
	}
	state, problem, err := r.stateOf(ctx, object, now)
	if err != nil || problem != nil {
		return tokenState{}, problem, err
	}
	if former := state.former(); former != nil && !app.Spec.Takes(object, former.Digest) {
		state.rotation.Former = nil
	}
	if !app.Spec.Takes(object, state.digest) {
		return tokenState{}, &notAccepted, nil
	}
	if object.Spec.Grant != "" {
		problem, err := r.grantProblem(ctx, app, object)
		return state, problem, err
	}
	return state, nil, nil
}

// claim takes a digest for the token's App where a URL names none, and reports whether another App has it there. The token
// that has it keeps it; of tokens of which none has, the oldest one gets it.
func (r *Reconciler) claim(ctx context.Context, object *v1alpha1.ScimToken, digest string) (inUse bool, err error) {
	mine := claim{digest: digest, app: appOf(object), published: hasDigest(object, digest), created: object.CreationTimestamp.Time}
	rivals := r.digests.set(client.ObjectKeyFromObject(object), mine)
	others, err := r.rivals(ctx, mine)
	if err != nil {
		return false, err
	}
	for _, rival := range append(rivals, others...) {
		if rival.precedes(mine) {
			return true, nil
		}
	}
	r.digests.publish(client.ObjectKeyFromObject(object))
	return false, nil
}

// hasDigest says whether a token has a digest where a URL names no App.
func hasDigest(object *v1alpha1.ScimToken, digest string) bool {
	if object.Status.OwnURLOnly {
		return false
	}
	rotation := object.Status.Rotation
	return object.Status.Digest == digest || rotation != nil && rotation.Former != nil && rotation.Former.Digest == digest
}

// rivals returns the claims of other Apps' tokens that the registry may not know: it has the tokens that this process looked at,
// the informer those that another process did, or none yet.
func (r *Reconciler) rivals(ctx context.Context, mine claim) ([]claim, error) {
	var others v1alpha1.ScimTokenList
	if err := r.Client.List(ctx, &others, client.MatchingFields{indexDigest: mine.digest}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var rivals []claim
	for i := range others.Items {
		other := &others.Items[i]
		if appOf(other) == mine.app || !opensApps(other) || !other.DeletionTimestamp.IsZero() {
			continue
		}
		rival := claim{digest: mine.digest, app: appOf(other), published: hasDigest(other, mine.digest), created: other.CreationTimestamp.Time}
		if !rival.published {
			app := &v1alpha1.App{}
			err := r.Client.Get(ctx, rival.app, app, client.UnsafeDisableDeepCopy)
			if apierrors.IsNotFound(err) || err == nil && !app.Spec.Takes(other, mine.digest) {
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		rivals = append(rivals, rival)
	}
	return rivals, nil
}

func timeText(at *metav1.Time) string { return at.UTC().Format(time.RFC3339) }

// isAsAsked says whether a token is as its specification asks, so that GitOps does not wait for it. A suspended token is.
func (v verdict) isAsAsked() bool { return v.digest != "" }

// apply computes the status of a token.
func (v verdict) apply(object *v1alpha1.ScimToken, now time.Time) {
	status := &object.Status
	status.UID, status.ObservedGeneration = string(object.UID), object.Generation
	status.Digest, status.TokenID, status.OwnURLOnly = v.digest, token.ID(v.digest), v.ownURLOnly
	status.Rotation = v.rotation
	set := func(kind string, holds bool) {
		condition := metav1.Condition{
			Type: kind, Status: metav1.ConditionFalse, Reason: v.reason, Message: v.message, ObservedGeneration: object.Generation,
		}
		if holds {
			condition.Status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	set(v1alpha1.ConditionReady, v.isAsAsked())
	set(v1alpha1.ConditionAccepted, v.opens)
	v.applyRotating(object)
	v.applyExpiry(object, now)
}

// applyRotating computes the condition Rotating.
func (v verdict) applyRotating(object *v1alpha1.ScimToken) {
	if v.rotation == nil || v.rotation.Former == nil {
		meta.RemoveStatusCondition(&object.Status.Conditions, v1alpha1.ConditionRotating)
		return
	}
	former := v.rotation.Former
	meta.SetStatusCondition(&object.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionRotating, Status: metav1.ConditionTrue, Reason: v1alpha1.ConditionRotating, ObservedGeneration: object.Generation,
		Message: fmt.Sprintf("A new token was made: put it into the client before %s, when the former one (token ID %s) stops being accepted. %s",
			timeText(&former.Until), former.TokenID, howToRead(object.Namespace, v.rotation.SecretName)),
	})
}

// applyExpiry computes the conditions Expiring and Expired.
func (v verdict) applyExpiry(object *v1alpha1.ScimToken, now time.Time) {
	status, expiresAt := &object.Status, object.Spec.ExpiresAt
	if expiresAt == nil || now.Before(expiresAt.Time) {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionExpired)
	} else {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionExpired, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonExpired,
			Message: "The token expired at " + timeText(expiresAt) + ".", ObservedGeneration: object.Generation,
		})
	}
	// Issued tokens are replaced by themselves.
	if expiresAt == nil || object.Spec.Grant != "" || now.Before(expiresAt.Add(-expiryNotice)) {
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
func nextChange(object *v1alpha1.ScimToken, now time.Time) time.Duration {
	spec, rotation := &object.Spec, object.Status.Rotation
	var moments []time.Time
	if rotation != nil && rotation.NextTime != nil {
		moments = append(moments, rotation.NextTime.Time)
	}
	if rotation != nil && rotation.Former != nil {
		moments = append(moments, rotation.Former.Until.Time)
	}
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
