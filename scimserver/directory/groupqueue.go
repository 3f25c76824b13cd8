package directory

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// batchTimeout bounds the writes of one batch. Clients give up after 60 seconds.
const batchTimeout = 55 * time.Second

// groupWriters has one writer at a time change a group in this process: what arrives while it is at work waits, and is
// then written together. Other processes' writers are met by compare-and-swap.
type groupWriters struct {
	mu sync.Mutex
	// waiting requests of each group that has a writer at work.
	waiting map[types.NamespacedName][]*groupRequest
}

// groupRequest is one change of a group, on its way. The request that made it may read group, changed and err once done is
// closed.
type groupRequest struct {
	ctx         context.Context
	change      Change
	members     membership.Delta
	replacesAll bool
	unknown     []string
	conditions  []Condition
	observe     func(joined, left []string)

	done    chan struct{}
	group   *v1alpha1.Group
	changed bool
	err     error
}

func newGroupWriters() *groupWriters {
	return &groupWriters{waiting: map[types.NamespacedName][]*groupRequest{}}
}

// submit has a request written, and waits for it, as long as the context lasts.
func (w *groupWriters) submit(ctx context.Context, d *Directory, app *v1alpha1.App, id string, request *groupRequest) error {
	request.ctx, request.done = ctx, make(chan struct{})
	group := types.NamespacedName{Namespace: app.Namespace, Name: id}
	w.mu.Lock()
	waiting, busy := w.waiting[group]
	w.waiting[group] = append(waiting, request)
	w.mu.Unlock()
	if !busy {
		go w.work(d, app, group)
	}
	select {
	case <-request.done:
		return request.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work writes what waits for one group, until nothing does.
func (w *groupWriters) work(d *Directory, app *v1alpha1.App, group types.NamespacedName) {
	for {
		w.mu.Lock()
		batch := w.waiting[group]
		if len(batch) == 0 {
			delete(w.waiting, group)
			w.mu.Unlock()
			return
		}
		w.waiting[group] = nil
		w.mu.Unlock()

		ctx, cancel := together(batch)
		d.writeBatch(ctx, app, group.Name, batch)
		cancel()
		for _, request := range batch {
			close(request.done)
		}
	}
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
