package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/scim-operator/scim-operator/hack/dev"
)

// resetVariable does what --reset does, for `RESET=1 make run`.
const resetVariable = "RESET"

func newDevCommand() *cobra.Command {
	var options dev.Options
	command := &cobra.Command{
		Use:   "dev",
		Short: "Run the server and the controller on a local control plane, with a sample App",
		Long: `Run the server and the controller on a local control plane, with a sample App.

It obtains etcd and kube-apiserver (a download, else a build from the Go module
proxy), starts them on loopback, installs the operator, and runs the server and
the controller as processes of their own, each with the rights of its own
ServiceAccount. Ctrl-C stops all of it; the data stays for the next run.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) (err error) {
			options.Progress, options.Output = command.ErrOrStderr(), command.OutOrStdout()
			if options.Binary, err = os.Executable(); err != nil {
				return err
			}
			if value := os.Getenv(resetVariable); value != "" && value != "0" {
				options.Reset = true
			}
			return dev.Run(command.Context(), options)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Dir, "dir", ".run", "directory for data, keys, logs and the token")
	flags.StringVar(&options.Listen, "listen", "127.0.0.1:8085", "address of the SCIM server")
	flags.BoolVar(&options.Reset, "reset", false, "forget the data of earlier runs first (also RESET=1 in the environment)")
	return command
}
