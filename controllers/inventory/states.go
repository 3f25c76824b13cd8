package inventory

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// States of a User. Each user is in one.
const (
	// StatePending users may have access and are yet to be evaluated as they are.
	StatePending = "pending"
	// StateGranted users have every role that they hold.
	StateGranted = "granted"
	// StateNoRole users are active and hold no role.
	StateNoRole = "no_role"
	// StateObserved users belong to an App that binds nothing.
	StateObserved = "observed"
	// StateNotGranted users lack access that they earned; their conditions say why.
	StateNotGranted = "not_granted"
	// StateLeaving users are inactive, suspended or being deleted, and not confirmed to be without access.
	StateLeaving = "leaving"
	// StateOutlasted users left, and a binding of a group, or of another user of the same Kubernetes name, outlasts that.
	StateOutlasted = "outlasted"
	// StateRevoked users left and have no access by this operator.
	StateRevoked = "revoked"
)

// UserStates are all states of a User.
var UserStates = []string{StatePending, StateGranted, StateNoRole, StateObserved, StateNotGranted, StateLeaving, StateOutlasted, StateRevoked}

// UserState returns the state that a User's conditions tell of. A condition about another generation tells nothing.
func UserState(user *v1alpha1.User) string {
	if !user.MayHaveAccess() {
		return leaverState(user)
	}
	granted := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionAccessGranted)
	switch {
	case granted == nil, user.Status.ObservedGeneration != user.Generation:
		return StatePending
	case granted.Status == metav1.ConditionTrue:
		return StateGranted
	case granted.Reason == v1alpha1.ReasonNoRole:
		return StateNoRole
	case granted.Reason == v1alpha1.ReasonObserved:
		return StateObserved
	}
	return StateNotGranted
}

func leaverState(user *v1alpha1.User) string {
	// A deletion raises the generation, too, and the user is gone once the access is: what a finalizer by others holds has
	// a status of that generation.
	revoked := current(user.Status.Conditions, v1alpha1.ConditionAccessRevoked, user.Generation)
	switch {
	case !v1alpha1.IsRevocationSettled(revoked):
		return StateLeaving
	case revoked.Status == metav1.ConditionTrue:
		return StateRevoked
	}
	return StateOutlasted
}

// States of a Group. Each group is in one.
const (
	StateReady          = "ready"
	StateMembersUnknown = "members_unknown"
	StateNotReady       = "not_ready"
)

// GroupStates are all states of a Group.
var GroupStates = []string{StateReady, StateMembersUnknown, StateNotReady}

// GroupState returns the state that a Group's conditions tell of: not ready where its name is not reserved, or not looked at yet.
func GroupState(group *v1alpha1.Group) string {
	switch {
	case !meta.IsStatusConditionTrue(group.Status.Conditions, v1alpha1.ConditionReady):
		return StateNotReady
	case meta.IsStatusConditionFalse(group.Status.Conditions, v1alpha1.ConditionMembersKnown):
		return StateMembersUnknown
	}
	return StateReady
}

// current returns a condition about the generation; nil where there is none.
func current(conditions []metav1.Condition, kind string, generation int64) *metav1.Condition {
	condition := meta.FindStatusCondition(conditions, kind)
	if condition == nil || condition.ObservedGeneration != generation {
		return nil
	}
	return condition
}
