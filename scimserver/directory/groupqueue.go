package directory

import (
	"context"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
	"github.com/scim-operator/scim-operator/internal/schedule"
)

// batchTimeout bounds the writes of one batch. Clients give up after 60 seconds.
const batchTimeout = 55 * time.Second

// groupWriters has one writer at a time change a group in this process: what arrives while it is at work waits, and is
// then written together. Other processes' writers are met by compare-and-swap.
type groupWriters struct {
	scheduler *schedule.Scheduler[types.NamespacedName, []*groupRequest, struct{}]
}

// groupRequest is one change of a group, on its way. The request that made it may read group, changed and err once
// its run is done.
type groupRequest struct {
	ctx         context.Context
	app         *v1alpha1.App
	change      Change
	members     membership.Delta
	replacesAll bool
	unknown     []string
	conditions  []Precondition
	observe     func(joined, left []string)

	group   *v1alpha1.Group
	changed bool
	err     error
}

func newGroupWriters(g *Groups) *groupWriters {
	return &groupWriters{schedule.New(schedule.Options[types.NamespacedName, []*groupRequest, struct{}]{
		Merge: func(into *[]*groupRequest, request []*groupRequest) { *into = append(*into, request...) },
		Run: func(_ context.Context, group types.NamespacedName, run *schedule.Run[[]*groupRequest]) (struct{}, schedule.Ending) {
			ctx, cancel := together(run.Want)
			defer cancel()
			g.writeBatch(ctx, run.Want[0].app, group.Name, run.Want) //nolint:contextcheck // it ends with the last of the requests
			return struct{}{}, schedule.Ended
		},
	})}
}

// submit has a request written, and waits for it, as long as the context lasts. It returns the request's error, or ctx's where
// that ends first.
func (w *groupWriters) submit(ctx context.Context, app *v1alpha1.App, id string, request *groupRequest) error {
	request.ctx, request.app = ctx, app
	group := types.NamespacedName{Namespace: app.Namespace, Name: id}
	if _, err := w.scheduler.Schedule(group, []*groupRequest{request}, false).Wait(ctx); err != nil {
		return err
	}
	return request.err
}

// together returns a context for a batch. It ends when the last request of the batch has gone, or after batchTimeout.
func together(batch []*groupRequest) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), batchTimeout)
	var left atomic.Int64
	left.Store(int64(len(batch)))
	stops := make([]func() bool, len(batch))
	for i, request := range batch {
		stops[i] = context.AfterFunc(request.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
