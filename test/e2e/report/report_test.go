package report_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/test/e2e/report"
)

func TestPercentile(t *testing.T) {
	var values []time.Duration
	for i := range 100 {
		values = append(values, time.Duration(100-i))
	}
	for share, want := range map[float64]time.Duration{0: 1, 0.5: 51, 0.99: 100, 1: 100} {
		if got := report.Percentile(values, share); got != want {
			t.Errorf("share %v: %d, want %d", share, got, want)
		}
	}
	if report.Percentile(nil, 0.5) != 0 {
		t.Error("no values have a percentile")
	}
}

func TestWriteIntoReplacesTheTableAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("# Title\n"+report.Begin+"\nold\n"+report.End+"\nthe end\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := []report.Row{
		{Scenario: "quiet", Requests: 2},
		{Scenario: "leave", Requests: 3, Failed: 1, Denials: []time.Duration{30 * time.Millisecond}, Lags: []time.Duration{0}, Duration: 2 * time.Second},
	}
	for range 2 {
		if err := report.WriteInto(path, report.Table(rows)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Title\n", "\nthe end\n",
		"| quiet | 2 | 0 | 0 |  |  |  |  | 0s |  |\n",
		"| leave | 3 | 0 | 1 | 30 ms | 30 ms | 30 ms | 0 ms | 2s |  |\n",
		"| **All** | 5 | 0 | 1 | 30 ms | 30 ms | 30 ms | 0 ms | 2s |  |\n",
	} {
		if strings.Count(string(got), want) != 1 {
			t.Errorf("%q is not there once in\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "old") {
		t.Error("the former table is still there")
	}
	if err := os.WriteFile(path, []byte("no place"), 0o600); err != nil {
		t.Fatal(err)
	}
	if report.WriteInto(path, "x") == nil {
		t.Error("a document without a place was written into")
	}
}

// An absolute path is that file; a relative one is of the tree, wherever the test runs. A document that is not there is begun.
func TestPath(t *testing.T) {
	root, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "report.md")
	for named, want := range map[string]string{"": "", "docs.md": filepath.Join(root, "docs.md"), elsewhere: elsewhere} {
		path, err := report.Path(root, named)
		if err != nil || path != want {
			t.Errorf("%q: %q, error %v, want %q", named, path, err, want)
		}
	}
	for range 2 {
		if err := report.WriteInto(elsewhere, "the table"); err != nil {
			t.Fatal(err)
		}
		if _, err := report.Path(root, elsewhere); err != nil {
			t.Error(err)
		}
	}
	got, err := os.ReadFile(elsewhere)
	if want := report.Begin + "\n\nthe table\n" + report.End + "\n"; err != nil || string(got) != want {
		t.Errorf("%q, error %v, want %q", got, err, want)
	}
	if err := os.WriteFile(elsewhere, []byte("no place"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := report.Path(root, elsewhere); err == nil {
		t.Error("a document without a place for the table is taken")
	}
}
