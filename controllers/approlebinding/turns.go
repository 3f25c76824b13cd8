package approlebinding

import (
	"context"
	"math"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/internal/earned"
	"github.com/scim-operator/scim-operator/internal/fair"
)

const (
	// concurrency is how many keys the controller waits for at once, of all Apps: runs are bounded by themselves.
	concurrency = 32
	// grantSlotsPerApp is how many runs of one App that only grant may be under way at a time, and grantSlots of all Apps.
	grantSlotsPerApp = 2
	grantSlots       = 64
	// grantWrites and removalWrites are the writes under way of runs that only grant, and of others, of all Apps; one App alone
	// gets three quarters of them. Apps take turns write by write, so that a run of thousands delays another App's by one.
	grantWrites   = 21
	removalWrites = 64
	// leastGrantWrites is what an App keeps of grantWrites that writes more than others while the API server is slow: a part of the
	// time.
	leastGrantWrites = 0.25
	// mostRemovalWrites and leastRemovalWrites bound the removalWrites of such an App: one edit of it can take a role from all its
	// users.
	mostRemovalWrites, leastRemovalWrites = 8, 4
)

// turns share runs and writes among Apps.
type turns struct {
	runs, grantWrites, removalWrites *fair.Slots
}

func newTurns(speed *fair.Speed) *turns {
	return &turns{
		runs:          fair.NewSlots(grantSlots, grantSlotsPerApp),
		grantWrites:   fair.NewSlots(grantWrites, 0).Paced(speed, grantWrites, leastGrantWrites),
		removalWrites: fair.NewSlots(removalWrites, 0).Paced(speed, mostRemovalWrites, leastRemovalWrites),
	}
}

func laneOf(k earned.RoleInScope) fair.Lane { return fair.Lane{Namespace: k.Namespace, Name: k.App} }

// newQueue returns the controller's queue. It has no removals: those do not come by it.
func newQueue(_ string, limiter workqueue.TypedRateLimiter[earned.RoleInScope]) workqueue.TypedRateLimitingInterface[earned.RoleInScope] {
	return fair.NewQueue(fair.Options[earned.RoleInScope]{
		Name: "rolebinding", Lane: laneOf, Workers: concurrency, Others: concurrency, Removal: math.MaxInt, RateLimiter: limiter,
	})
}

// turnClient is a client with writes that wait for the App's turn.
type turnClient struct {
	client.Client
	slots *fair.Slots
	lane  fair.Lane
	// overtaken is closed when the writes are urgent after all: they wait for a turn in the other slots then.
	overtaken <-chan struct{}
	urgent    *fair.Slots
}

// writerOf returns the client of a run. overtaken is closed when an urgent run of the key waits for it.
func (r runner) writerOf(key earned.RoleInScope, urgent bool, overtaken <-chan struct{}) client.Client {
	turns := r.syncer.turns
	if urgent {
		return turnClient{r.syncer.Client, turns.removalWrites, laneOf(key), nil, turns.removalWrites}
	}
	return turnClient{r.syncer.Client, turns.grantWrites, laneOf(key), overtaken, turns.removalWrites}
}

func (w turnClient) inTurn(ctx context.Context, write func() error) error {
	release := w.slots.Acquire(ctx, w.lane, w.overtaken)
	if release == nil && ctx.Err() == nil {
		release = w.urgent.Acquire(ctx, w.lane, nil)
	}
	if release == nil {
		return ctx.Err()
	}
	defer release()
	return write()
}

// Create implements client.Writer. The error is ctx's before the turn, and then the API server's.
func (w turnClient) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	return w.inTurn(ctx, func() error { return w.Client.Create(ctx, object, options...) })
}

// Update implements client.Writer. The error is ctx's before the turn, and then the API server's.
func (w turnClient) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	return w.inTurn(ctx, func() error { return w.Client.Update(ctx, object, options...) })
}

// Delete implements client.Writer. The error is ctx's before the turn, and then the API server's.
func (w turnClient) Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error {
	return w.inTurn(ctx, func() error { return w.Client.Delete(ctx, object, options...) })
}

// Status implements client.StatusClient.
func (w turnClient) Status() client.SubResourceWriter { return turnStatusWriter{w.Client.Status(), w} }

type turnStatusWriter struct {
	client.SubResourceWriter
	writer turnClient
}

// Update implements client.SubResourceWriter. The error is ctx's before the turn, and then the API server's.
func (w turnStatusWriter) Update(ctx context.Context, object client.Object, options ...client.SubResourceUpdateOption) error {
	return w.writer.inTurn(ctx, func() error { return w.SubResourceWriter.Update(ctx, object, options...) })
}
