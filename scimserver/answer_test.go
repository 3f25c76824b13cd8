package scimserver

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/scimserver/flowcontrol"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// serveExchange serves one handler over TCP, as ServeHTTP does.
func serveExchange(t *testing.T, limit time.Duration, handle func(*exchange) error) (address string, ended chan *exchange) {
	t.Helper()
	ended = make(chan *exchange, 1)
	owner := &Server{apps: flowcontrol.NewApps(0, flowcontrol.DefaultMemory)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{request: r, writer: w, log: logr.Discard(), server: owner, begun: time.Now(), progress: limit}
		x.credential.app = types.NamespacedName{Namespace: "test", Name: "app"}
		x.limits = flowcontrol.Limits{PerSecond: 1000, Burst: 1000}
		if err := handle(x); err != nil {
			x.fail(err)
		}
		x.finish()
		ended <- x
		if x.aborted {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.Listener.Addr().String(), ended
}

func dial(t *testing.T, address, request string) *net.TCPConn {
	t.Helper()
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	tcp, ok := connection.(*net.TCPConn)
	if !ok {
		t.Fatalf("a %T", connection)
	}
	if _, err := io.WriteString(connection, request); err != nil {
		t.Fatal(err)
	}
	return tcp
}

// pageOfBytes is so many resources of so many bytes each; held is told what the writer has in memory before each.
func pageOfBytes(count, size int, held func(int)) page {
	resource := []byte(`"` + strings.Repeat("x", size-2) + `"`)
	return page{count: count, write: func(w *answerWriter, _ int) error {
		held(cap(w.buffer))
		_, err := w.Write(resource)
		return err
	}}
}

// A client that does not read is cut off, and the answer that it asked for is in memory by parts only.
func TestStalledReader(t *testing.T) {
	const resources, size = 1000, 100 << 10
	most, written := 0, 0
	address, ended := serveExchange(t, 300*time.Millisecond, func(x *exchange) error {
		return x.answerPage(protocol.ListResponse{TotalResults: resources, StartIndex: 1}, pageOfBytes(resources, size, func(held int) {
			most = max(most, held)
			written++
		}))
	})
	_ = dial(t, address, "GET /Users HTTP/1.1\r\nHost: x\r\n\r\n").SetReadBuffer(4 << 10)
	select {
	case x := <-ended:
		if !x.aborted || x.written >= resources*size {
			t.Errorf("aborted %t after %d bytes", x.aborted, x.written)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the answer still waits for its client")
	}
	if written == resources {
		t.Error("all of the answer was made for a client that reads none of it")
	}
	if most > 2*(wholeAnswer+size) {
		t.Errorf("%d bytes of one answer were held", most)
	}
}

// A client that reads slowly, but does, gets all of the answer, beyond the time that one part may take.
func TestSlowReader(t *testing.T) {
	const resources, size = 100, 100 << 10
	const limit = 3 * time.Second // a busy machine may make a client pause for long
	address, ended := serveExchange(t, limit, func(x *exchange) error {
		return x.answerPage(protocol.ListResponse{TotalResults: resources, StartIndex: 1}, pageOfBytes(resources, size, func(int) {}))
	})
	connection := dial(t, address, "GET /Users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	begun, read := time.Now(), 0
	var tail []byte
	for buffer := make([]byte, 128<<10); ; time.Sleep(50 * time.Millisecond) {
		n, err := connection.Read(buffer)
		read += n
		tail = append(tail, buffer[:n]...)
		tail = tail[max(0, len(tail)-64):]
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break
		}
	}
	x := <-ended
	if x.aborted || x.written < resources*size || !bytes.HasSuffix(tail, []byte("]}\r\n0\r\n\r\n")) {
		t.Errorf("aborted %t, %d bytes written, %d read, the end is %q", x.aborted, x.written, read, tail)
	}
	t.Logf("%d bytes in %s", read, time.Since(begun).Round(time.Millisecond))
}

// An answer that fails half-way is not taken for the whole; one that fails before is an error's.
func TestAnswerThatFails(t *testing.T) {
	for _, at := range []int{0, 1, 90} {
		address, ended := serveExchange(t, time.Minute, func(x *exchange) error {
			return x.answerPage(protocol.ListResponse{TotalResults: 100}, page{count: 100, write: func(w *answerWriter, i int) error {
				if i == at {
					return errors.New("not to be shown")
				}
				_, err := w.Write(bytes.Repeat([]byte{'1'}, 10<<10))
				return err
			}})
		})
		connection := dial(t, address, "GET /Users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(connection)
		x := <-ended
		whole := bytes.HasSuffix(answer, []byte("0\r\n\r\n"))
		if wantAbort := at == 90; x.aborted != wantAbort || whole {
			t.Errorf("failing at %d: aborted %t, ended as if it were whole %t", at, x.aborted, whole)
		}
		if at < 90 && (x.status != http.StatusInternalServerError || !bytes.Contains(answer, []byte(protocol.ErrorSchema)) || bytes.Contains(answer, []byte("not to be shown"))) {
			t.Errorf("failing at %d is answered %d: %.300s", at, x.status, answer)
		}
	}
}

// A client that sends its body slowly, but without long pauses, is served; one that stops is told so, and what it held is given back.
func TestSlowBody(t *testing.T) {
	const limit = 3 * time.Second // a busy machine may make a client pause for long
	address, ended := serveExchange(t, limit, func(x *exchange) error {
		body, err := x.body(maxBulkBody)
		if err == nil {
			x.answer(http.StatusOK, body)
		}
		return err
	})
	const head = "POST /Bulk HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
	connection := dial(t, address, head)
	for range 10 {
		time.Sleep(limit / 8) // in all longer than the limit of a pause
		if _, err := connection.Write(make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	if x := <-ended; x.status != http.StatusOK || x.written != 100_000 {
		t.Errorf("a slow client was answered %d, %d bytes", x.status, x.written)
	}
	connection = dial(t, address, head+"{")
	select {
	case x := <-ended:
		answer, _ := io.ReadAll(connection)
		if x.status != http.StatusRequestTimeout || !bytes.Contains(answer, []byte("Connection: close")) || !bytes.Contains(answer, []byte(protocol.ErrorSchema)) {
			t.Errorf("a client that stopped was answered %d: %s", x.status, answer)
		}
		release, err := x.server.apps.Hold(t.Context(), x.credential.app, x.limits, 64<<20)
		if err != nil {
			t.Fatalf("its memory was not given back: %v", err)
		}
		release()
	case <-time.After(30 * time.Second):
		t.Fatal("the request still waits for its client")
	}
}
