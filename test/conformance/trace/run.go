package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Runs collects what `go test -json` said of each test: "pass", "fail", "skip" or, for one that did not end, "run".
type Runs map[string]string

// event is one line of go test -json.
type event struct{ Action, Package, Test, Output string }

// Read adds the events of one run. module is the path that packages begin with. Lines that are no events, such as the
// commands that make prints, are passed over. It fails where events cannot be read.
func (r Runs) Read(events io.Reader, module string) error {
	return each(events, func(e event, _ string) {
		folder, ok := strings.CutPrefix(e.Package, module+"/")
		if !ok {
			return
		}
		switch e.Action {
		case "run", "pass", "fail", "skip":
			// A package's own outcome stands under an empty name.
			r[folder+"."+e.Test] = e.Action
		case "output":
			if crash.MatchString(e.Output) {
				r[folder+"."+crashed] = "fail"
			}
		}
	})
}

// Show writes what go test would have printed without -json: the packages, and what failed tests have said. Where tests failed
// it ends with their names and the last of what they said by themselves, abridged: of a long log people often have the end only. It fails where it cannot read or write.
func Show(events io.Reader, w io.Writer) error {
	said := map[string]string{}
	var failures []string
	err := each(events, func(e event, line string) {
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
			if e.Test != "" {
				failures = append(failures, test+" failed\n"+abridged(messages(said[test])))
			}
			delete(said, test)
		case e.Action == "pass" || e.Action == "skip":
			delete(said, test)
		}
	})
	for _, failure := range failures {
		fmt.Fprintf(w, "\n%s", failure)
	}
	return err
}

// heading begins what a test says by Log, Error or Fatal, and what the runtime says of a crash.
var heading = regexp.MustCompile(`^( {4,})[\w.-]+\.go:\d+: |^panic: |^fatal error: |^WARNING: DATA RACE`)

// messages are what a test said by itself, each with its lines: what it wrote to T.Output, such as another process's log, is
// none, nor indented as the rest of one.
func messages(said string) (found [][]string) {
	indent := -1
	for line := range strings.Lines(said) {
		line = strings.TrimSuffix(line, "\n")
		if match := heading.FindStringSubmatch(line); match != nil {
			indent = len(match[1])
			found = append(found, []string{line})
			continue
		}
		if indent > 0 && len(line)-len(strings.TrimLeft(line, " ")) <= indent {
			indent = -1
		}
		if indent >= 0 {
			found[len(found)-1] = append(found[len(found)-1], line)
		}
	}
	return found
}

// abridged is the last messages, and the beginning of each.
func abridged(messages [][]string) string {
	const most, lines, width = 8, 12, 300
	var text strings.Builder
	for _, message := range messages[max(0, len(messages)-most):] {
		for _, line := range message[:min(lines, len(message))] {
			fmt.Fprintf(&text, "%.*s\n", width, line)
		}
		if len(message) > lines {
			text.WriteString("        ...\n")
		}
	}
	return text.String()
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

// crashed stands for a test of a package in which a crash kept others from running.
const crashed = "!crashed"

// crash is what the runtime or the testing package says before it ends a test binary.
var crash = regexp.MustCompile(`^(panic: |fatal error: )`)

// Rerun says how go test runs again what did not pass: a package, and a -run pattern of its test functions, a line each. The
// error says that there is none, or more than most functions: so much is no test that a busy machine upset; or that a package
// did not build, crashed, or failed of itself, so that others of its tests did not run.
func (r Runs) Rerun(most int) ([]string, error) {
	functions := map[string][]string{}
	var failed []string
	n := 0
	for test, outcome := range r {
		folder, name, _ := strings.Cut(test, ".")
		switch {
		case outcome == "pass" || outcome == "skip" || strings.Contains(name, "/"):
		case name == "":
			failed = append(failed, folder)
		case outcome == "run" || name == crashed:
			return nil, fmt.Errorf("%s: tests of it did not end", folder)
		default:
			functions[folder] = append(functions[folder], name)
			n++
		}
	}
	for _, folder := range failed {
		if len(functions[folder]) == 0 {
			return nil, fmt.Errorf("%s: failed, and none of its tests did", folder)
		}
	}
	if n == 0 || n > most {
		return nil, fmt.Errorf("%d test functions did not pass; 1 to %d can be run again", n, most)
	}
	var lines []string
	for _, folder := range slices.Sorted(maps.Keys(functions)) {
		slices.Sort(functions[folder])
		lines = append(lines, fmt.Sprintf("./%s ^(%s)$", folder, strings.Join(functions[folder], "|")))
	}
	return lines, nil
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
