package harness

import (
	"context"
	"testing"
	"time"
)

// Polls begin fast, since what is waited for takes milliseconds as a rule, and slow down: those that go on for long keep no busy machine
// from what they wait for, and wrong tokens stay below the rate at which the server answers 429 instead of 401.
const (
	firstPoll = 10 * time.Millisecond
	lastPoll  = 100 * time.Millisecond
)

// Eventually polls until check returns nil and returns how long that took. Beyond the limit the test fails with check's
// last error.
func Eventually(t testing.TB, limit time.Duration, what string, check func(ctx context.Context) error) time.Duration {
	t.Helper()
	begun := time.Now()
	return eventually(t, limit, what, check, func() time.Duration {
		return min(max(time.Since(begun)/10, firstPoll), lastPoll)
	})
}

// EventuallyEvery is Eventually for a check that costs so much that it should be asked less often.
func EventuallyEvery(t testing.TB, interval, limit time.Duration, what string, check func(ctx context.Context) error) time.Duration {
	t.Helper()
	return eventually(t, limit, what, check, func() time.Duration { return interval })
}

func eventually(t testing.TB, limit time.Duration, what string, check func(ctx context.Context) error, pause func() time.Duration) time.Duration {
	t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for last := error(nil); ; {
		err := check(ctx)
		if err == nil {
			return time.Since(begun)
		}
		if ctx.Err() == nil || last == nil { // not what the limit itself cut off
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, limit, last)
		case <-time.After(pause()):
		}
	}
}
