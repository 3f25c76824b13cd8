// Package group keeps Groups in order: it verifies that the claim of the displayName names the Group, takes users that are
// gone out of their groups, counts members and says in the status what it found.
//
// Reconcile reads as a list of steps. Reaper, beside it, clears away what crashed requests left: Groups that no claim
// names, claims that no Group wants, shards that no Group reads. Whom a group's membership gives which role is not
// decided here.
//
// It imports the claims and the membership of scimserver/directory and api/v1alpha1.
package group

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
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
	"github.com/scim-operator/scim-operator/scimserver/directory/claims"
	"github.com/scim-operator/scim-operator/scimserver/directory/membership"
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

	// index is the membership as the informers tell it.
	index *membership.Index
	// suspects are members that may be no users.
	suspects suspects
	// unclaimed counts how often a name was looked for that is not claimed yet.
	unclaimed *flowcontrol.Backoff
	written   writes
	queue     atomic.Pointer[queue]
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Add registers the controller.
func Add(mgr manager.Manager, r *Reconciler) error {
	r.index = membership.NewIndex()
	r.unclaimed = flowcontrol.NewBackOff(5*time.Millisecond, maxBackoff)
	c, err := controller.New("group", mgr, controller.Options{
		Reconciler:              r,
		MaxConcurrentReconciles: concurrency,
		ReconciliationTimeout:   reconcileTimeout,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](20*time.Millisecond, maxBackoff),
	})
	if err != nil {
		return err
	}
	for _, watch := range []source.Source{
		source.Func(r.takeQueue),
		source.Kind(mgr.GetCache(), &v1alpha1.Group{}, r.watchGroups()),
		source.Kind(mgr.GetCache(), &v1alpha1.MemberShard{}, r.watchShards()),
		source.Kind(mgr.GetCache(), &v1alpha1.User{}, r.watchUsers()),
	} {
		if err := c.Watch(watch); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) takeQueue(_ context.Context, q queue) error {
	r.queue.Store(&q)
	return nil
}

func (r *Reconciler) watchGroups() handler.TypedEventHandler[*v1alpha1.Group, reconcile.Request] {
	saw := func(group *v1alpha1.Group, q queue) {
		name := client.ObjectKeyFromObject(group)
		r.suspects.add(name, r.index.PutGroup(group)...)
		q.Add(reconcile.Request{NamespacedName: name})
	}
	return handler.TypedFuncs[*v1alpha1.Group, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.Group], q queue) { saw(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*v1alpha1.Group], q queue) { saw(e.ObjectNew, q) },
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*v1alpha1.Group], q queue) {
			r.index.RemoveGroup(e.Object)
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)})
		},
	}
}

func (r *Reconciler) watchShards() handler.TypedEventHandler[*v1alpha1.MemberShard, reconcile.Request] {
	enqueue := func(shard *v1alpha1.MemberShard, joined []string, q queue) {
		name := types.NamespacedName{Namespace: shard.Namespace, Name: shard.Spec.Group}
		r.suspects.add(name, joined...)
		q.Add(reconcile.Request{NamespacedName: name})
	}
	return handler.TypedFuncs[*v1alpha1.MemberShard, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.MemberShard], q queue) {
			enqueue(e.Object, r.index.PutShard(e.Object), q)
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*v1alpha1.MemberShard], q queue) {
			enqueue(e.ObjectNew, r.index.PutShard(e.ObjectNew), q)
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*v1alpha1.MemberShard], q queue) {
			r.index.RemoveShard(e.Object)
			enqueue(e.Object, nil, q)
		},
	}
}

// watchUsers has the groups of a user looked at who is gone, or going.
func (r *Reconciler) watchUsers() handler.TypedEventHandler[*v1alpha1.User, reconcile.Request] {
	left := func(user *v1alpha1.User, q queue) {
		for _, group := range r.index.GroupsOf(user.Namespace, user.Name) {
			name := types.NamespacedName{Namespace: user.Namespace, Name: group}
			r.suspects.add(name, user.Name)
			q.Add(reconcile.Request{NamespacedName: name})
		}
	}
	return handler.TypedFuncs[*v1alpha1.User, reconcile.Request]{
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

// suspects holds, by group, members that must be looked at: those that are new, and those whose user went. The zero value
// is ready to use.
type suspects struct {
	mu  sync.Mutex
	ids map[types.NamespacedName]map[string]bool
}

func (s *suspects) add(group types.NamespacedName, ids ...string) {
	if len(ids) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[types.NamespacedName]map[string]bool{}
	}
	of := s.ids[group]
	if of == nil {
		of = make(map[string]bool, len(ids))
		s.ids[group] = of
	}
	for _, id := range ids {
		of[id] = true
	}
}

// take returns a group's suspects, and forgets them.
func (s *suspects) take(group types.NamespacedName) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]string, 0, len(s.ids[group]))
	for id := range s.ids[group] {
		ids = append(ids, id)
	}
	delete(s.ids, group)
	return ids
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
