package pages

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

const root = "../../"

// document is a page in Markdown, read once.
type document struct {
	path   string // from the root of the repository
	source []byte
	tree   ast.Node
}

// documents reads README.md, the other pages at the root, all of docs/ and the chart's page.
func documents(t *testing.T) []document {
	t.Helper()
	paths, err := filepath.Glob(root + "*.md")
	if err != nil {
		t.Fatal(err)
	}
	paths = append(paths, root+"charts/scim-operator/README.md", root+"test/conformance/disagreements.md")
	err = filepath.WalkDir(root+"docs", func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 40 {
		t.Fatalf("%d pages are found", len(paths))
	}
	var all []document
	for _, path := range paths {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parse(filepath.ToSlash(strings.TrimPrefix(filepath.Clean(path), filepath.Clean(root)+"/")), source))
	}
	return all
}

func parse(path string, source []byte) document {
	parser := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser()
	return document{path: path, source: source, tree: parser.Parse(text.NewReader(source))}
}

// each calls a function with every node of the page.
func (d document) each(visit func(ast.Node)) {
	_ = ast.Walk(d.tree, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			visit(node)
		}
		return ast.WalkContinue, nil
	})
}

// linesOf returns the text of a block's lines.
func (d document) linesOf(node ast.Node) string {
	return string(node.Lines().Value(d.source))
}

// lineAt returns the number of the line at an offset, counted from 1.
func (d document) lineAt(offset int) int { return bytes.Count(d.source[:offset], []byte("\n")) + 1 }

// resolve returns the path from the root of what a page links to.
func (d document) resolve(target string) string { return path.Join(path.Dir(d.path), target) }
