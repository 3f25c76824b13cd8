// Package alerts_test holds the alerts of config/components/prometheus-rule against their pages and the metrics; with the tag
// promtool, which make alerts sets, it has promtool test each of them.
package alerts_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	ruleFile = "../../config/components/prometheus-rule/prometheus_rule.yaml"
	runbooks = "../../docs/runbooks"
)

type rule struct {
	Alert, Record, Expr, For string
	Labels, Annotations      map[string]string
}

// rules returns what a Prometheus without its operator would read, and the rules in it.
func rules(t *testing.T) (spec []byte, all []rule) {
	t.Helper()
	raw, err := os.ReadFile(ruleFile)
	must(t, err)
	var object struct {
		Spec map[string]any `json:"spec"`
	}
	must(t, yaml.UnmarshalStrict(raw, &struct{ APIVersion, Kind, Metadata, Spec any }{}))
	must(t, yaml.Unmarshal(raw, &object))
	spec, err = yaml.Marshal(object.Spec)
	must(t, err)
	var groups struct {
		Groups []struct{ Rules []rule } `json:"groups"`
	}
	must(t, yaml.Unmarshal(spec, &groups))
	for _, group := range groups.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("%d rules: this test looks at nothing", len(all))
	}
	return spec, all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An alert at night leads to a page that says what to do, and each page belongs to an alert.
func TestEachAlertHasItsPage(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(runbooks, "README.md"))
	must(t, err)
	unused := map[string]bool{}
	pages, err := filepath.Glob(filepath.Join(runbooks, "ScimOperator*.md"))
	must(t, err)
	for _, page := range pages {
		unused[filepath.Base(page)] = true
	}
	_, all := rules(t)
	for _, rule := range all {
		if rule.Alert == "" {
			continue
		}
		name := rule.Alert + ".md"
		if !strings.HasSuffix(rule.Annotations["runbook_url"], "/docs/runbooks/"+name) || !unused[name] {
			t.Errorf("%s: runbook_url %q, and a page of this name: %t", rule.Alert, rule.Annotations["runbook_url"], unused[name])
			continue
		}
		delete(unused, name)
		page, err := os.ReadFile(filepath.Join(runbooks, name))
		must(t, err)
		for _, want := range []string{"# " + rule.Alert, "Severity: " + rule.Labels["severity"], "## What it means", "## Look", "## Do"} {
			if !strings.Contains(string(page), want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		if row := "| [" + rule.Alert + "](" + name + ") | " + rule.Labels["severity"] + " | " + rule.Annotations["description"] + " |"; !strings.Contains(string(index), row) {
			t.Errorf("the index lacks the row %s", row)
		}
	}
	for name := range unused {
		t.Errorf("%s belongs to no alert", name)
	}
}

var series = regexp.MustCompile(`\bscim_operator_[a-z_]+`)

// A rule about a metric that is not shown, or under another name, never fires, and a panel stays empty.
func TestRulesNameMetricsThatAreShown(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	must(t, err)
	known := regexp.MustCompile("\\| `(scim_operator_[a-z_]+)`")
	shown := map[string]bool{}
	for _, match := range known.FindAllStringSubmatch(string(page), -1) {
		shown[match[1]] = true
	}
	_, all := rules(t)
	dashboard, err := os.ReadFile("../../docs/dashboard.json")
	must(t, err)
	for _, rule := range append(all, rule{Record: "the dashboard", Expr: string(dashboard)}) {
		for _, name := range series.FindAllString(rule.Expr, -1) {
			base := strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
			if !shown[name] && !shown[base] {
				t.Errorf("%s%s asks for %s, which docs/metrics.md does not list", rule.Alert, rule.Record, name)
			}
		}
	}
}
