package app

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// setExternalURL says what begins meta.location in answers. The server's flag is not known here.
func setExternalURL(app *v1alpha1.App) {
	fixed := metav1.Condition{
		Type: v1alpha1.ConditionExternalURLSet, Status: metav1.ConditionTrue, Reason: "ExternalURL",
		Message: "meta.location in answers begins with spec.externalURL.",
	}
	if app.Spec.ExternalURL == "" {
		fixed.Status, fixed.Reason = metav1.ConditionFalse, "ServerOrHost"
		fixed.Message = "meta.location in answers begins with the server's --external-url, or, where the server has none, with the Host header " +
			"of each request, which the client chooses. Set spec.externalURL to fix it."
	}
	set(app, fixed)
}
