package commands

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestIn(t *testing.T) {
	blocks, err := In("text\n<!-- e2e: one -->\n```sh\na\nb\n```\n```yaml\nc\n```\n\n<!-- by hand: it asks -->\n```sh\nd\n```\n```sh\ne\n```\n")
	want := []Block{{Name: "one", Text: "a\nb\n", Line: 4}, {ByHand: "it asks", Text: "d\n", Line: 13}, {Text: "e\n", Line: 16}}
	if err != nil || !slices.Equal(blocks, want) {
		t.Errorf("got %+v, %v; want %+v", blocks, err, want)
	}
	if _, err := In("```sh\na\n"); err == nil {
		t.Error("a block without an end is taken")
	}
}

func TestNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte("<!-- e2e: one -->\n```sh\na\n```\n<!-- e2e: two -->\n```sh\nb\n```\n<!-- e2e: two -->\n```sh\nc\n```\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := Named(path, "one"); err != nil || text != "a\n" {
		t.Errorf("got %q, %v", text, err)
	}
	for _, name := range []string{"two", "three"} {
		if _, err := Named(path, name); err == nil {
			t.Errorf("%s is found, although it is not there once", name)
		}
	}
}

// TestDocumentedCommands asks that make e2e runs every command of the pages on operation, or that the page says why not.
func TestDocumentedCommands(t *testing.T) {
	const root = "../../.."
	tests, err := filepath.Glob("../*_test.go")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests: %v", err)
	}
	var code strings.Builder
	for _, path := range tests {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	for page, from := range map[string]string{"README.md": "## Install it in a cluster", "docs/operations.md": "# Operations"} {
		document, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		_, section, found := strings.Cut(string(document), from)
		if !found {
			t.Fatalf("%s has no %q", page, from)
		}
		blocks, err := In(section)
		if err != nil || len(blocks) == 0 {
			t.Fatalf("%s: %d blocks, %v", page, len(blocks), err)
		}
		for _, block := range blocks {
			switch {
			case block.Name == "" && block.ByHand == "":
				t.Errorf("%s: no test runs this, and nothing says why:\n%s", page, block.Text)
			case block.Name != "" && !regexp.MustCompile(`"`+regexp.QuoteMeta(block.Name)+`"`).MatchString(code.String()):
				t.Errorf("%s: no test follows the commands named %s", page, block.Name)
			}
		}
	}
}
