package flowcontrol

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// What gives access waits for the App's own removals, half a second at most, for another App's a moment, and for none of an App
// that removes users by the dozen.
func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := NewApps(0, DefaultMemory)
		waited := func() time.Duration {
			begun := time.Now()
			apps.BeginCreate(t.Context(), one, limits)()
			return time.Since(begun)
		}
		if got := waited(); got != 0 {
			t.Errorf("waited %s for no removal", got)
		}
		end := apps.BeginRemoval(other, limits)
		if got := waited(); got != yieldOthers {
			t.Errorf("waited %s for another App's removal", got)
		}
		end()
		end = apps.BeginRemoval(one, limits)
		time.AfterFunc(100*time.Millisecond, end)
		if got := waited(); got != 100*time.Millisecond {
			t.Errorf("waited %s for a removal of the App that took 100ms", got)
		}
		end()
		end = apps.BeginRemoval(one, limits)
		if got := waited(); got != yieldOwn {
			t.Errorf("waited %s for a removal of the App without end", got)
		}
		end()
		var ends []func()
		for i := range 2 * fewRemovals {
			ends = append(ends, apps.BeginRemoval(other, limits))
			want := yieldOthers
			if i >= fewRemovals {
				want = 0
			}
			if got := waited(); got != want {
				t.Errorf("waited %s for %d removals of another App, want %s", got, i+1, want)
			}
		}
		for _, end := range ends {
			end()
			end()
		}
		if got := waited(); got != 0 {
			t.Errorf("waited %s after all were over", got)
		}
		if apps.apps[other].removalsUnderWay != 0 || apps.apps[one].underWay != 0 || apps.apps[other].underWay != 0 {
			t.Errorf("left: %+v, %+v", apps.apps[one], apps.apps[other])
		}
	})
}

// While users leave an App, and for a moment after, few creates of it are under way, so that the next leaver waits for few. The others
// wait half a second at most.
func TestFewCreatesWhileUsersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := NewApps(0, DefaultMemory)
		begin := func(name types.NamespacedName) (end func(), waited time.Duration) {
			begun := time.Now()
			end = apps.BeginCreate(t.Context(), name, limits)
			return end, time.Since(begun)
		}
		fill := func(name types.NamespacedName, n int) (ends []func()) {
			t.Helper()
			for i := range n {
				end, waited := begin(name)
				if waited != 0 {
					t.Errorf("create %d of %s waited %s", i+1, name, waited)
				}
				ends = append(ends, end)
			}
			return ends
		}
		endAll := func(ends []func()) {
			for _, end := range ends {
				end()
				end()
			}
		}
		endAll(fill(one, 3*fewCreates))
		apps.BeginRemoval(one, limits)()
		endAll(fill(other, 3*fewCreates))
		ends := fill(one, fewCreates)
		time.AfterFunc(100*time.Millisecond, ends[0])
		end, waited := begin(one)
		if ends = append(ends, end); waited != 100*time.Millisecond {
			t.Errorf("one create more waited %s for the end of another one after 100ms", waited)
		}
		end, waited = begin(one)
		if ends = append(ends, end); waited != yieldOwn {
			t.Errorf("waited %s for creates without end", waited)
		}
		time.Sleep(leaversTogether)
		ends = append(ends, fill(one, 3*fewCreates)...)
		endAll(ends)
		if state := apps.apps[one]; state.creates != 0 || state.underWay != 0 {
			t.Errorf("left: %+v", state)
		}
	})
}

// Apps that send nothing for long are forgotten, and not while a request of theirs is under way.
func TestAppsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := NewApps(0, DefaultMemory)
		enter := func(class Class) (leave func()) {
			leave, err := apps.Enter(t.Context(), one, limits, class, 1)
			if err != nil {
				t.Fatal(err)
			}
			return leave
		}
		leave := enter(LookUp)
		time.Sleep(forgetAfter + time.Minute)
		look := func() {
			leaveOther, err := apps.Enter(t.Context(), other, limits, LookUp, 1)
			if err != nil {
				t.Fatal(err)
			}
			leaveOther()
		}
		look()
		if apps.apps[one] == nil {
			t.Fatal("an App is forgotten while a request of it is under way")
		}
		leave()
		time.Sleep(forgetAfter - time.Minute)
		look()
		if apps.apps[one] == nil {
			t.Error("an App is forgotten too soon, and so is what it sent")
		}
		time.Sleep(2 * time.Minute)
		look()
		if apps.apps[one] != nil {
			t.Error("an App without requests is remembered")
		}
	})
}

// A request counts its weight for other Apps only as long as they are active.
func TestWeightFollowsOtherApps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := NewApps(0, DefaultMemory)
		if got := apps.weight(one, List, 1); got != weights[List].alone {
			t.Errorf("alone: %d", got)
		}
		leave, err := apps.Enter(t.Context(), other, limits, LookUp, 1)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := apps.weight(one, List, 1); got != weights[List].shared {
			t.Errorf("beside a request that is under way: %d", got)
		}
		leave()
		time.Sleep(quietAfter - time.Second)
		if got := apps.weight(one, List, 1); got != weights[List].shared {
			t.Errorf("a moment after one: %d", got)
		}
		time.Sleep(2 * time.Second)
		if got := apps.weight(one, List, 1); got != weights[List].alone {
			t.Errorf("long after one: %d", got)
		}
	})
}

// An edit of an App's limits counts from its next request on.
func TestLimitsMayChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := NewApps(0, DefaultMemory)
		for _, limits := range []Limits{{PerSecond: 25, Burst: 25}, {PerSecond: 100, Burst: 1}} {
			for _, class := range []Class{LookUp, Removal} {
				time.Sleep(time.Minute)
				begun := time.Now()
				for range limits.Burst + 100 {
					leave, err := apps.EnterOperation(t.Context(), one, limits, class, 1)
					if err != nil {
						t.Fatal(err)
					}
					leave()
				}
				want := time.Duration(100 / limits.PerSecond * float64(time.Second))
				if took := time.Since(begun); took < want-50*time.Millisecond || took > want+50*time.Millisecond {
					t.Errorf("%+v, class %d: %s, want %s", limits, class, took, want)
				}
			}
		}
	})
}

// A refused client waits for its answer, so that its connection asks no faster; and of too many, those beyond are told to go at once.
func TestRefusedClientsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps, failures := NewApps(0, DefaultMemory), NewFailures()
		begun := time.Now()
		if !apps.Refused(t.Context()) || time.Since(begun) != holdTime {
			t.Errorf("a refused client has its answer after %s", time.Since(begun))
		}
		var clients sync.WaitGroup
		var held atomic.Int64
		begun = time.Now()
		for range maxHeld + 50 {
			clients.Go(func() {
				if apps.Refused(t.Context()) {
					held.Add(1)
				} else if time.Since(begun) > 0 {
					t.Error("one beyond those that wait was not told at once")
				}
			})
		}
		clients.Wait()
		if held.Load() != maxHeld {
			t.Errorf("%d waited", held.Load())
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		begun = time.Now()
		apps.Refused(ended)
		if time.Since(begun) > 0 {
			t.Error("a client that has gone is waited for")
		}

		for range failuresBurst {
			failures.Failed(t.Context(), guesserAddress)
		}
		begun = time.Now()
		if retry, _ := failures.Failed(t.Context(), guesserAddress); retry != time.Second || time.Since(begun) != holdTime {
			t.Errorf("a guesser is told %s after %s", retry, time.Since(begun))
		}
	})
}

// What is counted is told once a minute, and not where there was no more than one of each.
func TestTallyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tally Tally[string]
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		told := make(chan Summary[string], 10)
		go tally.Summarise(ctx, func(s Summary[string]) { told <- s })
		tally.Add("once")
		time.Sleep(summaryInterval + time.Second)
		for range 3 {
			tally.Add("often")
		}
		tally.Add("once")
		time.Sleep(summaryInterval)
		time.Sleep(summaryInterval)
		if len(told) != 1 {
			t.Fatalf("told %d times", len(told))
		}
		if s := <-told; s != (Summary[string]{Total: 4, Keys: 2, Most: "often", MostTotal: 3}) {
			t.Errorf("told %+v", s)
		}
	})
}

// While the API server is slow, an App with a large burst writes a fifth of a second's worth at once, and what one write costs is paid
// within ten seconds.
func TestPaceBoundsBurstsAndCosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := NewApps(0, DefaultMemory)
		apps.Pace = fixedPace(0.01)
		leaveOther, err := apps.Enter(t.Context(), other, limits, LookUp, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer leaveOther()
		bursting := Limits{PerSecond: 100, Burst: 1000}
		write := func(cost int) time.Duration {
			begun := time.Now()
			leave, err := apps.EnterOperation(t.Context(), one, bursting, Write, cost)
			if err != nil {
				t.Fatal(err)
			}
			leave()
			return time.Since(begun)
		}
		atOnce := 0
		for write(1) == 0 {
			atOnce++
		}
		if atOnce < 19 || atOnce > 21 {
			t.Errorf("%d writes at once", atOnce)
		}
		write(1_000_000)
		if got := write(1); got < 9*time.Second || got > 11*time.Second {
			t.Errorf("the write after one that costs very much waits %s", got)
		}
	})
}

// 64 bits of IPv6 are one source: each customer of an access provider has as many addresses.
func TestAddressesOfOneNetworkAreOneSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := NewFailures()
		ended, cancel := context.WithCancel(t.Context())
		cancel() // no time passes
		answered := 0
		for i := range 2 * failuresBurst {
			if retry, _ := failures.Failed(ended, netip.MustParseAddr(fmt.Sprintf("2001:db8::%x:1", i+1))); retry == 0 {
				answered++
			}
		}
		if answered != failuresBurst {
			t.Errorf("%d of %d addresses were answered as they are", answered, 2*failuresBurst)
		}
	})
}

// Operations of bulk requests take seats as requests do.
func TestOperationsTakeSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps, many := NewApps(0, DefaultMemory), Limits{PerSecond: 1000, Burst: 10000}
		leaveOther, err := apps.Enter(t.Context(), other, many, LookUp, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer leaveOther()
		ctx, cancel := context.WithCancel(t.Context())
		var underWay atomic.Int64
		var clients sync.WaitGroup
		for range operationsAtOnce {
			clients.Go(func() {
				if leave, err := apps.EnterOperation(ctx, one, many, Write, 1); err == nil {
					underWay.Add(1)
					<-ctx.Done()
					leave()
				}
			})
		}
		synctest.Wait()
		if got := underWay.Load(); got != seats/weights[Write].shared {
			t.Errorf("%d operations are under way", got)
		}
		cancel()
		clients.Wait()
	})
}

// A large write takes more seats while another App is active: one at a time, and the App's look-ups go on beside it.
func TestLargeWritesTakeMoreSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps, many := NewApps(0, DefaultMemory), Limits{PerSecond: 1000, Burst: 10000}
		atOnce := func(class Class, cost int) (count int) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			for {
				leave, err := apps.Enter(ctx, one, many, class, cost)
				if err != nil {
					return count
				}
				defer leave()
				count++
			}
		}
		large := 10 * seatCost
		if got := atOnce(Write, large); got != 32 {
			t.Errorf("alone: %d large writes at once", got)
		}
		bystander, err := apps.Enter(t.Context(), other, many, LookUp, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer bystander()
		for _, c := range []struct {
			class      Class
			cost, want int
		}{{Write, 1, 4}, {Write, seatCost - 1, 4}, {Write, seatCost, 2}, {Write, 2 * seatCost, 1}, {Write, 1 << 40, 1}, {Removal, large, 32}, {LookUp, large, 16}} {
			if got := atOnce(c.class, c.cost); got != c.want {
				t.Errorf("class %d of cost %d: %d at once, want %d", c.class, c.cost, got, c.want)
			}
		}
		for _, enter := range []func(context.Context, types.NamespacedName, Limits, Class, int) (func(), error){apps.Enter, apps.EnterOperation} {
			leave, err := enter(t.Context(), one, many, Write, large)
			if err != nil {
				t.Fatal(err)
			}
			if got := atOnce(LookUp, 1); got != 4 {
				t.Errorf("beside a large write: %d look-ups at once", got)
			}
			leave()
		}
	})
}
