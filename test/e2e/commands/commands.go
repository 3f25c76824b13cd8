// Package commands finds the commands in the documents, so that make e2e runs what the pages say, as they say it.
//
// A comment before a block of shell names it:
//
//	<!-- e2e: upgrade -->
package commands

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Block is one block of shell commands in a document.
type Block struct {
	// Name is what the comment before the block says after "e2e:"; empty where there is none.
	Name string
	// ByHand is why make e2e does not run the block, from a comment "by hand: ...".
	ByHand string
	// Text is the commands; Line is where they begin in the document.
	Text string
	Line int
}

var mark = regexp.MustCompile(`^<!-- (e2e|by hand): (.+) -->$`)

// In returns the blocks that a document in Markdown marks as sh. It fails where one does not end.
func In(document string) ([]Block, error) {
	var blocks []Block
	var current *Block
	before := ""
	for i, line := range strings.Split(document, "\n") {
		switch {
		case current == nil && line == "```sh":
			current = &Block{Line: i + 2}
			if found := mark.FindStringSubmatch(before); found != nil && found[1] == "e2e" {
				current.Name = found[2]
			} else if found != nil {
				current.ByHand = found[2]
			}
		case current != nil && line == "```":
			blocks, current = append(blocks, *current), nil
		case current != nil:
			current.Text += line + "\n"
		}
		before = line
	}
	if current != nil {
		return nil, fmt.Errorf("the block at line %d does not end", current.Line)
	}
	return blocks, nil
}

// Named returns the text of the block with a name in the document at path. It fails where there is none, or more than one.
func Named(path, name string) (string, error) {
	document, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	blocks, err := In(string(document))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	text, count := "", 0
	for _, block := range blocks {
		if block.Name == name {
			text, count = block.Text, count+1
		}
	}
	if count != 1 {
		return "", fmt.Errorf("%s has %d blocks named %q, want one", path, count, name)
	}
	return text, nil
}
