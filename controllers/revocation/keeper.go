// Package revocation keeps the RevocationList: the Kubernetes user names of people whose access was revoked in the last 24
// hours, for Apps that have the requests of those who left denied (spec.deactivation.denyRequests). An admission policy and
// the authorizer read it.
//
// The user controller tells the Keeper whose access ended, and waits until the list says so. The Keeper is the only writer:
// it gathers what waits into one write, drops entries when they expire, and takes off the list whoever is active again. What
// it knows survives its process in the list itself and in the status of the Users.
package revocation

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/subjects"
)

const (
	// lifetime of an entry: by then every token that was issued before the revocation should have expired.
	lifetime = 24 * time.Hour
	// slack is how much later an entry must expire than the one that is there to be worth a write.
	slack = time.Minute
)

// Keeper of the RevocationList. Its fields are set before Add and not changed after.
type Keeper struct {
	// Client reads Apps and Users from informers.
	Client client.Client
	// Live reads and writes the RevocationList without informers.
	Live client.Client
	// Namespace of the RevocationList: the operator's own.
	Namespace string

	index  *subjects.Index
	synced []toolscache.InformerSynced
	// loaded is closed when the process leads and has read the list.
	loaded chan struct{}

	mutex sync.Mutex
	// entries are names and when they expire, whether the list has room for them or not; nil before loaded.
	entries map[string]time.Time
	// object is the list as last read or written, and listed its content; nil and empty where there is none.
	object *v1alpha1.RevocationList
	listed map[string]time.Time
	// dirty says that entries may differ from what was last written; writing, that a write is under way.
	dirty, writing bool
	next           *batch
	running        bool
	// notBefore paces the writes; failures count those that failed in a row.
	notBefore time.Time
	failures  int
	expiry    *time.Timer
	// event is the last one that came while a write was under way.
	event *listEvent
	// stop ends when the process leads no more; workers counts what goes on until then.
	stop    context.Context
	workers sync.WaitGroup
}

// batch is one write, and who waits for it.
type batch struct {
	done chan struct{}
	err  error
}

// Revoke has requests denied of a person who is inactive, suspended or being deleted, and returns when the list says so. It
// does nothing for Apps that do not ask for it, and for access that was revoked more than 24 hours ago.
func (k *Keeper) Revoke(ctx context.Context, user *v1alpha1.User) error {
	app, err := k.denyingApp(ctx, user)
	if app == nil || err != nil {
		return err
	}
	if user.Generation == 1 && user.Status.KubernetesUsername == "" {
		return nil // created inactive: nothing was revoked
	}
	// The reconcile may be ahead of this package's own watch.
	k.index.Refresh(user)
	return k.add(ctx, revokedAt(user).Add(lifetime), subjects.Names(app.Spec.Kubernetes, user))
}

// Renamed has requests denied under the name that a person, who may have access, went by before; see Revoke.
func (k *Keeper) Renamed(ctx context.Context, user *v1alpha1.User, former string) error {
	app, err := k.denyingApp(ctx, user)
	if app == nil || err != nil {
		return err
	}
	left := user.DeepCopy()
	left.Spec.Active = false
	left.Status.KubernetesUsername, left.Status.ReservedKey = former, ""
	k.index.Refresh(user)
	return k.add(ctx, time.Now().Add(lifetime), subjects.Names(app.Spec.Kubernetes, left))
}

// denyingApp returns the user's App where it has requests denied, else nil.
func (k *Keeper) denyingApp(ctx context.Context, user *v1alpha1.User) (*v1alpha1.App, error) {
	app := &v1alpha1.App{}
	err := k.Client.Get(ctx, client.ObjectKey{Namespace: user.Namespace, Name: user.Spec.App}, app, client.UnsafeDisableDeepCopy)
	if err != nil || !app.Spec.Deactivation.DenyRequests {
		return nil, client.IgnoreNotFound(err)
	}
	return app, nil
}

// revokedAt says when a person lost their access: now, unless the status tells of this very revocation.
func revokedAt(user *v1alpha1.User) time.Time {
	revoked := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionAccessRevoked)
	generation := user.Generation
	if !user.DeletionTimestamp.IsZero() && !user.Spec.Active {
		generation-- // the deletion of somebody who left before revokes nothing
	}
	if !v1alpha1.IsRevocationSettled(revoked) || revoked.ObservedGeneration < generation || user.Status.InactiveSince == nil {
		return time.Now()
	}
	return user.Status.InactiveSince.Time
}

// add puts names onto the list and waits for it.
func (k *Keeper) add(ctx context.Context, expires time.Time, names []string) error {
	if len(names) == 0 || !expires.After(time.Now()) {
		return nil
	}
	select {
	case <-k.loaded:
	case <-ctx.Done():
		return errors.Join(errors.New("the RevocationList was not read yet"), ctx.Err())
	}
	b := k.put(expires, names)
	if b == nil {
		return nil
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// put records names and returns the write to wait for; nil where they are on the list.
func (k *Keeper) put(expires time.Time, names []string) *batch {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	expires = expires.Truncate(time.Second) // as the list holds it
	for _, name := range names {
		if before, found := k.entries[name]; subjects.Deniable(name) && (!found || expires.Sub(before) > slack) {
			k.entries[name] = expires
			k.dirty = true
		}
		// It was left out while somebody else was active under the name.
		if _, stands := k.listed[name]; !stands && k.entries[name].After(time.Now()) && k.index.State(name) != subjects.Active {
			k.dirty = true
		}
	}
	if !k.dirty && !k.writing {
		return nil
	}
	return k.enqueue()
}

// settle compares names with the index after an event: who is active is taken off the list, and with lift also who is
// unknown.
func (k *Keeper) settle(names []string, lift bool) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for _, name := range names {
		if _, found := k.entries[name]; !found {
			continue
		}
		if state := k.index.State(name); state == subjects.Active || lift && state == subjects.Unknown {
			delete(k.entries, name)
			k.dirty = true
		}
	}
	if k.dirty {
		k.enqueue()
	}
}

// load reads the list when the process begins to lead.
func (k *Keeper) load(ctx context.Context) error {
	object, err := k.read(ctx)
	if err != nil {
		return err
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.stop = ctx
	k.entries = map[string]time.Time{}
	k.merge(object)
	maps.DeleteFunc(k.entries, func(name string, _ time.Time) bool { return k.index.State(name) == subjects.Active })
	k.dirty = true
	k.enqueue()
	return nil
}

// read returns the list as it is on the API server, nil where there is none.
func (k *Keeper) read(ctx context.Context) (*v1alpha1.RevocationList, error) {
	object := &v1alpha1.RevocationList{}
	err := k.Live.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: v1alpha1.RevocationListName}, object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return object, nil
}

// rateLimiter of attempts to read the list.
func rateLimiter() workqueue.TypedRateLimiter[string] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, time.Minute)
}
