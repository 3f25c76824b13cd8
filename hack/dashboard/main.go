// Command dashboard writes docs/dashboard.json, a dashboard for Grafana about both processes. `make generate` runs it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// panel is one chart: what it is about, its queries with the legend of each, and the unit of the values.
type panel struct {
	title, unit string
	queries     []query
	// stat shows the last value in place of a curve.
	stat bool
}

type query struct{ expression, legend string }

const app = `namespace=~"$namespace",app=~"$app"`

// rows are the dashboard from top to bottom. Users, groups and tokens are told by every replica: max, not sum.
var rows = []struct {
	title  string
	panels []panel
}{
	{"Leavers", []panel{
		{"Leavers that may still have access", "none", []query{{`sum(max by (namespace, app) (scim_operator_users{state="leaving",` + app + `}))`, "leaving"}}, true},
		{"Leavers with access by other bindings", "none", []query{{`sum(max by (namespace, app) (scim_operator_app_residual_access_users{` + app + `}))`, "residual"}}, true},
		{"Leaders", "none", []query{{`sum(scim_operator_leader)`, "leaders"}}, true},
		{"Admission policies not in place", "none", []query{{`sum(max by (state) (scim_operator_admission_policies{state!="in_place"}))`, "policies"}}, true},
		{"From deactivation to revoked", "s", []query{
			{`histogram_quantile(0.5, sum by (le) (rate(scim_operator_revocation_seconds_bucket{` + app + `}[$__rate_interval])))`, "half"},
			{`histogram_quantile(0.99, sum by (le) (rate(scim_operator_revocation_seconds_bucket{` + app + `}[$__rate_interval])))`, "99 %"},
		}, false},
		{"Answers to deactivations", "reqps", []query{{`sum by (confirmed) (rate(scim_operator_deactivations_total{` + app + `}[$__rate_interval]))`, "confirmed {{confirmed}}"}}, false},
	}},
	{"People", []panel{
		{"Users by state", "none", []query{{`sum by (state) (max by (namespace, app, state) (scim_operator_users{` + app + `}))`, "{{state}}"}}, false},
		{"Groups by state", "none", []query{{`sum by (state) (max by (namespace, app, state) (scim_operator_groups{` + app + `}))`, "{{state}}"}}, false},
		{"From request to role bound", "s", []query{
			{`histogram_quantile(0.5, sum by (le) (rate(scim_operator_provisioning_seconds_bucket{` + app + `}[$__rate_interval])))`, "half"},
			{`histogram_quantile(0.99, sum by (le) (rate(scim_operator_provisioning_seconds_bucket{` + app + `}[$__rate_interval])))`, "99 %"},
		}, false},
		{"Held by spec.safety", "none", []query{{`max by (namespace, app) (scim_operator_app_held_users{` + app + `})`, "{{namespace}}/{{app}}"}}, false},
		{"Apps that are ready", "none", []query{{`max by (namespace, app) (scim_operator_app_ready{` + app + `})`, "{{namespace}}/{{app}}"}}, false},
	}},
	{"Requests", []panel{
		{"Requests by App and code", "reqps", []query{{`sum by (namespace, app, code) (rate(scim_operator_requests_total{` + app + `}[$__rate_interval]))`, "{{namespace}}/{{app}} {{code}}"}}, false},
		{"Time to answer, 99 %", "s", []query{{`histogram_quantile(0.99, sum by (le, endpoint, method) (rate(scim_operator_request_duration_seconds_bucket[$__rate_interval])))`, "{{method}} {{endpoint}}"}}, false},
		{"Refused by limits", "reqps", []query{{`sum by (namespace, app, reason) (rate(scim_operator_refused_requests_total{` + app + `}[$__rate_interval]))`, "{{namespace}}/{{app}} {{reason}}"}}, false},
		{"Without a valid token", "reqps", []query{{`sum by (answer) (rate(scim_operator_failed_authentications_total[$__rate_interval]))`, "{{answer}}"}}, false},
		{"Days until tokens expire", "d", []query{{`(min by (namespace, app, token) (scim_operator_token_expiry_timestamp_seconds{` + app + `}) - time()) / 86400`, "{{namespace}}/{{token}}"}}, false},
		{"Hours since an App's last request", "h", []query{{`(time() - max by (namespace, app) (scim_operator_app_last_request_timestamp_seconds{` + app + `})) / 3600`, "{{namespace}}/{{app}}"}}, false},
	}},
	{"Processes", []panel{
		{"Work that waits, at the leader", "none", []query{{`sum by (queue, kind) (scim_operator_queue_waiting and on (instance) scim_operator_leader == 1)`, "{{queue}} {{kind}}"}}, false},
		{"Longest work", "s", []query{{`max by (queue) (scim_operator_queue_longest_work_seconds)`, "{{queue}}"}}, false},
		{"Failing watches", "none", []query{{`max by (kind) (scim_operator_failing_watches)`, "{{kind}}"}}, false},
		{"Pace by the API server's speed", "percentunit", []query{{`scim_operator_api_pace`, "{{instance}}"}}, false},
		{"Read model", "bytes", []query{{`scim_operator_read_model_bytes`, "{{instance}}"}}, false},
		{"Memory", "bytes", []query{{`process_resident_memory_bytes and on (instance) scim_operator_build_info`, "{{instance}}"}}, false},
	}},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboard FILE")
		os.Exit(2)
	}
	text, err := json.MarshalIndent(dashboard(), "", "  ")
	if err == nil {
		err = os.WriteFile(os.Args[1], append(text, '\n'), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

type object = map[string]any

// dashboard returns the whole in Grafana's model of schema 39. Three panels are beside each other.
func dashboard() object {
	const width, height = 8, 7
	var panels []object
	id, y := 0, 0
	next := func() int { id++; return id }
	for _, row := range rows {
		panels = append(panels, object{"id": next(), "type": "row", "title": row.title, "gridPos": object{"x": 0, "y": y, "w": 24, "h": 1}})
		y++
		for i, panel := range row.panels {
			shown := panel.model()
			shown["id"], shown["gridPos"] = next(), object{"x": i % 3 * width, "y": y + i/3*height, "w": width, "h": height}
			panels = append(panels, shown)
		}
		y += (len(row.panels) + 2) / 3 * height
	}
	return object{
		"uid": "scim-operator", "title": "scim-operator", "tags": []string{"scim-operator"}, "schemaVersion": 39, "refresh": "30s",
		"time": object{"from": "now-6h", "to": "now"}, "panels": panels,
		"templating": object{"list": []object{
			{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
			variable("namespace", `label_values(scim_operator_users, namespace)`),
			variable("app", `label_values(scim_operator_users{namespace=~"$namespace"}, app)`),
		}},
	}
}

func variable(name, values string) object {
	return object{
		"name": name, "type": "query", "query": values, "datasource": source(), "refresh": 2, "includeAll": true, "allValue": ".*", "multi": true,
		"current": object{"text": "All", "value": "$__all"},
	}
}

func source() object { return object{"type": "prometheus", "uid": "${datasource}"} }

func (p panel) model() object {
	kind := "timeseries"
	if p.stat {
		kind = "stat"
	}
	targets := make([]object, 0, len(p.queries))
	for i, query := range p.queries {
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "expr": query.expression, "legendFormat": query.legend, "datasource": source(), "exemplar": !p.stat,
		})
	}
	return object{"type": kind, "title": p.title, "datasource": source(), "targets": targets, "fieldConfig": object{"defaults": object{"unit": p.unit, "min": 0}, "overrides": []object{}}}
}
