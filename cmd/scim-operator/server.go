package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/scimserver"
	"github.com/scim-operator/scim-operator/scimserver/directory"
)

// drainTimeout is how long requests under way get when the server is asked to stop.
const drainTimeout = 25 * time.Second

type serverFlags struct {
	commonFlags
	authorizer  authorizerFlags
	listen      string
	externalURL string
	certFile    string
	keyFile     string
	logBodies   bool
}

func newServerCommand() *cobra.Command {
	var flags serverFlags
	command := &cobra.Command{
		Use:   "server",
		Short: "Serve SCIM 2.0 to identity providers",
		Long: `Serve SCIM 2.0 to identity providers, with Kubernetes as the directory.

Runs in any number of replicas. Its ServiceAccount reads no Secret and writes no RBAC.`,
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
	command.MarkFlagsRequiredTogether("tls-cert-file", "tls-key-file")
	flags.authorizer.register(command)
	return command
}

func runServer(command *cobra.Command, flags serverFlags) error {
	go limitGarbage(command.Context())
	ctx := command.Context()
	log := flags.logger(command.ErrOrStderr())
	if err := flags.validate(); err != nil {
		return err
	}
	logStart(log, "server")
	config, err := flags.restConfig()
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: newScheme(),
		Logger: log,
		Cache: cache.Options{
			DefaultTransform:            directory.Compact,
			ReaderFailOnMissingInformer: true,
		},
		Metrics:                flags.metrics(),
		HealthProbeBindAddress: flags.healthListen,
		PprofBindAddress:       flags.pprofListen,
	})
	if err != nil {
		return err
	}
	live, err := client.New(config, client.Options{Scheme: mgr.GetScheme(), HTTPClient: mgr.GetHTTPClient(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return err
	}
	people, err := directory.New(ctx, live, mgr.GetCache())
	if err != nil {
		return err
	}
	if err := mgr.Add(people); err != nil {
		return err
	}
	scim, err := scimserver.New(ctx, people, mgr.GetCache(), scimserver.Options{
		ExternalURL: flags.externalURL,
		LogBodies:   flags.logBodies,
		Log:         log,
	})
	if err != nil {
		return err
	}
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("synced", scim.Ready)); err != nil {
		return err
	}
	if err := addAuthorizer(ctx, mgr, flags.authorizer, log); err != nil {
		return err
	}
	listener, err := listen(ctx, mgr, flags)
	if err != nil {
		return err
	}
	// Not manager.Server, which would take requests before the caches have synced.
	if err := mgr.Add(everyReplica(func(ctx context.Context) error { return serve(ctx, listener, scim, log) })); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// everyReplica is a Runnable that needs no leadership; the manager starts it once its caches have synced.
type everyReplica func(context.Context) error

func (r everyReplica) Start(ctx context.Context) error { return r(ctx) }

func (everyReplica) NeedLeaderElection() bool { return false }

// listen opens the SCIM port, with TLS where a certificate was given.
func listen(ctx context.Context, mgr manager.Manager, flags serverFlags) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", flags.listen)
	if err != nil {
		return nil, fmt.Errorf("listen for SCIM requests: %w", err)
	}
	if flags.certFile == "" {
		return listener, nil
	}
	watcher, err := certwatcher.New(flags.certFile, flags.keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	if err := mgr.Add(watcher); err != nil {
		return nil, err
	}
	return tls.NewListener(listener, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: watcher.GetCertificate, NextProtos: []string{"http/1.1"}}), nil
}

// serve answers requests until ctx ends, then lets those under way finish.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, log logr.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
		// Requests outlive the signal to stop: they get the drain time.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	log.Info("Serving SCIM", "address", listener.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("Draining requests")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	return server.Shutdown(drain)
}
