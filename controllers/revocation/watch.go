package revocation

import (
	"context"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/userlookup"
)

// Add registers the Keeper. The manager's cache must hold Apps and Users; the RevocationLists are in a cache of their own.
// Every replica follows them; only the leader writes. It fails where an informer or the cache cannot be had.
func Add(ctx context.Context, mgr manager.Manager, k *Keeper) error {
	k.index = userlookup.New(userlookup.UsersIn(k.Client))
	k.loaded = make(chan struct{})
	k.apps = map[types.NamespacedName]appState{}
	k.writes = k.newWrites()
	lists, err := newCache(mgr, k.Namespace)
	if err != nil {
		return err
	}
	own := mgr.GetCache()
	k.synced, err = informers.Feed(ctx,
		informers.Of(own, &v1alpha1.User{}, informers.States(k.sawUser, k.lostUser)),
		informers.Of(own, &v1alpha1.App{}, informers.States(k.sawApp, k.lostApp)),
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
// kind with a name that ends in List for the list of another.
func newCache(mgr manager.Manager, namespace string) (cache.Cache, error) {
	return informers.NewCache(mgr, cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}})
}

// Start reads the lists and begins to write them: the process leads. It returns nil, when ctx ends.
func (k *Keeper) Start(ctx context.Context) error {
	if !toolscache.WaitForCacheSync(ctx.Done(), k.synced...) {
		return nil
	}
	if err := k.loadPersistently(ctx); err != nil {
		return nil //nolint:nilerr // it is the end of ctx
	}
	close(k.loaded)
	k.tellApps()
	<-ctx.Done()
	k.stopped()
	k.underWay.Wait() // nothing is written after the process gave the lead away
	return nil
}

// loadPersistently reads the lists, again until that succeeds. The error is the end of ctx.
func (k *Keeper) loadPersistently(ctx context.Context) error {
	return loadBackoff.DelayFunc().Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		err := k.load(ctx)
		if err != nil {
			log.FromContext(ctx).Error(err, "Failed to read the RevocationLists")
		}
		return err == nil, nil
	})
}

// stopped ends the timers once the process leads no more. A write looks at that under the mutex: none begins after the call.
func (k *Keeper) stopped() {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for _, l := range k.lists {
		if l.expiry != nil {
			l.expiry.Stop()
		}
	}
}

// tellApps has every App say anew whether its list is full.
func (k *Keeper) tellApps() {
	k.mutex.Lock()
	apps := slices.Collect(maps.Keys(k.apps))
	k.mutex.Unlock()
	if k.onFull == nil {
		return
	}
	for _, app := range apps {
		k.onFull(app)
	}
}

// NeedLeaderElection says that one process writes the lists.
func (k *Keeper) NeedLeaderElection() bool { return true }

func (k *Keeper) sawUser(user *v1alpha1.User) {
	if names := k.index.PutUser(user); len(names) > 0 {
		k.settle(names, types.NamespacedName{})
	}
}

// lostUser revokes the names of an active user that the App bound, after the object vanished: the finalizer was taken off by
// hand.
func (k *Keeper) lostUser(user *v1alpha1.User) {
	names, hadAccess := k.index.RemoveUser(user)
	select {
	case <-k.loaded:
	default:
		return // the leader does it
	}
	app, err := k.denyingApp(context.Background(), user)
	if !hadAccess || app == nil || err != nil {
		return
	}
	prefix := app.Spec.Kubernetes.Prefix()
	k.put(app, time.Now().Add(lifetime), k.own(prefix, names))
}

// sawApp follows Apps. One that has no requests denied any more lifts the denial of its people, whether their Users are still there or
// not.
func (k *Keeper) sawApp(app *v1alpha1.App) {
	name, state := client.ObjectKeyFromObject(app), stateOf(app)
	if names := k.index.PutApp(app); len(names) > 0 {
		k.settle(names, name)
	}
	k.mutex.Lock()
	before, known := k.apps[name]
	k.apps[name] = state
	if l := k.lists[name]; l != nil {
		l.follow(state)
	}
	k.mutex.Unlock()
	if !known || before.prefix != state.prefix || before.denies != state.denies {
		k.review()
	}
}

func (k *Keeper) lostApp(app *v1alpha1.App) {
	k.index.RemoveApp(app)
	k.mutex.Lock()
	delete(k.apps, client.ObjectKeyFromObject(app))
	k.mutex.Unlock()
	k.review()
}

// listEvent is a state of a list, or its end.
type listEvent struct {
	list   *v1alpha1.RevocationList
	isGone bool
}

// sawList takes in what others did to a list.
func (k *Keeper) sawList(list *v1alpha1.RevocationList, isGone bool) {
	app, isOurs := list.AppName()
	if !isOurs || list.Namespace != k.Namespace {
		return
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.lists == nil { // another process leads
		return
	}
	l := k.list(app)
	if l.prefix == "" {
		l.prefix = list.Spec.Prefix
	}
	if event := (&listEvent{list, isGone}); l.writing {
		l.event = event
	} else {
		k.takeIn(l, event)
	}
}

// takeIn merges a state of a list that is newer than what this process has read or written; the mutex is held.
func (k *Keeper) takeIn(l *appList, event *listEvent) {
	if l.object == nil && event.isGone {
		return
	}
	if l.object != nil {
		order, err := resourceversion.CompareResourceVersion(event.list.ResourceVersion, l.object.ResourceVersion)
		if err != nil || order < 0 || order == 0 && !event.isGone {
			return
		}
	}
	if event.isGone {
		k.merge(l, nil)
	} else {
		k.merge(l, event.list)
	}
	l.dirty = true
	k.enqueue(l)
}
