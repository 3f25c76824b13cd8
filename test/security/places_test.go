package security_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/bystander"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// What clients hold that keep their connections open: it is counted, and not timed, so that it does not depend on the machine.

// from is a dialer with a source address of its own.
func from(last byte) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, last)}}
}

func address() string { return strings.TrimPrefix(operator.Server.URL, "http://") }

// metric reads a number that a process exports; parts are in its line. It is 0 where there is none.
func metric(t testing.TB, of *localoperator.Process, name string, parts ...string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, of.MetricsURL+"/metrics", nil)
	must(t, err)
	answer, err := http.DefaultClient.Do(request)
	must(t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
lines:
	for line := range strings.Lines(string(text)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if series != name && !strings.HasPrefix(series, name+"{") {
			continue
		}
		for _, part := range parts {
			if !strings.Contains(series, part) {
				continue lines
			}
		}
		count, err := strconv.ParseFloat(value, 64)
		must(t, err)
		return int(count)
	}
	return 0
}

// refusals counts those of the attacker's App for a reason.
func (n *attacker) refusals(t testing.TB, reason string) int {
	t.Helper()
	return metric(t, operator.Server, "scim_operator_refused_requests_total", `namespace="`+n.Namespace+`"`, `reason="`+reason+`"`)
}

// unlimited is an attacker without a limit of its rate, with so many users.
func unlimited(t *testing.T, users, bytes int) *attacker {
	t.Helper()
	tenant, err := bystander.NewTenant(t.Context(), operator.Server.URL, operator.Env.Client, func(spec *v1alpha1.AppSpec) {
		spec.Limits = harness.Unlimited()
	})
	must(t, err)
	must(t, tenant.Fill(t.Context(), users, bytes))
	return &attacker{tenant}
}

// busy is a bystander that sends a look-up five times a second until the test ends, each of which must be answered.
func busy(t *testing.T) *bystander.Bystander {
	t.Helper()
	other, err := bystander.New(t.Context(), operator.Server.URL, operator.Env.Client)
	must(t, err)
	ask := func(ctx context.Context) error {
		answer, err := other.SCIM.Do(ctx, http.MethodGet, "/Users?startIndex=1&count=2", nil)
		if err == nil {
			err = answer.ExpectStatus(http.StatusOK)
		}
		return err
	}
	must(t, ask(t.Context()))
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		for ctx.Err() == nil {
			if err := ask(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("the bystander's look-up: %v", err)
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	t.Cleanup(func() { stop(); asking.Wait() })
	return other
}

// While another App is active, an App has four pages under way, whatever its clients do. A client that does not read its page is cut
// off, and its place is the next one's. A client that waits for a place for too long is told when to come again. The pages of all clients
// together are more than a gigabyte, of which the server holds little.
func TestClientsThatDoNotRead(t *testing.T) {
	const clients, places, mostMemory = 100, 4, 200 << 20
	tenant := unlimited(t, 200, 60_000)
	_ = busy(t)
	grown := memoryGrowth(t, operator.Server.Pid())
	ctx, stop := context.WithCancel(t.Context())
	begun, refused := make(chan time.Time, 1000), make(chan *http.Response, 1000)
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for ctx.Err() == nil {
				tenant.takeNothing(ctx, begun, refused)
			}
		})
	}
	defer running.Wait()
	defer stop()

	pages := make([]time.Time, 0, places+1)
	for len(pages) <= places {
		select {
		case page := <-begun:
			pages = append(pages, page)
		case <-time.After(patience):
			t.Fatalf("%d pages were begun, and no more of them in %s: the clients are not cut off", len(pages), patience)
		}
	}
	// The server waits for ten seconds for a client before it cuts it off.
	if apart := pages[places].Sub(pages[0]); apart < 5*time.Second {
		t.Errorf("%d pages of one App are under way, %d at most should be", places+1, places)
	} else {
		t.Logf("the fifth page was begun %s after the first", apart.Round(time.Millisecond))
	}
	if tenant.refusals(t, "stalled") == 0 {
		t.Error("no metric tells of the clients that were cut off")
	}
	select {
	case answer := <-refused:
		seconds, err := strconv.Atoi(answer.Header.Get("Retry-After"))
		if answer.StatusCode != http.StatusTooManyRequests || err != nil || seconds < 1 {
			t.Errorf("a client that waits is answered %d, Retry-After %q", answer.StatusCode, answer.Header.Get("Retry-After"))
		}
	case <-time.After(patience):
		t.Fatalf("%d clients wait for %d places, and none is refused in %s", clients, places, patience)
	}
	if tenant.refusals(t, "concurrency") == 0 {
		t.Error("no metric tells of the clients that found no place")
	}
	if grew := grown(); grew > mostMemory {
		t.Errorf("the server's memory grew by %d MiB", grew>>20)
	} else {
		t.Logf("the server's memory grew by %d MiB", grew>>20)
	}
}

// memoryGrowth watches the resident set of a process, and returns what tells by how many bytes it has grown at its largest. It is 0 on
// systems without /proc.
func memoryGrowth(t *testing.T, pid int) func() int64 {
	t.Helper()
	resident := func() int64 {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return 0
		}
		var size, pages int64
		if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
			t.Error(err)
		}
		return pages * int64(os.Getpagesize())
	}
	before := resident()
	var largest atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			largest.Store(max(largest.Load(), resident()))
			time.Sleep(20 * time.Millisecond)
		}
	})
	t.Cleanup(func() { stop(); watching.Wait() })
	return func() int64 { return max(largest.Load(), resident()) - before }
}

// takeNothing asks for the largest page, tells when it begins, and reads no further, until the server closes the connection. It tells
// any other answer, too.
func (n *attacker) takeNothing(ctx context.Context, begun chan<- time.Time, refused chan<- *http.Response) {
	connection, err := from(5).DialContext(ctx, "tcp", address())
	if err != nil {
		return
	}
	stopped := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stopped()
	defer func() { _ = connection.Close() }()
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10)
	}
	request := "GET /scim/v2/Users?count=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + n.Token + "\r\n\r\n"
	if _, err := io.WriteString(connection, request); err != nil {
		return
	}
	answer, err := http.ReadResponse(bufio.NewReaderSize(connection, 64), nil)
	if err != nil {
		time.Sleep(100 * time.Millisecond)
		return
	}
	if answer.StatusCode != http.StatusOK {
		refused <- answer
		return
	}
	begun <- time.Now()
	for err == nil { // writing fails soon after the server has closed
		time.Sleep(200 * time.Millisecond)
		_, err = io.WriteString(connection, request)
	}
}

// Bodies of one App hold 64 MiB, of which each takes four times its length: what is beyond is told to come again, and takes no room of
// another App. A client that stops to send is told so.
func TestClientsThatDoNotSend(t *testing.T) {
	const clients, places = 12, 4
	tenant := unlimited(t, 1, 10)
	other := busy(t)
	head := "POST /scim/v2/Bulk HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tenant.Token +
		"\r\nContent-Type: application/scim+json\r\nContent-Length: 4000000\r\n\r\n{\"schemas\":["
	ctx, stop := context.WithCancel(t.Context())
	dripping, stopDripping := context.WithCancel(ctx)
	answers := make(chan int, clients)
	var running sync.WaitGroup
	for range clients {
		running.Go(func() { send(ctx, dripping, head, answers) })
	}
	defer running.Wait()
	defer stop()
	defer stopDripping()

	expect := func(count, status int, limit time.Duration) {
		t.Helper()
		end := time.After(limit)
		for i := range count {
			select {
			case got := <-answers:
				if got != status {
					t.Fatalf("answer %d of %d is %d, want %d", i+1, count, got, status)
				}
			case <-end:
				t.Fatalf("%d clients were answered %d within %s, want %d", i, status, limit, count)
			}
		}
	}
	expect(clients-places, http.StatusTooManyRequests, patience)
	if got := tenant.refusals(t, "memory"); got != clients-places {
		t.Errorf("the metric counts %d refusals for memory", got)
	}
	bulk := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[` + strings.Repeat(" ", 200_000) +
		`{"method":"POST","bulkId":"one","path":"/Users","data":{"schemas":["` + okta.SchemaUser + `"],"userName":"large@example.com"}}]}`
	answer, err := other.SCIM.Do(t.Context(), http.MethodPost, "/Bulk", []byte(bulk))
	must(t, err)
	if err := answer.ExpectStatus(http.StatusOK); err != nil {
		t.Errorf("a large body of another App: %v", err)
	}
	select {
	case got := <-answers:
		t.Errorf("one more client is answered %d: less than four bodies are held", got)
	default:
	}
	stopDripping()
	expect(places, http.StatusRequestTimeout, 2*patience) // ten seconds without a byte; a whole body may take a minute
	if got := tenant.refusals(t, "stalled"); got != places {
		t.Errorf("the metric counts %d stalled clients", got)
	}
}

// send sends the beginning of a request and then a byte a second, and tells the status of the answer.
func send(ctx, dripping context.Context, head string, answers chan<- int) {
	connection, err := from(6).DialContext(ctx, "tcp", address())
	if err != nil {
		answers <- 0
		return
	}
	stopped := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stopped()
	defer func() { _ = connection.Close() }()
	if _, err := io.WriteString(connection, head); err != nil {
		answers <- 0
		return
	}
	go func() {
		for err := error(nil); dripping.Err() == nil && err == nil; {
			time.Sleep(time.Second)
			_, err = io.WriteString(connection, " ")
		}
	}()
	answer, failed := http.ReadResponse(bufio.NewReader(connection), nil)
	if failed != nil {
		answers <- 0
		return
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	answers <- answer.StatusCode
}

// One network has a quarter of the server's connections, another one gets its own, and a connection without a whole header does not stay.
func TestConnectionsOfOneNetwork(t *testing.T) {
	const places, beyond = 2048 / 4, 100
	other, err := bystander.New(t.Context(), operator.Server.URL, operator.Env.Client)
	must(t, err)
	refused := func() int { return metric(t, operator.Server, "scim_operator_refused_connections_total") }
	before := refused()
	ctx, stop := context.WithCancel(t.Context())
	closed := make(chan struct{}, places+beyond)
	var running sync.WaitGroup
	for i := range places + beyond {
		connection, err := from(4).DialContext(ctx, "tcp", address())
		must(t, err)
		running.Go(func() {
			_, _ = connection.Read(make([]byte, 1)) // nothing is answered
			closed <- struct{}{}
			_ = connection.Close()
		})
		context.AfterFunc(ctx, func() { _ = connection.Close() })
		if i%2 == 0 {
			go drip(connection)
		}
	}
	defer running.Wait()
	defer stop()
	harness.Eventually(t, patience, "the refusal of what is beyond a quarter", func(context.Context) error {
		if got := refused() - before; got < beyond {
			return fmt.Errorf("%d connections were refused", got)
		}
		return nil
	})
	fresh := other.SCIM
	fresh.Close()
	answer, err := fresh.Do(t.Context(), http.MethodGet, "/Users?startIndex=1&count=2", nil)
	must(t, err)
	must(t, answer.ExpectStatus(http.StatusOK))
	if got := refused() - before; got != beyond {
		t.Errorf("%d connections were refused, want %d", got, beyond)
	}
	end := time.After(2 * patience) // a header may take ten seconds, a request a minute
	for i := range places + beyond {
		select {
		case <-closed:
		case <-end:
			t.Fatalf("%d of %d connections are closed", i, places+beyond)
		}
	}
}

// drip sends a line of a header that never ends every second, until the connection is closed.
func drip(connection net.Conn) {
	_, err := io.WriteString(connection, "GET /scim/v2/Users HTTP/1.1\r\nHost: x\r\n")
	for !errors.Is(err, net.ErrClosed) && err == nil {
		time.Sleep(time.Second)
		_, err = io.WriteString(connection, "X-Padding: x\r\n")
	}
}
