// Package oauthgrant says of each OAuthGrant whether tokens issued for it open its App, in the condition Active and by Events, and
// deletes those that are over. The SCIM server makes grants and tokens, and people approve them; this controller gives no access.
package oauthgrant

import (
	"context"
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
)

const (
	// keepOver is how long a grant that gives no access any more is kept to be seen.
	keepOver = 24 * time.Hour
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
		Reconciler:  r,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](20*time.Millisecond, maxBackoff),
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
	switch {
	case apierrors.IsNotFound(err):
		app = nil
	case err != nil:
		return reconcile.Result{}, err
	}
	now := time.Now()
	state := stateOf(grant, app, now)
	if !state.over.IsZero() && !now.Before(state.over.Add(keepOver)) {
		err := r.Client.Delete(ctx, grant, client.Preconditions{UID: &grant.UID, ResourceVersion: &grant.ResourceVersion})
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: conflictDelay}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	condition := metav1.Condition{
		Type: v1alpha1.ConditionActive, Status: metav1.ConditionFalse, Reason: state.reason, Message: state.message, ObservedGeneration: grant.Generation,
	}
	if state.active {
		condition.Status = metav1.ConditionTrue
	}
	was := meta.FindStatusCondition(grant.Status.Conditions, v1alpha1.ConditionActive).DeepCopy()
	if meta.SetStatusCondition(&grant.Status.Conditions, condition) {
		err := r.Client.Status().Update(ctx, grant)
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: conflictDelay}, nil
		}
		if err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
		r.tell(grant, was, condition)
	}
	return reconcile.Result{RequeueAfter: state.next(now)}, nil
}

// tell writes an Event once the status says the same.
func (r *Reconciler) tell(grant *v1alpha1.OAuthGrant, was *metav1.Condition, is metav1.Condition) {
	if was != nil && was.Reason == is.Reason {
		return
	}
	kind := corev1.EventTypeNormal
	if is.Reason == v1alpha1.ReasonRefreshTokenReused || is.Reason == v1alpha1.ReasonCodeReused {
		kind = corev1.EventTypeWarning
	}
	r.Recorder.Eventf(grant, nil, kind, is.Reason, is.Type, "%s", clip.Text(is.Message, clip.EventNote))
}
