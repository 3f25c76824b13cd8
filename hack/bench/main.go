// Command bench measures the operator and prints its figures beside what bare requests to the same API server cost in
// the same run, so that the ratios hold on any machine. `make bench` runs it.
//
// Each group of benchmarks gets a control plane of its own with fresh data, the manifests of config/, the quickstart
// sample, and the operator's real processes under their own ServiceAccounts. Subject and baseline take turns, round by
// round, so that a machine that grows slower or faster does so for both.
//
// main.go reads the flags; suite.go says what is run; environment.go starts it; load.go makes the load; create.go,
// read.go, page.go and deactivate.go are the benchmarks; large.go and what begins with it are those of a large directory,
// which fill.go makes; cost.go has what one user costs, costfloor.go what its writes alone do; converge.go, leave.go, controllermemory.go and controllerfloor.go those of the controller; isolation.go is what a
// bystander sees of attacks, admission.go what RevocationLists cost every write; report.go prints. Of the product it
// knows the API types, the manifests, and the names of claims.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	ctrl.SetLogger(logr.Discard()) // a broken watch shows as a wait that ends with an error
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run measures what the arguments select, tells its progress on stderr, and prints the table on stdout, also when it
// had to stop half-way. A missed target is no error; a failed request is one.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if s.list {
		_, err := fmt.Fprintln(stdout, strings.Join(s.plan.names(), "\n"))
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	measureError := s.measure(ctx)
	return errors.Join(measureError, s.report.print(stdout), s.report.failures())
}

func parse(args []string, stderr io.Writer) (*suite, error) {
	s := &suite{plan: fullPlan, progress: newProgress(stderr), report: &report{}}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	pattern := flags.String("run", "", "regular `expression` that selects benchmarks by name; empty: all of them")
	quick := flags.Bool("quick", false, "small numbers, for a look whether everything works: the figures mean nothing")
	rounds := flags.Int("rounds", 0, "rounds of each side where a benchmark has a baseline; 0: the usual number")
	users := flags.Int("users", 0, "users of the large App; 0: the usual number, 100000")
	flags.IntVar(&s.plan.createInto, "into", 0, "users that the App of the create benchmarks holds before; 0: none")
	flags.DurationVar(&s.timeout, "timeout", 4*time.Hour, "end of the whole run")
	flags.StringVar(&s.logs, "logs", "", "`directory` for the logs of the server and the controller; empty: not kept")
	flags.IntVar(&s.pprofPort, "pprof", 0, "loopback `port` of the server's profiles, the next one being the controller's; 0: none")
	flags.BoolVar(&s.list, "list", false, "print the names of the benchmarks and end")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	var err error
	if s.selected, err = regexp.Compile(*pattern); err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	if *quick {
		into := s.plan.createInto
		s.plan = quickPlan
		s.plan.createInto = into
	}
	if *rounds > 0 {
		s.plan.rounds = *rounds
	}
	if *users > 0 {
		s.plan.large = max(*users, 10*pageSize)
	}
	if names := s.plan.names(); !s.wantsAny(names...) {
		return nil, fmt.Errorf("-run %q selects none of %s", *pattern, strings.Join(names, ", "))
	}
	return s, nil
}
