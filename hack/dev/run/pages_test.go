package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/hack/controlplane"
	"github.com/scim-operator/scim-operator/test/pages"
)

const root = "../../../"

// playPages plays the pages; `UPDATE_PAGES=1 go test ./hack/dev/run -run TestPages` writes what is printed into them.
func playPages(t *testing.T, dir string) {
	for _, page := range pages.Quickstart {
		raw, err := os.ReadFile(root + page.Path)
		if err != nil {
			t.Fatal(err)
		}
		before, part, after, err := page.Cut(string(raw))
		if err != nil {
			t.Fatal(err)
		}
		part = pages.Play(t, pages.Shell{Root: root, Env: []string{"ENV=" + filepath.Join(dir, "env")}}, page.Path, part)
		if os.Getenv("UPDATE_PAGES") != "" {
			if err := os.WriteFile(root+page.Path, []byte(before+part+after), 0o600); err != nil {
				t.Fatal(err)
			}
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
			case "user", "users", "group", "groups", "app", "apps", "susers", "sgroups", "sapps", "stokens", "arbs": // the last are no names
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
		"kubectl get susers -A":                     1,
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
	answerWhenGone(t, dir)
	playPages(t, dir)
}
