package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/scim-operator/scim-operator/internal/loopback"
	"github.com/scim-operator/scim-operator/internal/telemetry"
	"github.com/scim-operator/scim-operator/internal/tracing"
)

// commonFlags are those that the server and the controller share.
type commonFlags struct {
	kubeconfig      string
	healthListen    string
	metricsListen   string
	metricsInsecure bool
	pprofListen     string
	// admin are pages beside /metrics, under the same conditions.
	admin   map[string]http.Handler
	verbose bool
}

func (f *commonFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file; empty: the Pod's ServiceAccount, else the usual places")
	flags.StringVar(&f.healthListen, "health-listen", ":8081", "address of /healthz, /readyz and /startupz; 0 for none")
	flags.StringVar(&f.metricsListen, "metrics-listen", ":8082", "address of /metrics; 0 for none")
	flags.BoolVar(&f.metricsInsecure, "metrics-insecure", false,
		"serve metrics by plain HTTP to every client, also where the address is not a loopback one")
	flags.StringVar(&f.pprofListen, "pprof-listen", "", "loopback address of /debug/pprof, to profile with; empty for none")
	flags.BoolVar(&f.verbose, "verbose", false, "log debugging messages")
}

func (f *commonFlags) validate() error {
	if f.pprofListen != "" && !isLoopback(f.pprofListen) {
		return fmt.Errorf("--pprof-listen=%s: profiles hold personal data: only a loopback address is taken", f.pprofListen)
	}
	return nil
}

// logger writes one JSON object a line, for this program and the libraries under it.
func (f *commonFlags) logger(output io.Writer) logr.Logger {
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	logger := logr.FromSlogHandler(telemetry.Remember(slog.NewJSONHandler(output, &slog.HandlerOptions{Level: level})))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	return logger
}

// restConfig loads a configuration and lifts the client's own rate limit: the API server's fairness decides. Nor does it
// ask for compressed answers: within a cluster the processors are scarcer than the network.
func (f *commonFlags) restConfig() (*rest.Config, error) {
	var config *rest.Config
	var err error
	if f.kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	} else {
		config, err = ctrl.GetConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("load the kubeconfig: %w", err)
	}
	config.QPS = -1
	config.DisableCompression = true
	config.Wrap(tracing.Transport)
	return config, nil
}

// metrics are served by plain HTTP on loopback, and elsewhere by HTTPS to clients that the API server lets in.
func (f *commonFlags) metrics() metricsserver.Options {
	options := metricsserver.Options{BindAddress: f.metricsListen, ExtraHandlers: f.admin, HandlerOpts: []func(*promhttp.HandlerOpts){func(o *promhttp.HandlerOpts) {
		o.EnableOpenMetrics = true // exemplars, to scrapers that ask for the format
	}}}
	if f.metricsInsecure || isLoopback(f.metricsListen) {
		return options
	}
	options.SecureServing = true
	options.FilterProvider = filters.WithAuthenticationAndAuthorization
	return options
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopback.Is(host)
}

// start says which build of which part of the operator this process is, leaves out the other part's metrics, and begins to make
// traces. What it returns ends that.
func start(ctx context.Context, log logr.Logger, part telemetry.Process) (stop func()) {
	version, commit := buildVersion()
	log.Info("Starting the "+string(part), "version", version, "commit", commit)
	buildInfo.WithLabelValues(version, commit, runtime.Version()).Set(1)
	telemetry.Show(part)
	telemetry.TraceOf = tracing.TraceID
	return tracing.Start(ctx, "scim-operator-"+string(part), version, log)
}
