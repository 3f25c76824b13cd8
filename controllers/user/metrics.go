package user

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/telemetry"
)

var (
	lagBuckets = []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800}

	provisioningSeconds = telemetry.Histogram(telemetry.Controller, "provisioning_seconds",
		"Time from a client's change of a user or group to the status that says that the role is bound. Exemplars have the request's id.",
		lagBuckets, "namespace", "app")
	revocationSeconds = telemetry.Histogram(telemetry.Controller, "revocation_seconds",
		"Time from a client's deactivation or deletion of a user to the status that says that the access is gone. Exemplars have the request's id.",
		lagBuckets, "namespace", "app")
)

// measure observes how long after a client's change the status says that access was given, or is gone. What no client's
// request led to has no beginning, and is left out; so is a grant that failed at first.
func (e report) measure(before, after *v1alpha1.UserStatus) {
	origin := e.origin(before)
	histogram := provisioningSeconds
	switch {
	case e.user.MayHaveAccess():
		if len(auditChanges(before, after)[auditChange{action: auditGranted}]) == 0 {
			return
		}
	case !meta.IsStatusConditionTrue(after.Conditions, v1alpha1.ConditionAccessRevoked),
		meta.IsStatusConditionTrue(before.Conditions, v1alpha1.ConditionAccessRevoked):
		return
	default:
		histogram = revocationSeconds
		if len(origin.requests) == 0 && !e.user.Spec.Active && e.isByRequest() { // it failed at first
			origin.add(e.user.Spec.ModifiedAt().Time, e.user.Spec.LastRequest)
		}
	}
	if len(origin.requests) == 0 {
		return
	}
	requestID := ""
	if len(origin.requests) == 1 {
		requestID = origin.requests[0]
	}
	seconds := max(0, time.Since(origin.since).Seconds()) // clocks of two processes differ
	telemetry.Observe(histogram.WithLabelValues(e.user.Namespace, e.user.Spec.App), seconds, requestID)
}
