// Package report makes the table of docs/e2e.md from what the scenarios measured.
package report

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Begin and End enclose the table in the document: everything between them is replaced.
const (
	Begin = "<!-- the table is written by make e2e -->"
	End   = "<!-- end of the table -->"
)

// Row is what one scenario measured.
type Row struct {
	Scenario string
	// Requests counts all, TooMany those answered 429, Failed those that had no usable answer.
	Requests, TooMany, Failed int
	// Denials are the times from sending a deactivation to the API server's first "no" to the person.
	Denials []time.Duration
	// Lags are the times from the answer to a deactivation to that "no".
	Lags     []time.Duration
	Duration time.Duration
	// Note is what else was measured, or why the scenario was not run.
	Note string
}

// Percentile returns the value below which the share of the values lies (nearest rank); 0 for none.
func Percentile(values []time.Duration, share float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// Table renders the rows, and their sum.
func Table(rows []Row) string {
	var b strings.Builder
	b.WriteString("| Scenario | Requests | 429 | Failed | Denied after p50 | p99 | max | Longest access after the answer | Took | |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	sum := Row{Scenario: "**All**"}
	for _, row := range rows {
		b.WriteString(row.String())
		sum.Requests += row.Requests
		sum.TooMany += row.TooMany
		sum.Failed += row.Failed
		sum.Denials = append(sum.Denials, row.Denials...)
		sum.Lags = append(sum.Lags, row.Lags...)
		sum.Duration += row.Duration
	}
	b.WriteString(sum.String())
	return b.String()
}

// String is the row in Markdown. A scenario without a deactivation shows no times of denial.
func (r Row) String() string {
	times := []string{"", "", "", ""}
	if len(r.Denials) > 0 {
		times = []string{
			milliseconds(Percentile(r.Denials, 0.5)), milliseconds(Percentile(r.Denials, 0.99)), milliseconds(slices.Max(r.Denials)),
			milliseconds(slices.Max(r.Lags)),
		}
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %s | %s | %s |\n", r.Scenario, r.Requests, r.TooMany, r.Failed,
		strings.Join(times, " | "), r.Duration.Round(time.Second), r.Note)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// Path is the document that a run was told to write: a relative one is one of the tree at root. It fails where the document is there
// and has no place for the table, so that a run that takes half an hour does not end with that.
func Path(root, named string) (string, error) {
	if named == "" {
		return "", nil
	}
	if !filepath.IsAbs(named) {
		named = filepath.Join(root, named)
	}
	_, _, err := around(named)
	return named, err
}

// WriteInto replaces what is between Begin and End in a document, or begins the document. It fails where it is there and lacks either.
func WriteInto(path, content string) error {
	before, after, err := around(path)
	if err != nil {
		return err
	}
	written := fmt.Sprintf("%s%s\n\n%s\n%s%s", before, Begin, content, End, after)
	return os.WriteFile(path, []byte(written), 0o644)
}

// around returns what is before and after the table; of a document that is not there, an end of line.
func around(path string) (before, after []byte, err error) {
	document, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, []byte("\n"), nil
	}
	if err != nil {
		return nil, nil, err
	}
	before, rest, found := bytes.Cut(document, []byte(Begin))
	_, after, closed := bytes.Cut(rest, []byte(End))
	if !found || !closed {
		return nil, nil, fmt.Errorf("%s has no place for the table: %q and %q", path, Begin, End)
	}
	return before, after, nil
}
