// Command run is `make run`: the server and the controller on a local control plane, with a sample App.
//
// It is a program of its own, so that the shipped binary links nothing of hack. It holds flags only; hack/dev does the work.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/scim-operator/scim-operator/hack/dev"
)

// resetVariable does what --reset does, for `RESET=1 make run`.
const resetVariable = "RESET"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	var options dev.Options
	command := &cobra.Command{
		Use:   "run",
		Short: "Run the server and the controller on a local control plane, with a sample App",
		Long: `Run the server and the controller on a local control plane, with a sample App.

It obtains etcd and kube-apiserver (a download, else a build from the Go module
proxy), starts them on loopback, installs the operator, and runs the server and
the controller as processes of their own, each with the rights of its own
ServiceAccount. Ctrl-C stops all of it; the data stays for the next run.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true, // an error of the work is not one of the command line
		SilenceErrors: true, // main prints it, once
		RunE: func(command *cobra.Command, _ []string) (err error) {
			options.Progress, options.Output = command.ErrOrStderr(), command.OutOrStdout()
			if options.Binary, err = operatorBinary(options.Binary); err != nil {
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
	flags.StringVar(&options.Binary, "operator", "", "the operator's executable; empty: scim-operator beside this program")
	return command
}

// operatorBinary returns the named executable or, for an empty name, the one in this program's own directory. It fails where
// there is none: make build makes it.
func operatorBinary(name string) (string, error) {
	if name == "" {
		own, err := os.Executable()
		if err != nil {
			return "", err
		}
		name = filepath.Join(filepath.Dir(own), "scim-operator")
	}
	info, err := os.Stat(name)
	if err == nil && info.IsDir() {
		err = errors.New("it is a directory")
	}
	if err != nil {
		return "", fmt.Errorf("the operator's executable, which `make build` makes: %w", err)
	}
	return filepath.Abs(name)
}
