package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/scim-operator/scim-operator/internal/telemetry"
)

const metricsPage = "../../docs/metrics.md"

// docs/metrics.md is what the linked packages register. UPDATE_DOCS=1 writes it anew.
func TestMetricsPage(t *testing.T) {
	head, err := os.ReadFile("testdata/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	page := bytes.NewBuffer(head)
	for _, part := range []struct {
		title     string
		processes []telemetry.Process
	}{
		{"The SCIM server", []telemetry.Process{telemetry.Server}},
		{"The controller", []telemetry.Process{telemetry.Controller}},
		{"Both", []telemetry.Process{telemetry.Both}},
	} {
		_, _ = fmt.Fprintf(page, "\n## %s\n\n| Metric | Type | Labels | What it tells |\n|---|---|---|---|\n", part.title)
		for _, metric := range telemetry.Catalog() {
			if slices.Contains(part.processes, metric.Process) {
				labels := ""
				if len(metric.Labels) > 0 {
					labels = "`" + strings.Join(metric.Labels, "`, `") + "`"
				}
				_, _ = fmt.Fprintf(page, "| `%s` | %s | %s | %s |\n", metric.Name, metric.Type, labels, metric.Help)
			}
		}
	}
	comparePage(t, metricsPage, page.Bytes())
}

// comparePage compares a page with what it should be, or writes it with UPDATE_DOCS=1.
func comparePage(t *testing.T, path string, want []byte) {
	t.Helper()
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(found), string(want)); diff != "" {
		t.Errorf("%s (-) is not what the code says (+); write it anew by UPDATE_DOCS=1:\n%s", path, diff)
	}
}

// What is registered past package telemetry is in no catalog, on no page and perhaps without the prefix.
func TestEveryMetricIsInTheCatalog(t *testing.T) {
	known := map[string]bool{}
	for _, metric := range telemetry.Catalog() {
		if known[metric.Name] {
			t.Errorf("%s is in the catalog twice", metric.Name)
		}
		if known[metric.Name] = true; !strings.HasSuffix(metric.Help, ".") {
			t.Errorf("%s: the help is no sentence: %q", metric.Name, metric.Help)
		}
	}
	registered := make(chan *prometheus.Desc)
	go func() {
		metrics.Registry.(prometheus.Collector).Describe(registered)
		close(registered)
	}()
	seen := 0
	for description := range registered {
		_, rest, _ := strings.Cut(description.String(), `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		if strings.HasPrefix(name, telemetry.Prefix) {
			seen++
		}
		if strings.Contains(name, "scim") && !known[name] {
			t.Errorf("%s was registered past package telemetry", name)
		}
	}
	if seen != len(known) {
		t.Errorf("%d metrics are registered, %d are in the catalog", seen, len(known))
	}
}
