package user

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// The audit trail: one line of the logger "audit" for what a user gained, lost, keeps or no longer keeps by spec.safety, written
// when the status that says so is in etcd. docs/audit.md has the schema, which is stable.

const (
	auditGranted  = "granted"
	auditRevoked  = "revoked"
	auditHeld     = "held"
	auditReleased = "released"

	// maxAuditRoles bounds the roles in one line. The count is always whole.
	maxAuditRoles = 100
	// requestSkew is how far the clocks of two processes may differ.
	requestSkew = time.Minute
)

// auditRole is one role in an audit line.
type auditRole struct {
	Role    string   `json:"role"`
	Scope   string   `json:"scope"`
	Reasons []string `json:"reasons,omitempty"`
}

// audit writes the lines of the change from one status to the present one.
func (e *evaluation) audit(before *v1alpha1.UserStatus) {
	changes := auditChanges(before, &e.user.Status)
	for _, action := range []string{auditRevoked, auditReleased, auditHeld, auditGranted} {
		if roles := changes[action]; len(roles) > 0 {
			e.writeAudit(action, roles, before)
		}
	}
}

// auditChanges compares two statuses: by action, the roles that it happened to. A role is granted when a status says for the first
// time that all roles held are bound; an App that only observes binds none.
func auditChanges(before, after *v1alpha1.UserStatus) map[string][]auditRole {
	had, has := rolesOf(before), rolesOf(after)
	bound, wasBound := isTrue(after, v1alpha1.ConditionAccessGranted), isTrue(before, v1alpha1.ConditionAccessGranted)
	changes := map[string][]auditRole{}
	add := func(action string, role v1alpha1.EarnedRole) {
		changes[action] = append(changes[action], auditRole{Role: role.Role, Scope: role.Scope, Reasons: role.Reasons})
	}
	for key, role := range has {
		former, held := had[key]
		switch {
		case isHeld(role) && (!held || !isHeld(former)):
			add(auditHeld, role)
		case !isHeld(role) && bound && (!held || !wasBound):
			add(auditGranted, role)
		}
	}
	for key, role := range had {
		_, held := has[key]
		switch {
		case held:
		case isHeld(role):
			add(auditReleased, role)
		case !isObserved(before):
			add(auditRevoked, role)
		}
	}
	return changes
}

func (e *evaluation) writeAudit(action string, roles []auditRole, before *v1alpha1.UserStatus) {
	values := []any{
		"action", action, "resource", "User", "id", e.user.Name,
		"app", client.ObjectKey{Namespace: e.user.Namespace, Name: e.user.Spec.App}.String(),
		"count", len(roles), "roles", sortedRoles(roles), "result", "done",
	}
	if e.changedByRequest(before) {
		values = append(values, "requestID", e.user.Spec.LastRequest,
			"milliseconds", time.Since(e.user.Spec.LastModified.Time).Milliseconds())
	}
	log.Log.WithName("audit").Info("Access change", values...)
}

// changedByRequest says whether the user was changed by a client's request since the former status, rather than suspended in the
// cluster or put back from a backup. A change of a group or of the App leaves the user as it was.
func (e *evaluation) changedByRequest(before *v1alpha1.UserStatus) bool {
	spec := &e.user.Spec
	granted := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionAccessGranted)
	return spec.LastRequest != "" && spec.LastModified != nil && before.ObservedGeneration < e.user.Generation &&
		!spec.Suspended && (granted == nil || granted.Reason != v1alpha1.ReasonSuspended) &&
		spec.LastModified.After(e.user.CreationTimestamp.Add(-requestSkew))
}

func rolesOf(status *v1alpha1.UserStatus) map[[2]string]v1alpha1.EarnedRole {
	roles := make(map[[2]string]v1alpha1.EarnedRole, len(status.Roles))
	for _, role := range status.Roles {
		roles[[2]string{role.Role, role.Scope}] = role
	}
	return roles
}

func isTrue(status *v1alpha1.UserStatus, kind string) bool {
	return meta.IsStatusConditionTrue(status.Conditions, kind)
}

// isObserved says whether a status speaks of an App that only observes: nothing was bound.
func isObserved(status *v1alpha1.UserStatus) bool {
	granted := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionAccessGranted)
	return granted != nil && granted.Reason == v1alpha1.ReasonObserved
}

// sortedRoles orders roles by name and scope, and keeps as many as one line shows.
func sortedRoles(roles []auditRole) []auditRole {
	slices.SortFunc(roles, func(a, b auditRole) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Scope, b.Scope))
	})
	return roles[:min(len(roles), maxAuditRoles)]
}
