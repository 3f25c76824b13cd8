// Command scim-operator is the whole product in one binary: the SCIM server and the controller.
//
// This package holds flags and wiring only. What it links runs in
// Pods with a read-only root file system: packages of hack and test, and controller-runtime's envtest, must not be in it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := newRootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "scim-operator",
		Short:         "SCIM provisioning into Kubernetes: users as custom resources, roles as RBAC bindings",
		SilenceUsage:  true, // an error of the work is not one of the command line
		SilenceErrors: true, // main prints it, once
		Args:          cobra.NoArgs,
	}
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return fmt.Errorf("%w: see %s --help", err, command.CommandPath())
	})
	root.AddCommand(newServerCommand(), newControllerCommand(), newUninstallCommand(), newVersionCommand())
	return root
}
