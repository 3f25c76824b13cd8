package user

import (
	"context"
	"maps"
	"runtime"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/fair"
)

const (
	// concurrency is how many users are worked on at once, and so how many one write of a binding can remove: only removals
	// wait for it. A user that is added comes back when that is done, and holds no worker.
	concurrency = 256
	// otherConcurrency is how many of those at most lose nothing; one App alone gets three quarters of them.
	otherConcurrency = 128

	// statusWriters bounds the statuses written at a time of users with access; one App alone gets eight of them, since more
	// are no faster where processors are busy, and would be in the way of a removal.
	statusWriters = 10
	// leastStatuses is what an App keeps of them that writes more than others while the API server is slow: a part of the time.
	leastStatuses = 0.25
	// fewStatuses is what an App gets of them while users leave it, and for leaversTogether after: the next one's requests wait in the API
	// server for all that are under way there.
	fewStatuses     = 3
	leaversTogether = 2 * time.Second

	// mostEvaluating and leastEvaluating bound the processors for expressions of an App that evaluates more than others.
	mostEvaluating  = 0.5
	leastEvaluating = 0.125
)

// turns share what the reconciler does among Apps.
type turns struct {
	// statuses are writes of the status of users with access.
	statuses *fair.Slots
	// underWay has the context of each user's evaluation, which a removal ends.
	underWay sync.Map
	// leaving are Apps that users leave.
	leaving *leaving
}

func newTurns(speed *fair.Speed) turns {
	leaving := &leaving{last: map[fair.Lane]time.Time{}}
	return turns{
		statuses: fair.NewSlots(statusWriters, 0).Paced(speed, statusWriters, leastStatuses).Narrowed(fewStatuses, leaving.lately),
		leaving:  leaving,
	}
}

// leaving remembers for a moment from which Apps users leave.
type leaving struct {
	mutex sync.Mutex
	last  map[fair.Lane]time.Time
}

// note notes that a user leaves an App, or has left it just now.
func (l *leaving) note(app fair.Lane) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	now := time.Now()
	maps.DeleteFunc(l.last, func(_ fair.Lane, last time.Time) bool { return now.Sub(last) >= leaversTogether })
	l.last[app] = now
}

func (l *leaving) lately(app fair.Lane) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	last, found := l.last[app]
	return found && time.Since(last) < leaversTogether
}

// NewEvaluations returns the slots of Reconciler.Evaluations.
func NewEvaluations(speed *fair.Speed) *fair.Slots {
	return fair.NewSlots(max(1, runtime.GOMAXPROCS(0)-1), 0).Paced(speed, mostEvaluating, leastEvaluating)
}

// newQueue returns the controller's queue.
func (r *Reconciler) newQueue(_ string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	return fair.NewQueue(fair.Options[reconcile.Request]{
		Name: "user", Lane: func(request reconcile.Request) fair.Lane { return r.laneOf(request.NamespacedName) },
		Workers: concurrency, Others: otherConcurrency, Removal: priorityEnd, RateLimiter: limiter,
	})
}

// laneOf returns the App of a user, or only the namespace if the user is gone.
func (r *Reconciler) laneOf(name types.NamespacedName) fair.Lane {
	user := &v1alpha1.User{}
	if err := r.Client.Get(context.Background(), name, user, client.UnsafeDisableDeepCopy); err != nil {
		return fair.Lane{Namespace: name.Namespace}
	}
	return fair.Lane{Namespace: name.Namespace, Name: user.Spec.App}
}

// evaluate has the policy evaluated when it is the App's turn, if it has expressions. It ends early with
// access.ErrInterrupted where the user leaves.
func (e *evaluation) evaluate(ctx context.Context, policy *access.Policy, groups []access.Group) (access.Decision, error) {
	if !policy.UsesExpressions() {
		e.now = time.Now()
		return policy.Evaluate(ctx, &e.user.Spec, groups, e.now)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.turns.underWay.Store(e.name, cancel)
	defer e.turns.underWay.Delete(e.name)
	current := &v1alpha1.User{}
	if err := e.Client.Get(ctx, e.name, current, client.UnsafeDisableDeepCopy); err != nil || !current.MayHaveAccess() {
		return access.Decision{}, access.ErrInterrupted // the event came before this evaluation could be ended by it
	}
	release := e.Evaluations.Acquire(ctx, e.appName(), nil)
	if release == nil {
		return access.Decision{}, access.ErrInterrupted
	}
	defer release()
	e.now = time.Now()
	return policy.Evaluate(ctx, &e.user.Spec, groups, e.now)
}

// stopEvaluation ends the evaluation of a user that must lose access.
func (r *Reconciler) stopEvaluation(name types.NamespacedName) {
	if cancel, found := r.turns.underWay.Load(name); found {
		cancel.(context.CancelFunc)()
	}
}
