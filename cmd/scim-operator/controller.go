package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/controllers"
	"github.com/scim-operator/scim-operator/controllers/statuspage"
	"github.com/scim-operator/scim-operator/internal/telemetry"
)

type controllerFlags struct {
	commonFlags
	leaderElect          bool
	leaderElectNamespace string
	watchNamespaces      []string
	operatorNamespace    string
	statusListen         string
}

func newControllerCommand() *cobra.Command {
	var flags controllerFlags
	command := &cobra.Command{
		Use:   "controller",
		Short: "Turn users, Apps and tokens into RBAC bindings and status",
		Long: `Turn users, Apps and tokens into RBAC bindings and status.

One of several replicas leads, the others stand by with warm caches. Its
ServiceAccount can bind only the roles that a manifest lists by name.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return runController(command, flags) },
	}
	set := command.Flags()
	flags.register(set)
	set.BoolVar(&flags.leaderElect, "leader-elect", true, "have one of several controllers do the work")
	set.StringVar(&flags.leaderElectNamespace, "leader-elect-namespace", "", "namespace of the Lease; empty: the Pod's own")
	set.StringVar(&flags.operatorNamespace, "operator-namespace", controllers.DefaultOperatorNamespace, "namespace of the RevocationList, which the admission policy reads")
	set.StringVar(&flags.statusListen, "status-listen", "", "loopback address of the status page, for kubectl port-forward; empty for none. It is at /status beside the metrics, too")
	set.StringSliceVar(&flags.watchNamespaces, "watch-namespaces", nil, "namespaces with Apps that are served; empty: all")
	return command
}

func runController(command *cobra.Command, flags controllerFlags) error {
	log := flags.logger(command.ErrOrStderr())
	if err := flags.validate(); err != nil {
		return err
	}
	status := &statuspage.Page{}
	flags.admin = flags.besideMetrics(status)
	// What answers while the controller ends outlives the signal to end.
	life, end := context.WithCancel(context.WithoutCancel(command.Context()))
	defer end()
	defer start(life, log, telemetry.Controller)()
	go limitGarbage(life, controllerGarbage)
	p, err := newOperator(life, &flags.commonFlags, log, controllers.Kinds()...)
	if err != nil {
		return err
	}
	if err := p.servePage(life, flags.statusListen, statuspage.OnLoopback(status)); err != nil {
		return err
	}
	p.build = func(ctx context.Context, t *term) (manager.Manager, error) {
		t.checks.AddReady("API server", func() error { return cutOffError(t.watches.Failing()) })
		return controllers.NewManager(ctx, p.config, controllers.Options{
			Logger:               log,
			Checks:               t.checks,
			Watches:              t.watches,
			LeaderElect:          flags.leaderElect,
			LeaderElectNamespace: flags.leaderElectNamespace,
			Namespaces:           flags.watchNamespaces,
			OperatorNamespace:    flags.operatorNamespace,
			Status:               status,
			SkipNameValidation:   true, // a process has one manager after the other
		})
	}
	context.AfterFunc(command.Context(), p.state.Stop)
	return p.run(command.Context())
}

// validate refuses an address of the status page that others could reach: it asks for no credential there.
func (f *controllerFlags) validate() error {
	if f.statusListen != "" && !isLoopback(f.statusListen) {
		return fmt.Errorf("--status-listen=%s: the status page holds personal data: only a loopback address is taken", f.statusListen)
	}
	return f.commonFlags.validate()
}

// besideMetrics serves the page where metrics are: to clients that the API server lets in, and on loopback to names of this
// machine. Where metrics are open to every client, the page is not there.
func (f *controllerFlags) besideMetrics(page http.Handler) map[string]http.Handler {
	switch {
	case f.metrics().FilterProvider != nil:
		return map[string]http.Handler{"/status": page}
	case isLoopback(f.metricsListen):
		return map[string]http.Handler{"/status": statuspage.OnLoopback(page)}
	}
	return nil
}

// servePage serves the status page at the address, if any, until ctx ends.
func (p *operator) servePage(ctx context.Context, address string, page http.Handler) error {
	if address == "" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for the status page: %w", err)
	}
	server := &http.Server{Handler: page, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	go func() { p.fail("serve the status page", server.Serve(listener)) }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return nil
}
