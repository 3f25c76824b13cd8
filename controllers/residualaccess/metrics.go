package residualaccess

import (
	"github.com/scim-operator/scim-operator/internal/telemetry"
)

var (
	people = telemetry.Gauge(telemetry.Controller, "residual_access_people",
		"People with revoked access that bindings by other hands still name.").WithLabelValues()
	bindings = telemetry.Gauge(telemetry.Controller, "residual_access_bindings",
		"Bindings by other hands that still name people with revoked access, counted once for each person.").WithLabelValues()
)

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
