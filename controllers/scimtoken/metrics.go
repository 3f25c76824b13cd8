package scimtoken

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

var tokenExpiry = prometheus.NewGaugeVec(prometheus.GaugeOpts{
	Name: "scim_operator_token_expiry_timestamp_seconds",
	Help: "When a ScimToken with spec.expiresAt expires, or has expired, in seconds since 1970. The leader tells it.",
}, []string{"namespace", "token", "app"})

func init() { metrics.Registry.MustRegister(tokenExpiry) }

// measure tells the metrics when a token expires.
func measure(object *v1alpha1.ScimToken) {
	forgetMeasures(types.NamespacedName{Namespace: object.Namespace, Name: object.Name})
	if expiresAt := object.Spec.ExpiresAt; expiresAt != nil {
		tokenExpiry.WithLabelValues(object.Namespace, object.Name, object.Spec.App).Set(float64(expiresAt.Unix()))
	}
}

func forgetMeasures(token types.NamespacedName) {
	tokenExpiry.DeletePartialMatch(prometheus.Labels{"namespace": token.Namespace, "token": token.Name})
}
