package main

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// serverGarbage and controllerGarbage are by what part of what is in use the heap may grow before it is collected: Go's own is 1.
	// Most of what either process holds is a cache that hardly changes, and would be paid for twice to save a collection now and
	// then. The controller holds more for each user, and allocates less: no client reads pages from it.
	serverGarbage     = 1.0 / 3
	controllerGarbage = 1.0 / 5
	// leastGarbage is how much it may always grow, in bytes: in a small directory that costs no more than it saves.
	leastGarbage = 64 << 20
	// garbageInterval is how often the limit is set anew.
	garbageInterval = time.Second

	liveHeap = "/gc/heap/live:bytes"
)

// limitGarbage has the heap collected by these rules until ctx ends, where GOGC says nothing else, and keeps a reserve below
// GOMEMLIMIT.
func limitGarbage(ctx context.Context, share float64) {
	keepReserve()
	if os.Getenv("GOGC") != "" {
		return
	}
	ticker := time.NewTicker(garbageInterval)
	defer ticker.Stop()
	sample := []metrics.Sample{{Name: liveHeap}}
	for current := 0; ; {
		metrics.Read(sample)
		if percent := garbagePercent(sample[0].Value.Uint64(), share); percent != current {
			debug.SetGCPercent(percent)
			current = percent
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// garbagePercent is GOGC for a heap of so many bytes in use.
func garbagePercent(live uint64, share float64) int {
	const most = 400
	growth := max(share*float64(live), leastGarbage)
	return int(min(100*growth/float64(max(live, 1)), most))
}

// keepReserve lowers the memory limit by a tenth. GOMEMLIMIT is the container's limit in config/, and the kernel counts
// socket buffers and page tables beside what the runtime knows of. Without GOMEMLIMIT there is no limit.
func keepReserve() {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
}
