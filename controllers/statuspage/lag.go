package statuspage

import (
	"fmt"

	dto "github.com/prometheus/client_model/go"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/internal/telemetry"
)

// newLags reads the histograms of lag as texts: how many, and within what time half of them and 99 of 100 were done.
func newLags() lags {
	read := lags{}
	for _, name := range []string{"provisioning_seconds", "revocation_seconds"} {
		read[name] = map[types.NamespacedName]string{}
		for _, metric := range telemetry.ReadHistogram(name) {
			var app types.NamespacedName
			for _, label := range metric.GetLabel() {
				switch label.GetName() {
				case "namespace":
					app.Namespace = label.GetValue()
				case "app":
					app.Name = label.GetValue()
				}
			}
			read[name][app] = lagText(metric.GetHistogram())
		}
	}
	return read
}

func lagText(histogram *dto.Histogram) string {
	within := func(part float64) string {
		for _, bucket := range histogram.GetBucket() {
			if float64(bucket.GetCumulativeCount()) >= part*float64(histogram.GetSampleCount()) {
				return fmt.Sprintf("within %g s", bucket.GetUpperBound())
			}
		}
		return "later than the last bucket"
	}
	return fmt.Sprintf("half %s, 99 %% %s, of %d", within(.5), within(.99), histogram.GetSampleCount())
}
