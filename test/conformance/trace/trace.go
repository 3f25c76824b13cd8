// Package trace reads docs/protocol.md, the table that names for every requirement what the server does and the test that
// shows it, and finds what is wrong with it.
//
// It stands between the document and its two checks: test/conformance checks that each test exists, hack/requirements that
// each has run.
package trace

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// Row is one requirement.
type Row struct {
	ID, Requirement, Server string
	Tests                   []Test
	Line                    int // in the document, from 1
}

// Test names a test function: Package is a folder below the module's root.
type Test struct {
	Package, Function string
	// Subtest is the path below the function, empty for all of it. It is what go test prints, with underscores for spaces.
	Subtest string
}

// String is the test as the document spells it.
func (t Test) String() string {
	if t.Subtest != "" {
		return t.Package + "." + t.Function + "/" + t.Subtest
	}
	return t.Package + "." + t.Function
}

// Untested begins what the server does where no test can show it.
var Untested = []string{"not supported:", "client's part:", "operator's part:"}

var (
	identifier = regexp.MustCompile(`^[A-Za-z0-9.-]+-[0-9]+$`)
	testName   = regexp.MustCompile("`([a-z0-9/-]+)\\.((?:Test|Fuzz)[A-Za-z0-9_]+)(?:/([^`]+))?`")
)

// Parse reads the rows of every table in the document with an identifier in the first column. It fails, with the line, where
// such a row has not four columns, repeats an identifier, or names tests that cannot be read.
func Parse(document string) ([]Row, error) {
	var rows []Row
	seen := map[string]bool{}
	for i, line := range strings.Split(document, "\n") {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || !identifier.MatchString(strings.TrimSpace(cells[0])) {
			continue
		}
		if len(cells) != 4 {
			return nil, fmt.Errorf("line %d: %d columns, want 4: identifier, requirement, server, test", i+1, len(cells))
		}
		row := Row{ID: strings.TrimSpace(cells[0]), Requirement: strings.TrimSpace(cells[1]), Server: strings.TrimSpace(cells[2]), Line: i + 1}
		if seen[row.ID] {
			return nil, fmt.Errorf("line %d: %s is there twice", i+1, row.ID)
		}
		seen[row.ID] = true
		var err error
		if row.Tests, err = parseTests(cells[3]); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", i+1, row.ID, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func parseTests(cell string) ([]Test, error) {
	var tests []Test
	rest := testName.ReplaceAllStringFunc(cell, func(match string) string {
		parts := testName.FindStringSubmatch(match)
		tests = append(tests, Test{Package: parts[1], Function: parts[2], Subtest: parts[3]})
		return ""
	})
	if strings.Trim(rest, " ,") != "" {
		return nil, fmt.Errorf("the test column holds %q, want `folder.TestName` and commas", strings.TrimSpace(rest))
	}
	return tests, nil
}

// Problem is what is wrong with a row by itself: empty columns, or neither a test nor a reason for having none.
func (r Row) Problem() string {
	if r.Requirement == "" || r.Server == "" {
		return "says nothing about the requirement or the server"
	}
	untested := false
	for _, prefix := range Untested {
		untested = untested || strings.HasPrefix(r.Server, prefix)
	}
	if !untested && len(r.Tests) == 0 {
		return "names no test"
	}
	return ""
}

// Functions are the test functions of the Go files in one folder, whatever their build tags. It fails where there are none.
func Functions(folder string) (map[string]bool, error) {
	functions := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: %w: no tests", folder, fs.ErrNotExist)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, declaration := range parsed.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil {
				functions[function.Name.Name] = true
			}
		}
	}
	return functions, nil
}
