package group

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/clip"
)

// tell writes Events on a group after the status that says the same: members that were left out, a name that another group
// has, and roles that membership began or ceased to confer.
func (r *Reconciler) tell(group *v1alpha1.Group, before *v1alpha1.GroupStatus) {
	for _, kind := range []string{v1alpha1.ConditionMembersKnown, v1alpha1.ConditionNameReserved} {
		was, is := meta.FindStatusCondition(before.Conditions, kind), meta.FindStatusCondition(group.Status.Conditions, kind)
		if is == nil || was != nil && was.Status == is.Status && was.Message == is.Message {
			continue
		}
		switch {
		case is.Status == metav1.ConditionFalse:
			r.event(group, corev1.EventTypeWarning, is.Reason, kind, is.Message)
		case was != nil && was.Status == metav1.ConditionFalse:
			r.event(group, corev1.EventTypeNormal, is.Reason, kind, is.Message)
		}
	}
	if gained := lacking(group.Status.Roles, before.Roles); len(gained) > 0 {
		r.event(group, corev1.EventTypeNormal, "RolesConferred", "Confer", "Members of the group earn "+strings.Join(gained, ", "))
	}
	if lost := lacking(before.Roles, group.Status.Roles); len(lost) > 0 {
		r.event(group, corev1.EventTypeNormal, "RolesNotConferred", "Confer", "Members of the group no longer earn, by it, "+strings.Join(lost, ", "))
	}
}

func (r *Reconciler) event(group *v1alpha1.Group, kind, reason, action, note string) {
	r.Recorder.Eventf(group, nil, kind, reason, action, "%s", clip.Text(note, clip.EventNote))
}

// lacking returns the roles that the other list does not have.
func lacking(roles, other []string) []string {
	return slices.DeleteFunc(slices.Clone(roles), func(role string) bool { return slices.Contains(other, role) })
}
