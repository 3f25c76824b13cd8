package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/scim-operator/scim-operator/internal/ownstatus"
	"github.com/scim-operator/scim-operator/internal/pace"
	"github.com/scim-operator/scim-operator/internal/scheme"
	"github.com/scim-operator/scim-operator/internal/telemetry"
	"github.com/scim-operator/scim-operator/scimserver"
	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/flowcontrol"
	"github.com/scim-operator/scim-operator/scimserver/issuers"
	"github.com/scim-operator/scim-operator/scimserver/oauth"
)

// drainTimeout is how long requests under way get when the server is asked to stop.
const drainTimeout = 25 * time.Second

// defaultShutdownDelay is what kube-proxy and ingress controllers need to hear that a Pod ends. With drainTimeout it fits into
// the Deployment's terminationGracePeriodSeconds.
const defaultShutdownDelay = 6 * time.Second

type serverFlags struct {
	commonFlags
	authorizer  authorizerFlags
	listen      string
	externalURL string
	certFile    string
	keyFile     string
	logBodies   bool

	trustedProxies       []string
	issuerNetworks       []string
	maxRequestsPerSecond float64
	maxConnections       int
	// shutdownDelay is how long the server goes on after the signal to end, before it stops to listen.
	shutdownDelay time.Duration

	// What trustedProxies and issuerNetworks say; set by check.
	proxies  flowcontrol.Proxies
	networks issuers.Networks
}

func newServerCommand() *cobra.Command {
	var flags serverFlags
	command := &cobra.Command{
		Use:   "server",
		Short: "Serve SCIM 2.0 to identity providers",
		Long: `Serve SCIM 2.0 to identity providers, with Kubernetes as the directory.

It runs in any number of replicas. Its ServiceAccount reads no Secret and writes
no RBAC.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return runServer(command, flags)
		},
	}
	set := command.Flags()
	flags.register(set)
	set.StringVar(&flags.listen, "listen", ":8080", "address that SCIM is served on")
	set.StringVar(&flags.externalURL, "external-url", "", "URL that clients reach the server under, without a path: it begins the locations in answers")
	set.StringVar(&flags.certFile, "tls-cert-file", "", "certificate to serve HTTPS with; read again when it changes")
	set.StringVar(&flags.keyFile, "tls-key-file", "", "key of the certificate")
	set.BoolVar(&flags.logBodies, "log-bodies", false, "log request bodies with credentials masked: they hold personal data")
	set.DurationVar(&flags.shutdownDelay, "shutdown-delay", defaultShutdownDelay, "how long to go on serving after SIGTERM, while load balancers hear that this replica is not ready")
	set.StringSliceVar(&flags.trustedProxies, "trusted-proxies", nil, "networks of proxies that may tell by X-Forwarded-For where a request came from, such as 10.0.0.0/8; no other header is believed")
	set.StringSliceVar(&flags.issuerNetworks, "issuer-networks", nil, "networks that issuers of tokens (spec.oidc of Apps) may be in, such as 10.20.0.0/16, beside public addresses")
	set.Float64Var(&flags.maxRequestsPerSecond, "max-requests-per-second", 200, "bound on every App's spec.limits, in this replica; 0: no bound")
	set.IntVar(&flags.maxConnections, "max-connections", 2048, "open connections, a quarter of them from one address that is no trusted proxy's")
	command.MarkFlagsRequiredTogether("tls-cert-file", "tls-key-file")
	flags.authorizer.register(command)
	return command
}

func runServer(command *cobra.Command, flags serverFlags) error {
	log := flags.logger(command.ErrOrStderr())
	if err := flags.check(); err != nil {
		return err
	}
	slog.SetDefault(slog.New(oauth.Quiet(logr.ToSlogHandler(log))))
	// What answers while the server ends outlives the signal to end.
	life, end := context.WithCancel(context.WithoutCancel(command.Context()))
	defer end()
	defer start(life, log, telemetry.Server)()
	go limitGarbage(life, serverGarbage)
	p, err := newOperator(life, &flags.commonFlags, log, flags.kinds()...)
	if err != nil {
		return err
	}
	gate := &scimserver.Gate{Closed: p.state.Able, Log: log}
	p.build = func(ctx context.Context, t *term) (manager.Manager, error) { return newServer(ctx, p, t, gate, flags) }
	listener, err := listen(life, p, flags)
	if err != nil {
		return err
	}
	scim := newHTTPServer(gate)
	scimserver.Harden(scim, log)
	log.Info("Listening for SCIM requests", "address", listener.Addr().String())
	go func() { p.fail("serve SCIM", scim.Serve(listener)) }()
	go func() {
		<-command.Context().Done()
		drain(life, p, gate, scim, flags.shutdownDelay)
		end()
	}()
	return p.run(life)
}

// check refuses values that the server could not work with, before it waits for anything. The error names the flag.
func (f *serverFlags) check() (err error) {
	if err := f.validate(); err != nil {
		return err
	}
	if f.proxies, err = flowcontrol.ParseProxies(f.trustedProxies); err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	if f.networks, err = issuers.ParseNetworks(f.issuerNetworks); err != nil {
		return fmt.Errorf("--issuer-networks: %w", err)
	}
	switch {
	case f.externalURL != "" && !isOrigin(f.externalURL):
		return fmt.Errorf("--external-url=%s: give scheme and host, such as https://scim.example.com: paths such as /scim/v2 are added to it", f.externalURL)
	case f.maxConnections < 1:
		return fmt.Errorf("--max-connections=%d: at least 1 is needed", f.maxConnections)
	case f.maxRequestsPerSecond < 0 || math.IsNaN(f.maxRequestsPerSecond):
		return fmt.Errorf("--max-requests-per-second=%v: give a rate, or 0 for no bound", f.maxRequestsPerSecond)
	case f.shutdownDelay < 0:
		return fmt.Errorf("--shutdown-delay=%s: give a duration such as 6s, or 0", f.shutdownDelay)
	}
	return nil
}

// isOrigin reports whether a URL has scheme and host, and nothing after them but a slash.
func isOrigin(address string) bool {
	parsed, err := url.Parse(address)
	return err == nil && (parsed.Scheme == "https" || parsed.Scheme == "http") && parsed.Host != "" && parsed.User == nil &&
		strings.Trim(parsed.Path, "/") == "" && parsed.RawQuery == "" && !strings.ContainsAny(address, "?#")
}

// kinds are those that the server reads.
func (f *serverFlags) kinds() []string {
	kinds := []string{"App", "User", "Group", "MemberShard", "NameClaim", "ScimToken", "OAuthGrant"}
	if f.authorizer.listen != "" {
		kinds = append(kinds, "RevocationList")
	}
	return kinds
}

// newServer returns a manager of what the server reads, and opens the gate to it.
func newServer(ctx context.Context, p *operator, t *term, gate *scimserver.Gate, flags serverFlags) (manager.Manager, error) {
	kinds, err := scheme.New()
	if err != nil {
		return nil, err
	}
	config, speed := rest.CopyConfig(p.config), pace.New()
	config.Wrap(speed.Transport)
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:   kinds,
		Logger:   p.log,
		NewCache: t.watches.NewCache,
		Cache: cache.Options{
			DefaultTransform:            directory.Compact,
			ReaderFailOnMissingInformer: true,
		},
		Metrics:                metricsserver.Options{BindAddress: "0"}, // the process serves them
		HealthProbeBindAddress: "0",
	})
	if err != nil {
		return nil, err
	}
	direct, err := client.New(config, client.Options{Scheme: mgr.GetScheme(), HTTPClient: mgr.GetHTTPClient(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, err
	}
	live := ownstatus.Client(direct)
	people, err := directory.New(ctx, live, mgr.GetCache())
	if err != nil {
		return nil, err
	}
	if err := mgr.Add(people); err != nil {
		return nil, err
	}
	scim, err := scimserver.New(ctx, people, mgr.GetCache(), scimserver.Options{
		ExternalURL:          flags.externalURL,
		LogBodies:            flags.logBodies,
		TrustedProxies:       flags.proxies,
		MaxRequestsPerSecond: flags.maxRequestsPerSecond,
		Pace:                 speed,
		Log:                  p.log,
		Statuses:             live,
		Live:                 live,
		IssuerNetworks:       flags.networks,
	})
	if err != nil {
		return nil, err
	}
	t.checks.AddReady("synced", scim.Ready)
	// Not a matter of readiness: clients of a Service without ready servers would meet no server, where this one tells them to
	// come again.
	t.checks.AddAble("API server", func() error { return cutOffError(t.watches.Failing()) })
	if err := addAuthorizer(ctx, mgr, t.checks, flags.authorizer, p.log); err != nil {
		return nil, err
	}
	gate.Open(scim)
	return mgr, nil
}

// listen opens the SCIM port, with TLS where a certificate was given.
func listen(ctx context.Context, p *operator, flags serverFlags) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", flags.listen)
	if err != nil {
		return nil, fmt.Errorf("listen for SCIM requests: %w", err)
	}
	transport := scimserver.Transport{MaxConnections: flags.maxConnections, TrustedProxies: flags.proxies, TLS: flags.certFile != "", Log: p.log}
	listener = transport.Limit(listener)
	if !transport.TLS {
		return listener, nil
	}
	watcher, err := certwatcher.New(flags.certFile, flags.keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	go func() { p.fail("watch the certificate", watcher.Start(ctx)) }()
	return tls.NewListener(listener, scimserver.TLSConfig(watcher.GetCertificate)), nil
}

func newHTTPServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
}

// drain ends the server so that no client notices. The process is not ready from the first moment on, and serves as before
// until whatever sends requests here has heard of that, each connection for one more answer. Then it takes no new requests,
// and those under way get drainTimeout. A process that serves nothing yet has nothing to drain.
func drain(ctx context.Context, p *operator, gate *scimserver.Gate, scim *http.Server, delay time.Duration) {
	ready := p.state.Ready() == nil
	p.state.Stop()
	gate.Drain()
	if ready {
		p.log.Info("Shutting down: not ready, and serving until others take over", "delay", delay.String())
		pause(ctx, delay)
	}
	p.log.Info("Draining requests")
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if err := scim.Shutdown(ctx); err != nil {
		p.log.Error(err, "Requests were cut off", "after", drainTimeout.String())
	}
}
