package approlebinding

import (
	"context"
	"errors"
	"time"

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
	// indexSubjectUser indexes AppRoleBindings by the users that they name.
	indexSubjectUser = "scim.subject.user"

	maxBackoff = time.Minute
	// ownDelay gathers the events of this process's own writes, which call for nothing but a status; ownDelayFactor has
	// statuses of a key that is written again and again wait for several runs.
	ownDelay       = time.Second
	ownDelayFactor = 3
	// undeterminedDelay is what the answer to a write gets to come after its event.
	undeterminedDelay = 100 * time.Millisecond
)

// queue of the controller.
type queue = workqueue.TypedRateLimitingInterface[earned.RoleInScope]

// Add registers the controller that keeps bindings as they should be. The manager's cache must hold RoleBindings and
// ClusterRoleBindings that carry v1alpha1.LabelManagedBy, and others those that do not, with their names and roles at least.
func Add(ctx context.Context, mgr manager.Manager, syncer *Syncer, others cache.Cache) error {
	if err := errors.Join(addIndexes(ctx, mgr), addUnlabelled(ctx, mgr, syncer, others)); err != nil {
		return err
	}
	syncer.watch(ctx)
	logger := mgr.GetLogger().WithName("rolebinding")
	c, err := controller.NewTyped("rolebinding", mgr, controller.TypedOptions[earned.RoleInScope]{
		Reconciler:              reconcile.TypedFunc[earned.RoleInScope](syncer.reconcile),
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
		knownUnlabelled{&syncer.unlabelledBindings, syncer.takeQueue},
		source.TypedKind(own, &v1alpha1.AppRoleBinding{}, watchOwn(syncer, func(binding *v1alpha1.AppRoleBinding) (earned.RoleInScope, bool) {
			return earned.RoleInScopeOf(binding), true
		})),
		source.TypedKind(own, &rbacv1.RoleBinding{}, watchOwn(syncer, func(binding *rbacv1.RoleBinding) (earned.RoleInScope, bool) { return keyOfNative(binding) })),
		source.TypedKind(own, &rbacv1.ClusterRoleBinding{}, watchOwn(syncer, func(binding *rbacv1.ClusterRoleBinding) (earned.RoleInScope, bool) { return keyOfNative(binding) })),
		source.TypedKind(own, &v1alpha1.App{}, syncer.watchApps()),
		source.TypedKind(own, namespaceMetadata(), syncer.watchNamespaces()),
	} {
		if err := c.Watch(watch); err != nil {
			return err
		}
	}
	return nil
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
		{&v1alpha1.AppRoleBinding{}, indexSubjectUser, func(object client.Object) []string {
			subjects := object.(*v1alpha1.AppRoleBinding).Spec.Subjects
			users := make([]string, len(subjects))
			for i := range subjects {
				users[i] = subjects[i].User
			}
			return users
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

// takeQueue lets runs that others asked for come back when they failed.
func (s *Syncer) takeQueue(_ context.Context, q queue) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.retry = func(key earned.RoleInScope) { q.AddRateLimited(s.check(key)) }
	return nil
}

func (s *Syncer) reconcile(ctx context.Context, key earned.RoleInScope) (reconcile.Result, error) {
	full := s.takeUnchecked(key)
	if delay := s.statusDelay(key); !full && delay > 0 {
		return reconcile.Result{RequeueAfter: delay}, nil // it is about what this process wrote
	}
	if err := s.syncWithStatus(ctx, key, full).Err(); err != nil {
		return reconcile.Result{}, err
	}
	if _, bound := s.State(key); !bound {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: recheckEvery}, nil
}

// check has a key looked at as a whole by the next reconcile.
func (s *Syncer) check(key earned.RoleInScope) earned.RoleInScope {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.unchecked == nil {
		s.unchecked = map[earned.RoleInScope]bool{}
	}
	s.unchecked[key] = true
	return key
}

// takeUnchecked says whether a key is to be looked at as a whole.
func (s *Syncer) takeUnchecked(key earned.RoleInScope) bool {
	isUndetermined := s.writes.DrainUndetermined(key)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	full := s.unchecked[key]
	delete(s.unchecked, key)
	return full || isUndetermined
}

// statusDelay is how long the status of a key's AppRoleBindings may still wait after a write.
func (s *Syncer) statusDelay(key earned.RoleInScope) time.Duration {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if m := s.memories[key]; m != nil {
		return max(0, time.Until(m.statusDue))
	}
	return 0
}

// watchOwn takes events of what this package writes. An edit by somebody else is undone as soon as it is clear that it is one.
func watchOwn[T client.Object](s *Syncer, keyOf func(T) (earned.RoleInScope, bool)) handler.TypedEventHandler[T, earned.RoleInScope] {
	enqueue := func(q queue, object T, deleted, initial bool) {
		key, found := keyOf(object)
		if !found || !s.serves(key) || initial {
			s.writes.Observe(nil, overlay.IDOf(object), object, deleted)
			if found && s.serves(key) {
				addWithPriority(q, s.check(key), handler.LowPriority)
			}
			return
		}
		switch s.writes.Observe(&key, overlay.IDOf(object), object, deleted) {
		case overlay.Own:
			q.AddAfter(key, max(ownDelay, s.statusDelay(key)))
		case overlay.Undetermined:
			q.AddAfter(key, undeterminedDelay)
		default:
			q.Add(s.check(key))
		}
	}
	return handler.TypedFuncs[T, earned.RoleInScope]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[T], q queue) {
			enqueue(q, e.Object, false, e.IsInInitialList)
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[T], q queue) {
			if old, found := keyOf(e.ObjectOld); found {
				if key, _ := keyOf(e.ObjectNew); key != old && s.serves(old) {
					q.Add(s.check(old)) // its marks were changed
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

// watchApps brings back every key of an App whose specification changed, or that appeared or went.
func (s *Syncer) watchApps() handler.TypedEventHandler[*v1alpha1.App, earned.RoleInScope] {
	enqueue := func(ctx context.Context, app *v1alpha1.App, q queue) {
		for key := range s.keysOfApp(ctx, app.Namespace, app.Name) {
			q.Add(s.check(key))
		}
	}
	return handler.TypedFuncs[*v1alpha1.App, earned.RoleInScope]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*v1alpha1.App], q queue) {
			if !e.IsInInitialList {
				enqueue(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.App], q queue) {
			if access.Differ(e.ObjectOld, e.ObjectNew) {
				enqueue(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*v1alpha1.App], q queue) {
			s.Policies.Forget(e.Object.UID)
			enqueue(ctx, e.Object, q)
		},
	}
}

// keysOfApp returns the keys of an App that are bound or held.
func (s *Syncer) keysOfApp(ctx context.Context, namespace, app string) map[earned.RoleInScope]bool {
	keys := map[earned.RoleInScope]bool{}
	for _, key := range s.Index.OfApp(namespace, app) {
		keys[key] = true
	}
	for _, key := range s.boundKeys(ctx, client.InNamespace(namespace)) {
		if key.App == app {
			keys[key] = true
		}
	}
	return keys
}

func (s *Syncer) boundKeys(ctx context.Context, options ...client.ListOption) []earned.RoleInScope {
	var list v1alpha1.AppRoleBindingList
	if err := s.Client.List(ctx, &list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil // an informer's list does not fail once it is synchronised, and before that every binding comes as an event
	}
	keys := make([]earned.RoleInScope, len(list.Items))
	for i := range list.Items {
		keys[i] = earned.RoleInScopeOf(&list.Items[i])
	}
	return keys
}

// watchNamespaces brings back the keys whose scope a namespace enters or leaves.
func (s *Syncer) watchNamespaces() handler.TypedEventHandler[*metav1.PartialObjectMetadata, earned.RoleInScope] {
	enqueue := func(ctx context.Context, q queue, states ...*metav1.PartialObjectMetadata) {
		seen := map[earned.RoleInScope]bool{}
		for _, key := range s.boundKeys(ctx) {
			if !seen[key] {
				seen[key] = true
				if s.concerns(ctx, key, states) {
					q.Add(s.check(key))
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
func (s *Syncer) concerns(ctx context.Context, key earned.RoleInScope, states []*metav1.PartialObjectMetadata) bool {
	app := &v1alpha1.App{}
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: key.App}, app, client.UnsafeDisableDeepCopy); err != nil {
		return false // without its App a key is void, wherever it held
	}
	policy, fieldErrors := s.Policies.Compile(app)
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
