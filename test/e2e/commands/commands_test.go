package commands

import (
	"os"
	"path/filepath"
	"slices"
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
