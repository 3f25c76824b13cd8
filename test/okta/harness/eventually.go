package harness

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// pollInterval is short: what is waited for takes milliseconds as a rule.
const pollInterval = 10 * time.Millisecond

// Eventually polls until check returns nil and returns how long that took. Beyond the limit the test fails with check's
// last error.
func Eventually(t testing.TB, limit time.Duration, what string, check func(ctx context.Context) error) time.Duration {
	t.Helper()
	return EventuallyEvery(t, pollInterval, limit, what, check)
}

// EventuallyEvery is Eventually for a check that costs so much that it should be asked less often.
func EventuallyEvery(t testing.TB, interval, limit time.Duration, what string, check func(ctx context.Context) error) time.Duration {
	t.Helper()
	begun := time.Now()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), interval, limit, true, func(ctx context.Context) (bool, error) {
		err := check(ctx)
		if err == nil || ctx.Err() == nil || last == nil { // not what the limit itself cut off
			last = err
		}
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: not within %s: %v", what, limit, last)
	}
	return time.Since(begun)
}
