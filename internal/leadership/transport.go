package leadership

import (
	"errors"
	"net/http"
)

// ErrNotLeading is the error of a request that was not sent, because another process may be leading.
var ErrNotLeading = errors.New("not sent: the Lease was not renewed in time, another process may be leading")

// Client returns a copy of an HTTP client that sends requests only while the process may write, unless they change nothing.
// Reviews of access, which are POST requests, count as writes: only a process that writes asks for them.
func (l *Lock) Client(client *http.Client) *http.Client {
	guarded, next := *client, client.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	guarded.Transport = &transport{lock: l, next: next}
	return &guarded
}

type transport struct {
	lock *Lock
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper. The error is ErrNotLeading, or that of the transport below.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet && request.Method != http.MethodHead && !t.lock.MayWrite() {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, ErrNotLeading
	}
	return t.next.RoundTrip(request)
}
