package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const program = `package main

import "os"

func small(n int) int {
	if n > 0 {
		return 1
	}
	return 2
}

func large(n int) int {
	switch n {
	case 1:
		return 1
	case 2:
		return 2
	case 3:
		return 3
	}
	return 4
}

func main() {
	if small(len(os.Args)) > 0 {
		large(len(os.Args))
	}
}
`

// counters runs a program with counters, once for each number of arguments, and returns the directory that they are in.
func counters(t *testing.T, arguments ...int) string {
	t.Helper()
	source, dir := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(source, "go.mod"), []byte("module example.com/torn\n\ngo 1.26\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(source, "main.go"), []byte(program), 0o600))
	build := exec.CommandContext(t.Context(), "go", "build", "-cover", "-o", "torn", ".")
	build.Dir, build.Env = source, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, number := range arguments {
		run := exec.CommandContext(t.Context(), filepath.Join(source, "torn"), strings.Fields(strings.Repeat("x ", number))...)
		run.Env = append(os.Environ(), "GOCOVERDIR="+dir)
		must(t, run.Run())
	}
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "covcounters.*"))
	must(t, err)
	return found
}

func reportOf(t *testing.T, dir string) (report string, leftOut int) {
	t.Helper()
	c, err := read(dir)
	must(t, err)
	return c.report(), len(c.leftOut)
}

func TestCoverage(t *testing.T) {
	report, leftOut := reportOf(t, counters(t, 0, 1))
	if want := " 70.0%  example.com/torn\n 70.0%  of all 10 statements\n"; report != want || leftOut != 0 {
		t.Errorf("%d files are left out of\n%swant\n%s", leftOut, report, want)
	}
}

// Files that covdata cannot read together count all the same.
func TestFilesThatContradictEachOther(t *testing.T) {
	dir := counters(t, 0, 1)
	// The record of small, of three counters, becomes one of large, which has five.
	torn := files(t, dir)[1]
	data, err := os.ReadFile(torn)
	must(t, err)
	small, asLarge := []byte{3, 0, 0, 1, 0, 1}, []byte{3, 0, 1, 1, 0, 1}
	if bytes.Count(data, small) != 1 {
		t.Fatalf("the record of small is not in %x", data)
	}
	must(t, os.WriteFile(torn, bytes.Replace(data, small, asLarge, 1), 0o600))
	output, err := exec.CommandContext(t.Context(), "go", "tool", "covdata", "percent", "-i", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(output), "merging counters") {
		t.Fatalf("covdata reads it: %v\n%s", err, output)
	}
	if report, leftOut := reportOf(t, dir); leftOut != 0 || !strings.Contains(report, "of all 10 statements") {
		t.Errorf("%d files are left out of\n%s", leftOut, report)
	}
}

// A file that is cut off is left out, and the others count.
func TestFileThatIsCutOff(t *testing.T) {
	dir := counters(t, 0, 1)
	must(t, os.Truncate(files(t, dir)[1], 30))
	report, leftOut := reportOf(t, dir)
	if !strings.Contains(report, " 60.0%  of all 10 statements") || leftOut != 1 {
		t.Errorf("%d files are left out of\n%s", leftOut, report)
	}
	must(t, os.Truncate(files(t, dir)[0], 30))
	if c, err := read(dir); err == nil {
		t.Errorf("no file can be read, and the report is %s", c.report())
	}
	if _, err := read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "make test COVER=1") {
		t.Errorf("an empty directory: %v", err)
	}
}
