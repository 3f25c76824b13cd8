package revocation

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/api/subjects"
	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Add registers the Keeper. The manager's cache must hold Apps and Users; the RevocationList is in a cache of its own. Every
// replica follows them; only the leader writes.
func Add(ctx context.Context, mgr manager.Manager, k *Keeper) error {
	k.index = subjects.New(k.usersOf)
	k.loaded = make(chan struct{})
	lists, err := newCache(mgr, k.Namespace)
	if err != nil {
		return err
	}
	if err := mgr.Add(&listCache{lists}); err != nil {
		return err
	}
	own := mgr.GetCache()
	for _, watch := range []struct {
		cache   cache.Cache
		object  client.Object
		handler toolscache.ResourceEventHandler
	}{
		{own, &v1alpha1.User{}, toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { k.sawUser(object) },
			UpdateFunc: func(_, object any) { k.sawUser(object) },
			DeleteFunc: k.lostUser,
		}},
		{own, &v1alpha1.App{}, toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { k.sawApp(object) },
			UpdateFunc: func(_, object any) { k.sawApp(object) },
			DeleteFunc: func(object any) {
				if app, ok := deleted[*v1alpha1.App](object); ok {
					k.index.RemoveApp(client.ObjectKeyFromObject(app))
				}
			},
		}},
		{lists, &v1alpha1.RevocationList{}, toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { k.sawList(object, false) },
			UpdateFunc: func(_, object any) { k.sawList(object, false) },
			DeleteFunc: func(object any) { k.sawList(object, true) },
		}},
	} {
		informer, err := watch.cache.GetInformer(ctx, watch.object, cache.BlockUntilSynced(false))
		if err != nil {
			return err
		}
		registration, err := informer.AddEventHandler(watch.handler)
		if err != nil {
			return err
		}
		k.synced = append(k.synced, registration.HasSynced)
	}
	return mgr.Add(k)
}

// newCache makes a cache of the RevocationLists of one namespace. The manager's own cannot be restricted to it: it takes a
// kind whose name ends in List for the list of another.
func newCache(mgr manager.Manager, namespace string) (cache.Cache, error) {
	return cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		DefaultNamespaces: map[string]cache.Config{namespace: {}},
	})
}

// listCache has the manager start the cache with its own, before any controller.
type listCache struct{ cache.Cache }

func (c *listCache) GetCache() cache.Cache { return c.Cache }

// Start reads the list and begins to write it: the process leads.
func (k *Keeper) Start(ctx context.Context) error {
	synced := make([]toolscache.InformerSynced, len(k.synced))
	for i := range k.synced {
		synced[i] = k.synced[i]
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil
	}
	for attempts := rateLimiter(); ; {
		err := k.load(ctx)
		if err == nil {
			break
		}
		log.FromContext(ctx).Error(err, "Failed to read the RevocationList")
		select {
		case <-time.After(attempts.When("")):
		case <-ctx.Done():
			return nil
		}
	}
	close(k.loaded)
	<-ctx.Done()
	k.workers.Wait() // nothing is written after the process gave the lead away
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.expiry != nil {
		k.expiry.Stop()
	}
	return nil
}

// NeedLeaderElection says that one process writes the list.
func (k *Keeper) NeedLeaderElection() bool { return true }

func (k *Keeper) sawUser(object any) {
	if user, ok := object.(*v1alpha1.User); ok {
		if names := k.index.PutUser(user); len(names) > 0 && user.MayHaveAccess() {
			k.settle(names, false)
		}
	}
}

// lostUser revokes the names of somebody active whose User vanished: their finalizer was taken off by hand.
func (k *Keeper) lostUser(object any) {
	user, ok := deleted[*v1alpha1.User](object)
	if !ok {
		return
	}
	names, wasActive := k.index.RemoveUser(client.ObjectKeyFromObject(user))
	select {
	case <-k.loaded:
	default:
		return // the leader does it
	}
	if wasActive {
		k.put(time.Now().Add(lifetime), names)
	}
}

// sawApp follows Apps. One that has no requests denied any more lifts the denial of its people.
func (k *Keeper) sawApp(object any) {
	if app, ok := object.(*v1alpha1.App); ok {
		if names := k.index.PutApp(app); len(names) > 0 {
			k.settle(names, true)
		}
	}
}

// listEvent is a state of the list, or its end.
type listEvent struct {
	list   *v1alpha1.RevocationList
	isGone bool
}

// sawList takes in what others did to the list.
func (k *Keeper) sawList(object any, isGone bool) {
	list, ok := deleted[*v1alpha1.RevocationList](object)
	if !ok || list.Name != v1alpha1.RevocationListName || list.Namespace != k.Namespace {
		return
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	switch event := (&listEvent{list, isGone}); {
	case k.entries == nil: // another process leads
	case k.writing:
		k.event = event
	default:
		k.takeIn(event)
	}
}

// takeIn merges a state of the list that is newer than what this process has read or written; the mutex is held.
func (k *Keeper) takeIn(event *listEvent) {
	if k.object == nil && event.isGone {
		return
	}
	if k.object != nil {
		order, err := resourceversion.CompareResourceVersion(event.list.ResourceVersion, k.object.ResourceVersion)
		if err != nil || order < 0 || order == 0 && !event.isGone {
			return
		}
	}
	if event.isGone {
		k.merge(nil)
	} else {
		k.merge(event.list)
	}
	k.dirty = true
	k.enqueue()
}

// deleted returns the object of an event, also of a removal that the watch missed.
func deleted[T any](object any) (T, bool) {
	if missed, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = missed.Obj
	}
	typed, ok := object.(T)
	return typed, ok
}
