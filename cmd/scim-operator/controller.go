package main

import (
	"context"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/controllers"
	"github.com/scim-operator/scim-operator/internal/telemetry"
)

type controllerFlags struct {
	commonFlags
	leaderElect          bool
	leaderElectNamespace string
	watchNamespaces      []string
	operatorNamespace    string
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
	set.StringSliceVar(&flags.watchNamespaces, "watch-namespaces", nil, "namespaces with Apps that are served; empty: all")
	return command
}

func runController(command *cobra.Command, flags controllerFlags) error {
	log := flags.logger(command.ErrOrStderr())
	if err := flags.validate(); err != nil {
		return err
	}
	logStart(log, "controller")
	telemetry.Show(telemetry.Controller)
	// What answers while the controller ends outlives the signal to end.
	life, end := context.WithCancel(context.WithoutCancel(command.Context()))
	defer end()
	go limitGarbage(life)
	p, err := newOperator(life, &flags.commonFlags, log, controllers.Kinds()...)
	if err != nil {
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
			SkipNameValidation:   true, // a process has one manager after the other
		})
	}
	context.AfterFunc(command.Context(), p.state.Stop)
	return p.run(command.Context())
}
