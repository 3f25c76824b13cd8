package directory

import (
	"context"
	"sync"
)

// keyedLocks has one holder at a time for each key, in this process. The creates of one externalId take turns by it, so that
// the second sees the first and does not make the same person twice. A claim of the externalId would cost every create one
// more write. The zero value is ready.
type keyedLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed by unlock
}

// lock waits for a key as long as the context lasts. The caller calls unlock in the end.
func (k *keyedLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		k.mu.Lock()
		holder, busy := k.held[key]
		if !busy {
			done := make(chan struct{})
			if k.held == nil {
				k.held = map[string]chan struct{}{}
			}
			k.held[key] = done
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, key)
				k.mu.Unlock()
				close(done)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-holder:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
