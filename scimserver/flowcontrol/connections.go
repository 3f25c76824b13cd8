package flowcontrol

import (
	"net"
	"net/netip"
	"sync"
)

// Connections bounds how many connections a listener has open, in all and from one network. Beyond it a new one is closed at
// once: a listener that waited instead would have every other client wait, too.
type Connections struct {
	net.Listener
	total, each int
	proxies     Proxies
	refused     func(from netip.Prefix)

	mu   sync.Mutex
	open int
	from map[netip.Prefix]int
}

// LimitConnections wraps a listener. total bounds all connections, and a quarter of it those from one network that is no
// trusted proxy's. refused is told of each that was closed.
func LimitConnections(listener net.Listener, total int, proxies Proxies, refused func(from netip.Prefix)) *Connections {
	return &Connections{
		Listener: listener, total: total, each: max(1, total/4), proxies: proxies, refused: refused, from: map[netip.Prefix]int{},
	}
}

// Accept returns the next connection within the bounds. The error is the listener's.
func (c *Connections) Accept() (net.Conn, error) {
	for {
		connection, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address := hostAddress(connection.RemoteAddr().String())
		from := Network(address)
		if c.take(from, c.proxies.Trusts(address)) {
			return &counted{Conn: connection, release: sync.OnceFunc(func() { c.release(from) })}, nil
		}
		_ = connection.Close()
		c.refused(from)
	}
}

func (c *Connections) take(from netip.Prefix, trusted bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.total || !trusted && c.from[from] >= c.each {
		return false
	}
	c.open++
	c.from[from]++
	return true
}

func (c *Connections) release(from netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.from[from]--; c.from[from] == 0 {
		delete(c.from, from)
	}
}

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	release func()
}

func (c *counted) Close() error {
	defer c.release()
	return c.Conn.Close()
}
