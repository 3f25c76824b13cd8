package main

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// growth is by how much the heap may grow before it is collected: by a share of what is in use, Go's own being 1, and by a number of bytes at
// least, so that a small directory's collections cost no more than they save.
type growth struct{ share, least float64 }

// Most of what either process holds is a cache that hardly changes, and would be paid for twice to save a collection now and
// then. The controller holds more for each user, and allocates less: no client reads pages from it.
var (
	serverGarbage     = growth{share: 1.0 / 3, least: 64 << 20}
	controllerGarbage = growth{share: 1.0 / 6, least: 32 << 20}
)

const (
	// garbageInterval is how often the limit is set anew.
	garbageInterval = 250 * time.Millisecond

	liveHeap = "/gc/heap/live:bytes"
)

// limitGarbage has the heap collected by these rules until ctx ends, where GOGC says nothing else, and keeps a reserve below
// GOMEMLIMIT.
func limitGarbage(ctx context.Context, limit growth) {
	keepReserve()
	if os.Getenv("GOGC") != "" {
		return
	}
	ticker := time.NewTicker(garbageInterval)
	defer ticker.Stop()
	sample := []metrics.Sample{{Name: liveHeap}}
	for current := 0; ; {
		metrics.Read(sample)
		if percent := limit.percent(sample[0].Value.Uint64()); percent != current {
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

// percent is GOGC for a heap of so many bytes in use.
func (g growth) percent(live uint64) int {
	const most = 400
	return int(min(100*max(g.share*float64(live), g.least)/float64(max(live, 1)), most))
}

// keepReserve lowers the memory limit by a tenth. GOMEMLIMIT is the container's limit in config/, and the kernel counts
// socket buffers and page tables beside what the runtime knows of. Without GOMEMLIMIT there is no limit.
func keepReserve() {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
}
