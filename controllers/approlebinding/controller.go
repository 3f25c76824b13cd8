package approlebinding

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

const (
	// indexKey indexes AppRoleBindings and native bindings by Key.String.
	indexKey = "scim.key"
	// indexSubjectBucket indexes AppRoleBindings by bucketOf the users that they name, but for those that bind none: see
	// isNamedForKey. The name is a hash: to compute it at each look at a user that holds a thousand roles would cost more than all else.
	indexSubjectBucket = "scim.subject.bucket"
	// subjectBuckets is small beside the users of a large directory, of which an index by name would take several hundred bytes each,
	// and large beside their bindings: a look at a user passes over a dozen of others at 100,000 users.
	subjectBuckets = 1 << 14

	maxBackoff = time.Minute
	// ownDelay gathers the events of this process's own writes, which call for nothing but a status; ownDelayFactor has
	// statuses of a key that is written again and again wait for several runs.
	ownDelay       = time.Second
	ownDelayFactor = 3
	// undeterminedDelay is what the answer to a write gets to come after its event.
	undeterminedDelay = 100 * time.Millisecond
)

// bindingController has keys run for what it watches: bindings that others edit, Apps and namespaces.
type bindingController struct{ syncer *Syncer }

// queue of the controller.
type queue = workqueue.TypedRateLimitingInterface[earned.RoleInScope]

// Bindings of the roles that config/rbac/bindable_roles.yaml, and the like of it, lists; there is no right to escalate.
//
// +kubebuilder:rbac:groups=scim-operator.io,resources=approlebindings,verbs=get;list;watch;create;update;delete,roleName=scim-operator-controller-apps
// +kubebuilder:rbac:groups=scim-operator.io,resources=approlebindings/status,verbs=update,roleName=scim-operator-controller-apps
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings;clusterrolebindings,verbs=get;list;watch;create;update;delete,roleName=scim-operator-controller

// Add registers the controller that keeps bindings as they should be. The manager's cache must hold RoleBindings and
// ClusterRoleBindings that carry v1alpha1.LabelManagedBy, and others those that do not, with their names and roles at least.
// It fails where the manager refuses an index, an informer or the controller.
func Add(ctx context.Context, mgr manager.Manager, syncer *Syncer, others cache.Cache) error {
	if err := errors.Join(addIndexes(ctx, mgr), addUnlabelled(ctx, mgr, syncer, others)); err != nil {
		return err
	}
	syncer.watch(ctx)
	watching := bindingController{syncer}
	logger := mgr.GetLogger().WithName("rolebinding")
	c, err := controller.NewTyped("rolebinding", mgr, controller.TypedOptions[earned.RoleInScope]{
		Reconciler:              reconcile.TypedFunc[earned.RoleInScope](watching.reconcile),
		MaxConcurrentReconciles: concurrency,
		NewQueue:                newQueue,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[earned.RoleInScope](20*time.Millisecond, maxBackoff),
		LogConstructor: func(key *earned.RoleInScope) logr.Logger {
			if key == nil {
				return logger
			}
			return logger.WithValues("namespace", key.Namespace, "app", key.App, "role", key.Role, "scope", key.Scope)
		},
	})
	if err != nil {
		return err
	}
	own := mgr.GetCache()
	for _, watch := range []source.TypedSource[earned.RoleInScope]{
		knownUnlabelled{&syncer.unlabelledBindings, syncer.rechecks.takeQueue},
		source.TypedKind(own, &v1alpha1.AppRoleBinding{}, watchOwn(watching, func(binding *v1alpha1.AppRoleBinding) (earned.RoleInScope, bool) {
			return earned.RoleInScopeOf(binding), true
		})),
		source.TypedKind(own, &rbacv1.RoleBinding{}, watchOwn(watching, func(binding *rbacv1.RoleBinding) (earned.RoleInScope, bool) { return keyOfNative(binding) })),
		source.TypedKind(own, &rbacv1.ClusterRoleBinding{}, watchOwn(watching, func(binding *rbacv1.ClusterRoleBinding) (earned.RoleInScope, bool) { return keyOfNative(binding) })),
		source.TypedKind(own, &v1alpha1.App{}, watching.watchApps()),
		source.TypedKind(own, namespaceMetadata(), watching.watchNamespaces()),
	} {
		if err := c.Watch(watch); err != nil {
			return err
		}
	}
	return nil
}

// bucketOf is the value of indexSubjectBucket that a user shares with others.
func bucketOf(user string) string {
	return strconv.FormatUint(xxhash.Sum64String(user)%subjectBuckets, 36)
}

func addIndexes(ctx context.Context, mgr manager.Manager) error {
	indexer := mgr.GetFieldIndexer()
	native := func(object client.Object) []string {
		key, found := keyOfNative(object)
		if !found {
			return nil
		}
		return []string{key.String()}
	}
	for _, index := range []struct {
		object client.Object
		name   string
		values client.IndexerFunc
	}{
		{&v1alpha1.AppRoleBinding{}, indexKey, func(object client.Object) []string {
			return []string{earned.RoleInScopeOf(object.(*v1alpha1.AppRoleBinding)).String()}
		}},
		{&v1alpha1.AppRoleBinding{}, indexSubjectBucket, func(object client.Object) []string {
			binding := object.(*v1alpha1.AppRoleBinding)
			if !isNamedForKey(binding) {
				return nil
			}
			subjects := binding.Spec.Subjects
			buckets := make([]string, len(subjects))
			for i := range subjects {
				buckets[i] = bucketOf(subjects[i].User)
			}
			return buckets
		}},
		{&rbacv1.RoleBinding{}, indexKey, native},
		{&rbacv1.ClusterRoleBinding{}, indexKey, native},
	} {
		if err := indexer.IndexField(ctx, index.object, index.name, index.values); err != nil {
			return err
		}
	}
	return nil
}

func (c bindingController) reconcile(ctx context.Context, key earned.RoleInScope) (reconcile.Result, error) {
	isUndetermined := c.syncer.writes.DrainUndetermined(key)
	full := c.syncer.rechecks.take(key) || isUndetermined
	if delay := c.syncer.memories.statusDelay(key); !full && delay > 0 {
		return reconcile.Result{RequeueAfter: delay}, nil // it is about what this process wrote
	}
	if err := c.syncer.syncWithStatus(ctx, key, full).Err(); err != nil {
		return reconcile.Result{}, err
	}
	if _, bound := c.syncer.State(key); !bound {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: recheckEvery}, nil
}

// serves reports whether a key's App is one that this process serves.
func (c bindingController) serves(key earned.RoleInScope) bool {
	return len(c.syncer.Namespaces) == 0 || slices.Contains(c.syncer.Namespaces, key.Namespace)
}

// watchOwn takes events of what this package writes. An edit by others is undone as soon as it is certain that it is one.
func watchOwn[T client.Object](c bindingController, keyOf func(T) (earned.RoleInScope, bool)) handler.TypedEventHandler[T, earned.RoleInScope] {
	enqueue := func(q queue, object T, deleted, initial bool) {
		key, found := keyOf(object)
		if !found || !c.serves(key) || initial {
			c.syncer.writes.Observe(nil, overlay.IDOf(object), object, deleted)
			if found && c.serves(key) {
				addWithPriority(q, c.syncer.rechecks.add(key), handler.LowPriority)
			}
			return
		}
		switch c.syncer.writes.Observe(&key, overlay.IDOf(object), object, deleted) {
		case overlay.Own:
			q.AddAfter(key, max(ownDelay, c.syncer.memories.statusDelay(key)))
		case overlay.Undetermined:
			q.AddAfter(key, undeterminedDelay)
		default:
			q.Add(c.syncer.rechecks.add(key))
		}
	}
	return handler.TypedFuncs[T, earned.RoleInScope]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[T], q queue) {
			enqueue(q, e.Object, false, e.IsInInitialList)
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[T], q queue) {
			if old, found := keyOf(e.ObjectOld); found {
				if key, _ := keyOf(e.ObjectNew); key != old && c.serves(old) {
					q.Add(c.syncer.rechecks.add(old)) // its labels were changed
				}
			}
			enqueue(q, e.ObjectNew, false, false)
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[T], q queue) {
			enqueue(q, e.Object, true, false)
		},
	}
}

func addWithPriority(q queue, key earned.RoleInScope, priority int) {
	if prioritised, ok := q.(priorityqueue.PriorityQueue[earned.RoleInScope]); ok {
		prioritised.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, key)
		return
	}
	q.Add(key)
}

// watchApps brings back every key of an App that appeared, went or has another specification, once a second at most while it is edited.
func (c bindingController) watchApps() handler.TypedEventHandler[*v1alpha1.App, earned.RoleInScope] {
	enqueue := func(ctx context.Context, app *v1alpha1.App, q queue) {
		for key := range c.syncer.keysOfApp(ctx, app.Namespace, app.Name) {
			q.Add(c.syncer.rechecks.add(key))
		}
	}
	edited := func(ctx context.Context, app *v1alpha1.App, q queue) {
		c.syncer.edits.Do(client.ObjectKeyFromObject(app), func() { enqueue(ctx, app, q) })
	}
	return handler.TypedFuncs[*v1alpha1.App, earned.RoleInScope]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*v1alpha1.App], q queue) {
			if !e.IsInInitialList {
				edited(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.App], q queue) {
			if access.Differ(e.ObjectOld, e.ObjectNew) {
				edited(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*v1alpha1.App], q queue) {
			c.syncer.Policies.Forget(e.Object.UID)
			enqueue(ctx, e.Object, q)
		},
	}
}

// watchNamespaces brings back the keys with a scope that a namespace enters or leaves.
func (c bindingController) watchNamespaces() handler.TypedEventHandler[*metav1.PartialObjectMetadata, earned.RoleInScope] {
	enqueue := func(ctx context.Context, q queue, states ...*metav1.PartialObjectMetadata) {
		seen := map[earned.RoleInScope]bool{}
		for _, key := range c.syncer.reader().boundKeys(ctx) {
			if !seen[key] {
				seen[key] = true
				if c.concerns(ctx, key, states) {
					q.Add(c.syncer.rechecks.add(key))
				}
			}
		}
	}
	return handler.TypedFuncs[*metav1.PartialObjectMetadata, earned.RoleInScope]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*metav1.PartialObjectMetadata], q queue) {
			if !e.IsInInitialList {
				enqueue(ctx, q, e.Object)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*metav1.PartialObjectMetadata], q queue) {
			if !labels.Equals(e.ObjectOld.Labels, e.ObjectNew.Labels) || e.ObjectOld.DeletionTimestamp.IsZero() != e.ObjectNew.DeletionTimestamp.IsZero() {
				enqueue(ctx, q, e.ObjectOld, e.ObjectNew)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*metav1.PartialObjectMetadata], q queue) {
			enqueue(ctx, q, e.Object)
		},
	}
}

// concerns says whether the scope of a key has, or had, a namespace in one of its states.
func (c bindingController) concerns(ctx context.Context, key earned.RoleInScope, states []*metav1.PartialObjectMetadata) bool {
	app := &v1alpha1.App{}
	if err := c.syncer.Client.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: key.App}, app, client.UnsafeDisableDeepCopy); err != nil {
		return false // without its App a key is void, wherever it held
	}
	policy, fieldErrors := c.syncer.Policies.Compile(app)
	if len(fieldErrors) > 0 {
		return false
	}
	scope, _ := policy.Scope(key.Scope)
	for _, state := range states {
		if scope.Selector != nil && scope.Selector.Matches(labels.Set(state.Labels)) {
			return true
		}
		for _, name := range scope.Namespaces {
			if name == state.Name {
				return true
			}
		}
	}
	return false
}

// CacheLabel selects the native bindings that the manager's cache must hold.
func CacheLabel() labels.Selector {
	return labels.SelectorFromSet(labels.Set{v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue})
}
