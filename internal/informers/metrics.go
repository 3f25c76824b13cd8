package informers

import "github.com/scim-operator/scim-operator/internal/telemetry"

var (
	unreadableObjects = telemetry.Gauge(telemetry.Both, "unreadable_objects",
		"Objects that cannot be decoded and count as absent until they are mended, by kind.", "kind")
	failingWatches = telemetry.Gauge(telemetry.Both, "failing_watches",
		"Lists and watches of the API server that have failed since their last success, by kind.", "kind")
	watchFailures = telemetry.Counter(telemetry.Both, "watch_failures_total",
		"Lists and watches of the API server that failed, by kind.", "kind")
)

// showKind has a kind in the metrics from the beginning on: an alert compares with what was there before.
func showKind(kind string) {
	unreadableObjects.WithLabelValues(kind)
	failingWatches.WithLabelValues(kind)
	watchFailures.WithLabelValues(kind)
}
