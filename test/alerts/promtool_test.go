//go:build promtool

package alerts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each alert fires in its case, with the texts that a person reads, and does not in the one beside it.
func TestAlertsByPromtool(t *testing.T) {
	spec, all := rules(t)
	cases, err := os.ReadFile("testdata/alerts.yaml")
	must(t, err)
	for _, rule := range all {
		name := strings.TrimPrefix(rule.Alert, "ScimOperator")
		if rule.Alert != "" && (!strings.Contains(string(cases), `"`+name+`: fires"`) || !strings.Contains(string(cases), `"`+name+`: does not"`)) {
			t.Errorf("testdata/alerts.yaml has no case in which %s fires, and one in which it does not", rule.Alert)
		}
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), spec, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "alerts.yaml"), cases, 0o600))
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", filepath.Join(dir, "rules.yaml"))
	promtool(t, "test", "rules", filepath.Join(dir, "alerts.yaml"))
}

// promtool runs the pinned tool, built without Prometheus' service discoveries.
func promtool(t *testing.T, arguments ...string) {
	t.Helper()
	const mod = "../../hack/tools/promtool/go.mod"
	run := append([]string{"run", "-tags", "remove_all_sd", "-modfile", mod, "github.com/prometheus/prometheus/cmd/promtool"}, arguments...)
	if output, err := exec.CommandContext(t.Context(), "go", run...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
}
