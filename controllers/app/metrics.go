package app

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

var (
	appLabels = []string{"namespace", "app"}

	readyApps = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "scim_operator_app_ready",
		Help: "Whether an App can grant what it says: its condition Ready. The leader tells it.",
	}, appLabels)
	missingScopesOfApps = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "scim_operator_app_missing_scopes",
		Help: "Scopes of an App that no namespace is in, 32 at most. The leader tells it.",
	}, appLabels)
	heldUsers = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "scim_operator_app_held_users",
		Help: "Users of an App that keep roles that they no longer earn, by spec.safety. The leader tells it.",
	}, appLabels)
)

func init() { metrics.Registry.MustRegister(readyApps, missingScopesOfApps, heldUsers) }

// measure tells the metrics what the status of an App says.
func measure(app *v1alpha1.App) {
	values := labelsOf(client.ObjectKeyFromObject(app))
	ready, held := 0.0, 0.0
	if meta.IsStatusConditionTrue(app.Status.Conditions, v1alpha1.ConditionReady) {
		ready = 1
	}
	if app.Status.Removals != nil {
		held = float64(app.Status.Removals.Held)
	}
	readyApps.With(values).Set(ready)
	missingScopesOfApps.With(values).Set(float64(len(app.Status.MissingScopes)))
	heldUsers.With(values).Set(held)
}

func forgetMeasures(app types.NamespacedName) {
	for _, metric := range []*prometheus.GaugeVec{readyApps, missingScopesOfApps, heldUsers} {
		metric.Delete(labelsOf(app))
	}
}

func labelsOf(app types.NamespacedName) prometheus.Labels {
	return prometheus.Labels{"namespace": app.Namespace, "app": app.Name}
}
