package revocation

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	revocations = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "scim_operator_revocations",
		Help: "Kubernetes user names on the RevocationList.",
	})
	revocationsOmitted = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "scim_operator_revocations_omitted",
		Help: "People revoked within a day whom the RevocationList has no room for.",
	})
	writes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scim_operator_revocation_writes_total",
		Help: "Writes of the RevocationList by result: success, conflict or error.",
	}, []string{"result"})
)

func init() { metrics.Registry.MustRegister(revocations, revocationsOmitted, writes) }
