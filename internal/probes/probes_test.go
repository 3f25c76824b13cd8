package probes

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPhases(t *testing.T) {
	p, checks := New(), &Checks{}
	var broken, dead, cut error
	checks.AddReady("part", func() error { return broken })
	checks.AddLive("part", func() error { return dead })
	checks.AddAble("part", func() error { return cut })
	for _, step := range []struct {
		name                       string
		do                         func()
		ready, started, live, says string
	}{
		{"just begun", func() {}, "503", "503", "200", "starting"},
		{"waits", func() { p.Wait(errors.New("the API server is away")) }, "503", "200", "200", "the API server is away"},
		{"syncs", func() { p.Sync(checks) }, "503", "503", "200", "reading what there is"},
		{"syncs and is broken", func() { broken = errors.New("no rights") }, "503", "503", "200", "part: no rights"},
		{"syncs in vain", func() { p.Stall(errors.New("the API server is away")) }, "503", "200", "200", "part: no rights"},
		{"serves and is broken", p.Serve, "503", "200", "200", "part: no rights"},
		{"serves", func() { broken = nil }, "200", "200", "200", "ok"},
		{"is cut off", func() { cut = errors.New("no API server") }, "200", "200", "200", "but: part: no API server"},
		{"hangs", func() { cut, dead = nil, errors.New("no progress") }, "200", "200", "503", "ok"},
		{"begins anew", func() { dead = nil; p.Wait(errors.New("no leader any more")) }, "503", "200", "200", "no leader any more"},
		{"serves again", func() { p.Sync(&Checks{}); p.Serve() }, "200", "200", "200", "ok"},
		{"stops", p.Stop, "503", "200", "200", "shutting down"},
		{"never comes back", func() { p.Wait(errors.New("x")); p.Sync(checks); p.Serve() }, "503", "200", "200", "shutting down"},
	} {
		step.do()
		for path, want := range map[string]string{"/readyz": step.ready, "/startupz": step.started, "/healthz/": step.live} {
			answer := httptest.NewRecorder()
			p.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			if got := answer.Result().Status[:3]; got != want {
				t.Errorf("%s: %s answers %s, not %s: %s", step.name, path, got, want, answer.Body)
			}
			if path == "/readyz" && !strings.Contains(answer.Body.String(), step.says) {
				t.Errorf("%s: %s, want %q", step.name, answer.Body, step.says)
			}
		}
	}
	answer := httptest.NewRecorder()
	p.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/other", nil))
	if answer.Code != http.StatusNotFound {
		t.Errorf("another path answers %d", answer.Code)
	}
}

// A process that is shutting down does its work until the end, one that cannot work does not.
func TestAble(t *testing.T) {
	p, checks := New(), &Checks{}
	var broken, cut error
	checks.AddReady("part", func() error { return broken })
	checks.AddAble("part", func() error { return cut })
	for _, step := range []struct {
		name string
		do   func()
		able bool
	}{
		{"just begun", func() {}, false},
		{"waits", func() { p.Wait(errors.New("x")) }, false},
		{"syncs", func() { p.Sync(checks) }, false},
		{"serves", p.Serve, true},
		{"is not ready", func() { broken = errors.New("x") }, false},
		{"is cut off", func() { broken, cut = nil, errors.New("x") }, false},
		{"stops", func() { cut = nil; p.Stop() }, true},
	} {
		step.do()
		if err := p.Able(); (err == nil) != step.able {
			t.Errorf("%s: %v", step.name, err)
		}
	}
}
