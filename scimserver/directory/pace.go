package directory

import "context"

type paceKey struct{}

// WithPace returns a context in which whatever looks at every user or group of an App calls step before each of them, and ends
// with step's error. A server shares its processors between clients by it.
func WithPace(ctx context.Context, step func() error) context.Context {
	return context.WithValue(ctx, paceKey{}, step)
}

// checkEvery is how often ctx is looked at where it has no pace.
const checkEvery = 64

// pace returns the context's step, or one that fails once ctx has ended.
func pace(ctx context.Context) func() error {
	if step, ok := ctx.Value(paceKey{}).(func() error); ok {
		return step
	}
	steps := 0
	return func() error {
		if steps++; steps%checkEvery != 0 {
			return nil
		}
		return ctx.Err()
	}
}
