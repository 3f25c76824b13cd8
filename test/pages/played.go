package pages

import (
	"fmt"
	"strings"
)

// Section is the part of a page with commands that a test plays, from the one heading to the other; "" for the page's beginning
// and its end.
type Section struct{ Path, From, To string }

// Quickstart are the sections that hack/dev/run plays, in this order, beside make run.
var Quickstart = []Section{
	{"README.md", "## Try it\n", "## Install it in a cluster\n"},
	{"docs/walkthrough.md", "", ""},
	{"docs/tokens.md", "## The quick way: have one generated\n", "## What a token may do, from where, and when\n"},
	{"docs/tokens.md", "## Machine clients\n", "## What the status says\n"},
}

// Plugin is the page that test/plugin plays.
var Plugin = Section{Path: "docs/kubectl-scim.md"}

// Guides is the folder of the pages that test/okta plays: their blocks of console.
const Guides = "docs/guides/"

// Cut returns the part of a page's text that is played, and what is before and after it. It fails where a heading is not there.
func (s Section) Cut(text string) (before, part, after string, err error) {
	part = text
	if s.From != "" {
		var found bool
		if before, part, found = strings.Cut(text, s.From); !found {
			return "", "", "", fmt.Errorf("%s has no section %q", s.Path, s.From)
		}
		before += s.From
	}
	if s.To != "" {
		var found bool
		if part, after, found = strings.Cut(part, s.To); !found {
			return "", "", "", fmt.Errorf("%s has no section %q", s.Path, s.To)
		}
		after = s.To + after
	}
	return before, part, after, nil
}
