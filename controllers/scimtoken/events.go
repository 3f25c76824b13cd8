package scimtoken

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/clip"
)

// tell writes Events on a token after the status that says the same: that it does not open its App, and why, unless its
// specification asks for that; that it does again; that it expires within 30 days.
func (r *Reconciler) tell(object *v1alpha1.ScimToken, before *v1alpha1.ScimTokenStatus) {
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionAccepted)
	is := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionAccepted)
	switch {
	case is == nil || was != nil && was.Status == is.Status && was.Reason == is.Reason:
	case is.Status == metav1.ConditionTrue:
		if was != nil {
			r.event(object, corev1.EventTypeNormal, is)
		}
	case is.Reason == v1alpha1.ReasonSuspended || is.Reason == v1alpha1.ReasonNotYetValid:
		r.event(object, corev1.EventTypeNormal, is)
	default:
		r.event(object, corev1.EventTypeWarning, is)
	}
	rotating := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionRotating)
	if rotating != nil && (before.Rotation == nil || before.Rotation.Serial != object.Status.Rotation.Serial) {
		r.event(object, corev1.EventTypeWarning, rotating)
	}
	expiring := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionExpiring)
	if expiring != nil && is != nil && is.Reason != v1alpha1.ReasonExpired && meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionExpiring) == nil {
		r.event(object, corev1.EventTypeWarning, expiring)
	}
}

func (r *Reconciler) event(object *v1alpha1.ScimToken, kind string, condition *metav1.Condition) {
	r.Recorder.Eventf(object, nil, kind, condition.Reason, condition.Type, "%s", clip.Text(condition.Message, clip.EventNote))
}
