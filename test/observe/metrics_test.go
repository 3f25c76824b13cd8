package observe_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/hack/localoperator"
)

// unprovoked are metrics that this package's scene does not bring about.
var unprovoked = map[string]string{
	"scim_operator_authorizer_requests_total": "the scene's server runs no authorization webhook",
	"scim_operator_issuer_reads_total":        "no App of the scene trusts an issuer",
	"scim_operator_oauth_replays_total":       "the scene has no machine client that shows an assertion twice",
}

var row = regexp.MustCompile("^\\| `(scim_operator_[a-z_]+)` \\| ([a-z]+) \\|")

// documented returns the metrics of docs/metrics.md by section, with their types.
func documented(t *testing.T) map[string]map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	must(t, err)
	sections, section := map[string]map[string]string{}, ""
	for line := range strings.Lines(string(page)) {
		if title, found := strings.CutPrefix(line, "## "); found {
			section = strings.TrimSpace(title)
			sections[section] = map[string]string{}
		}
		if match := row.FindStringSubmatch(line); match != nil {
			sections[section][match[1]] = match[2]
		}
	}
	return sections
}

// Each process shows what docs/metrics.md says of it, and nothing else of this project's.
func TestProcessesShowTheDocumentedMetrics(t *testing.T) {
	scene := lively().play(t)
	sections := documented(t)
	for title, process := range map[string]*localoperator.Process{"The SCIM server": operator.Server, "The controller": operator.Controller} {
		want := map[string]string{}
		for _, section := range []string{title, "Both"} {
			if len(sections[section]) == 0 {
				t.Fatalf("docs/metrics.md has no metrics under %q", section)
			}
			for name, kind := range sections[section] {
				want[name] = kind
			}
		}
		eventually(t, "every metric of "+title, func() error {
			text := scrape(t, process, "text/plain")
			found := names(text)
			for name, kind := range want {
				if unprovoked[name] == "" && found[name] != kind {
					return unless(false, "%s: %s is %q, want %q", title, name, found[name], kind)
				}
			}
			return unless(strings.Contains(text, `app="`+scene.app.Name+`"`), "%s: no series of the App", title)
		})
		for name := range names(scrape(t, process, "text/plain")) {
			if strings.Contains(name, "scim_") && want[name] == "" {
				t.Errorf("%s shows %s, which docs/metrics.md does not say", title, name)
			}
		}
	}
}

// Figures agree with what the scene did.
func TestMetricsTellWhatHappened(t *testing.T) {
	scene := lively().play(t)
	app := `namespace="` + scene.app.Namespace + `",`
	server := []string{
		`scim_operator_requests_total{app="lively",code="201",endpoint="Users",method="POST",` + app[:len(app)-1] + `} 2`,
		`scim_operator_deactivations_total{app="lively",confirmed="true",` + app[:len(app)-1] + `} 1`,
		`scim_operator_unknown_members_total{app="lively",` + app[:len(app)-1] + `} `,
		`scim_operator_refused_requests_total{app="lively",` + app + `reason="rate"} `,
		`scim_operator_read_model_entries{kind="User"} `,
		`scim_operator_read_model_entries{kind="Group"} `,
		`scim_operator_read_model_bytes `,
		`scim_operator_failed_authentications_total{answer="answered"} `,
	}
	controller := []string{
		`scim_operator_users{app="lively",` + app + `state="granted"} 1`,
		`scim_operator_users{app="lively",` + app + `state="revoked"} 1`,
		`scim_operator_users{app="lively",` + app + `state="leaving"} 0`,
		`scim_operator_groups{app="lively",` + app + `state="members_unknown"} 1`,
		`scim_operator_provisioning_seconds_count{app="lively",` + app[:len(app)-1] + `} 2`,
		`scim_operator_revocation_seconds_count{app="lively",` + app[:len(app)-1] + `} 1`,
		`scim_operator_revocations{app="lively",` + app[:len(app)-1] + `} 1`,
		`scim_operator_app_ready{app="lively",` + app[:len(app)-1] + `} 1`,
		"scim_operator_leader 1",
	}
	for process, lines := range map[*localoperator.Process][]string{operator.Server: server, operator.Controller: controller} {
		eventually(t, "figures", func() error {
			text := scrape(t, process, "text/plain")
			for _, line := range lines {
				if !strings.Contains(text, "\n"+line) {
					return unless(false, "no line %s", line)
				}
			}
			return nil
		})
	}
}

// Exemplars name requests, in the format that has them; and a request's id is that of the log.
func TestExemplars(t *testing.T) {
	lively().play(t)
	exemplar := regexp.MustCompile(`# \{request_id="([0-9a-f]{16})"`)
	for title, process := range map[string]*localoperator.Process{"server": operator.Server, "controller": operator.Controller} {
		found := exemplar.FindStringSubmatch(scrape(t, process, "application/openmetrics-text; version=1.0.0"))
		if found == nil {
			t.Errorf("the %s shows no exemplar", title)
			continue
		}
		if !strings.Contains(operator.ServerLog.String(), found[1]) {
			t.Errorf("the %s's exemplar names request %s, which the server did not log", title, found[1])
		}
		if exemplar.MatchString(scrape(t, process, "text/plain")) {
			t.Errorf("the %s shows exemplars in a format without them", title)
		}
	}
}
