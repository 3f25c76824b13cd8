// Package probes answers the probes of Kubernetes for a process: whether it lives, whether it has started, and whether it is
// ready, with the reason where it is not.
//
// A process answers from its first moment on, also while it waits for an API server and has nothing to check yet. Its parts
// come later, and are replaced when a controller begins anew as a standby.
package probes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Check returns why a part is not as it should be, or nil. It is called at each probe and must not block.
type Check func() error

// Checks are those of one set of parts. The zero value has none.
type Checks struct {
	mu                sync.Mutex
	live, ready, able []namedCheck
}

type namedCheck struct {
	name  string
	check Check
}

// AddLive has the process restarted by the kubelet while check fails.
func (c *Checks) AddLive(name string, check Check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live = append(c.live, namedCheck{name, check})
}

// AddReady has the process not ready while check fails.
func (c *Checks) AddReady(name string, check Check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = append(c.ready, namedCheck{name, check})
}

// AddAble has the process keep work out while check fails, and leaves it ready: for troubles that all replicas have at once,
// when one that refuses politely is better than none.
func (c *Checks) AddAble(name string, check Check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.able = append(c.able, namedCheck{name, check})
}

// Live joins the errors of the checks of AddLive; nil if all is well.
func (c *Checks) Live() error { return c.run(&c.live) }

// Ready joins the errors of the checks of AddReady; nil if all is well.
func (c *Checks) Ready() error { return c.run(&c.ready) }

// Able joins the errors of the checks of AddAble; nil if all is well.
func (c *Checks) Able() error { return c.run(&c.able) }

func (c *Checks) run(checks *[]namedCheck) error {
	c.mu.Lock()
	current := slices.Clone(*checks)
	c.mu.Unlock()
	var errs []error
	for _, named := range current {
		if err := named.check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", named.name, err))
		}
	}
	return errors.Join(errs...)
}

// phase is how far a process has come.
type phase int

const (
	starting phase = iota // the first moment
	waiting               // for something that a restart would not bring
	syncing               // reading what there is
	serving
	stopping
)

// Process is the state of a whole process. Make one with New; it is an http.Handler of /healthz, /readyz and /startupz.
type Process struct {
	mu     sync.Mutex
	phase  phase
	reason error
	// stalled is why reading what there is does not come to its end now, although a restart would not help.
	stalled error
	checks  *Checks
}

// New returns a process that has just begun.
func New() *Process { return &Process{checks: &Checks{}} }

// Wait makes the process not ready for the reason given, until Sync is called.
func (p *Process) Wait(reason error) { p.set(waiting, reason, &Checks{}) }

// Sync makes the process not ready while its parts read what there is. From now on their checks count.
func (p *Process) Sync(checks *Checks) { p.set(syncing, nil, checks) }

// Serve makes the process as ready as its checks are, unless it is stopping.
func (p *Process) Serve() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != stopping {
		p.phase = serving
	}
}

// Stop makes the process not ready for good.
func (p *Process) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = stopping
}

// Stall says that what Sync began waits for something that a restart would not bring; nil ends that.
func (p *Process) Stall(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = reason
}

func (p *Process) set(to phase, reason error, checks *Checks) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == stopping {
		return
	}
	p.phase, p.reason, p.stalled, p.checks = to, reason, nil, checks
}

func (p *Process) state() (phase, *Checks, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.phase, p.checks, p.reason
}

// errStarting and others say why a process is not ready.
var (
	errStarting = errors.New("starting")
	errSyncing  = errors.New("reading what there is")
	errStopping = errors.New("shutting down")
)

// Ready returns why the process is to get no work; nil if it is to get some.
func (p *Process) Ready() error {
	phase, checks, reason := p.state()
	switch phase {
	case starting:
		return errStarting
	case waiting:
		return reason
	case syncing:
		return cmp.Or(checks.Ready(), errSyncing)
	case stopping:
		return errStopping
	default:
		return checks.Ready()
	}
}

// Able returns why the process cannot do its work; nil if it can. A process that is shutting down can.
func (p *Process) Able() error {
	phase, checks, _ := p.state()
	if phase == serving || phase == stopping {
		return errors.Join(checks.Ready(), checks.Able())
	}
	return p.Ready()
}

// Started returns nil once the start is over, and an error before. It is over, too, while the process waits: a restart
// would be in vain.
func (p *Process) Started() error {
	phase, _, _ := p.state()
	switch phase {
	case starting:
		return errStarting
	case syncing:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.stalled != nil {
			return nil
		}
		return errSyncing
	default:
		return nil
	}
}

// Live returns why the process should be restarted; nil if it should go on running.
func (p *Process) Live() error {
	phase, checks, _ := p.state()
	if phase != serving {
		return nil
	}
	return checks.Live()
}

// ServeHTTP answers 200, or 503 with one reason a line.
func (p *Process) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	check, found := map[string]Check{"/healthz": p.Live, "/readyz": p.Ready, "/startupz": p.Started}[strings.TrimSuffix(r.URL.Path, "/")]
	if !found {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err := check(); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, err)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
	if err := p.Able(); err != nil {
		_, _ = fmt.Fprintln(w, "but:", err)
	}
}

// Listen answers probes at the address until ctx ends; 0 and nothing stand for no address. It fails where the address
// cannot be had.
func (p *Process) Listen(ctx context.Context, address string) error {
	if address == "" || address == "0" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for probes: %w", err)
	}
	server := &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	go func() { _ = server.Serve(listener) }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return nil
}
