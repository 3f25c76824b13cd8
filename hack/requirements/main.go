// Command requirements fails when a test that docs/protocol.md names did not run, or did not pass. It reads the output of
// `go test -json` of one or more runs from files:
//
//	make test TEST_ARGS=-json | tee events | go run ./hack/requirements -show
//	go run ./hack/requirements events
//	go run ./hack/requirements -rerun events
//
// With -show it only passes standard input on, as go test prints without -json. With -rerun it prints the package and the -run
// pattern of what did not pass, and fails where nothing or too much did not.
//
// It stands at the end of the checks, and changes nothing.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/scim-operator/scim-operator/test/conformance/trace"
)

const (
	module = "github.com/scim-operator/scim-operator"
	table  = "docs/protocol.md"
	// mostRerun is how many test functions a busy machine may upset before a run counts as failed.
	mostRerun = 4
)

func main() {
	show := flag.Bool("show", false, "print what go test -json says on standard input, as go test does without -json")
	rerun := flag.Bool("rerun", false, "print the package and the -run pattern of what did not pass")
	flag.Parse()
	var err error
	switch {
	case *show:
		err = trace.Show(os.Stdin, os.Stdout)
	case *rerun:
		err = printRerun(flag.Args())
	default:
		err = check(flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(files []string) error {
	document, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	rows, err := trace.Parse(string(document))
	if err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	runs, err := readFiles(files)
	if err != nil {
		return err
	}
	missing := runs.Missing(rows)
	for _, test := range missing {
		fmt.Fprintln(os.Stderr, test)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of the tests that %s names did not pass", len(missing), table)
	}
	fmt.Printf("all tests of %d requirements in %s have passed\n", len(rows), table)
	return nil
}

func printRerun(files []string) error {
	runs, err := readFiles(files)
	if err != nil {
		return err
	}
	lines, err := runs.Rerun(mostRerun)
	for _, line := range lines {
		fmt.Println(line)
	}
	return err
}

func readFiles(files []string) (trace.Runs, error) {
	runs := trace.Runs{}
	for _, file := range files {
		if err := readFile(runs, file); err != nil {
			return nil, err
		}
	}
	return runs, nil
}

func readFile(runs trace.Runs, name string) error {
	events, err := os.Open(name)
	if err != nil {
		return err
	}
	defer events.Close()
	if err := runs.Read(events, module); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
