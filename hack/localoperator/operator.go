package localoperator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/scim-operator/scim-operator/hack/process"
)

const (
	// readyTimeout bounds the start of the server or the controller.
	readyTimeout = 60 * time.Second
	// stopGrace is what the operator gets to drain requests and end by itself.
	stopGrace = 10 * time.Second
	// portAttempts is how often free ports are picked anew when another program took them.
	portAttempts = 3
)

// ProcessOptions say how to run one part of the operator. Addresses are host:port; an empty
// one means a free port on loopback.
type ProcessOptions struct {
	// Binary is the operator's executable; BuildOperator makes one.
	Binary string
	// Kubeconfig is the file by which the process reaches the API server.
	Kubeconfig string
	// Listen is where the SCIM server serves. The controller has no use for it.
	Listen string
	// HealthListen serves /healthz and /readyz.
	HealthListen string
	// MetricsListen serves /metrics.
	MetricsListen string
	// LeaderElect makes controllers elect a leader. The server has no use for it.
	LeaderElect bool
	// ReadyTimeout bounds the start; 0: a minute. A large directory takes its time to be read.
	ReadyTimeout time.Duration
	// Unready has the start return as soon as the process runs.
	Unready bool
	// Args are added to the command line, Env to the environment.
	Args, Env []string
	// Log receives what the process prints; nil discards it. Errors hold the last lines anyway.
	Log io.Writer
}

// Process is a running server or controller.
type Process struct {
	*process.Process
	// URL is the SCIM server's root, without a path; empty for the controller.
	URL string
	// HealthURL and MetricsURL are the roots of the other two listeners.
	HealthURL, MetricsURL string
}

// Stop sends SIGTERM and, after ten seconds, SIGKILL. An ended process is no error.
func (p *Process) Stop() error { return p.Process.Stop(stopGrace) }

// StartServer runs `scim-operator server` and returns when it is ready. ctx bounds the start only; the process runs until
// Stop or Kill. It fails where the process ends, or ctx does, before it is ready.
func StartServer(ctx context.Context, options ProcessOptions) (*Process, error) {
	return startOperator(ctx, options, func(o *ProcessOptions) (*Process, []string, error) {
		if err := pickFree(&o.Listen); err != nil {
			return nil, nil, err
		}
		return &Process{URL: "http://" + o.Listen}, []string{"server", "--listen=" + o.Listen, "--shutdown-delay=0s"}, nil // nothing has to hear of its end
	})
}

// StartController runs `scim-operator controller` and returns when it is ready. ctx bounds the start only; the process runs
// until Stop or Kill. It fails where the process ends, or ctx does, before it is ready.
func StartController(ctx context.Context, options ProcessOptions) (*Process, error) {
	return startOperator(ctx, options, func(o *ProcessOptions) (*Process, []string, error) {
		args := []string{"controller", fmt.Sprintf("--leader-elect=%t", o.LeaderElect)}
		if o.LeaderElect {
			args = append(args, "--leader-elect-namespace="+Namespace)
		}
		return &Process{}, args, nil
	})
}

// startOperator starts the subcommand, again with other ports when a picked one was taken.
func startOperator(ctx context.Context, options ProcessOptions, subcommand func(*ProcessOptions) (*Process, []string, error)) (*Process, error) {
	var p *Process
	var err error
	for range portAttempts {
		if p, err = tryStartOperator(ctx, options, subcommand); err == nil {
			return p, nil
		}
		if ctx.Err() != nil || !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	return nil, err
}

func tryStartOperator(ctx context.Context, options ProcessOptions, subcommand func(*ProcessOptions) (*Process, []string, error)) (*Process, error) {
	p, args, err := subcommand(&options)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(pickFree(&options.HealthListen), pickFree(&options.MetricsListen)); err != nil {
		return nil, err
	}
	for _, address := range []string{options.Listen, options.HealthListen, options.MetricsListen} {
		// Another program on the port might answer the question for readiness in the process's place.
		if address != "" && !process.IsFree(address) {
			return nil, fmt.Errorf("starting the %s: %s: address already in use", args[0], address)
		}
	}
	args = append(args,
		"--kubeconfig="+options.Kubeconfig,
		"--health-listen="+options.HealthListen,
		"--metrics-listen="+options.MetricsListen,
	)
	p.HealthURL, p.MetricsURL = "http://"+options.HealthListen, "http://"+options.MetricsListen
	p.Process, err = process.Start(process.Options{
		Name: args[0],
		Path: options.Binary,
		Args: append(args, options.Args...),
		Env:  append(coverage(), options.Env...),
		Log:  options.Log,
	})
	if err != nil {
		return nil, err
	}
	if options.Unready {
		return p, nil
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(options.ReadyTimeout, readyTimeout))
	defer cancel()
	if err := p.WaitReady(ctx, p.Ready); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

// Ready asks /readyz. The error holds what it answers.
func (p *Process) Ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.HealthURL+"/readyz", nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		detail, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
		return fmt.Errorf("/readyz answered %s: %s", response.Status, strings.TrimSpace(string(detail)))
	}
	return nil
}

func pickFree(address *string) (err error) {
	if *address == "" {
		*address, err = process.FreeAddress()
	}
	return err
}
