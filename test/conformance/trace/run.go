package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Runs collects what `go test -json` said of each test: "pass", "fail", "skip" or, for one that did not end, "run".
type Runs map[string]string

// event is one line of go test -json.
type event struct{ Action, Package, Test, Output string }

// Read adds the events of one run. module is the path that packages begin with. Lines that are no events, such as the commands
// that make prints, are passed over.
func (r Runs) Read(events io.Reader, module string) error {
	return each(events, func(e event, _ string) {
		folder, ok := strings.CutPrefix(e.Package, module+"/")
		if e.Test == "" || !ok {
			return
		}
		switch e.Action {
		case "run", "pass", "fail", "skip":
			r[folder+"."+e.Test] = e.Action
		}
	})
}

// Show writes what go test would have printed without -json: the packages, and what failed tests have said.
func Show(events io.Reader, w io.Writer) error {
	said := map[string]string{}
	return each(events, func(e event, line string) {
		test := e.Package + "." + e.Test
		switch {
		case e.Action == "":
			fmt.Fprintln(w, line)
		case e.Action == "output" && e.Test == "" || e.Action == "build-output":
			fmt.Fprint(w, e.Output)
		case e.Action == "output":
			said[test] += e.Output
		case e.Action == "fail":
			fmt.Fprint(w, said[test])
			delete(said, test)
		case e.Action == "pass" || e.Action == "skip":
			delete(said, test)
		}
	})
}

// each calls f for every line, with an event where it is one.
func each(events io.Reader, f func(e event, line string)) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				e = event{}
			}
			f(e, line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Missing are the tests that the rows name and that did not pass, each once, with what happened to them.
func (r Runs) Missing(rows []Row) []string {
	var missing []string
	seen := map[string]bool{}
	for _, row := range rows {
		for _, test := range row.Tests {
			name := test.String()
			if seen[name] || r[name] == "pass" {
				continue
			}
			seen[name] = true
			outcome := map[string]string{"": "did not run", "run": "did not end", "fail": "failed", "skip": "was skipped"}[r[name]]
			missing = append(missing, fmt.Sprintf("%s (%s) %s", name, row.ID, outcome))
		}
	}
	return missing
}
