package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/controllers"
	"github.com/scim-operator/scim-operator/internal/probes"
	"github.com/scim-operator/scim-operator/scimserver/authorizer"
)

// authorizerFlags are the server's for the authorization webhook.
type authorizerFlags struct {
	listen            string
	certFile          string
	keyFile           string
	clientCAFile      string
	operatorNamespace string
}

func (f *authorizerFlags) register(command *cobra.Command) {
	set := command.Flags()
	set.StringVar(&f.listen, "authorizer-listen", "", "address of the authorization webhook, which denies everything to leavers; empty for none")
	set.StringVar(&f.certFile, "authorizer-tls-cert-file", "", "certificate of the authorization webhook; read again when it changes")
	set.StringVar(&f.keyFile, "authorizer-tls-key-file", "", "key of that certificate")
	set.StringVar(&f.clientCAFile, "authorizer-client-ca-file", "", "authority of the certificates that API servers must show to the webhook, which tells the revoked users")
	set.StringVar(&f.operatorNamespace, "operator-namespace", controllers.DefaultOperatorNamespace, "namespace of the RevocationList, which the webhook reads")
	command.MarkFlagsRequiredTogether("authorizer-listen", "authorizer-tls-cert-file", "authorizer-tls-key-file", "authorizer-client-ca-file")
}

// addAuthorizer has the manager serve the webhook, where one is asked for, and be ready no earlier than it.
func addAuthorizer(ctx context.Context, mgr manager.Manager, checks *probes.Checks, flags authorizerFlags, log logr.Logger) error {
	if flags.listen == "" {
		return nil
	}
	config, err := authorizerTLS(mgr, flags)
	if err != nil {
		return err
	}
	webhook, err := authorizer.New(ctx, mgr, flags.operatorNamespace)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", flags.listen)
	if err != nil {
		return fmt.Errorf("listen for the authorization webhook: %w", err)
	}
	checks.AddReady("authorizer", webhook.Ready)
	return mgr.Add(everyReplica(func(ctx context.Context) error {
		return serveAuthorizer(ctx, tls.NewListener(listener, config), webhook, log)
	}))
}

func authorizerTLS(mgr manager.Manager, flags authorizerFlags) (*tls.Config, error) {
	watcher, err := certwatcher.New(flags.certFile, flags.keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of the authorization webhook: %w", err)
	}
	if err := mgr.Add(watcher); err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: watcher.GetCertificate, NextProtos: []string{"h2", "http/1.1"}}
	data, err := os.ReadFile(flags.clientCAFile)
	if err != nil {
		return nil, fmt.Errorf("read the authority of API servers: %w", err)
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate", flags.clientCAFile)
	}
	return config, nil
}

// serveAuthorizer answers reviews until ctx ends. An API server that reaches no authorizer goes by its failurePolicy.
func serveAuthorizer(ctx context.Context, listener net.Listener, handler http.Handler, log logr.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	log.Info("Serving the authorization webhook", "address", listener.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return server.Shutdown(drain)
}
