// Package retry repeats what a moment's state of the API server refuses.
package retry

import (
	"context"

	"k8s.io/apimachinery/pkg/util/wait"
)

// While calls attempt until it succeeds, or fails with anything but what again says, or the backoff has no more steps. It returns the last
// attempt's error, or the end of ctx.
func While(ctx context.Context, backoff wait.Backoff, again func(error) bool, attempt func(context.Context) error) error {
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		last = attempt(ctx)
		return !again(last), nil
	})
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return last
}
