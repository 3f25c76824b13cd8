package app

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// issuerSilence is how long a server's report about an issuer is believed: while one runs, a report is at most half an hour old.
const issuerSilence = time.Hour

// issuerSeen has an App looked at when a server told something else of its issuer, or the same later.
var issuerSeen = predicate.TypedFuncs[*v1alpha1.App]{
	UpdateFunc: func(e event.TypedUpdateEvent[*v1alpha1.App]) bool {
		before, after := reportOf(e.ObjectOld), reportOf(e.ObjectNew)
		return before.Reachable != after.Reachable || before.Message != after.Message || before.ObservedGeneration != after.ObservedGeneration ||
			!before.CheckedTime.Equal(after.CheckedTime)
	},
}

func reportOf(app *v1alpha1.App) v1alpha1.ForeignIssuerStatus {
	if app.Status.OIDC == nil {
		return v1alpha1.ForeignIssuerStatus{}
	}
	return *app.Status.OIDC
}

// setIssuer sums up what the servers saw of the issuer that spec.oidc names, and returns when to look again; 0 for never. It asks no
// issuer itself.
func setIssuer(app *v1alpha1.App, now time.Time) (again time.Duration) {
	spec, seen := app.Spec.OIDC, app.Status.OIDC
	if spec == nil {
		app.Status.OIDC = nil
	}
	if spec == nil || spec.Suspended {
		meta.RemoveStatusCondition(&app.Status.Conditions, v1alpha1.ConditionIssuerReachable)
		return 0
	}
	condition := metav1.Condition{
		Type: v1alpha1.ConditionIssuerReachable, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonNotChecked,
		Message: "No server has told in the last hour whether it can read the issuer's keys.",
	}
	if seen != nil && seen.CheckedTime != nil && seen.ObservedGeneration == app.Generation {
		if again = seen.CheckedTime.Add(issuerSilence).Sub(now); again > 0 {
			condition.Message = seen.Message
			condition.Status, condition.Reason = metav1.ConditionFalse, v1alpha1.ReasonKeysNotRead
			if seen.Reachable {
				condition.Status, condition.Reason = metav1.ConditionTrue, v1alpha1.ReasonKeysRead
			}
		}
	}
	set(app, condition)
	return max(0, again)
}
