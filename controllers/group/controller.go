// Package group keeps Groups in order: it verifies that the claim of the displayName names the Group, removes deleted users
// from their groups, counts members and says in the status what it found, and which roles the group confers.
//
// Memberships tells the user controller the groups of a user; which roles the user gets by them is decided there. Reconcile
// reads as a list of steps. Reaper, beside it, clears away what crashed requests left: Groups that no claim names, claims
// that no Group wants, shards that no Group reads.
package group

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/fair"
	"github.com/scim-operator/scim-operator/internal/membership"
)

const (
	concurrency = 2
	maxBackoff  = time.Minute
	// reconcileTimeout bounds one reconcile.
	reconcileTimeout = 2 * time.Minute
)

// Reconciler of Groups.
type Reconciler struct {
	// Client reads from informers and writes.
	Client client.Client
	// Live reads and writes without informers: claims are never cached, and members are never changed by what is.
	Live client.Client

	// Policies are shared with the user controller.
	Policies *access.Cache
	// Memberships as the informers tell them, shared with the user controller.
	Memberships *Memberships
	// Recorder writes Events.
	Recorder events.EventRecorder

	// suspects are members that may be no users.
	suspects suspects
	// unclaimed counts how often a name was looked for that is not claimed yet.
	unclaimed *flowcontrol.Backoff
	written   writes
	queue     atomic.Pointer[queue]
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Members that are no users any more leave their groups; what a crashed request left is deleted. No member is added.
//
// +kubebuilder:rbac:groups=scim-operator.io,resources=groups;membershards,verbs=get;list;watch;update;delete,roleName=scim-operator-controller-apps
// +kubebuilder:rbac:groups=scim-operator.io,resources=groups/status,verbs=patch,roleName=scim-operator-controller-apps

// Add registers the controller. The memberships must be watched already. It fails where the manager refuses the controller
// or a watch.
func Add(mgr manager.Manager, r *Reconciler) error {
	r.unclaimed = flowcontrol.NewBackOff(5*time.Millisecond, maxBackoff)
	c, err := controller.New("group", mgr, controller.Options{
		Reconciler:              r,
		MaxConcurrentReconciles: concurrency,
		NewQueue:                fair.ByNamespace(concurrency),
		ReconciliationTimeout:   reconcileTimeout,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](20*time.Millisecond, maxBackoff),
	})
	if err != nil {
		return err
	}
	r.Memberships.onGroup = append(r.Memberships.onGroup, r.saw)
	for _, watch := range []source.Source{
		Synced{Memberships: r.Memberships, Func: r.takeQueue},
		source.Kind(mgr.GetCache(), &v1alpha1.User{}, r.watchUsers()),
		source.Kind(mgr.GetCache(), &v1alpha1.App{}, r.watchApps()),
	} {
		if err := c.Watch(watch); err != nil {
			return err
		}
	}
	return nil
}

// Synced is a source that lets its controller begin only after every group that there was at the start is known.
type Synced struct {
	*Memberships
	source.Func
}

// Start is source.Source. It returns the error of Func.
func (s Synced) Start(ctx context.Context, q queue) error { return s.Func(ctx, q) }

func (r *Reconciler) takeQueue(_ context.Context, q queue) error {
	r.queue.Store(&q)
	for _, name := range r.Memberships.all() { // what was told before there was a queue
		q.Add(reconcile.Request{NamespacedName: name})
	}
	return nil
}

// saw is told of each event of a Group or its shards.
func (r *Reconciler) saw(group types.NamespacedName, joined []string) {
	r.suspects.add(group, joined...)
	if q := r.queue.Load(); q != nil {
		(*q).Add(reconcile.Request{NamespacedName: group})
	}
}

// watchApps requests the groups of an App after its spec changed.
func (r *Reconciler) watchApps() handler.TypedEventHandler[*v1alpha1.App, reconcile.Request] {
	enqueue := func(app *v1alpha1.App, q queue) {
		for _, name := range r.Memberships.GroupsOfApp(client.ObjectKeyFromObject(app)) {
			q.Add(reconcile.Request{NamespacedName: name})
		}
	}
	return handler.TypedFuncs[*v1alpha1.App, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.App], q queue) { enqueue(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*v1alpha1.App], q queue) {
			if e.ObjectOld.Generation != e.ObjectNew.Generation || e.ObjectOld.UID != e.ObjectNew.UID {
				enqueue(e.ObjectNew, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*v1alpha1.App], q queue) { enqueue(e.Object, q) },
	}
}

// watchUsers requests the groups of a user that is gone, or being deleted.
func (r *Reconciler) watchUsers() handler.TypedEventHandler[*v1alpha1.User, reconcile.Request] {
	left := func(user *v1alpha1.User, q queue) {
		groups, uids := r.Memberships.groupsContaining(client.ObjectKeyFromObject(user))
		r.suspects.sawDeletion(client.ObjectKeyFromObject(user), uids, time.Now())
		for _, name := range groups {
			r.suspects.add(name, user.Name)
			q.Add(reconcile.Request{NamespacedName: name})
		}
	}
	return handler.TypedFuncs[*v1alpha1.User, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.User], q queue) {
			if e.Object.DeletionTimestamp != nil {
				left(e.Object, q) // it was deleted while no controller ran
				return
			}
			r.suspects.sawUser(client.ObjectKeyFromObject(e.Object))
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*v1alpha1.User], q queue) {
			if e.ObjectOld.DeletionTimestamp == nil && e.ObjectNew.DeletionTimestamp != nil {
				left(e.ObjectNew, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*v1alpha1.User], q queue) { left(e.Object, q) },
	}
}

// claimsOf returns the claims of displayNames in one namespace.
func (r *Reconciler) claimsOf(namespace string) *claims.Protocol[*v1alpha1.Group] {
	return claims.ForGroups(r.Live, namespace)
}

// membersOf returns the members of groups in one namespace.
func (r *Reconciler) membersOf(namespace string) *membership.Protocol {
	return membership.New(membership.NewStore(r.Live, namespace, nil), membership.InlineLimit)
}

// writes remembers when the status of each group was last written. The zero value is ready to use.
type writes struct {
	mu   sync.Mutex
	last map[types.NamespacedName]time.Time
}

// wait returns how long a write of the group's status must wait; where it need not, it counts as written now.
func (w *writes) wait(group types.NamespacedName, apart time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = map[types.NamespacedName]time.Time{}
	}
	if rest := apart - time.Since(w.last[group]); rest > 0 {
		return rest
	}
	w.last[group] = time.Now()
	return 0
}

func (w *writes) forget(group types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.last, group)
}
