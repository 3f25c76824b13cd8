package bystander

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// Fill creates users in the attacker's App through SCIM, each with so many bytes of text, and returns when all are there. It
// fails with the first request that does.
func (t *Tenant) Fill(ctx context.Context, users, bytes int) error {
	scim := t.client(t.Token)
	scim.Retries = 20
	defer scim.Close()
	text := strings.Repeat("x", bytes)
	return parallel(ctx, 8, func(ctx context.Context, next func() int) error {
		for i := next(); i < users && ctx.Err() == nil; i = next() {
			profile := okta.NewProfile(fmt.Sprintf("filler.%06d@example.com", i))
			profile.Custom = okta.ObjectOf("note", text)
			if _, err := scim.Create(ctx, okta.Assign(profile)); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

// parallel runs work in so many goroutines, which share a counter, and joins their errors.
func parallel(ctx context.Context, workers int, work func(ctx context.Context, next func() int) error) error {
	var counter atomic.Int64
	next := func() int { return int(counter.Add(1)) - 1 }
	errs := make([]error, workers)
	var running sync.WaitGroup
	for i := range workers {
		running.Go(func() { errs[i] = work(ctx, next) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// elsewhere is another source address than other clients on this machine have.
var elsewhere = &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}

// repeat is an attack by so many clients, each of which sends one request after the other, whatever the answer.
func repeat(clients int, url, authorization string, request func(i int) (method, path, body string)) Attack {
	return func(ctx context.Context) error {
		transport := &http.Transport{MaxIdleConnsPerHost: clients, DialContext: elsewhere.DialContext}
		defer transport.CloseIdleConnections()
		var sent atomic.Int64
		err := parallel(ctx, clients, func(ctx context.Context, next func() int) error {
			for ctx.Err() == nil {
				method, path, body := request(next())
				r, err := http.NewRequestWithContext(ctx, method, url+path, bytes.NewReader([]byte(body)))
				if err != nil {
					return err
				}
				r.Header.Set("Authorization", authorization)
				r.Header.Set("Content-Type", "application/scim+json")
				sent.Add(1)
				response, err := transport.RoundTrip(r)
				if err != nil {
					continue // cut off: that is the server's right
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
			return nil
		})
		if int(sent.Load()) < clients {
			err = errors.Join(err, errors.New("not every client of the attack sent a request"))
		}
		return err
	}
}

// ScanFilters sends filters that look at every user of the tenant's App.
func (t *Tenant) ScanFilters(clients int) Attack {
	return repeat(clients, t.URL+"/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		filter := fmt.Sprintf(`name.familyName co "nobody-%d" and (displayName ew "x" or title sw "y")`, i)
		return http.MethodGet, "/Users?filter=" + okta.Escape(filter) + "&count=1000", ""
	})
}

// Sorts sends lists sorted by attributes that have no index.
func (t *Tenant) Sorts(clients int) Attack {
	attributes := []string{"title", "nickName", "locale", "timezone", "displayName", "name.givenName", "name.familyName", "userType"}
	return repeat(clients, t.URL+"/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		return http.MethodGet, "/Users?count=1000&filter=" + okta.Escape("active eq true") + "&sortBy=" + attributes[i%len(attributes)], ""
	})
}

// BulkClients create users by bulk requests of 1,000 operations.
func (t *Tenant) BulkClients(clients int) Attack {
	return repeat(clients, t.URL+"/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		var b strings.Builder
		b.WriteString(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[`)
		for n := range 1000 {
			if n > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"method":"POST","bulkId":"b%d","path":"/Users","data":{"schemas":[%q],"userName":"bulk.%d.%d@example.com","active":true}}`, n, okta.SchemaUser, i, n)
		}
		b.WriteString(`]}`)
		return http.MethodPost, "/Bulk", b.String()
	})
}

// Creates post users one by one.
func (t *Tenant) Creates(clients int) Attack {
	return repeat(clients, t.URL+"/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		return http.MethodPost, "/Users", fmt.Sprintf(`{"schemas":[%q],"userName":"create.%d@example.com","active":true}`, okta.SchemaUser, i)
	})
}

// WrongTokens guesses tokens.
func (t *Tenant) WrongTokens(clients int) Attack {
	return repeat(clients, t.URL+"/scim/v2", "Bearer scim_wrong", func(int) (method, path, body string) {
		return http.MethodGet, "/Users?startIndex=1&count=2", ""
	})
}

// DeepJSON posts users with so many levels of nesting.
func (t *Tenant) DeepJSON(clients, depth int) Attack {
	nested := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
	return repeat(clients, t.URL+"/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		return http.MethodPost, "/Users", fmt.Sprintf(`{"schemas":[%q],"userName":"deep.%d@example.com","x":%s}`, okta.SchemaUser, i, nested)
	})
}

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

func sleep(ctx context.Context, duration time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(duration):
	}
}
