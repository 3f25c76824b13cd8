// Command ensure obtains the control plane's binaries, with progress on standard error, and
// prints the directory that holds them. `make test` calls it first, so that no test's time
// limit pays for a first build.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/scim-operator/scim-operator/hack/controlplane"
)

func main() {
	controllerManager := flag.Bool("controller-manager", false, "obtain kube-controller-manager, too, which is always built")
	flag.Parse()
	if err := run(*controllerManager); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(controllerManager bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := controlplane.Ensure(ctx, os.Stderr)
	if err != nil {
		return err
	}
	if controllerManager {
		if _, err := controlplane.EnsureControllerManager(ctx, os.Stderr); err != nil {
			return err
		}
	}
	_, err = fmt.Println(dir)
	return err
}
