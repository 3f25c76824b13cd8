package pages

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark/ast"
)

// fence is a block of a page between fences, with the comment that marks it.
type fence struct {
	page     string
	line     int
	language string
	text     string
	// mark and what are the two halves of a comment right before the block, such as <!-- by hand: it asks -->.
	mark, what string
	// after is the block before it that this one shows the output of; nil for all but text right after a block of commands.
	after *fence
	// offset is where its text begins in the page.
	offset int
}

var comment = regexp.MustCompile(`^<!-- ([a-z0-9 ]+): (.+) -->\s*$`)

func (d document) fences() (all []*fence) {
	blocks := map[ast.Node]*fence{}
	d.each(func(node ast.Node) {
		switch block := node.(type) {
		case *ast.CodeBlock:
			all = append(all, &fence{page: d.path, line: d.lineAt(block.Lines().At(0).Start), text: d.linesOf(block)})
		case *ast.FencedCodeBlock:
			f := &fence{page: d.path, language: string(block.Language(d.source)), text: d.linesOf(block)}
			if block.Lines().Len() > 0 {
				f.offset = block.Lines().At(0).Start
				f.line = d.lineAt(f.offset)
			}
			switch before := block.PreviousSibling().(type) {
			case *ast.HTMLBlock:
				if found := comment.FindStringSubmatch(d.linesOf(before)); found != nil {
					f.mark, f.what = found[1], found[2]
				}
			case *ast.FencedCodeBlock:
				if f.language == "text" {
					f.after = blocks[before]
				}
			}
			blocks[block] = f
			all = append(all, f)
		}
	})
	return all
}

// judge knows what tests run, and says of a block why it is not accounted for.
type judge struct {
	ci, e2e string // .ci/run, and the code of test/e2e and test/operations
}

// complaint returns what is wrong with a block; empty where a test runs it, or the page says why none does.
func (j judge) complaint(d document, f *fence) string {
	switch f.mark {
	case "by hand":
		if len(strings.Fields(f.what)) < 3 {
			return fmt.Sprintf("%q is no reason", f.what)
		}
		return ""
	case "e2e":
		if !strings.Contains(j.e2e, `"`+f.what+`"`) {
			return "no test of test/e2e or test/operations follows commands of this name"
		}
		return ""
	case "part of":
		return isPart(f.text, root+f.what)
	}
	switch {
	case f.after != nil && f.after.mark != "by hand":
		return j.complaint(d, f.after)
	case f.language == "sh" && strings.HasPrefix(f.text, "make "):
		for command := range strings.Lines(f.text) {
			words := strings.Fields(command)
			if len(words) < 2 || words[0] != "make" || !regexp.MustCompile(`\bmake `+regexp.QuoteMeta(words[1])+`\b`).MatchString(j.ci) {
				return fmt.Sprintf(".ci/run does not run %q", strings.TrimSpace(command))
			}
		}
		return ""
	case f.language == "sh" && isPlayed(d, f):
		return ""
	case f.language == "console" && strings.HasPrefix(f.page, Guides) && filepath.Base(f.page) != "README.md":
		return ""
	}
	return "no test runs it, and no comment before it says why (<!-- by hand: … -->)"
}

// isPlayed says whether a block stands in a section that a test plays.
func isPlayed(d document, f *fence) bool {
	for _, section := range append(slices.Clone(Quickstart), Plugin) {
		if section.Path != d.path {
			continue
		}
		before, part, _, err := section.Cut(string(d.source))
		if err == nil && len(before) <= f.offset && f.offset < len(before)+len(part) {
			return true
		}
	}
	return false
}

// isPart complains unless the lines stand in a file one after the other, whatever their indentation.
func isPart(text, path string) string {
	whole, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if !strings.Contains("\n"+trimmed(string(whole)), "\n"+trimmed(text)) {
		return "it is no part of " + path
	}
	return ""
}

func trimmed(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "# ")) + "\n")
	}
	return b.String()
}

func newJudge(t *testing.T) judge {
	t.Helper()
	ci, err := os.ReadFile(root + ".ci/run")
	if err != nil {
		t.Fatal(err)
	}
	var tests []string
	for _, folder := range []string{"e2e", "operations"} {
		found, err := filepath.Glob(root + "test/" + folder + "/*_test.go")
		if err != nil || len(found) == 0 {
			t.Fatalf("no tests in test/%s: %v", folder, err)
		}
		tests = append(tests, found...)
	}
	var e2e strings.Builder
	for _, path := range tests {
		code, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		e2e.Write(code)
	}
	return judge{ci: string(ci), e2e: e2e.String()}
}

// Every block of commands, and of anything else, is run by a test, is compared with the file that it shows, or says why not.
func TestEveryBlockIsPlayedOrSaysWhyNot(t *testing.T) {
	judge := newJudge(t)
	counts := map[string]int{}
	for _, d := range documents(t) {
		for _, f := range d.fences() {
			if wrong := judge.complaint(d, f); wrong != "" {
				t.Errorf("%s:%d: %s:\n%s", f.page, f.line, wrong, f.text)
			}
			counts[f.mark]++
		}
	}
	t.Logf("blocks by their mark, %q for none: %v", "", counts)
	if counts[""] < 80 || counts["e2e"] < 10 {
		t.Errorf("blocks by mark: %v", counts)
	}
}

func TestBlocksAreJudged(t *testing.T) {
	judge := judge{ci: "\nmake test\nmake test COVER=1\n", e2e: `follow("upgrade")`}
	for page, want := range map[string]string{
		"```sh\nls\n```\n":                    "no test runs it",
		"```yaml\na: b\n```\n":                "no test runs it",
		"```\na\n```\n":                       "no test runs it",
		"    ls\n":                            "no test runs it",
		"```sh\nmake test\n```\n":             "",
		"```sh\nmake\n```\n":                  "no test runs it",
		"```sh\nmake bench\n```\n":            ".ci/run does not run",
		"```sh\nmake test\nmake bench\n```\n": ".ci/run does not run",
		"<!-- by hand: it asks a person -->\n```sh\nls\n```\n":        "",
		"<!-- by hand: no -->\n```sh\nls\n```\n":                      "is no reason",
		"<!-- by hand: it asks a person -->\n\nSo:\n```sh\nls\n```\n": "no test runs it",
		"<!-- e2e: upgrade -->\n```sh\nls\n```\n":                     "",
		"<!-- e2e: down -->\n```sh\nls\n```\n":                        "no test of test/e2e",
		"<!-- part of: .gitignore -->\n```text\n/bin/\n/.run/\n```\n": "",
		"<!-- part of: .gitignore -->\n```text\n/.run/\n/bin/\n```\n": "it is no part of",
		"- a\n\n  ```sh\n  ls\n  ```\n":                               "no test runs it",
	} {
		d := parse("docs/page.md", []byte(page))
		fences := d.fences()
		if len(fences) != 1 {
			t.Fatalf("%q has %d blocks", page, len(fences))
		}
		if got := judge.complaint(d, fences[0]); got != want && (want == "" || !strings.Contains(got, want)) {
			t.Errorf("%q: %q, want %q", page, got, want)
		}
	}
	shown := parse("docs/page.md", []byte("<!-- by hand: it asks a person -->\n```sh\nls\n```\n\n```text\na\n```\n")).fences()
	if got := judge.complaint(document{}, shown[1]); got == "" {
		t.Error("what no test prints is taken for compared")
	}
}
