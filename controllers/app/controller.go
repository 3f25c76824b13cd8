// Package app says of each App whether its specification is sound and whether what it grants can be bound, counts its users
// and tokens, tells how far the evaluation of its users has come, which of its scopes no namespace is in, and what
// spec.safety holds. When an App is deleted with deletionPolicy Delete, it deletes the App's users and groups.
//
// It does not evaluate users: the user and role-binding controllers compile the same policy (internal/access) by themselves.
package app

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
	"github.com/scim-operator/scim-operator/controllers/policycheck"
	"github.com/scim-operator/scim-operator/controllers/removalguard"
	"github.com/scim-operator/scim-operator/controllers/revocation"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
	"github.com/scim-operator/scim-operator/internal/fair"
)

const (
	// countDelay gathers changes of users and tokens into one write of the status.
	countDelay = 3 * time.Second
	// scopeDelay gathers changes of namespaces.
	scopeDelay = 50 * time.Millisecond
	// progressEvery is the time between two writes of the status that tell nothing but progress.
	progressEvery = time.Second
	// conflictDelay is how long a reconcile that met a newer App waits for the informer to show it.
	conflictDelay = 10 * time.Millisecond
	// turnDelay is after how long an App comes back if its turn to be compiled has not come.
	turnDelay   = 100 * time.Millisecond
	maxBackoff  = time.Minute
	concurrency = 4
)

// Reconciler of Apps.
type Reconciler struct {
	// Client reads from informers and writes.
	Client client.Client
	// Live reads and writes without informers.
	Live     client.Client
	Policies *access.Cache
	// Evaluations are the turns of Apps at compiling and evaluating expressions, shared with the user controller.
	Evaluations *fair.Slots
	// Index tells which users were evaluated.
	Index *earned.Index
	// Guard holds bulk loss of roles, Progress keeps what went wrong. Both are shared with the user controller.
	Guard    *removalguard.Guard
	Progress *Progress
	// MayBind says whether the controller was given the verb bind on a role in a namespace, or, where that is "", everywhere.
	MayBind func(ctx context.Context, namespace string, ref rbacv1.RoleRef) (bool, error)
	// Recorder writes Events.
	Recorder events.EventRecorder
	// Revocations tells how many users the App's RevocationList leaves out.
	Revocations *revocation.Keeper
	// PolicyCheck tells whether the cluster has the admission policies of this version.
	PolicyCheck *policycheck.Checker
	// DefinitionCheck tells whether its CustomResourceDefinitions are those of this version.
	DefinitionCheck *policycheck.Checker

	grants grantChecks
	writes writeRates
	gains  gains
	users  counter
	tokens counter
	queue  atomic.Pointer[queue]

	// known are the Apps with users that this process has all evaluated at some time; mutex guards it.
	mutex sync.Mutex
	known map[types.NamespacedName]types.UID
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// An App is patched for its finalizer alone: policy scim-operator-controller refuses a change of its spec. Roles are listed to tell
// which of those that an App grants are missing.
//
// +kubebuilder:rbac:groups=scim-operator.io,resources=apps,verbs=get;list;watch;patch,roleName=scim-operator-controller-apps
// +kubebuilder:rbac:groups=scim-operator.io,resources=apps/status,verbs=update;patch,roleName=scim-operator-controller-apps
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=clusterroles,verbs=list;watch,roleName=scim-operator-controller
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles,verbs=list,roleName=scim-operator-controller
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch,roleName=scim-operator-controller

// Add registers the controller. It fails where the manager refuses the controller or a watch.
func Add(mgr manager.Manager, r *Reconciler) error {
	c, err := controller.New("app", mgr, controller.Options{
		Reconciler: r,
		// An App with many grants asks the API server many questions: the others need not wait for them.
		MaxConcurrentReconciles: concurrency,
		NewQueue:                fair.ByNamespace(concurrency),
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](20*time.Millisecond, maxBackoff),
	})
	if err != nil {
		return err
	}
	r.Guard.OnChange(r.statusChanged)
	r.Revocations.OnFull(r.statusChanged)
	r.Progress.changed = r.statusChanged
	r.PolicyCheck.OnChange(r.installationChanged)
	r.DefinitionCheck.OnChange(r.installationChanged)
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	for _, watch := range []source.Source{
		source.Func(r.takeQueue),
		source.Kind(mgr.GetCache(), &v1alpha1.App{}, r.watchApps(),
			predicate.Or[*v1alpha1.App](
				predicate.TypedGenerationChangedPredicate[*v1alpha1.App]{},
				predicate.TypedAnnotationChangedPredicate[*v1alpha1.App]{},
				issuerSeen,
				statusReplaced,
			)),
		source.Kind(mgr.GetCache(), namespace, r.watchNamespaces()),
		source.Kind(mgr.GetCache(), ClusterRoleMetadata(), r.watchClusterRoles()),
		source.Kind(mgr.GetCache(), &v1alpha1.User{}, count(&r.users,
			func(user *v1alpha1.User) string { return user.Spec.App },
			func(user *v1alpha1.User) bool { return user.Spec.Active })),
		source.Kind(mgr.GetCache(), &v1alpha1.ScimToken{}, count(&r.tokens,
			func(token *v1alpha1.ScimToken) string { return token.Spec.App },
			func(token *v1alpha1.ScimToken) bool {
				opens := token.Spec.Type != v1alpha1.TokenTypeClientSecret && token.Spec.Type != v1alpha1.TokenTypeRefresh
				return opens && meta.IsStatusConditionTrue(token.Status.Conditions, v1alpha1.ConditionAccepted)
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

func (r *Reconciler) takeQueue(_ context.Context, q queue) error {
	r.queue.Store(&q)
	return nil
}

// statusChanged has the status of an App written, a little later: what it tells comes one user at a time.
func (r *Reconciler) statusChanged(app types.NamespacedName) {
	if q := r.queue.Load(); q != nil {
		(*q).AddAfter(reconcile.Request{NamespacedName: app}, progressEvery/4)
	}
}

// Reconcile writes the status of one App where it says anything new. It returns the errors of the API server.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	app := &v1alpha1.App{}
	if err := r.Client.Get(ctx, request.NamespacedName, app); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(request.NamespacedName)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if wait := r.writes.wait(app); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	result, err := r.reconcile(ctx, app)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: conflictDelay}, nil
	}
	if errors.Is(err, access.ErrInterrupted) {
		return reconcile.Result{RequeueAfter: turnDelay}, nil
	}
	return result, client.IgnoreNotFound(err)
}

func (r *Reconciler) reconcile(ctx context.Context, app *v1alpha1.App) (reconcile.Result, error) {
	if !app.DeletionTimestamp.IsZero() {
		return r.finish(ctx, app)
	}
	if err := r.keepFinalizer(ctx, app); err != nil {
		return reconcile.Result{}, err
	}
	before := app.Status.DeepCopy()
	name := client.ObjectKeyFromObject(app)
	observe(app)
	app.Status.Enforced = app.Status.Enforced || app.Spec.Mode != v1alpha1.ModeObserve
	app.Status.Users, app.Status.ActiveUsers = r.users.get(name)
	_, app.Status.Tokens = r.tokens.get(name)
	evaluated := r.setEvaluation(app)
	valid, again, err := r.setSpec(ctx, app)
	if err != nil {
		return reconcile.Result{}, err
	}
	setExternalURL(app)
	issuerAgain := setIssuer(app, time.Now())
	setClientKeys(app)
	r.setRevocations(app)
	r.setPolicies(app)
	r.setDefinitions(app)
	if valid {
		if err := r.setRemovals(ctx, app, r.isKnown(app, evaluated)); err != nil {
			return reconcile.Result{}, err
		}
	}
	if err := r.writeStatus(ctx, app, before); err != nil {
		return reconcile.Result{}, err
	}
	if r.Guard.Releasing(app) || !evaluated {
		return reconcile.Result{RequeueAfter: progressEvery}, nil
	}
	return reconcile.Result{RequeueAfter: sooner(issuerAgain, sooner(again, r.Guard.Expiry(app)))}, nil
}

// sooner returns the shorter of two times to wait, of which 0 means for ever.
func sooner(a, b time.Duration) time.Duration {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}

// isKnown says whether this process has evaluated all users of an App at some time, if evaluated says so for now.
func (r *Reconciler) isKnown(app *v1alpha1.App, evaluated bool) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	name := client.ObjectKeyFromObject(app)
	if r.known == nil {
		r.known = map[types.NamespacedName]types.UID{}
	}
	if evaluated {
		r.known[name] = app.UID
	}
	return r.known[name] == app.UID
}

func (r *Reconciler) forget(app types.NamespacedName) {
	r.Guard.Forget(app)
	r.grants.forget(app)
	r.writes.forget(app)
	r.gains.forget(app)
	forgetMeasures(app)
	r.Progress.forget(app)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.known, app)
}

// writeStatus writes the status of an App as it was read, and tells of what it says.
func (r *Reconciler) writeStatus(ctx context.Context, app *v1alpha1.App, before *v1alpha1.AppStatus) error {
	if !apiequality.Semantic.DeepEqual(*before, app.Status) {
		r.writes.spend(app)
		if err := r.Client.Status().Update(ctx, app); err != nil {
			return err
		}
		r.tell(app, before)
	}
	r.tellGains(app)
	measure(app)
	return nil
}
