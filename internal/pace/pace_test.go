package pace

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// server answers after a time, and with a status.
type server struct {
	takes  time.Duration
	status int
}

func (s *server) RoundTrip(*http.Request) (*http.Response, error) {
	time.Sleep(s.takes)
	return &http.Response{StatusCode: s.status, Body: io.NopCloser(strings.NewReader(""))}, nil
}

const onePath = "/apis/scim.example/v1alpha1/namespaces/a/users/jane"

// send asks for so long, ten times a second or faster.
func send(t *testing.T, p *Pace, s *server, path string, duration time.Duration) {
	t.Helper()
	for end := time.Now().Add(duration); time.Now().Before(end); {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api"+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := p.Transport(s).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		time.Sleep(10 * time.Millisecond)
	}
}

// The share falls while the API server is slow, and rises again.
func TestShareFollowsTheAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := New(), &server{2 * time.Millisecond, http.StatusOK}
		send(t, p, s, onePath, 3*time.Second)
		if got := p.Share(); got != 1 {
			t.Errorf("%v at the usual speed", got)
		}
		s.takes = 3500 * time.Microsecond
		send(t, p, s, onePath, 3*time.Second)
		if got := p.Share(); got != 1 {
			t.Errorf("%v at less than twice the usual time", got)
		}
		s.takes = 10 * time.Millisecond
		send(t, p, s, onePath, 10*time.Second)
		if got := p.Share(); got != least {
			t.Errorf("%v while the API server is slow", got)
		}
		s.takes = 2 * time.Millisecond
		send(t, p, s, onePath, 15*time.Second)
		if got := p.Share(); got != 1 {
			t.Errorf("%v after it", got)
		}
	})
}

// What was refused for load counts as slow; what is no request about one object does not count; and without requests the share
// rises by itself.
func TestWhatCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := New(), &server{2 * time.Millisecond, http.StatusOK}
		send(t, p, s, onePath, time.Second)
		s.takes = 20 * time.Millisecond
		send(t, p, s, "/apis/scim.example/v1alpha1/users", 5*time.Second)
		send(t, p, s, "/readyz", 5*time.Second)
		if got := p.Share(); got != 1 {
			t.Errorf("%v after slow lists", got)
		}
		s.status = http.StatusTooManyRequests
		send(t, p, s, onePath, 5*time.Second)
		if got := p.Share(); got > 0.1 {
			t.Errorf("%v after refusals", got)
		}
		time.Sleep(2 * time.Minute)
		for range 3 {
			p.Share()
			time.Sleep(time.Minute)
		}
		if got := p.Share(); got != 1 {
			t.Errorf("%v after a pause", got)
		}
		if got := (*Pace)(nil).Share(); got != 1 {
			t.Errorf("%v without a pace", got)
		}
	})
}

// What was fast long ago is forgotten: an API server that has become slower for good slows nothing down for ever.
func TestTheFastestIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := New(), &server{2 * time.Millisecond, http.StatusOK}
		send(t, p, s, onePath, 10*time.Second)
		s.takes = 8 * time.Millisecond
		send(t, p, s, onePath, 9*time.Minute)
		if got := p.Share(); got != least {
			t.Errorf("%v within ten minutes", got)
		}
		send(t, p, s, onePath, 3*time.Minute)
		if got := p.Share(); got != 1 {
			t.Errorf("%v after ten minutes", got)
		}
	})
}

func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		method, path, want string
		about              bool
	}{
		{"GET", "/apis/g/v1/namespaces/a/users/jane", "GET users", true},
		{"PUT", "/apis/g/v1/namespaces/a/users/jane/status", "PUT users/status", true},
		{"POST", "/apis/g/v1/namespaces/a/users", "POST users", true},
		{"GET", "/apis/g/v1/namespaces/a/users", "GET users", false},
		{"GET", "/apis/g/v1/clusterroles/edit", "GET clusterroles", true},
		{"GET", "/api/v1/namespaces/a", "GET namespaces", true},
		{"GET", "/api/v1/namespaces", "GET namespaces", false},
		{"GET", "/api/v1/namespaces/a/secrets/b", "GET secrets", true},
		{"GET", "/version", "", false},
		{"GET", "/apis", "", false},
	} {
		if of, about := kindOf(c.method, c.path); of != c.want || about != c.about {
			t.Errorf("%s %s: %q, %t", c.method, c.path, of, about)
		}
	}
}
