package flowcontrol

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
)

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

// A connection that is closed makes room for one more from its network, and what has none open is forgotten.
func TestRoomOfClosedConnections(t *testing.T) {
	c := LimitConnections(nil, 8, Proxies{}, nil)
	one, another := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/64")
	taken := func(from netip.Prefix) (count int) {
		for c.take(from, false) {
			count++
		}
		return count
	}
	if got := taken(one); got != 2 {
		t.Errorf("%d are taken of one network", got)
	}
	for range 3 {
		c.release(one)
		if got := taken(one); got != 1 {
			t.Errorf("%d are taken in the place of one", got)
		}
	}
	if got := taken(another); got != 2 {
		t.Errorf("%d are taken of another network", got)
	}
	for _, from := range []netip.Prefix{one, one, another, another} {
		c.release(from)
	}
	if c.open != 0 || len(c.from) != 0 {
		t.Errorf("%d are open, and %v remembered", c.open, c.from)
	}
}
