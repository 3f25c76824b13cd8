package user

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// boundByGroup is the message of AccessRevoked for a user that a group stood for. It is final: nothing that this operator
// does ends that access sooner.
const boundByGroup = "No RoleBinding or ClusterRoleBinding of this operator names the person, but subjectMode is Group: bindings name a group that the person was in, " +
	"and tokens that were issued with that group keep it until they expire."

// isBoundByGroup says whether native bindings named a group in the user's place, when the access ended or at an earlier look
// at a user without access. entry is what the index knew before.
func (e *evaluation) isBoundByGroup(entry earned.Entry) bool {
	if e.app == nil || e.app.Spec.SubjectMode != v1alpha1.SubjectModeGroup || e.app.Spec.Mode == v1alpha1.ModeObserve {
		return false
	}
	revocation := meta.FindStatusCondition(e.user.Status.Conditions, v1alpha1.ConditionAccessRevoked)
	return len(entry.Groups) > 0 || slices.ContainsFunc(e.user.Status.Roles, access.ByGroup) ||
		revocation != nil && revocation.Reason == v1alpha1.ReasonBoundByGroup
}
