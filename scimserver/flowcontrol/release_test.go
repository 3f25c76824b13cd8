package flowcontrol

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A request that gives up gives back what it had by then.
func TestWhoGivesUpHoldsNothing(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			apps := NewApps(0, appMemory)
			release, err := apps.Hold(t.Context(), one, limits, appMemory-smallBody)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := apps.Hold(t.Context(), other, limits, appMemory/2); reasonOf(err) != ReasonMemory {
				t.Errorf("more than there is in all: %v", err)
			}
			release()
			release, err = apps.Hold(t.Context(), other, limits, appMemory)
			if err != nil {
				t.Fatalf("all that an App may hold, while nothing is held: %v", err)
			}
			release()
		})
	})
	t.Run("turn of a scan", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			apps := NewApps(0, DefaultMemory)
			apps.scans = newScanSharesOf(1)
			if !apps.scans.processors.TryAcquire(1) {
				t.Fatal("no processor is free")
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			scan := apps.Scan(ctx, one, limits)
			var err error
			for err == nil {
				err = scan.Step()
			}
			if !scan.state.slices.TryAcquire(1) {
				t.Errorf("the turn is still held after %v", err)
			}
			scan.End()
		})
	})
}

// A scan ends when it has had the processor time that one request may have, however often it made way for others.
func TestScanBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scan := NewApps(0, DefaultMemory).Scan(t.Context(), one, limits)
		defer scan.End()
		begun := time.Now()
		var err error
		for err == nil && time.Since(begun) < 2*scanBudget {
			err = scan.Step()
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(begun); reasonOf(err) != ReasonBudget || took < scanBudget {
			t.Errorf("ended after %s: %v", took, err)
		}
	})
}
