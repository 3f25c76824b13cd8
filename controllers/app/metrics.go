package app

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/telemetry"
)

var (
	appLabels = []string{"namespace", "app"}

	readyApps = telemetry.Gauge(telemetry.Controller, "app_ready",
		"Whether an App can grant what it says: its condition Ready. The leader tells it.", appLabels...)
	missingScopesOfApps = telemetry.Gauge(telemetry.Controller, "app_missing_scopes",
		"Scopes of an App that no namespace is in, 32 at most. The leader tells it.", appLabels...)
	heldUsers = telemetry.Gauge(telemetry.Controller, "app_held_users",
		"Users of an App that keep roles that they no longer earn, by spec.safety. The leader tells it.", appLabels...)
	unevaluatedUsers = telemetry.Gauge(telemetry.Controller, "app_unevaluated_users",
		"Users of an App that are yet to be evaluated for its present specification. The leader tells it.", appLabels...)
)

// measure tells the metrics what the status of an App says.
func measure(app *v1alpha1.App) {
	values := labelsOf(client.ObjectKeyFromObject(app))
	ready, held, unevaluated := 0.0, 0.0, 0.0
	if meta.IsStatusConditionTrue(app.Status.Conditions, v1alpha1.ConditionReady) {
		ready = 1
	}
	if app.Status.Removals != nil {
		held = float64(app.Status.Removals.Held)
	}
	if evaluation := app.Status.Evaluation; evaluation != nil {
		unevaluated = float64(max(0, evaluation.Users-evaluation.Done))
	}
	readyApps.With(values).Set(ready)
	missingScopesOfApps.With(values).Set(float64(len(app.Status.MissingScopes)))
	heldUsers.With(values).Set(held)
	unevaluatedUsers.With(values).Set(unevaluated)
}

var measures = []*prometheus.GaugeVec{readyApps, missingScopesOfApps, heldUsers, unevaluatedUsers}

func forgetMeasures(app types.NamespacedName) {
	for _, metric := range measures {
		metric.Delete(labelsOf(app))
	}
}

func labelsOf(app types.NamespacedName) prometheus.Labels {
	return prometheus.Labels{"namespace": app.Namespace, "app": app.Name}
}
