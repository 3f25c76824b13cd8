package flowcontrol

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Scans of one App, however many, take turns with another App's: that one has half of the processor.
func TestScansTakeTurns(t *testing.T) {
	apps := NewApps(0, DefaultMemory)
	apps.scans = newScanSharesOf(1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var scans sync.WaitGroup
	var theirs atomic.Int64 // turns
	run := func(scan *Scan, steps int, turns *atomic.Int64) (err error) {
		defer scan.End()
		for i := 0; i < steps && err == nil; i++ {
			worked := scan.begun
			if err = scan.Step(); scan.begun != worked {
				turns.Add(1)
			}
			spin(20 * time.Microsecond)
		}
		return err
	}
	for range 16 {
		scans.Go(func() { _ = run(apps.Scan(ctx, one, limits), 1<<30, &theirs) })
	}
	for theirs.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	var own atomic.Int64
	before := theirs.Load()
	if err := run(apps.Scan(t.Context(), other, limits), 3000, &own); err != nil {
		t.Error(err)
	}
	between := theirs.Load() - before
	cancel()
	scans.Wait()
	if own.Load() < 3 || between > 2*own.Load()+2 { // not sixteen times as many
		t.Errorf("the other App had %d turns while 16 scans of one had %d", own.Load(), between)
	}
}

func spin(d time.Duration) {
	for begun := time.Now(); time.Since(begun) < d; {
		runtime.Gosched()
	}
}

// A scan ends with its request's context, and with its budget.
func TestScanEnds(t *testing.T) {
	apps := NewApps(0, DefaultMemory)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	scan := apps.Scan(ctx, one, limits)
	steps := 0
	for scan.Step() == nil {
		if steps++; steps == 5000 {
			cancel()
		}
	}
	scan.End()
	if steps < 5000 || steps > 5000+checkSteps {
		t.Errorf("ended after %d steps", steps)
	}
	scan = apps.Scan(t.Context(), one, limits)
	defer scan.End()
	scan.used = scanBudget + 1
	var err error
	for range freeSteps + checkSteps {
		err = errors.Join(err, scan.Step())
	}
	if reasonOf(err) != ReasonBudget {
		t.Errorf("beyond the budget: %v", err)
	}
	if !apps.scans.processors.TryAcquire(max(1, int64(runtime.GOMAXPROCS(0)/2))) {
		t.Error("a scan that has ended kept its turn")
	}
}
