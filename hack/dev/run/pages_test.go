package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/hack/controlplane"
)

const root = "../../../"

// pages are those whose commands are pasted, in this order, with the heading that they begin and end at; "" for the whole page.
var pages = []struct{ path, from, to string }{
	{"README.md", "## Try it\n", "## Install it in a cluster\n"},
	{"docs/walkthrough.md", "", ""},
	{"docs/tokens.md", "## The quick way: have one generated\n", "## What a token may do, from where, and when\n"},
}

// playPages pastes every block of sh into a shell at the root of the repository, and compares what it prints with the block of text
// that follows. `UPDATE_PAGES=1 go test ./hack/dev/run -run TestPages` writes what is printed into the pages.
func playPages(t *testing.T, dir string) {
	for _, page := range pages {
		raw, err := os.ReadFile(root + page.path)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, found := strings.Cut(string(raw), page.from)
		part, after := rest, ""
		if page.to != "" {
			part, after, found = strings.Cut(rest, page.to)
			before, after = before+page.from, page.to+after
		}
		if !found {
			t.Fatalf("%s has no section %q", page.path, page.from)
		}
		blocks := blocksOf(part)
		if len(blocks) < 3 {
			t.Fatalf("%s has %d blocks of sh", page.path, len(blocks))
		}
		printed := pasteAll(t, dir, blocks)
		for i, block := range blocks {
			if os.Getenv("UPDATE_PAGES") != "" {
				part = strings.Replace(part, block.whole, block.with(printed[i]), 1)
			} else if !alike(printed[i], block.shown) {
				t.Errorf("%s:\n%sprinted\n%s\nand the page shows\n%s", page.path, block.commands, printed[i], block.shown)
			}
		}
		if os.Getenv("UPDATE_PAGES") != "" {
			if err := os.WriteFile(root+page.path, []byte(before+part+after), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
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

// settled waits, as a person who reads does, until every status speaks of its object as it is.
const settled = `settled() {
  for i in $(seq 60); do
    open=$(kubectl get users.scim-operator.io,approlebindings.scim-operator.io -A -o jsonpath='{range .items[*]}{.metadata.generation}/{.status.observedGeneration} {end}' |
      tr ' ' '\n' | awk -F/ 'NF && $1 != $2')
    [ -n "$open" ] || break
    sleep .5
  done
}
`

// pasteAll runs the blocks in one bash, and returns what each printed. `. .run/env` reads the file of this run.
func pasteAll(t *testing.T, dir string, blocks []block) []string {
	t.Helper()
	const mark = "=== block "
	var script strings.Builder
	script.WriteString(settled + ". \"$ENV\"\n")
	for i, block := range blocks {
		fmt.Fprintf(&script, "echo '%s%d'\n%ssettled\n", mark, i, strings.ReplaceAll(block.commands, ". .run/env", `. "$ENV"`))
	}
	command := exec.CommandContext(t.Context(), "bash", "-c", script.String())
	command.Dir = root
	command.Env = append(os.Environ(), "ENV="+filepath.Join(dir, "env"))
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
	// What differs from run to run.
	varies = []*regexp.Regexp{
		regexp.MustCompile(`-[a-z2-7]{10}\b`),                         // ids, and names made of hashes
		regexp.MustCompile(`scim-[a-z2-7]{20}`),                       // native bindings
		regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), // times
		regexp.MustCompile(`\b\d+(\.\d+)?[smh](\d+[sm])?\b`),          // ages and durations
		regexp.MustCompile(`\b[0-9a-f]{16}\b`),                        // requests
		regexp.MustCompile(`"version":"[^,}]*"`),                      // versions
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
		text = pattern.ReplaceAllString(text, "~")
	}
	lines := strings.Split(strings.TrimSpace(blanks.ReplaceAllString(text, " ")), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

func TestPagesAreCompared(t *testing.T) {
	blocks := blocksOf("a\n```sh\nmake run\n```\n\n```sh\nls\n```\n\n```text\n{\"id\":\"jane-exebugpowk\",…}\nx   1s\n```\nb\n```sh\ntrue\n```\n")
	if len(blocks) != 2 || blocks[0].commands != "ls\n" || blocks[1].shown != "" {
		t.Fatalf("blocks %q", blocks)
	}
	for printed, want := range map[string]bool{
		"{\"id\":\"jane-aaaaaaaaaa\",\"active\":true}\nx 25s\n": true,
		"{\"id\":\"john-aaaaaaaaaa\",\"active\":true}\nx 25s\n": false,
		"{\"id\":\"jane-aaaaaaaaaa\",\"active\":true}\ny 25s\n": false,
		"": false,
	} {
		if alike(printed, blocks[0].shown) != want {
			t.Errorf("%q is compared wrongly", printed)
		}
	}
}

// kindsOf matches the kinds that a kubectl command names: what follows its verb and flags.
var kindsOf = regexp.MustCompile(`kubectl (?:(?:-n|--namespace) \S+ )?(?:get|describe|delete|patch|wait|edit|label|annotate|explain) (?:(?:-A|--all) |-[^\s\x60]+(?: [^\s\x60-]\S* )?)*([a-z][a-z.,]*)`)

// ambiguous returns the kinds of the commands in the text that other products have as well.
func ambiguous(text string) (found []string) {
	for _, match := range kindsOf.FindAllStringSubmatch(text, -1) {
		for kind := range strings.SplitSeq(match[1], ",") {
			switch kind {
			case "user", "users", "group", "groups", "app", "apps":
				found = append(found, match[0])
			}
		}
	}
	return found
}

// `kubectl get users` is about other people on OpenShift and Rancher: pages, hints and messages have the short names. One page says so.
func TestPagesNameKindsUnambiguously(t *testing.T) {
	for text, want := range map[string]int{
		"kubectl get users":                         1,
		"`kubectl -n own get apps,groups -A`":       1 + 1,
		"kubectl --namespace x delete app a":        1,
		"kubectl get -A users":                      1,
		"kubectl annotate app %s -n %s":             1,
		"kubectl get suser,sgroup":                  0,
		"kubectl get users.scim-operator.io":        0,
		"kubectl -n x get secret users -o jsonpath": 0,
		"kubectl auth can-i impersonate users":      0,
	} {
		if got := ambiguous(text); len(got) != want {
			t.Errorf("%q: %q is ambiguous, want %d", text, got, want)
		}
	}
	read := 0
	for _, top := range []string{"README.md", "CONTRIBUTING.md", "docs", "config", "charts", "hack/dev", "controllers", "internal", "scimserver", "cmd"} {
		err := filepath.WalkDir(root+top, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			read++
			text := strings.Replace(string(data), "`kubectl get users` finds the first kind of that name", "", 1)
			for _, command := range ambiguous(text) {
				t.Errorf("%s: %q: users, groups and apps are other kinds in some clusters", path, command)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if read < 100 {
		t.Errorf("%d files were read", read)
	}
}

// Every command of README's first section, of docs/walkthrough.md and of docs/tokens.md's three ways works as it is pasted, in order.
func TestPages(t *testing.T) {
	if _, err := controlplane.Ensure(t.Context(), os.Stderr); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "dev")
	startDev(t, buildPrograms(t), dir)
	playPages(t, dir)
}
