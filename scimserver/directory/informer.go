package directory

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	// verifyAfter gives the request that makes a user the time to claim its name, and the controller to say so in the
	// status: then this process need not ask.
	verifyAfter = 500 * time.Millisecond
	// verifyAttempts bounds how often a claim is asked for that does not name the user. The next event asks again.
	verifyAttempts = 6
	verifyWorkers  = 4
)

// follow feeds the read model and the Apps from the cache's informers.
func (d *Directory) follow(ctx context.Context, informers cache.Cache) error {
	users, err := register(ctx, informers, &v1alpha1.User{}, toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { d.saw(object) },
		UpdateFunc: func(_, object any) { d.saw(object) },
		DeleteFunc: func(object any) {
			if user, ok := deletedEntry(object); ok {
				d.users.remove(user.name(), user.uid)
			}
		},
	})
	if err != nil {
		return err
	}
	apps, err := register(ctx, informers, &v1alpha1.App{}, toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { d.apps.put(object) },
		UpdateFunc: func(_, object any) { d.apps.put(object) },
		DeleteFunc: func(object any) {
			if app, ok := deleted[*v1alpha1.App](object); ok {
				d.apps.remove(app)
			}
		},
	})
	if err != nil {
		return err
	}
	d.synced = []toolscache.InformerSynced{users, apps}
	return d.followGroups(ctx, informers)
}

func register(ctx context.Context, informers cache.Cache, kind client.Object, handler toolscache.ResourceEventHandler) (toolscache.InformerSynced, error) {
	informer, err := informers.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		return nil, err
	}
	return registration.HasSynced, nil
}

// deleted returns the object of a removal, also of one that the watch missed.
func deleted[T any](object any) (T, bool) {
	if missed, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = missed.Obj
	}
	typed, ok := object.(T)
	return typed, ok
}

func (d *Directory) saw(object any) {
	entry, ok := asEntry(object)
	if ok && d.users.put(entry, "") {
		d.unverified.AddAfter(entry.name(), verifyAfter)
	}
}

// asEntry takes what the informer has: an Entry where its cache transforms by Compact, a User otherwise.
func asEntry(object any) (*Entry, bool) {
	switch object := object.(type) {
	case *Entry:
		return object, true
	case *v1alpha1.User:
		return newEntry(object), true
	}
	return nil, false
}

// deletedEntry returns the user of a removal, also of one that the watch missed.
func deletedEntry(object any) (*Entry, bool) {
	if missed, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = missed.Obj
	}
	return asEntry(object)
}

func newVerifyQueue() workqueue.TypedRateLimitingInterface[types.NamespacedName] {
	return workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](verifyAfter, 30*time.Second))
}

// Start verifies, until ctx ends, the claims of users and groups that nobody has verified yet: a list shows no others. It runs in
// every replica.
func (d *Directory) Start(ctx context.Context) error {
	var workers sync.WaitGroup
	for range verifyWorkers {
		workers.Go(func() {
			for d.verifyNext(ctx) {
			}
		})
	}
	workers.Go(func() {
		for d.verifyNextGroup(ctx) {
		}
	})
	<-ctx.Done()
	d.unverified.ShutDown()
	d.unverifiedGroups.ShutDown()
	workers.Wait()
	return nil
}

// NeedLeaderElection says that every replica runs a Directory.
func (d *Directory) NeedLeaderElection() bool { return false }

func (d *Directory) verifyNext(ctx context.Context) bool {
	name, shutdown := d.unverified.Get()
	if shutdown {
		return false
	}
	defer d.unverified.Done(name)
	entry := d.users.get(name)
	if entry == nil || entry.visible() || entry.deleted || entry.terminating {
		d.unverified.Forget(name)
		return true
	}
	key := entry.key
	named, err := d.claims(name.Namespace).Verify(ctx, entry.app.Value().Name, v1alpha1.ClaimUserName, key, name.Name)
	switch {
	case named:
		d.users.verify(name, key)
		d.unverified.Forget(name)
	case err == nil && d.unverified.NumRequeues(name) >= verifyAttempts:
		d.unverified.Forget(name)
	default:
		if err != nil {
			logr.FromContextOrDiscard(ctx).V(1).Info("Could not read a claim", "user", name, "error", err.Error())
		}
		d.unverified.AddRateLimited(name)
	}
	return true
}
