//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/scim-operator/scim-operator/test/e2e/report"
)

// record keeps what the scenarios measured, for the report.
type record struct {
	mu    sync.Mutex
	rows  []report.Row
	notes []string
}

// addRow ends one scenario's part of the report; what was noted meanwhile goes into it.
func (r *record) addRow(row report.Row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if row.Note == "" {
		row.Note = strings.Join(r.notes, "; ")
	}
	r.rows, r.notes = append(r.rows, row), nil
}

// note has the report show something about the present scenario.
func (r *record) note(t *testing.T, format string, arguments ...any) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, fmt.Sprintf(format, arguments...))
	t.Logf(format, arguments...)
}

// writeReport puts the table into the report's document, unless the run failed.
func (e *environment) writeReport(t *testing.T) {
	table := report.Table(e.rows)
	t.Logf("what was measured:\n%s", table)
	if e.report == "" {
		return
	}
	if t.Failed() {
		t.Logf("%s stays as it is: the run failed", e.report)
		return
	}
	if err := report.WriteInto(e.report, table); err != nil {
		t.Error(err)
	}
}
