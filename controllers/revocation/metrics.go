package revocation

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	revocations = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "scim_operator_revocations",
		Help: "Kubernetes user names on the RevocationList of an App.",
	}, []string{"namespace", "app"})
	revocationsOmitted = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "scim_operator_revocations_omitted",
		Help: "People of an App revoked within a day that its RevocationList has no room for.",
	}, []string{"namespace", "app"})
	writes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scim_operator_revocation_writes_total",
		Help: "Writes of the RevocationList by result: success, conflict or error.",
	}, []string{"result"})
)

func init() { metrics.Registry.MustRegister(revocations, revocationsOmitted, writes) }

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
