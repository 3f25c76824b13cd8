package flowcontrol

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// DefaultMemory is what bodies and large answers hold in all, in bytes.
	DefaultMemory = 192 << 20
	// appMemory is what those of one App hold.
	appMemory = 64 << 20
	// smallBody is not counted: the App's requests at once bound those.
	smallBody = 64 << 10
	// maxMemoryWait bounds the wait for memory.
	maxMemoryWait = 5 * time.Second
)

// Hold counts memory of an App's request until release is called: so many bytes, or all that an App may hold where they are
// more. The error is a *RefusalError, or ctx's.
func (a *Apps) Hold(ctx context.Context, name types.NamespacedName, limits Limits, bytes int64) (release func(), err error) {
	if bytes <= smallBody {
		return func() {}, nil
	}
	bytes = min(bytes, appMemory)
	state := a.begin(name, limits)
	waiting, cancel := context.WithTimeout(ctx, maxMemoryWait)
	defer cancel()
	if err := state.memory.Acquire(waiting, bytes); err != nil {
		a.end(state)
		return nil, noMemory(ctx)
	}
	if err := a.memory.Acquire(waiting, bytes); err != nil {
		state.memory.Release(bytes)
		a.end(state)
		return nil, noMemory(ctx)
	}
	return sync.OnceFunc(func() {
		a.memory.Release(bytes)
		state.memory.Release(bytes)
		a.end(state)
	}), nil
}

func noMemory(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return &RefusalError{
		Reason: ReasonMemory, RetryAfter: retrySeat,
		Detail: "Large requests of this App hold as much memory as they may. Nothing is lost: try again after the seconds that Retry-After names.",
	}
}
