//go:build promtool

package observe_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// Every query of docs/dashboard.json returns something, by Prometheus' own engine over scrapes of the running processes.
func TestNoPanelIsEmpty(t *testing.T) {
	dir, begun := t.TempDir(), time.Now().Unix()
	take := func(at int64) {
		for name, process := range map[string]*localoperator.Process{"server": operator.Server, "controller": operator.Controller} {
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d-%s.txt", at, name)), []byte(scrape(t, process, "text/plain")), 0o600))
		}
	}
	lively().play(t)
	other := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "panel", nil) // the figures of the scene stay as they are
	scim := operator.Client(operator.Server, "/scim/v2", other, okta.AppWizard)
	assign := func(name string) *okta.Assignment {
		assignment := okta.Assign(okta.NewProfile(name))
		_, err := scim.AssignUser(t.Context(), assignment)
		must(t, err)
		operator.AccessSoon(t, other.Subject(name), harness.Everywhere("viewer"))
		eventually(t, "a grant in the metrics", func() error {
			return unless(strings.Contains(scrape(t, operator.Controller, "text/plain"), `scim_operator_provisioning_seconds_count{app="panel"`), "it is not there")
		})
		return assignment
	}
	_, err := scim.Deactivate(t.Context(), assign("first@example.com")) // the series begin
	must(t, err)
	take(begun)
	// A rate takes two scrapes with a change between them.
	_, err = scim.Deactivate(t.Context(), assign("second@example.com"))
	must(t, err)
	eventually(t, "the second grant, and the time of a token's last use", func() error {
		text := scrape(t, operator.Controller, "text/plain")
		grants := regexp.MustCompile(`scim_operator_provisioning_seconds_count\{app="panel",[^}]*\} 2`)
		return unless(grants.MatchString(text) && strings.Contains(text, "scim_operator_app_last_request_timestamp_seconds{"), "they are not there")
	})
	take(begun + 30) // as if the scraper came each half minute

	raw, err := os.ReadFile("../../docs/dashboard.json")
	must(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	must(t, json.Unmarshal(raw, &dashboard))
	var titles, queries []string
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			titles = append(titles, panel.Title)
			queries = append(queries, strings.NewReplacer("$__rate_interval", "2m", "$namespace", ".*", "$app", ".*").Replace(target.Expr))
		}
	}
	command := exec.CommandContext(t.Context(), "go", "run", "-C", "../../hack/tools/promtool", "-tags", "remove_all_sd", ".", dir)
	command.Stdin = strings.NewReader(strings.Join(queries, "\n") + "\n")
	var complaints strings.Builder
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	counts := strings.Fields(string(output))
	if len(counts) != len(queries) || len(queries) < 20 {
		t.Fatalf("%d answers to %d queries", len(counts), len(queries))
	}
	for i, count := range counts {
		if count == "0" {
			t.Errorf("the panel %q is empty: %s", titles[i], queries[i])
		}
	}
}
