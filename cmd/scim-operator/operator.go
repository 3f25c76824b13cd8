package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/scim-operator/scim-operator/controllers"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/probes"
	"github.com/scim-operator/scim-operator/internal/telemetry"
)

// operator is the common part of the server and the controller. It serves probes, metrics and profiles from the first moment
// on. Its manager begins once the API server answers, and begins again after it lost its Lease.
type operator struct {
	log        logr.Logger
	state      *probes.Process
	config     *rest.Config
	httpClient *http.Client
	// kinds are those of this project that the process reads.
	kinds []string
	// build makes a manager for one term. It fails where the API server cannot be asked.
	build func(ctx context.Context, term *term) (manager.Manager, error)
	// failed gets the error of a listener that ended by itself.
	failed chan error
}

// term is the life of one manager.
type term struct {
	checks  *probes.Checks
	watches *informers.Watches
	begun   chan struct{}
}

// newOperator begins to answer probes, and to serve metrics and profiles. All of it ends with ctx.
func newOperator(ctx context.Context, flags *commonFlags, log logr.Logger, kinds ...string) (*operator, error) {
	config, err := flags.restConfig()
	if err != nil {
		return nil, err
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	p := &operator{log: log, state: probes.New(), config: config, httpClient: httpClient, kinds: kinds, failed: make(chan error, 3)}
	if err := p.state.Listen(ctx, flags.healthListen); err != nil {
		return nil, err
	}
	metrics, err := metricsserver.NewServer(flags.metrics(), config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("set up the metrics: %w", err)
	}
	if metrics != nil {
		go func() { p.fail("serve metrics", metrics.Start(logr.NewContext(ctx, log))) }()
	}
	return p, p.profile(ctx, flags.pprofListen)
}

func (p *operator) fail(what string, err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		p.failed <- fmt.Errorf("%s: %w", what, err)
	}
}

// profile serves /debug/pprof at the address, if any.
func (p *operator) profile(ctx context.Context, address string) error {
	if address == "" {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for profiles: %w", err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return nil
}

// run has one manager after the other work until parent ends, which is no error. It fails where waiting would be in vain.
func (p *operator) run(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	go func() {
		select {
		case err := <-p.failed:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	delay := &delayLog{log: p.log}
	for {
		err := awaitKinds(ctx, p.config, p.httpClient, p.kinds, func(err error) { delay.tell(err); p.state.Wait(err) })
		if err == nil {
			err = p.runTerm(ctx, delay)
		}
		switch {
		case parent.Err() != nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, controllers.ErrLeaseLost):
			p.log.Info("Lost the Lease; beginning anew as a standby")
			telemetry.EndTerm()
			p.state.Wait(err)
		case informers.Away(err) || informers.Missing(err):
			delay.tell(err)
			p.state.Wait(err)
			pause(ctx, time.Second)
		default:
			return err
		}
	}
}

// runTerm returns how a manager ended.
func (p *operator) runTerm(ctx context.Context, delay *delayLog) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &term{checks: &probes.Checks{}, watches: controllers.NewWatches(p.log), begun: make(chan struct{})}
	t.checks.AddReady("watches", func() error { return watchError(t.watches.Failing()) })
	mgr, err := p.build(ctx, t)
	if err != nil {
		return err
	}
	delay.over()
	// The manager starts this one once its caches are filled.
	if err := mgr.Add(everyReplica(func(ctx context.Context) error { close(t.begun); <-ctx.Done(); return nil })); err != nil {
		return err
	}
	p.state.Sync(t.checks)
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	if begun, err := p.awaitBeginning(ctx, t, ended); err != nil || !begun {
		return err
	}
	p.state.Serve()
	return <-ended
}

// awaitBeginning returns once the manager's caches are filled, the manager has ended or ctx has. It does not wait for the end
// of a manager that fills its caches: nothing has begun that would have to end in order, and it may not end at all. It fails
// where the API server is there and refuses what the process has to read.
func (p *operator) awaitBeginning(ctx context.Context, t *term, ended <-chan error) (begun bool, err error) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return false, err
		case <-ctx.Done():
			return false, nil
		case <-t.begun:
			return true, nil
		case <-ticker.C:
			stalled, err := startError(t.watches.Failing())
			if err != nil {
				return false, err
			}
			p.state.Stall(stalled)
		}
	}
}

// everyReplica is a Runnable that needs no leadership; the manager starts it once its caches have synced.
type everyReplica func(context.Context) error

func (r everyReplica) Start(ctx context.Context) error { return r(ctx) }

func (everyReplica) NeedLeaderElection() bool { return false }
