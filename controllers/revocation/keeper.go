// Package revocation keeps the RevocationLists: for each App that has requests of its leavers denied
// (spec.deactivation.denyRequests), the Kubernetes user names that it bound and that lost their access in the last 24 hours.
// An admission policy and the authorizer read them. Each App has a list of its own, so that no App takes another's room.
//
// The user controller tells the Keeper which access ended, and waits until the App's list says so. The Keeper is the only
// writer: it gathers what waits into one write a list, drops entries when they expire, and takes off active users. What it
// knows survives its process in the lists themselves and in the status of the Users.
package revocation

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/schedule"
	"github.com/scim-operator/scim-operator/internal/userlookup"
)

const (
	// lifetime of an entry: by then every token that was issued before the revocation should have expired.
	lifetime = 24 * time.Hour
	// slack is how much later an entry must expire than the one that is there to be worth a write.
	slack = time.Minute
)

// loadBackoff is between attempts to read the lists. It stays at its Cap.
var loadBackoff = wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Steps: 12, Cap: time.Minute}

// Keeper of the RevocationLists. Its fields are set before Add and not changed after.
type Keeper struct {
	// Client reads Apps and Users from informers.
	Client client.Client
	// Live reads and writes the RevocationLists without informers.
	Live client.Client
	// Namespace of the RevocationLists: the operator's own.
	Namespace string

	// onFull is called, without locks, when an App's list begins or ceases to leave people out.
	onFull func(app types.NamespacedName)
	index  *userlookup.Index
	synced []toolscache.InformerSynced
	// loaded is closed when the process leads and has read the lists.
	loaded chan struct{}

	mutex sync.Mutex
	// lists by App; nil before loaded.
	lists map[types.NamespacedName]*appList
	// apps are all Apps as last told.
	apps map[types.NamespacedName]appState
	// stop ends when the process leads no more; under way are the writes that began before.
	stop     context.Context
	underWay sync.WaitGroup
	// writes has one write of a list at a time; calls that come during a write share the next.
	writes *schedule.Scheduler[types.NamespacedName, struct{}, written]
}

// appState is what matters here of a state of an App.
type appState struct {
	prefix  string
	denies  bool
	version string
}

// stateOf returns what matters here of a state of an App.
func stateOf(app *v1alpha1.App) appState {
	return appState{app.Spec.Kubernetes.Prefix(), app.Spec.Deactivation.DenyRequests, app.ResourceVersion}
}

// appList is what the Keeper knows of one App. The Keeper's mutex guards it.
type appList struct {
	app types.NamespacedName
	// prefix of the App's user names, as last told; that of the list for an App that is gone since the process began.
	prefix string
	// lifted says that the App has none of its people denied; version is the App's that said so.
	lifted  bool
	version string
	// entries are names and when they expire, whether the list has room for them or not.
	entries map[string]time.Time
	// object is the list as last read or written, and listed its content; nil and empty where there is none.
	object *v1alpha1.RevocationList
	listed map[string]time.Time
	// omitted are those that the list had no room for when it was last written.
	omitted int32
	// dirty says that entries may differ from what was last written; writing, that a write is under way.
	dirty, writing bool
	// notBefore paces the writes; failures count those that failed in a row.
	notBefore time.Time
	failures  int
	expiry    *time.Timer
	// event is the last one that came while a write was under way.
	event *listEvent
}

// OnFull registers what is called with an App when its list begins or ceases to leave people out. Call it before the manager
// starts.
func (k *Keeper) OnFull(f func(app types.NamespacedName)) { k.onFull = f }

// Omitted returns how many people of an App lost access within 24 hours and are not on its list, for want of room. It is not
// known before the process leads and has read the lists; OnFull's function is called with every App then.
func (k *Keeper) Omitted(app types.NamespacedName) (omitted int32, known bool) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if l := k.lists[app]; l != nil {
		omitted = l.omitted
	}
	return omitted, k.lists != nil
}

// Revoke has requests denied under the names by which an App's bindings name a user that is inactive, suspended or being
// deleted, and returns when the App's list says so. bound are the names in the bindings at the end of the access;
// status.boundAs is added. It does nothing for Apps that do not ask for it, for users that the App never bound, and for
// access that was revoked more than 24 hours ago. Errors are the API server's, and ctx's while the list is not written.
func (k *Keeper) Revoke(ctx context.Context, user *v1alpha1.User, bound []string) error {
	app, err := k.denyingApp(ctx, user)
	if app == nil || err != nil {
		return err
	}
	// The reconcile may be ahead of this package's own watch.
	k.index.Refresh(user)
	names := slices.Clone(bound)
	if app.Spec.Mode == v1alpha1.ModeObserve {
		names = nil // such bindings bind nothing
	}
	if user.Status.BoundAs != "" {
		names = append(names, user.Status.BoundAs)
	}
	return k.add(ctx, app, revokedAt(user).Add(lifetime), names)
}

// Renamed has requests denied under the former name by which the App bound a user, which may have access; see Revoke. Errors are Revoke's.
func (k *Keeper) Renamed(ctx context.Context, user *v1alpha1.User, former string) error {
	app, err := k.denyingApp(ctx, user)
	if app == nil || err != nil {
		return err
	}
	k.index.Refresh(user)
	return k.add(ctx, app, time.Now().Add(lifetime), []string{former})
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
		generation-- // the deletion of a user that left before revokes nothing
	}
	if !v1alpha1.IsRevocationSettled(revoked) || revoked.ObservedGeneration < generation || user.Status.InactiveSince == nil {
		return time.Now()
	}
	return user.Status.InactiveSince.Time
}

// own returns those of the names that are an App's to deny: none of Kubernetes' own, none outside the App's prefix, whatever its
// prefix was before, and none with the longer prefix of another App.
func (k *Keeper) own(prefix string, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return !userlookup.Deniable(name) || !strings.HasPrefix(name, prefix) || k.index.Outranked(prefix, name)
	})
}

// add puts names of an App onto its list, those that are its own, and waits for it.
func (k *Keeper) add(ctx context.Context, app *v1alpha1.App, expires time.Time, names []string) error {
	prefix := app.Spec.Kubernetes.Prefix()
	names = k.own(prefix, names)
	if len(names) == 0 || !expires.After(time.Now()) {
		return nil
	}
	select {
	case <-k.loaded:
	case <-ctx.Done():
		return errors.Join(errors.New("the RevocationLists were not read yet"), ctx.Err())
	}
	write := k.put(app, expires, names)
	if write == nil {
		return nil
	}
	done, err := write.Wait(ctx)
	return cmp.Or(err, done.err)
}

// list returns what is known of an App; the mutex is held.
func (k *Keeper) list(app types.NamespacedName) *appList {
	l := k.lists[app]
	if l == nil {
		l = &appList{app: app, entries: map[string]time.Time{}}
		if state, found := k.apps[app]; found {
			l.follow(state)
		}
		k.lists[app] = l
	}
	return l
}

// follow takes in a state of the App, unless it is older than the last one: a reconcile may be ahead of this package's own watch, or
// behind it. The Keeper's mutex is held.
func (l *appList) follow(state appState) {
	if !informers.Older(state.version, l.version) {
		l.prefix, l.lifted, l.version = state.prefix, !state.denies, state.version
	}
}

// put records names of an App that denies requests and returns the write to wait for; nil where they are on the list, or where a later
// state of the App denies nothing.
func (k *Keeper) put(app *v1alpha1.App, expires time.Time, names []string) *schedule.Ticket[written] {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	name := client.ObjectKeyFromObject(app)
	l := k.list(name)
	if l.follow(stateOf(app)); l.lifted {
		return nil
	}
	expires = expires.Truncate(time.Second) // as the list holds it
	for _, name := range names {
		if before, found := l.entries[name]; !found || expires.Sub(before) > slack {
			l.entries[name] = expires
			l.dirty = true
		}
		// It was left out while another user was active under the name.
		if _, stands := l.listed[name]; !stands && l.entries[name].After(time.Now()) && k.index.State(name) != userlookup.Active {
			l.dirty = true
		}
	}
	if !l.dirty && !l.writing {
		return nil
	}
	return k.enqueue(l)
}

// settle compares names with the index after an event, on every list: active users are taken off. After an edit of an App, so are
// names on its own list that stand for no user of such Apps any more; edited is empty after another event.
func (k *Keeper) settle(names []string, edited types.NamespacedName) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for app, l := range k.lists {
		for _, name := range names {
			if _, found := l.entries[name]; !found {
				continue
			}
			_, stands := l.listed[name]
			switch state := k.index.State(name); {
			case state == userlookup.Active || app == edited && state == userlookup.Unknown:
				delete(l.entries, name)
				l.dirty = true
			case !stands: // it was left out while another user was active under the name
				l.dirty = true
			}
		}
		if l.dirty {
			k.enqueue(l)
		}
	}
}

// review has every list compared with the prefixes of the Apps, and with whether they deny requests.
func (k *Keeper) review() {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for _, l := range k.lists {
		l.dirty = true
		k.enqueue(l)
	}
}

// load reads the lists when the process begins to lead.
func (k *Keeper) load(ctx context.Context) error {
	objects := &v1alpha1.RevocationListList{}
	if err := k.Live.List(ctx, objects, client.InNamespace(k.Namespace)); err != nil {
		return err
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.stop = ctx
	k.lists = map[types.NamespacedName]*appList{}
	for i := range objects.Items {
		app, isOurs := objects.Items[i].AppName()
		if !isOurs {
			continue
		}
		l := k.list(app)
		if l.omitted = objects.Items[i].Spec.Omitted; l.version == "" {
			l.prefix = objects.Items[i].Spec.Prefix
		}
		k.merge(l, &objects.Items[i])
		maps.DeleteFunc(l.entries, func(name string, _ time.Time) bool { return k.index.State(name) == userlookup.Active })
		l.dirty = true
		k.enqueue(l)
	}
	return nil
}

// read returns the list of an App as it is on the API server, nil where there is none.
func (k *Keeper) read(ctx context.Context, app types.NamespacedName) (*v1alpha1.RevocationList, error) {
	object := &v1alpha1.RevocationList{}
	err := k.Live.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: v1alpha1.RevocationListName(app)}, object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return object, nil
}
