package revocation

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/subjects"
)

// Add registers the Keeper. The manager's cache must hold Apps and Users; the RevocationList is in a cache of its own. Every
// replica follows them; only the leader writes.
func Add(ctx context.Context, mgr manager.Manager, k *Keeper) error {
	k.index = subjects.New(subjects.UsersIn(k.Client))
	k.loaded = make(chan struct{})
	lists, err := newCache(mgr, k.Namespace)
	if err != nil {
		return err
	}
	own := mgr.GetCache()
	k.synced, err = informers.Feed(ctx,
		informers.Of(own, &v1alpha1.User{}, informers.States(k.sawUser, k.lostUser)),
		informers.Of(own, &v1alpha1.App{}, informers.States(k.sawApp, k.index.RemoveApp)),
		informers.Of(lists, &v1alpha1.RevocationList{}, informers.States(
			func(list *v1alpha1.RevocationList) { k.sawList(list, false) },
			func(list *v1alpha1.RevocationList) { k.sawList(list, true) },
		)),
	)
	if err != nil {
		return err
	}
	return mgr.Add(k)
}

// newCache makes a cache of the RevocationLists of one namespace. The manager's own cannot be restricted to it: it takes a
// kind whose name ends in List for the list of another.
func newCache(mgr manager.Manager, namespace string) (cache.Cache, error) {
	return informers.NewCache(mgr, cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}})
}

// Start reads the list and begins to write it: the process leads.
func (k *Keeper) Start(ctx context.Context) error {
	if !toolscache.WaitForCacheSync(ctx.Done(), k.synced...) {
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

func (k *Keeper) sawUser(user *v1alpha1.User) {
	if names := k.index.PutUser(user); len(names) > 0 && user.MayHaveAccess() {
		k.settle(names, false)
	}
}

// lostUser revokes the names of somebody active whose User vanished: their finalizer was taken off by hand.
func (k *Keeper) lostUser(user *v1alpha1.User) {
	names, wasActive := k.index.RemoveUser(user)
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
func (k *Keeper) sawApp(app *v1alpha1.App) {
	if names := k.index.PutApp(app); len(names) > 0 {
		k.settle(names, true)
	}
}

// listEvent is a state of the list, or its end.
type listEvent struct {
	list   *v1alpha1.RevocationList
	isGone bool
}

// sawList takes in what others did to the list.
func (k *Keeper) sawList(list *v1alpha1.RevocationList, isGone bool) {
	if list.Name != v1alpha1.RevocationListName || list.Namespace != k.Namespace {
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
