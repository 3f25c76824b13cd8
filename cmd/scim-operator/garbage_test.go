package main

import (
	"context"
	"math"
	"runtime/debug"
	"testing"
	"testing/synctest"
)

// A small heap may grow by much, a large one by its process's share.
func TestGarbagePercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 8 << 20: 400, 32 << 20: 200, 128 << 20: 50, 192 << 20: 33, 1 << 30: 33} {
		if got := serverGarbage.percent(live); got != want {
			t.Errorf("server, %d bytes in use: %d %%, not %d", live, got, want)
		}
	}
	for live, want := range map[uint64]int{8 << 20: 400, 32 << 20: 100, 192 << 20: 16, 1 << 30: 16} {
		if got := controllerGarbage.percent(live); got != want {
			t.Errorf("controller, %d bytes in use: %d %%, not %d", live, got, want)
		}
	}
}

// The limit is in force while the process runs, and an operator's own GOGC is left alone.
func TestLimitGarbage(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	for gogc, limited := range map[string]bool{"": true, "77": false} {
		t.Setenv("GOGC", gogc)
		debug.SetGCPercent(77)
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			go limitGarbage(ctx, serverGarbage)
			synctest.Wait()
			percent := debug.SetGCPercent(77)
			if limited == (percent == 77) {
				t.Errorf("GOGC=%q: %d %%", gogc, percent)
			}
			cancel()
		})
	}
}

// A tenth of the container's memory is left for what the runtime does not count. No limit stays none.
func TestKeepReserve(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for limit, want := range map[int64]int64{1 << 30: (1 << 30) / 10 * 9, math.MaxInt64: math.MaxInt64} {
		debug.SetMemoryLimit(limit)
		keepReserve()
		if got := debug.SetMemoryLimit(-1); got != want {
			t.Errorf("a limit of %d bytes becomes %d, not %d", limit, got, want)
		}
	}
}
