// Package user gives each User the access that it earned, and takes away what it lost.
//
// Reconcile reads as a list of steps: fetch the User and its App, take everything away from a user that may have nothing,
// verify the claim of the name, evaluate the App's policy (internal/access), hand what was earned to the bindings
// (controllers/approlebinding) and write the status once. Reaper, beside it, clears away what crashed requests left.
package user

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/recorder"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/app"
	"github.com/scim-operator/scim-operator/controllers/approlebinding"
	"github.com/scim-operator/scim-operator/controllers/group"
	"github.com/scim-operator/scim-operator/controllers/removalguard"
	"github.com/scim-operator/scim-operator/controllers/residualaccess"
	"github.com/scim-operator/scim-operator/controllers/revocation"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/earned"
	"github.com/scim-operator/scim-operator/internal/fair"
	"github.com/scim-operator/scim-operator/internal/userlookup"
)

const (
	maxBackoff = time.Minute
	// reconcileTimeout bounds one reconcile: the runs of its keys end by themselves within a minute.
	reconcileTimeout = 2 * time.Minute

	// priorityRevoke goes before everything else in the queue: the user must lose access.
	priorityRevoke = 100
	// priorityEnd comes after it, and before everything else, too: a role of the user ends now.
	priorityEnd = 90
	// priorityLeave comes right after it: the user left a group, and may lose a role by that.
	priorityLeave = 50

	// claimDelay is how long after a User its claim is looked for: the server writes it right after the User, so that to
	// look at once would be in vain. watchedClaimDelay is the same where the claim shows itself.
	claimDelay, watchedClaimDelay = 20 * time.Millisecond, 500 * time.Millisecond

	// statusYield is how long the status of a user with access waits while others lose theirs.
	statusYield = 250 * time.Millisecond
)

// Reconciler of Users.
type Reconciler struct {
	// Client reads from informers and writes.
	Client client.Client
	// Live reads and writes without informers: claims are never cached.
	Live     client.Client
	Policies *access.Cache
	Index    *earned.Index
	Syncer   *approlebinding.Syncer
	Recorder recorder.EventRecorder
	// Claims are those that a watch has shown; nil for none.
	Claims *claims.Sightings
	// Revocations has the requests of a user denied after its access ended, where the App asks for it.
	Revocations *revocation.Keeper
	// Residual knows what bindings by other hands still give them.
	Residual *residualaccess.Finder
	// Memberships tell the groups of each user.
	Memberships *group.Memberships
	// Guard holds bulk loss of roles.
	Guard *removalguard.Guard
	// Progress takes what goes wrong, for the status of Apps.
	Progress *app.Progress
	// Speed slows down what gives access, of Apps that ask for more than others; nil for none.
	Speed *fair.Speed
	// Evaluations of expressions, and their compilation, take processors: one is left for everything else.
	Evaluations *fair.Slots

	recent          recent
	late            lateStatuses
	pendingRemovals pendingRemovals
	waiting         waiting
	ends            ends
	turns           turns
	edits           fair.Edits
	causes          causes
	// grantEvents and revokeEvents say which Events are written.
	grantEvents, revokeEvents *eventBudget
	// unclaimed counts how often a name was looked for that is not claimed yet.
	unclaimed *flowcontrol.Backoff
	queue     atomic.Pointer[queue]
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Users get their status and lose their finalizer; records that crashed requests left are deleted, with their claims.
//
// +kubebuilder:rbac:groups=scim-operator.io,resources=users,verbs=get;list;watch;update;patch;delete,roleName=scim-operator-controller-apps
// +kubebuilder:rbac:groups=scim-operator.io,resources=users/status,verbs=update,roleName=scim-operator-controller-apps
// +kubebuilder:rbac:groups=scim-operator.io,resources=nameclaims,verbs=get;list;watch;create;update;delete,roleName=scim-operator-controller-apps

// Add registers the controller. It fails where the manager refuses the controller or a watch.
func Add(mgr manager.Manager, r *Reconciler) error {
	r.turns = newTurns(r.Speed)
	r.unclaimed = flowcontrol.NewBackOff(5*time.Millisecond, maxBackoff)
	r.grantEvents = newEventBudget(grantEventsPerSecond, grantEventsBurst, r.reportWithheld("granted"))
	r.revokeEvents = newEventBudget(revokeEventsPerSecond, revokeEventsBurst, r.reportWithheld("revoked"))
	c, err := controller.New("user", mgr, controller.Options{
		Reconciler:              r,
		MaxConcurrentReconciles: concurrency,
		NewQueue:                r.newQueue,
		ReconciliationTimeout:   reconcileTimeout,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](20*time.Millisecond, maxBackoff),
	})
	if err != nil {
		return err
	}
	r.Syncer.OnChange(func(users []types.NamespacedName) { r.enqueue(0, users...) })
	r.Memberships.OnChange(r.membersChanged)
	r.Guard.OnRelease(func(users []types.NamespacedName) { r.enqueue(priorityLeave, users...) })
	r.Residual.OnChange(func(users []types.NamespacedName) { r.enqueue(0, users...) })
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		return r.ends.run(ctx, func(users ...types.NamespacedName) { r.enqueue(priorityEnd, users...) })
	})); err != nil {
		return err
	}
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		return r.late.run(ctx, func(users ...types.NamespacedName) { r.enqueue(0, users...) })
	})); err != nil {
		return err
	}
	for _, watch := range []source.Source{
		group.Synced{Memberships: r.Memberships, Func: r.takeQueue},
		source.Kind(mgr.GetCache(), &v1alpha1.User{}, r.watchUsers()),
		source.Kind(mgr.GetCache(), &v1alpha1.App{}, r.watchApps()),
		source.Kind(mgr.GetCache(), app.ClusterRoleMetadata(), r.watchClusterRoles()),
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

// enqueue has users evaluated. Before there is a queue it does nothing: every user comes as an event later.
func (r *Reconciler) enqueue(priority int, users ...types.NamespacedName) {
	if q := r.queue.Load(); q != nil {
		for _, user := range users {
			add(*q, priority, user)
		}
	}
}

// membersChanged has the users evaluated that may gain or lose a role by the change of a group.
func (r *Reconciler) membersChanged(change group.Change) {
	current := &v1alpha1.App{}
	if err := r.Client.Get(context.Background(), change.App, current, client.UnsafeDisableDeepCopy); err != nil {
		return // without its App no user holds a role; and when it comes, all are evaluated
	}
	policy, fieldErrors := r.Policies.Compile(current)
	if len(fieldErrors) == 0 && !policy.Concerns(change.Before) && !policy.Concerns(change.After) {
		return
	}
	if r.queue.Load() == nil {
		return // every user comes as an event later
	}
	for _, affected := range []struct {
		ids      []string
		priority int
	}{{change.Left, priorityLeave}, {change.Joined, 0}} {
		for _, id := range affected.ids {
			user := types.NamespacedName{Namespace: change.App.Namespace, Name: id}
			r.causes.add(user, change.Causes)
			r.enqueue(affected.priority, user)
		}
	}
}

func add(q queue, priority int, user types.NamespacedName) {
	request := reconcile.Request{NamespacedName: user}
	if prioritised, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		prioritised.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, request)
		return
	}
	q.Add(request)
}

// watchUsers puts users first that must lose access, or a role that has ended, and last what is only listed at the start. It ignores this controller's
// own status write for a user with access.
func (r *Reconciler) watchUsers() handler.TypedEventHandler[*v1alpha1.User, reconcile.Request] {
	priorityOf := func(user *v1alpha1.User, otherwise int) int {
		if !user.MayHaveAccess() && !isRevoked(user) {
			r.stopEvaluation(client.ObjectKeyFromObject(user))
			return priorityRevoke
		}
		if user.MayHaveAccess() && access.AnyEnded(user.Status.Roles, time.Now()) {
			return priorityEnd // no controller ran when it ended
		}
		return otherwise
	}
	return handler.TypedFuncs[*v1alpha1.User, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.User], q queue) {
			name := client.ObjectKeyFromObject(e.Object)
			switch {
			case e.IsInInitialList:
				add(q, priorityOf(e.Object, handler.LowPriority), name)
			case e.Object.MayHaveAccess() && e.Object.Status.ObservedGeneration == 0:
				_, app := namesOf(e.Object)
				r.late.created(app, time.Now())
				q.AddAfter(reconcile.Request{NamespacedName: name}, r.untilClaimed(e.Object))
			default:
				add(q, priorityOf(e.Object, 0), name)
			}
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*v1alpha1.User], q queue) {
			name := client.ObjectKeyFromObject(e.ObjectNew)
			for _, user := range r.waiting.freed(e.ObjectOld, e.ObjectNew) {
				add(q, 0, user)
			}
			if own := r.recent.isOwn(name, e.ObjectNew); own && e.ObjectNew.MayHaveAccess() && e.ObjectOld.UID == e.ObjectNew.UID {
				return
			}
			otherwise := 0
			if e.ObjectOld.Generation == e.ObjectNew.Generation && e.ObjectOld.UID == e.ObjectNew.UID && !e.ObjectNew.HasForeignStatus() {
				otherwise = handler.LowPriority
			}
			add(q, priorityOf(e.ObjectNew, otherwise), name)
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*v1alpha1.User], q queue) {
			for _, user := range r.waiting.freed(e.Object, nil) {
				add(q, 0, user)
			}
			add(q, priorityRevoke, client.ObjectKeyFromObject(e.Object))
		},
	}
}

// watchApps brings back every user of an App after a change of its specification, behind users that changed themselves, and once a
// second at most while the App is edited again and again.
func (r *Reconciler) watchApps() handler.TypedEventHandler[*v1alpha1.App, reconcile.Request] {
	// No index by App: it would cost every User memory, for the sake of an App's edits.
	usersOf := userlookup.UsersIn(r.Client)
	enqueue := func(app *v1alpha1.App, q queue) {
		for _, user := range usersOf(client.ObjectKeyFromObject(app)) {
			add(q, handler.LowPriority, client.ObjectKeyFromObject(user))
		}
	}
	edited := func(app *v1alpha1.App, q queue) {
		r.Policies.Supersede(app)
		r.edits.Do(client.ObjectKeyFromObject(app), func() { enqueue(app, q) })
	}
	return handler.TypedFuncs[*v1alpha1.App, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.App], q queue) {
			if !e.IsInInitialList {
				edited(e.Object, q)
			}
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*v1alpha1.App], q queue) {
			if access.Differ(e.ObjectOld, e.ObjectNew) ||
				!slices.Equal(e.ObjectOld.Status.MissingScopes, e.ObjectNew.Status.MissingScopes) {
				edited(e.ObjectNew, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*v1alpha1.App], q queue) {
			r.Policies.Supersede(e.Object)
			enqueue(e.Object, q)
		},
	}
}

// claimsOf returns the claims of userNames in one namespace.
func (r *Reconciler) claimsOf(namespace string) *claims.Protocol[*v1alpha1.User] {
	return claims.ForUsers(r.Live, namespace)
}
