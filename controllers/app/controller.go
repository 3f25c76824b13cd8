// Package app says of each App whether its specification is sound, and counts its users and tokens.
//
// What the App means for people is not its business: the user and role-binding controllers compile the same policy
// (controllers/access) by themselves. It imports controllers/access and api/v1alpha1.
package app

import (
	"context"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
	"github.com/scim-operator/scim-operator/controllers/access"
)

const (
	// countDelay gathers changes of users and tokens into one write of the status.
	countDelay = 3 * time.Second
	// conflictDelay is how long a reconcile that met a newer App waits for the informer to show it.
	conflictDelay = 10 * time.Millisecond
	maxBackoff    = time.Minute
)

// Reconciler of Apps.
type Reconciler struct {
	// Client reads from informers and writes.
	Client   client.Client
	Policies *access.Cache

	users  counter
	tokens counter
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Add registers the controller.
func Add(mgr manager.Manager, r *Reconciler) error {
	c, err := controller.New("app", mgr, controller.Options{
		Reconciler:  r,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](20*time.Millisecond, maxBackoff),
	})
	if err != nil {
		return err
	}
	for _, watch := range []source.Source{
		source.Kind(mgr.GetCache(), &v1alpha1.App{}, &handler.TypedEnqueueRequestForObject[*v1alpha1.App]{},
			predicate.TypedGenerationChangedPredicate[*v1alpha1.App]{}),
		source.Kind(mgr.GetCache(), &v1alpha1.User{}, count(&r.users,
			func(user *v1alpha1.User) string { return user.Spec.App },
			func(user *v1alpha1.User) bool { return user.Spec.Active })),
		source.Kind(mgr.GetCache(), &v1alpha1.ScimToken{}, count(&r.tokens,
			func(token *v1alpha1.ScimToken) string { return token.Spec.App },
			func(token *v1alpha1.ScimToken) bool {
				return meta.IsStatusConditionTrue(token.Status.Conditions, v1alpha1.ConditionReady)
			})),
	} {
		if err := c.Watch(watch); err != nil {
			return err
		}
	}
	return nil
}

// count keeps a counter by the events of an informer, and has changed Apps reconciled a little later.
func count[T client.Object](counts *counter, appOf func(T) string, marked func(T) bool) handler.TypedEventHandler[T, reconcile.Request] {
	note := func(q queue, object T, exists bool) {
		app := types.NamespacedName{Namespace: object.GetNamespace(), Name: appOf(object)}
		if counts.note(app, object.GetName(), exists, exists && marked(object)) {
			q.AddAfter(reconcile.Request{NamespacedName: app}, countDelay)
		}
	}
	return handler.TypedFuncs[T, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[T], q queue) { note(q, e.Object, true) },
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[T], q queue) {
			if appOf(e.ObjectOld) != appOf(e.ObjectNew) {
				note(q, e.ObjectOld, false)
			}
			note(q, e.ObjectNew, true)
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[T], q queue) { note(q, e.Object, false) },
	}
}

// Reconcile writes the status of one App where it says anything new.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	app := &v1alpha1.App{}
	if err := r.Client.Get(ctx, request.NamespacedName, app); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	before := app.Status.DeepCopy()
	_, fieldErrors := r.Policies.Compile(app)
	app.Status.ObservedGeneration = app.Generation
	app.Status.Users, app.Status.ActiveUsers = r.users.get(request.NamespacedName)
	_, app.Status.Tokens = r.tokens.get(request.NamespacedName)
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
		Message: "The specification is sound.", ObservedGeneration: app.Generation,
	}
	if len(fieldErrors) > 0 {
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec, access.Message(fieldErrors)
	}
	meta.SetStatusCondition(&app.Status.Conditions, ready)
	if apiequality.Semantic.DeepEqual(*before, app.Status) {
		return reconcile.Result{}, nil
	}
	err := r.Client.Status().Update(ctx, app)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: conflictDelay}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}
