package informers

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	unreadableObjects = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "scim_operator_unreadable_objects",
		Help: "Objects that cannot be decoded and count as absent until they are mended, by kind.",
	}, []string{"kind"})
	failingWatches = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "scim_operator_failing_watches",
		Help: "Lists and watches of the API server that have failed since their last success, by kind.",
	}, []string{"kind"})
)

func init() { metrics.Registry.MustRegister(unreadableObjects, failingWatches) }
