package residual

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	people = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "scim_operator_residual_access_people",
		Help: "People with revoked access that bindings by other hands still name.",
	})
	bindings = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "scim_operator_residual_access_bindings",
		Help: "Bindings by other hands that still name people with revoked access, counted once for each person.",
	})
)

func init() { metrics.Registry.MustRegister(people, bindings) }

// account moves the gauges from one answer about a person to the next; the mutex is held.
func (f *Finder) account(before, after int) {
	f.found += after - before
	switch {
	case before == 0 && after > 0:
		f.affected++
	case before > 0 && after == 0:
		f.affected--
	}
	people.Set(float64(f.affected))
	bindings.Set(float64(f.found))
}
