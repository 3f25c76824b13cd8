// Package oauthgrant says of each OAuthGrant whether tokens issued for it open its App, in the condition Active, and whether a JWT of a
// machine client came twice, both with Events, and deletes grants that are over. The SCIM server makes grants and tokens, and people approve them; this controller gives no access.
package oauthgrant

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/clip"
	"github.com/scim-operator/scim-operator/internal/fair"
	"github.com/scim-operator/scim-operator/internal/grantstate"
)

const (
	// conflictDelay is how long a reconcile that met a newer object waits for the informer to show it.
	conflictDelay = 10 * time.Millisecond
	maxBackoff    = time.Minute
)

// Reconciler of OAuthGrants.
type Reconciler struct {
	// Client reads from informers and writes.
	Client client.Client
	// Recorder writes Events.
	Recorder events.EventRecorder
}

// +kubebuilder:rbac:groups=scim-operator.io,resources=oauthgrants,verbs=get;list;watch;delete,roleName=scim-operator-controller-apps
// +kubebuilder:rbac:groups=scim-operator.io,resources=oauthgrants/status,verbs=update,roleName=scim-operator-controller-apps

// Add registers the controller. It fails where the manager refuses it.
func Add(mgr manager.Manager, r *Reconciler) error {
	c, err := controller.New("oauthgrant", mgr, controller.Options{
		Reconciler:              r,
		MaxConcurrentReconciles: 1,
		NewQueue:                fair.ByNamespace(1),
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](20*time.Millisecond, maxBackoff),
	})
	if err != nil {
		return err
	}
	if err := c.Watch(source.Kind(mgr.GetCache(), &v1alpha1.App{}, handler.TypedEnqueueRequestsFromMapFunc(r.grantsOf), oauthChanged)); err != nil {
		return err
	}
	return c.Watch(source.Kind(mgr.GetCache(), &v1alpha1.OAuthGrant{}, &handler.TypedEnqueueRequestForObject[*v1alpha1.OAuthGrant]{}))
}

// oauthChanged leaves out edits of an App that no grant depends on.
var oauthChanged = predicate.TypedFuncs[*v1alpha1.App]{
	UpdateFunc: func(e event.TypedUpdateEvent[*v1alpha1.App]) bool {
		return e.ObjectOld.UID != e.ObjectNew.UID || !apiequality.Semantic.DeepEqual(e.ObjectOld.Spec.OAuth, e.ObjectNew.Spec.OAuth)
	},
}

// grantsOf brings back the grants of an App that appeared, went, or has other clients.
func (r *Reconciler) grantsOf(ctx context.Context, app *v1alpha1.App) []reconcile.Request {
	var list v1alpha1.OAuthGrantList
	if err := r.Client.List(ctx, &list, client.InNamespace(app.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil // an informer's list does not fail once it is synchronised, and before that every grant comes as an event
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if list.Items[i].Spec.App == app.Name {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}

// Reconcile tells the state of one grant, or deletes it. It returns the errors of the API server.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	grant := &v1alpha1.OAuthGrant{}
	if err := r.Client.Get(ctx, request.NamespacedName, grant); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !grant.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil
	}
	app := &v1alpha1.App{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: grant.Namespace, Name: grant.Spec.App}, app, client.UnsafeDisableDeepCopy)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	now := time.Now()
	state := grantstate.Of(grant, err == nil && grant.IsHeldBy(app), now)
	if !state.Over.IsZero() && !now.Before(state.Over.Add(grantstate.KeepOver)) {
		err := r.Client.Delete(ctx, grant, client.Preconditions{UID: &grant.UID, ResourceVersion: &grant.ResourceVersion})
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: conflictDelay}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	was := grant.DeepCopy()
	conditions, next := conditionsOf(grant, state, now)
	if conditions == nil {
		return reconcile.Result{RequeueAfter: next}, nil
	}
	grant.Status.UID, grant.Status.Conditions = string(grant.UID), conditions
	if err := r.Client.Status().Update(ctx, grant); apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: conflictDelay}, nil
	} else if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	r.tell(was, grant)
	return reconcile.Result{RequeueAfter: next}, nil
}

// conditionsOf returns the conditions of a grant, nil where they stay as they are, and how long until it is to be looked at again; 0 for never.
func conditionsOf(grant *v1alpha1.OAuthGrant, state grantstate.State, now time.Time) ([]metav1.Condition, time.Duration) {
	conditions := slices.Clone(grant.Status.Conditions)
	active := metav1.Condition{
		Type: v1alpha1.ConditionActive, Status: metav1.ConditionFalse, Reason: state.Reason, Message: state.Message, ObservedGeneration: grant.Generation,
	}
	if state.Active {
		active.Status = metav1.ConditionTrue
	}
	changed, next := meta.SetStatusCondition(&conditions, active), state.Next(now)
	replayed := grant.Status.Replayed
	if replayed == nil || !now.Before(replayed.Time.Add(grantstate.KeepOver)) {
		changed = meta.RemoveStatusCondition(&conditions, v1alpha1.ConditionReplayed) || changed
	} else {
		changed = meta.SetStatusCondition(&conditions, metav1.Condition{
			Type: v1alpha1.ConditionReplayed, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAssertionReplayed,
			Message: replayMessage(grant), ObservedGeneration: grant.Generation,
		}) || changed
		if over := max(time.Second, replayed.Time.Add(grantstate.KeepOver).Sub(now)); next == 0 || over < next {
			next = over
		}
	}
	if !changed {
		return nil, next
	}
	return conditions, next
}

// replayMessage says what a JWT that came twice means, and what to do.
func replayMessage(grant *v1alpha1.OAuthGrant) string {
	return fmt.Sprintf("A client_assertion of the machine client %s that was used before was shown again at %s from %s, and refused. If the client itself does not "+
		"send one twice, it is in other hands: find out where it was read, and replace the key if that may have been read, too.",
		grant.Spec.ClientID, grant.Status.Replayed.Time.UTC().Format(time.RFC3339), cmp.Or(grant.Status.Replayed.From, "an unknown address"))
}

// tell writes Events once the status says the same.
func (r *Reconciler) tell(was, is *v1alpha1.OAuthGrant) {
	for _, condition := range is.Status.Conditions {
		before := meta.FindStatusCondition(was.Status.Conditions, condition.Type)
		if before != nil && before.Reason == condition.Reason && (condition.Type != v1alpha1.ConditionReplayed || before.Message == condition.Message) {
			continue
		}
		kind := corev1.EventTypeNormal
		if slices.Contains(warnings, condition.Reason) {
			kind = corev1.EventTypeWarning
		}
		r.Recorder.Eventf(is, nil, kind, condition.Reason, condition.Type, "%s", clip.Text(condition.Message, clip.EventNote))
	}
}

// warnings are reasons by which a credential may be in other hands.
var warnings = []string{v1alpha1.ReasonRefreshTokenReused, v1alpha1.ReasonCodeReused, v1alpha1.ReasonAssertionReplayed}
