package flowcontrol

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
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
		if _, err := apps.Hold(t.Context(), one, limits, SmallBody); err != nil {
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

// A source without a valid token is backed off; another one is not, and a flood of sources takes no memory.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := NewFailures()
		guesser, client := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		answered := 0
		for i := range 150 {
			retry, first := failures.Failed(t.Context(), guesser)
			if first != (i == 0) {
				t.Errorf("failure %d is the first: %t", i, first)
			}
			if retry == 0 {
				answered++
			}
		}
		if answered < failuresBurst || answered == 150 {
			t.Errorf("%d of 150 were answered as they are", answered)
		}
		if retry, first := failures.Failed(t.Context(), client); retry != 0 || !first {
			t.Errorf("another source: %s, %t", retry, first)
		}
		if s := failures.Tally.take(); s.Total != 151 || s.Keys != 2 || s.Most.Addr() != guesser || s.MostTotal != 150 {
			t.Errorf("the summary is %+v", s)
		}
		address := netip.MustParseAddr("2001:db8::")
		for range 3 * maxSources {
			bytes := address.As16()
			for at := 7; at >= 4; at-- { // the next 64 bits' network
				if bytes[at]++; bytes[at] != 0 {
					break
				}
			}
			address = netip.AddrFrom16(bytes)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			failures.Failed(ctx, address)
		}
		if got := failures.sources.Len(); got > maxSources {
			t.Errorf("%d sources are remembered", got)
		}
		if got := len(failures.Tally.counted); got > maxKeys {
			t.Errorf("%d sources are counted", got)
		}
		if retry, _ := failures.Failed(t.Context(), netip.MustParseAddr("198.51.100.1")); retry == 0 {
			t.Error("all sources together are not backed off")
		}
	})
}

// X-Forwarded-For counts from trusted proxies only, and what a client wrote into it never does.
func TestClientAddress(t *testing.T) {
	proxies, err := ParseProxies([]string{"10.0.0.0/8", "2001:db8::/32", "192.0.2.7"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseProxies([]string{"10.0.0.0/8", "ten"}); err == nil {
		t.Error("a network that is none was taken")
	}
	for _, c := range []struct {
		remote string
		header []string
		want   string
	}{
		{"198.51.100.9:1", nil, "198.51.100.9"},
		{"198.51.100.9:1", []string{"1.2.3.4"}, "198.51.100.9"},
		{"10.1.1.1:1", []string{"1.2.3.4"}, "1.2.3.4"},
		{"10.1.1.1:1", []string{"6.6.6.6, 1.2.3.4"}, "1.2.3.4"},
		{"10.1.1.1:1", []string{"6.6.6.6", "1.2.3.4, 10.2.2.2"}, "1.2.3.4"},
		{"[::ffff:10.1.1.1]:1", []string{"[2001:db9::1]:443"}, "2001:db9::1"},
		{"[2001:db8::5]:1", []string{"1.2.3.4:5678, 192.0.2.7"}, "1.2.3.4"},
		{"10.1.1.1:1", []string{"1.2.3.4, unknown"}, "10.1.1.1"},
		{"10.1.1.1:1", []string{""}, "10.1.1.1"},
		{"10.1.1.1:1", nil, "10.1.1.1"},
		{"10.1.1.1:1", []string{"10.3.3.3"}, "10.3.3.3"},
	} {
		request := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		for _, value := range c.header {
			request.Header.Add("X-Forwarded-For", value)
		}
		request.Header.Set("Forwarded", "for=6.6.6.6")
		request.Header.Set("X-Real-Ip", "6.6.6.6")
		if got := proxies.ClientAddress(request); got != netip.MustParseAddr(c.want) {
			t.Errorf("%s %q: %s, want %s", c.remote, c.header, got, c.want)
		}
		if got := (Proxies{}).ClientAddress(request); got != hostAddress(c.remote) {
			t.Errorf("%s %q, no proxy trusted: %s", c.remote, c.header, got)
		}
	}
}

// One address has a quarter of the connections, unless it is a proxy's; those beyond are closed, and room comes back.
func TestConnections(t *testing.T) {
	for _, c := range []struct {
		proxies []string
		want    int
	}{{nil, 2}, {[]string{"127.0.0.0/8"}, 8}} {
		proxies, err := ParseProxies(c.proxies)
		if err != nil {
			t.Fatal(err)
		}
		inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = inner.Close() }()
		refused, accepted := make(chan netip.Prefix, 100), make(chan net.Conn, 100)
		listener := LimitConnections(inner, 8, proxies, func(from netip.Prefix) { refused <- from })
		go func() {
			for {
				connection, err := listener.Accept()
				if err != nil {
					return
				}
				accepted <- connection
			}
		}()
		dial := func() net.Conn {
			connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", inner.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = connection.Close() })
			return connection
		}
		for range 12 {
			dial()
		}
		for range 12 - c.want {
			<-refused
		}
		first := <-accepted
		for range c.want - 1 {
			<-accepted
		}
		_ = first.Close()
		_ = first.Close()
		dial()
		if next := <-accepted; next == nil {
			t.Error("no room came back")
		}
		if listener.open != c.want {
			t.Errorf("%d are open, want %d", listener.open, c.want)
		}
	}
}

type fixedPace float64

func (p fixedPace) Share() float64 { return float64(p) }

// While the API server is slow, an App's writes and lists slow down beside another App, and its removals apart from those; never
// below what an identity provider sends, and not where the App is alone.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		name   string
		share  float64
		beside bool
		class  Class
		cost   int
		limit  float64
		want   int // a second
	}{
		{"alone", 0.1, false, Write, 1, 200, 200},
		{"a fast API server", 1, true, Write, 1, 200, 200},
		{"half", 0.5, true, Write, 1, 200, 100},
		{"the least of an ordinary App", 0.01, true, Write, 1, 50, leastPerSecond},
		{"the least of an App with a high limit", 0.01, true, Write, 1, 200, 50},
		{"an App with the lowest limit", 0.01, true, Write, 1, 25, 25},
		{"large writes", 0.01, true, Write, 5, 50, leastPerSecond / 5},
		{"large writes alone", 0.01, false, Write, 5, 200, 200},
		{"large writes and a fast API server", 1, true, Write, 5, 200, 200},
		{"lists", 0.01, true, List, 1, 50, leastPerSecond},
		{"look-ups", 0.01, true, LookUp, 1, 200, 200},
		{"removals", 0.01, true, Removal, 1, 50, leastPerSecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				apps := NewApps(0, DefaultMemory)
				apps.Pace = fixedPace(c.share)
				if c.beside {
					leave, err := apps.Enter(t.Context(), other, limits, LookUp, 1)
					if err != nil {
						t.Fatal(err)
					}
					defer leave()
				}
				const seconds = 10
				begun, count := time.Now(), 0
				for time.Since(begun) < seconds*time.Second {
					enter := apps.EnterOperation
					if count%2 == 0 {
						enter = apps.Enter
					}
					leave, err := enter(t.Context(), one, Limits{PerSecond: c.limit, Burst: 5}, c.class, c.cost)
					if err != nil {
						t.Fatal(err)
					}
					leave()
					count++
				}
				if got := count / seconds; got < c.want-1 || got > c.want+1 {
					t.Errorf("%d a second", got)
				}
			})
		})
	}
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
