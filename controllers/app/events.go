package app

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/clip"
)

// tell writes an Event on the App for each condition that began or ceased to call for action, after the status that says so.
// The action is the condition: Events that have action and reason in common are one to Kubernetes. A message that counts users
// changes with every user: of such a condition, only the beginning and the end are told.
func (r *Reconciler) tell(app *v1alpha1.App, before *v1alpha1.AppStatus) {
	for _, told := range []struct {
		condition string
		// bad is the status that calls for action.
		bad metav1.ConditionStatus
		// counts says that the message counts users.
		counts bool
	}{
		{v1alpha1.ConditionReady, metav1.ConditionFalse, false},
		{v1alpha1.ConditionScopesFound, metav1.ConditionFalse, false},
		{v1alpha1.ConditionExpressionsEvaluated, metav1.ConditionFalse, true},
		{v1alpha1.ConditionRemovalsHeld, metav1.ConditionTrue, true},
	} {
		was, is := meta.FindStatusCondition(before.Conditions, told.condition), meta.FindStatusCondition(app.Status.Conditions, told.condition)
		wasBad, isBad := was != nil && was.Status == told.bad, is != nil && is.Status == told.bad
		switch {
		case isBad && is.Reason == v1alpha1.ReasonDeleted: // the client that deleted the App knows
		case isBad && (!wasBad || !told.counts && was.Message != is.Message):
			r.Recorder.Eventf(app, nil, corev1.EventTypeWarning, is.Reason, told.condition, "%s", clip.Text(is.Message, clip.EventNote))
		case wasBad && is != nil && !isBad:
			r.Recorder.Eventf(app, nil, corev1.EventTypeNormal, is.Reason, told.condition, "%s", clip.Text(is.Message, clip.EventNote))
		}
	}
}
