// Command ensure obtains the control plane's binaries, with progress on standard error, and
// prints the directory that holds them. `make test` calls it first, so that no test's time
// limit pays for a first build.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/scim-operator/scim-operator/hack/controlplane"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := controlplane.Ensure(ctx, os.Stderr)
	if err != nil {
		return err
	}
	_, err = fmt.Println(dir)
	return err
}
