package pages

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark/ast"
)

// anchors returns the fragments that a page has: of its headings, as GitHub makes them, and of elements with an id or a name.
func (d document) anchors() map[string]bool {
	all := map[string]bool{}
	d.each(func(node ast.Node) {
		switch node := node.(type) {
		case *ast.Heading:
			slug := slugOf(d.plain(node))
			name := slug
			for i := 1; all[name]; i++ {
				name = fmt.Sprintf("%s-%d", slug, i)
			}
			all[name] = true
		case *ast.RawHTML:
			for _, found := range identifier.FindAllStringSubmatch(string(node.Segments.Value(d.source)), -1) {
				all[found[1]] = true
			}
		case *ast.HTMLBlock:
			for _, found := range identifier.FindAllStringSubmatch(d.linesOf(node), -1) {
				all[found[1]] = true
			}
		}
	})
	return all
}

var (
	identifier = regexp.MustCompile(`\s(?:id|name)="([^"]+)"`)
	reference  = regexp.MustCompile(`\s(?:href|src|srcset)="([^"]+)"`)
)

// plain returns the text of a node without its marks.
func (d document) plain(node ast.Node) string {
	var b strings.Builder
	_ = ast.Walk(node, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if leaf, ok := node.(*ast.Text); ok && entering {
			b.Write(leaf.Value(d.source))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

func slugOf(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
}

// links returns what a page links to, pictures included.
func (d document) links() (all []string) {
	d.each(func(node ast.Node) {
		switch node := node.(type) {
		case *ast.Link:
			all = append(all, string(node.Destination))
		case *ast.Image:
			all = append(all, string(node.Destination))
		case *ast.RawHTML:
			for _, found := range reference.FindAllStringSubmatch(string(node.Segments.Value(d.source)), -1) {
				all = append(all, found[1])
			}
		case *ast.HTMLBlock:
			for _, found := range reference.FindAllStringSubmatch(d.linesOf(node), -1) {
				all = append(all, found[1])
			}
		}
	})
	return all
}

// Every link of a page to the repository leads to a file that is there, and its fragment to a heading of it.
func TestLinks(t *testing.T) {
	pages := map[string]document{}
	for _, d := range documents(t) {
		pages[d.path] = d
	}
	checked := 0
	for _, d := range pages {
		for _, link := range d.links() {
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			checked++
			file, fragment, _ := strings.Cut(link, "#")
			target := d.path
			if file != "" {
				target = d.resolve(file)
			}
			if _, err := os.Stat(root + target); err != nil {
				t.Errorf("%s: %s: %v", d.path, link, err)
				continue
			}
			if fragment == "" {
				continue
			}
			if to, ok := pages[target]; !ok || !to.anchors()[fragment] {
				t.Errorf("%s: %s: no such heading", d.path, link)
			}
		}
	}
	if checked < 250 {
		t.Errorf("%d links are checked", checked)
	}
}

func TestLinksAreFound(t *testing.T) {
	d := parse("docs/a.md", []byte("# A `b` — c, D_e\n\n## Twice\n## Twice\n[x](y.md#z) ![p](q.png) <a id=\"here\" href=\"r\">\n\n<img src=\"s.svg\">\n\n```sh\n[no](link)\n```\n[t]\n\n[t]: u.md\n"))
	if got, want := fmt.Sprint(d.links()), "[y.md#z q.png r s.svg u.md]"; got != want {
		t.Errorf("links %s, want %s", got, want)
	}
	for _, anchor := range []string{"a-b--c-d_e", "twice", "twice-1", "here"} {
		if !d.anchors()[anchor] {
			t.Errorf("no %s in %v", anchor, d.anchors())
		}
	}
	if got := d.resolve("../b.md"); got != "b.md" {
		t.Errorf("resolved to %s", got)
	}
}
