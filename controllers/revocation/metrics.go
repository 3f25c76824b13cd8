package revocation

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/internal/telemetry"
)

var (
	revocations = telemetry.Gauge(telemetry.Controller, "revocations",
		"Kubernetes user names on the RevocationList of an App.", "namespace", "app")
	revocationsOmitted = telemetry.Gauge(telemetry.Controller, "revocations_omitted",
		"People of an App revoked within a day that its RevocationList has no room for.", "namespace", "app")
	writes = telemetry.Counter(telemetry.Controller, "revocation_writes_total",
		"Writes of the RevocationList by result: success, conflict or error.", "result")
)

// note exports how many names of an App are listed and left out; an App without any has no series.
func note(app types.NamespacedName, listed int, omitted int32) {
	if listed == 0 && omitted == 0 {
		revocations.DeleteLabelValues(app.Namespace, app.Name)
		revocationsOmitted.DeleteLabelValues(app.Namespace, app.Name)
		return
	}
	revocations.WithLabelValues(app.Namespace, app.Name).Set(float64(listed))
	revocationsOmitted.WithLabelValues(app.Namespace, app.Name).Set(float64(omitted))
}
