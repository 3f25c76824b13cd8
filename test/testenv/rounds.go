package testenv

import (
	"slices"
	"testing"
	"time"
)

// MostlyWithin plays rounds until enough of them were over within a bound, and fails the test where three times as many are not: a busy
// machine delays any one of them, and what is slow by itself is slow each time. round returns how long it took.
func MostlyWithin(t testing.TB, what string, bound time.Duration, enough int, round func() time.Duration) {
	t.Helper()
	var took []time.Duration
	for within := 0; within < enough; {
		if len(took) == 3*enough {
			t.Errorf("%s: %d of %d times within %s, want %d: %s", what, within, len(took), bound, enough, took)
			return
		}
		took = append(took, round())
		if took[len(took)-1] <= bound {
			within++
		}
	}
	t.Logf("%s: %s at best, %s at worst, of %d", what, slices.Min(took).Round(time.Millisecond), slices.Max(took).Round(time.Millisecond), len(took))
}
