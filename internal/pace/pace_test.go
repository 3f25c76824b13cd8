package pace

import (
	"io"
	"net/http"
	"strconv"
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

// What is no sign of load slows nothing down: times below what a client feels, a few slow requests, errors; and the share falls a step
// at a time.
func TestWhatIsNoLoad(t *testing.T) {
	usual := func(t *testing.T, takes time.Duration) (*Pace, *server) {
		p, s := New(), &server{takes, http.StatusOK}
		send(t, p, s, onePath, 3*time.Second)
		return p, s
	}
	for name, test := range map[string]func(t *testing.T) (p *Pace, least float64){
		"below a millisecond": func(t *testing.T) (*Pace, float64) {
			p, s := usual(t, 100*time.Microsecond)
			s.takes = 900 * time.Microsecond
			send(t, p, s, onePath, 5*time.Second)
			return p, 1
		},
		"a few slow ones": func(t *testing.T) (*Pace, float64) {
			p, s := usual(t, 2*time.Millisecond)
			s.takes = 300 * time.Millisecond
			p.ratios = nil
			send(t, p, s, onePath, time.Second) // four
			return p, 1
		},
		"errors": func(t *testing.T) (*Pace, float64) {
			p, s := usual(t, 2*time.Millisecond)
			s.takes, s.status = 50*time.Millisecond, http.StatusConflict
			send(t, p, s, onePath, 5*time.Second)
			return p, 1
		},
		"one second of load": func(t *testing.T) (*Pace, float64) {
			p, s := usual(t, 2*time.Millisecond)
			s.takes = 10 * time.Millisecond
			send(t, p, s, onePath, time.Second)
			return p, fall * fall
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if p, least := test(t); p.Share() < least {
					t.Errorf("%v, want %v at least", p.Share(), least)
				}
			})
		})
	}
}

// Memory is bounded, whatever is sent.
func TestPaceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New()
		for i := range 10 * maxKinds {
			for range 2 * kindSamples {
				p.observe("GET kind"+strconv.Itoa(i), time.Millisecond, false)
			}
		}
		for range 3 * maxSamples {
			p.observe("GET kind0", time.Millisecond, false)
		}
		if len(p.kinds) > maxKinds || len(p.ratios) > maxSamples {
			t.Errorf("%d kinds and %d samples are kept", len(p.kinds), len(p.ratios))
		}
	})
}
