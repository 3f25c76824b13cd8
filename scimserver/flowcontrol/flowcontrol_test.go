package flowcontrol

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

var (
	one    = types.NamespacedName{Namespace: "a", Name: "one"}
	other  = types.NamespacedName{Namespace: "b", Name: "other"}
	limits = Limits{PerSecond: 25, Burst: 25}
	// guesserAddress has no valid token.
	guesserAddress = netip.MustParseAddr("192.0.2.66")
)

func reasonOf(err error) string {
	var refusal *RefusalError
	if errors.As(err, &refusal) {
		return refusal.Reason
	}
	return fmt.Sprint(err)
}

// An App beyond its rate is refused with a time that is true, while its removals and other Apps' requests go on.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := NewApps(0, DefaultMemory)
		var refused atomic.Int64
		var retry atomic.Int64
		var clients sync.WaitGroup
		for range 200 {
			clients.Go(func() {
				leave, err := apps.Enter(t.Context(), one, limits, LookUp, 1)
				var refusal *RefusalError
				if errors.As(err, &refusal) {
					refused.Add(1)
					retry.Store(int64(refusal.RetryAfter))
					return
				}
				leave()
			})
		}
		synctest.Wait()
		for _, next := range []struct {
			name  types.NamespacedName
			class Class
		}{{one, Removal}, {other, LookUp}, {other, Removal}} {
			begun := time.Now()
			leave, err := apps.Enter(t.Context(), next.name, limits, next.class, 1)
			if err != nil || time.Since(begun) > 0 {
				t.Errorf("%v of %v: %v after %s", next.class, next.name, err, time.Since(begun))
				continue
			}
			leave()
		}
		clients.Wait()
		// A burst, and what two seconds bring; the rest would wait longer.
		if got := refused.Load(); got != 200-25-50 {
			t.Errorf("%d of 200 were refused", got)
		}
		if wait := time.Duration(retry.Load()); wait <= maxRateWait || wait > maxRateWait+time.Second {
			t.Errorf("told to try again after %s", wait)
		}
		time.Sleep(time.Duration(retry.Load()))
		leave, err := apps.Enter(t.Context(), one, limits, LookUp, 1)
		if err != nil {
			t.Fatalf("after that time: %v", err)
		}
		leave()
	})
}

// The server's own bound goes before what an App asks for.
func TestCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := NewApps(10, DefaultMemory)
		begun := time.Now()
		for range 50 {
			leave, err := apps.Enter(t.Context(), one, Limits{PerSecond: 1000, Burst: 10000}, LookUp, 1)
			if err != nil {
				t.Fatal(err)
			}
			leave()
		}
		if took := time.Since(begun); took < 2900*time.Millisecond || took > 3100*time.Millisecond {
			t.Errorf("50 requests took %s, at ten a second after a burst of 20", took)
		}
	})
}

// Requests of one App under way leave seats for its removals and for other Apps.
func TestSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps, many := NewApps(0, DefaultMemory), Limits{PerSecond: 1000, Burst: 10000}
		bystander, err := apps.Enter(t.Context(), other, many, LookUp, 1) // another App is active
		if err != nil {
			t.Fatal(err)
		}
		defer bystander()
		ctx, cancel := context.WithCancel(t.Context())
		var underWay, most, refused atomic.Int64
		var clients sync.WaitGroup
		for range 400 {
			clients.Go(func() {
				leave, err := apps.Enter(ctx, one, many, Write, 1)
				if err != nil {
					refused.Add(1)
					return
				}
				most.Store(max(most.Load(), underWay.Add(1)))
				<-ctx.Done()
				underWay.Add(-1)
				leave()
			})
		}
		synctest.Wait()
		if got := most.Load(); got != seats/weights[Write].shared {
			t.Errorf("%d writes were under way at once", got)
		}
		if got := refused.Load(); got != 400-maxWaiting-most.Load() {
			t.Errorf("%d were refused at once", got)
		}
		for _, next := range []struct {
			name  types.NamespacedName
			class Class
		}{{one, Removal}, {other, Write}, {other, List}, {other, Removal}} {
			begun := time.Now()
			leave, err := apps.Enter(t.Context(), next.name, many, next.class, 1)
			if err != nil || time.Since(begun) > 0 {
				t.Errorf("%v of %v: %v after %s", next.class, next.name, err, time.Since(begun))
				continue
			}
			leave()
		}
		if _, err := apps.Enter(t.Context(), one, many, LookUp, 1); reasonOf(err) != ReasonConcurrency {
			t.Errorf("one more is answered %v", err)
		}
		cancel()
		clients.Wait()
		leave, err := apps.Enter(t.Context(), one, many, List, 1)
		if err != nil {
			t.Fatalf("seats were lost: %v", err)
		}
		leave()
		if apps.apps[one].waiting != 0 || apps.apps[one].underWay != 0 {
			t.Errorf("%+v after all have left", apps.apps[one])
		}
	})
}

// A bulk request that removes access does not wait for those that do not, and its operations wait for the App's rate.
func TestBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := NewApps(0, DefaultMemory)
		for range bulksAtOnce {
			leave, err := apps.EnterBulk(t.Context(), one, limits, false)
			if err != nil {
				t.Fatal(err)
			}
			defer leave()
		}
		leave, err := apps.EnterBulk(t.Context(), one, limits, true)
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		if _, err := apps.EnterBulk(t.Context(), one, limits, false); reasonOf(err) != ReasonConcurrency {
			t.Errorf("one more is answered %v", err)
		}
		begun := time.Now()
		for range 125 {
			leave, err := apps.EnterOperation(t.Context(), one, limits, Write, 1)
			if err != nil {
				t.Fatal(err)
			}
			leave()
		}
		if took := time.Since(begun); took < 3900*time.Millisecond || took > 4100*time.Millisecond {
			t.Errorf("125 operations took %s, at 25 a second after a burst of 25", took)
		}
		begun = time.Now()
		leaveRemoval, err := apps.EnterOperation(t.Context(), one, limits, Removal, 1)
		if err != nil || time.Since(begun) > 0 {
			t.Fatalf("a removal: %v after %s", err, time.Since(begun))
		}
		leaveRemoval()
	})
}

// Memory is bounded for an App and in all, and comes back.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := NewApps(0, DefaultMemory)
		var releases []func()
		for range 4 {
			release, err := apps.Hold(t.Context(), one, limits, 16<<20)
			if err != nil {
				t.Fatal(err)
			}
			releases = append(releases, release)
		}
		if _, err := apps.Hold(t.Context(), one, limits, 1<<20); reasonOf(err) != ReasonMemory {
			t.Errorf("more than an App may hold is answered %v", err)
		}
		if _, err := apps.Hold(t.Context(), one, limits, smallBody); err != nil {
			t.Errorf("a small body: %v", err)
		}
		release, err := apps.Hold(t.Context(), other, limits, 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		for _, release := range append(releases, release) {
			release()
			release()
		}
		if !apps.memory.TryAcquire(DefaultMemory) {
			t.Error("memory was lost")
		}
	})
}

// All operations of an App's bulk requests together wait in a short line, so that its other requests do not wait behind them.
func TestOperationsWaitInAShortLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := NewApps(0, DefaultMemory)
		ctx, cancel := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for range 4 * 16 {
			clients.Go(func() {
				for ctx.Err() == nil {
					if leave, err := apps.EnterOperation(ctx, one, limits, Write, 1); err == nil {
						leave()
					}
				}
			})
		}
		time.Sleep(10 * time.Second)
		begun := time.Now()
		leave, err := apps.Enter(t.Context(), one, limits, Write, 1)
		if err != nil || time.Since(begun) > time.Second {
			t.Errorf("another write of the App: %v after %s", err, time.Since(begun))
		} else {
			leave()
		}
		cancel()
		clients.Wait()
	})
}
