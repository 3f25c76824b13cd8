package observe_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// looks returns the commands that a page shows under "Look", each with its pipe.
func looks(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	must(t, err)
	_, look, _ := strings.Cut(string(text), "## Look")
	look, _, _ = strings.Cut(look, "\n## ")
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(look)
	if block == nil {
		t.Fatalf("%s shows no command", page)
	}
	return strings.Split(strings.TrimSpace(regexp.MustCompile(`\|\s+`).ReplaceAllString(block[1], "| ")), "\n")
}

func runbookPages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../../docs/runbooks/ScimOperator*.md")
	must(t, err)
	if len(pages) < 10 {
		t.Fatalf("%d pages: this test looks at nothing", len(pages))
	}
	return pages
}

// At three in the morning the first command works as it is pasted. What asks for Pods, or for a Lease, has none here.
func TestRunbookCommands(t *testing.T) {
	scene := lively().play(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, operator.Env.ControlPlane.WriteKubeconfig(kubeconfig, "admin", "system:masters"))
	shown := map[string]string{}
	for _, page := range runbookPages(t) {
		for _, line := range looks(t, page) {
			if strings.Contains(line, " logs ") || strings.Contains(line, "kubectl top ") || strings.Contains(line, " get lease ") {
				continue
			}
			command := exec.CommandContext(t.Context(), "bash", "-c", line+"\nexit ${PIPESTATUS[0]}")
			command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+filepath.Dir(operator.Env.Kubectl)+":"+os.Getenv("PATH"))
			output, err := command.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %s\n%v\n%s", filepath.Base(page), line, err, output)
			}
			shown[filepath.Base(page)] += string(output)
		}
	}
	// The leaver has no access any more, the member has some: neither is one to worry about.
	if page := shown["ScimOperatorRevocationUnconfirmed.md"]; !strings.HasPrefix(page, "NAMESPACE ") || strings.Contains(page, scene.leaver.ID) || strings.Contains(page, scene.member.ID) {
		t.Errorf("leavers that are not confirmed:\n%s", page)
	}
	if page := shown["ScimOperatorAppNotReady.md"]; !strings.Contains(page, scene.app.Name) || !strings.Contains(page, "True") {
		t.Errorf("Apps:\n%s", page)
	}
}

// Of columns as kubectl prints them, the page's filter keeps the users that may not have access and are not confirmed to have none.
func TestRunbookFindsLeavers(t *testing.T) {
	line := looks(t, "../../docs/runbooks/ScimOperatorRevocationUnconfirmed.md")[0]
	_, filter, found := strings.Cut(line, "| awk ")
	if !found {
		t.Fatalf("the first command has no filter: %s", line)
	}
	command := exec.CommandContext(t.Context(), "bash", "-c", "awk "+filter)
	command.Stdin = strings.NewReader(`NAMESPACE NAME ACTIVE SUSPENDED DELETED REVOKED WHY
idp active true <none> <none> <none> <none>
idp gone false <none> <none> True Inactive
idp failed false <none> <none> False BindingFailed
idp unseen <none> <none> <none> <none> <none>
idp suspended true true <none> False BindingFailed
idp suspended-gone true true <none> True Suspended
idp deleted true <none> 2026-11-30T00:00:00Z <none> <none>
`)
	output, err := command.Output()
	must(t, err)
	var names []string
	for line := range strings.Lines(string(output)) {
		names = append(names, strings.Fields(line)[1])
	}
	if got := strings.Join(names, " "); got != "NAME failed unseen suspended deleted" {
		t.Errorf("it lists %s", got)
	}
}

// kubectl shows ten lines of each Pod that a selector finds, whatever --since says, unless it is told otherwise.
func TestRunbooksReadWholeLogs(t *testing.T) {
	looked := 0
	for _, page := range runbookPages(t) {
		for _, line := range looks(t, page) {
			if !strings.Contains(line, " logs -l ") {
				continue
			}
			looked++
			if !strings.Contains(line, "--tail=") {
				t.Errorf("%s: %s: ten lines of each Pod are looked at", filepath.Base(page), line)
			}
		}
	}
	if looked == 0 {
		t.Error("no page reads a log")
	}
}
