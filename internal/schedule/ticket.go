package schedule

import (
	"context"
	"sync"
)

// Ticket is what a caller holds of a run to come. Several callers share one.
type Ticket[R any] struct {
	removed chan struct{}
	once    sync.Once
	removal error

	done   chan struct{}
	result R
}

func newTicket[R any]() *Ticket[R] {
	return &Ticket[R]{removed: make(chan struct{}), done: make(chan struct{})}
}

// Wait returns the result of the run, or ctx's error if that ends first. The run goes on all the same.
func (t *Ticket[R]) Wait(ctx context.Context) (R, error) {
	select {
	case <-t.done:
		return t.result, nil
	case <-ctx.Done():
		var none R
		return none, ctx.Err()
	}
}

// WaitRemoved returns once the run has done its removals, with the error that it told, or ctx's error if that ends first.
func (t *Ticket[R]) WaitRemoved(ctx context.Context) error {
	select {
	case <-t.removed:
		return t.removal
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *Ticket[R]) setRemoved(err error) {
	t.once.Do(func() {
		t.removal = err
		close(t.removed)
	})
}

func (t *Ticket[R]) setDone(result R) {
	t.setRemoved(nil) // for a run that told nothing of removals
	t.result = result
	close(t.done)
}

// batch is what the next run of a key is to do, and the tickets that it serves.
type batch[W, R any] struct {
	want          W
	urgent, first bool
	// tickets are the batch's own, and those of runs that were interrupted for it.
	tickets []*Ticket[R]
}

func newBatch[W, R any]() *batch[W, R] {
	return &batch[W, R]{tickets: []*Ticket[R]{newTicket[R]()}}
}

func (b *batch[W, R]) setRemoved(err error) {
	for _, ticket := range b.tickets {
		ticket.setRemoved(err)
	}
}

func (b *batch[W, R]) setDone(result R) {
	for _, ticket := range b.tickets {
		ticket.setDone(result)
	}
}
