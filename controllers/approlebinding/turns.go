package approlebinding

import (
	"context"
	"math"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/internal/earned"
	"github.com/scim-operator/scim-operator/internal/fair"
	"github.com/scim-operator/scim-operator/internal/schedule"
)

const (
	// concurrency is how many keys the controller waits for at once, of all Apps: runs are bounded by themselves.
	concurrency = 32
	// grantSlotsPerApp is how many runs of one App that only grant may be under way at a time, and grantSlots of all Apps.
	grantSlotsPerApp = 2
	grantSlots       = 64
	// grantWrites, lossWrites and leaverWrites are the writes under way of runs that only grant, of those for users that lose a role, and of
	// those for leavers, of all Apps; one App alone gets three quarters of them. Apps take turns write by write, so that a run of
	// thousands delays another App's by one. Leavers have their own: an edit of their App can take a thousand roles from all its users.
	grantWrites  = 21
	lossWrites   = 64
	leaverWrites = 64
	// mostGrantWrites bounds the grantWrites of an App that writes more than others, while these write, and leastGrantWrites is what it keeps
	// of them while the API server is slow: a part of the time.
	mostGrantWrites, leastGrantWrites = 6, 0.25
	// mostLossWrites and mostLeaverWrites bound the lossWrites and leaverWrites of such an App from the first moment, leastLossWrites and
	// leastLeaverWrites are what it keeps of them. Who loses a role by an edit of the App waits for that App's other writes, a leaver does not.
	mostLossWrites, leastLossWrites     = 3, 0.5
	mostLeaverWrites, leastLeaverWrites = 8, 4
)

// turns share runs and writes among Apps.
type turns struct {
	runs, grantWrites, lossWrites, leaverWrites *fair.Slots
}

func newTurns(speed *fair.Speed) *turns {
	return &turns{
		runs:         fair.NewSlots(grantSlots, grantSlotsPerApp),
		grantWrites:  fair.NewSlots(grantWrites, 0).Paced(speed, mostGrantWrites, leastGrantWrites),
		lossWrites:   fair.NewSlots(lossWrites, 0).Paced(speed, mostLossWrites, leastLossWrites),
		leaverWrites: fair.NewSlots(leaverWrites, 0).Paced(speed, mostLeaverWrites, leastLeaverWrites),
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
	lane fair.Lane
	// waits are what a write waits for: the first, until that one's end comes, then the next.
	waits []waitForTurn
}

// waitForTurn is a wait in slots. end is closed when the write has become more urgent than that.
type waitForTurn struct {
	slots *fair.Slots
	end   <-chan struct{}
}

// writerOf returns the client of a run. A run that a more urgent one of the key waits for writes as urgently as that one.
func (r runner) writerOf(key earned.RoleInScope, run *schedule.Run[want]) client.Client {
	turns := r.syncer.turns
	waits := []waitForTurn{
		{turns.grantWrites, run.Overtaken},
		{turns.lossWrites, run.Preceded},
		{turns.leaverWrites, nil},
	}
	switch {
	case run.First:
		waits = waits[2:]
	case run.Urgent:
		waits = waits[1:]
	}
	return turnClient{r.syncer.Client, laneOf(key), waits}
}

func (w turnClient) inTurn(ctx context.Context, write func() error) error {
	for _, wait := range w.waits {
		if release := wait.slots.Acquire(ctx, w.lane, wait.end); release != nil {
			defer release()
			return write()
		}
	}
	return ctx.Err()
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
