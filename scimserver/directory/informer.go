package directory

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
)

const (
	// verifyAfter gives the request that makes a user the time to claim its name, and the controller to say so in the
	// status: then this process need not ask.
	verifyAfter = 500 * time.Millisecond
	// verifyAttempts bounds how often a claim is asked for that does not name the user. The next event asks again.
	verifyAttempts = 6
	verifyWorkers  = 4
)

// follow feeds what is kept of users, groups, their members and Apps from the cache's informers.
func (d *Directory) follow(ctx context.Context, from cache.Cache) error {
	var err error
	d.synced, err = informers.Feed(ctx,
		informers.Of(from, &v1alpha1.User{}, informers.States(d.saw, d.lost)),
		informers.Of(from, &v1alpha1.App{}, informers.States(d.apps.put, d.apps.remove)),
		informers.Of(from, &v1alpha1.Group{}, informers.States(d.sawGroup, d.lostGroup)),
		informers.Of(from, &v1alpha1.MemberShard{}, informers.States(d.sawShard, d.members.RemoveShard)),
	)
	return err
}

func (d *Directory) saw(object any) {
	entry, ok := asEntry(object)
	if !ok || !d.users.put(entry, "") {
		return
	}
	after := verifyAfter
	if current := d.users.get(entry.name()); current != nil && current.trusted {
		after = 0 // its claim is older than what the watch shows
	}
	d.unverified.AddAfter(entry.name(), after)
}

func (d *Directory) lost(object any) {
	if user, ok := asEntry(object); ok {
		d.users.remove(user.name(), user.uid)
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

func newVerifyQueue() workqueue.TypedRateLimitingInterface[types.NamespacedName] {
	return workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](verifyAfter, 30*time.Second))
}

// Start verifies the claims of new users and groups until ctx ends. A list shows a user or group only after that. It runs in
// every replica. It returns nil.
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
	if entry == nil || !entry.open() {
		d.unverified.Forget(name)
		return true
	}
	key := entry.key
	named, err := d.claims(name.Namespace).Verify(ctx, entry.app.Value().Name, v1alpha1.ClaimUserName, key, name.Name)
	switch {
	case named:
		d.users.verify(name, key)
		d.unverified.Forget(name)
	case err == nil && entry.trusted:
		d.users.distrust(name, key)
		d.unverified.AddRateLimited(name)
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
