package approlebinding

import (
	"context"
	"math"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/internal/fair"

	"github.com/scim-operator/scim-operator/internal/earned"
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
)

// turns share runs and writes among Apps.
type turns struct {
	runs, grantWrites, removalWrites *fair.Slots
	// busy counts the keys of each App that run, or are about to; the Syncer's mutex guards it.
	busy map[fair.Lane]int
}

func newTurns() *turns {
	return &turns{
		runs:          fair.NewSlots(grantSlots, grantSlotsPerApp),
		grantWrites:   fair.NewSlots(grantWrites, 0),
		removalWrites: fair.NewSlots(removalWrites, 0),
		busy:          map[fair.Lane]int{},
	}
}

func laneOf(k earned.RoleInScope) fair.Lane { return fair.Lane{Namespace: k.Namespace, Name: k.App} }

// newQueue returns the controller's queue. It has no removals: those do not come by it.
func newQueue(_ string, limiter workqueue.TypedRateLimiter[earned.RoleInScope]) workqueue.TypedRateLimitingInterface[earned.RoleInScope] {
	return fair.NewQueue(fair.Options[earned.RoleInScope]{
		Name: "rolebinding", Lane: laneOf, Workers: concurrency, Others: concurrency, Removal: math.MaxInt, RateLimiter: limiter,
	})
}

// writer is a client whose writes wait for the App's turn.
type writer struct {
	client.Client
	slots *fair.Slots
	lane  fair.Lane
}

// writerOf returns the client of a run.
func (s *Syncer) writerOf(key earned.RoleInScope, urgent bool) client.Client {
	if urgent {
		return writer{s.Client, s.turns.removalWrites, laneOf(key)}
	}
	return writer{s.Client, s.turns.grantWrites, laneOf(key)}
}

func (w writer) inTurn(ctx context.Context, write func() error) error {
	release := w.slots.Acquire(ctx, w.lane, nil)
	if release == nil {
		return ctx.Err()
	}
	defer release()
	return write()
}

// Create implements client.Writer.
func (w writer) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	return w.inTurn(ctx, func() error { return w.Client.Create(ctx, object, options...) })
}

// Update implements client.Writer.
func (w writer) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	return w.inTurn(ctx, func() error { return w.Client.Update(ctx, object, options...) })
}

// Delete implements client.Writer.
func (w writer) Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error {
	return w.inTurn(ctx, func() error { return w.Client.Delete(ctx, object, options...) })
}

// Status implements client.StatusClient.
func (w writer) Status() client.SubResourceWriter { return statusWriter{w.Client.Status(), w} }

type statusWriter struct {
	client.SubResourceWriter
	writer writer
}

// Update implements client.SubResourceWriter.
func (w statusWriter) Update(ctx context.Context, object client.Object, options ...client.SubResourceUpdateOption) error {
	return w.writer.inTurn(ctx, func() error { return w.SubResourceWriter.Update(ctx, object, options...) })
}

// watchedState returns the runs under way, for metrics and checks. A run ends within runTimeout unless something hangs.
func (s *Syncer) watchedState() fair.State {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var state fair.State
	now := time.Now()
	for key, r := range s.runners {
		if r.since.IsZero() {
			continue
		}
		state.Working++
		if age := now.Sub(r.since); age > state.Longest {
			state.Longest, state.Lane = age, laneOf(key)
		}
	}
	return state
}

// runs is the Syncer as fair.Watched sees it.
type runs struct{ *Syncer }

// State implements what fair.Watched asks for.
func (r runs) State() fair.State { return r.watchedState() }

// watch has the runs in metrics and checks until ctx ends.
func (s *Syncer) watch(ctx context.Context) {
	context.AfterFunc(ctx, fair.Watched.Add("bindings", runs{s}))
}
