package pages

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Types and reasons of conditions are an API (docs/versioning.md): a page names each that the API package declares. docs/api.md, which
// is generated, does not count.
func TestConditionsAndReasonsAreOnAPage(t *testing.T) {
	var pages strings.Builder
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(path) != "api.md" {
			pages.Write(text)
		}
	}
	declared := conditionNames(t, "../../api/v1alpha1")
	if len(declared) < 70 {
		t.Errorf("%d types and reasons are found in the API package", len(declared))
	}
	for constant, name := range declared {
		if text := pages.String(); !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, "`"+name+"=") {
			t.Errorf("no page names `%s` (%s)", name, constant)
		}
	}
}

// conditionNames returns the texts of the constants Condition… and Reason… of a package, by constant.
func conditionNames(t *testing.T, dir string) map[string]string {
	t.Helper()
	names := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			spec, isValue := node.(*ast.ValueSpec)
			if !isValue || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Condition") && !strings.HasPrefix(spec.Names[0].Name, "Reason") {
				return true
			}
			if text, isText := spec.Values[0].(*ast.BasicLit); isText {
				if names[spec.Names[0].Name], err = strconv.Unquote(text.Value); err != nil {
					t.Fatal(err)
				}
			}
			return true
		})
	}
	return names
}
