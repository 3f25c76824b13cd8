// Command coverage prints which share of each package, and of all, the counters in a directory reach, and writes them as a profile.
//
// It reads by go tool covdata, which gives up on the whole directory where two records of one function differ in length. A process
// that still runs code while it writes its counters at its end can leave such a record. Then the files are read in parts, so that
// those that contradict each other are in different ones; a file that cannot be read by itself is left out, and named. Of a record
// that is wrong and contradicts none in its part, some statements of one function count that were not reached.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: coverage DIRECTORY PROFILE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
}

func run(dir, profile string) error {
	found, err := read(dir)
	if err != nil {
		return err
	}
	for _, file := range found.leftOut {
		fmt.Fprintln(os.Stderr, "left out:", file)
	}
	if err := os.WriteFile(profile, []byte(found.profile()), 0o600); err != nil {
		return err
	}
	fmt.Print(found.report())
	return nil
}

// block is one run of statements without a branch, as a profile names it: file:line.column,line.column.
type block string

// coverage is what counters tell.
type coverage struct {
	// statements of each block, and whether it was reached.
	statements map[block]int
	reached    map[block]bool
	// leftOut are the files that cannot be read, with the reason.
	leftOut []string
}

// read reads all counters of a directory. It fails where there are none, and where none can be read.
func read(dir string) (*coverage, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	counters, err := filepath.Glob(filepath.Join(dir, "covcounters.*"))
	if err != nil {
		return nil, err
	}
	metas, err := filepath.Glob(filepath.Join(dir, "covmeta.*"))
	if err != nil {
		return nil, err
	}
	if len(counters) == 0 || len(metas) == 0 {
		return nil, fmt.Errorf("%s holds no counters: make test COVER=1 writes them", dir)
	}
	c := &coverage{statements: map[block]int{}, reached: map[block]bool{}}
	if err := c.add(metas, counters); err != nil {
		return nil, err
	}
	if len(c.leftOut) == len(counters) {
		return nil, fmt.Errorf("none of %d files can be read: %s", len(counters), c.leftOut[0])
	}
	return c, nil
}

// add takes in files of counters, in halves where covdata cannot read them together. It fails where covdata cannot be run.
func (c *coverage) add(metas, counters []string) error {
	text, err := asText(metas, counters)
	refused := (*refusedError)(nil)
	switch {
	case err == nil:
		return c.merge(text)
	case !errors.As(err, &refused):
		return err
	case len(counters) == 1:
		c.leftOut = append(c.leftOut, fmt.Sprintf("%s: %s", filepath.Base(counters[0]), refused.why))
		return nil
	}
	half := len(counters) / 2
	if err := c.add(metas, counters[:half]); err != nil {
		return err
	}
	return c.add(metas, counters[half:])
}

// refusedError is what covdata says of files that it cannot read.
type refusedError struct{ why string }

func (e *refusedError) Error() string { return "covdata: " + e.why }

// asText returns the profile of some files of counters. It is a refusedError where covdata cannot read them together.
func asText(metas, counters []string) (string, error) {
	dir, err := os.MkdirTemp("", "coverage-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, file := range slices.Concat(metas, counters) {
		if err := os.Symlink(file, filepath.Join(dir, filepath.Base(file))); err != nil {
			return "", err
		}
	}
	profile := filepath.Join(dir, "profile")
	output, err := exec.CommandContext(context.Background(), "go", "tool", "covdata", "textfmt", "-i", dir, "-o", profile).CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return "", &refusedError{strings.TrimSpace(string(output))}
	}
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(profile)
	return string(text), err
}

// merge takes in a profile: lines of a block, its statements and its count.
func (c *coverage) merge(profile string) error {
	lines := bufio.NewScanner(strings.NewReader(profile))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "mode: ") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return fmt.Errorf("a profile has the line %q", line)
		}
		statements, err := strconv.Atoi(fields[1])
		if err != nil {
			return fmt.Errorf("a profile has the line %q: %w", line, err)
		}
		at := block(fields[0])
		c.statements[at] = statements
		c.reached[at] = c.reached[at] || fields[2] != "0"
	}
	return lines.Err()
}

// profile is everything as one profile.
func (c *coverage) profile() string {
	var b strings.Builder
	b.WriteString("mode: set\n")
	for _, at := range slices.Sorted(maps.Keys(c.statements)) {
		count := 0
		if c.reached[at] {
			count = 1
		}
		fmt.Fprintf(&b, "%s %d %d\n", at, c.statements[at], count)
	}
	return b.String()
}

type share struct{ reached, all int }

func (s share) String() string {
	return fmt.Sprintf("%5.1f%%", 100*float64(s.reached)/float64(max(s.all, 1)))
}

// report is a line a package, the least reached first, and one for all.
func (c *coverage) report() string {
	packages, total := map[string]share{}, share{}
	for at, statements := range c.statements {
		file, _, _ := strings.Cut(string(at), ":")
		of := packages[path.Dir(file)]
		of.all += statements
		total.all += statements
		if c.reached[at] {
			of.reached += statements
			total.reached += statements
		}
		packages[path.Dir(file)] = of
	}
	names := slices.SortedFunc(maps.Keys(packages), func(a, b string) int {
		first, second := packages[a], packages[b]
		return cmp.Or(cmp.Compare(first.reached*second.all, second.reached*first.all), cmp.Compare(a, b))
	})
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s  %s\n", packages[name], name)
	}
	fmt.Fprintf(&b, "%s  of all %d statements\n", total, total.all)
	return b.String()
}
