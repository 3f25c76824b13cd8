package conformance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/scim-operator/scim-operator/test/conformance/trace"
)

const (
	root  = "../.."
	table = "docs/protocol.md"
	// fewestRows guards against a table that cannot be read any more.
	fewestRows = 240
)

// Every requirement in docs/protocol.md has a test that exists, or says why it has none. That the tests run is hack/requirements's
// to see.
func TestTrace(t *testing.T) {
	document, err := os.ReadFile(filepath.Join(root, table))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := trace.Parse(string(document))
	if err != nil {
		t.Fatalf("%s: %v", table, err)
	}
	if len(rows) < fewestRows {
		t.Errorf("%s: %d rows, there have been at least %d", table, len(rows), fewestRows)
	}
	functions := map[string]map[string]bool{}
	for _, row := range rows {
		if problem := row.Problem(); problem != "" {
			t.Errorf("%s:%d: %s %s", table, row.Line, row.ID, problem)
		}
		for _, test := range row.Tests {
			if functions[test.Package] == nil {
				if functions[test.Package], err = trace.Functions(filepath.Join(root, test.Package)); err != nil {
					t.Fatalf("%s:%d: %s: %v", table, row.Line, row.ID, err)
				}
			}
			if !functions[test.Package][test.Function] {
				t.Errorf("%s:%d: %s names %s, which does not exist", table, row.Line, row.ID, test)
			}
		}
	}
}
