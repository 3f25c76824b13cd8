// Package pages pastes the commands of documentation pages into a shell, and compares what they print with what the pages show.
//
// A block of sh is what is pasted, the block of text after it what it prints. Blocks that begin with make are left out: they
// run already, or take long.
package pages

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Shell says where commands are pasted.
type Shell struct {
	// Root is the working directory: that of the repository.
	Root string
	// Env is added to the environment. `. .run/env` in a page reads the file that the variable ENV names.
	Env []string
}

// updates has pages written as they are printed.
const updates = "UPDATE_PAGES"

// Play pastes the blocks of a page's text in order, and fails the test where one prints something else than the page shows,
// but for what differs from run to run; "…" in what is shown stands for anything. It returns the text: as it was, or, with
// UPDATE_PAGES set, with what was printed where that differs, for the caller to write.
func Play(t *testing.T, shell Shell, name, text string) string {
	t.Helper()
	blocks := blocksOf(text)
	if len(blocks) < 3 {
		t.Fatalf("%s has %d blocks of sh", name, len(blocks))
	}
	printed := pasteAll(t, shell, blocks)
	for i, block := range blocks {
		switch {
		case alike(printed[i], block.shown):
		case os.Getenv(updates) != "":
			text = strings.Replace(text, block.whole, block.with(printed[i]), 1)
		default:
			t.Errorf("%s:\n%sprinted\n%s\nand the page shows\n%s", name, block.commands, printed[i], block.shown)
		}
	}
	return text
}

// block is a block of sh, and the block of text after it, if there is one.
type block struct{ whole, commands, shown string }

var blockPattern = regexp.MustCompile("(?s)```sh\n(.*?)```\n(?:\n```text\n(.*?)```\n)?")

func blocksOf(text string) (blocks []block) {
	for _, found := range blockPattern.FindAllStringSubmatch(text, -1) {
		if strings.HasPrefix(found[1], "make ") {
			continue // it runs already, or takes an hour
		}
		blocks = append(blocks, block{found[0], found[1], found[2]})
	}
	return blocks
}

func (b block) with(printed string) string {
	text := "```sh\n" + b.commands + "```\n"
	if printed != "" {
		text += "\n```text\n" + strings.TrimRight(endings.ReplaceAllString(stable(printed), "\n"), "\n") + "\n```\n"
	}
	return text
}

// settled waits, as a reader does, until every status speaks of its object as it is.
const settled = `settled() {
  for i in $(seq 60); do
    open=$(kubectl get users.scim-operator.io,approlebindings.scim-operator.io -A -o jsonpath='{range .items[*]}{.metadata.generation}/{.status.observedGeneration} {end}' |
      tr ' ' '\n' | awk -F/ 'NF && $1 != $2')
    [ -n "$open" ] || break
    sleep .5
  done
}
`

// pasteAll runs the blocks in one bash, and returns what each printed.
func pasteAll(t *testing.T, shell Shell, blocks []block) []string {
	t.Helper()
	const mark = "=== block "
	var script strings.Builder
	script.WriteString(settled + ". \"$ENV\"\n")
	for i, block := range blocks {
		fmt.Fprintf(&script, "echo '%s%d'\n%ssettled\n", mark, i, strings.ReplaceAll(block.commands, ". .run/env", `. "$ENV"`))
	}
	command := exec.CommandContext(t.Context(), "bash", "-c", script.String())
	command.Dir = shell.Root
	command.Env = append(os.Environ(), shell.Env...)
	output := &bytes.Buffer{}
	command.Stdout, command.Stderr = output, output
	if err := command.Run(); err != nil {
		t.Logf("bash: %v", err)
	}
	printed := make([]string, len(blocks))
	for i := range blocks {
		_, rest, _ := strings.Cut(output.String(), fmt.Sprintf("%s%d\n", mark, i))
		printed[i], _, _ = strings.Cut(rest, mark)
	}
	return printed
}

var (
	address = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	// What differs from run to run; a group in parentheses stays.
	varies = []*regexp.Regexp{
		regexp.MustCompile(`(scim_)\w{8}_\w{43}_\w{6}`),                     // tokens
		regexp.MustCompile(`sha256:[0-9a-f]{64}`),                           // and their digests
		regexp.MustCompile(`(scim-test)-[a-z2-7]{10}(?:-[a-z2-7]{10})?\b`),  // throw-away users
		regexp.MustCompile(`-[a-z2-7]{10}\b`),                               // ids, and names made of hashes
		regexp.MustCompile(`scim-[a-z2-7]{20}`),                             // native bindings
		regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`),     // times
		regexp.MustCompile(`\b\d+(?:\.\d+)?[smh](?:\d+[sm])?\b`),            // ages and durations
		regexp.MustCompile(`\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`), // UIDs
		regexp.MustCompile(`\b(?:[0-9a-f]{16}|[0-9a-f]{8})\b`),              // requests, IDs of tokens
		regexp.MustCompile(`"version":"[^,}]*"`),                            // versions
		regexp.MustCompile(`\b[B-Z]{4}-[B-Z]{4}\b`),                         // codes of OAuth requests
	}
	blanks  = regexp.MustCompile(`[ \t]+`)
	endings = regexp.MustCompile(`[ \t]+\n`)
)

// stable gives an answer the address that a page shows.
func stable(printed string) string { return address.ReplaceAllString(printed, "http://127.0.0.1:8085") }

// alike compares but for what differs from run to run; "…" in what is shown stands for anything.
func alike(printed, shown string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(invariable(shown)), "…", ".*")
	return regexp.MustCompile("(?s)^" + pattern + "$").MatchString(invariable(printed))
}

func invariable(text string) string {
	text = stable(text)
	for _, pattern := range varies {
		text = pattern.ReplaceAllString(text, "${1}~")
	}
	lines := strings.Split(strings.TrimSpace(blanks.ReplaceAllString(text, " ")), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
