package user

import (
	"cmp"
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
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
	// Ended says that the role was taken when its time was over.
	Ended bool `json:"ended,omitempty"`
}

// auditChange is what an audit line says of its roles.
type auditChange struct {
	action string
	// partly says that a part of the role was refused.
	partly bool
}

// takes says whether the roles are not bound any more.
func (c auditChange) takes() bool { return c.action == auditRevoked || c.action == auditReleased }

// isActive says whether a status speaks of a user that may have access.
func isActive(status *v1alpha1.UserStatus) bool { return status.InactiveSince == nil }

// audit writes the lines of the change from one status to another.
func (e report) audit(before, after *v1alpha1.UserStatus) {
	changes := auditChanges(before, after)
	origin := e.origin(before)
	for _, change := range []auditChange{{action: auditRevoked}, {action: auditReleased}, {action: auditHeld}, {action: auditGranted}, {auditGranted, true}} {
		if roles := changes[change]; len(roles) > 0 {
			writeAudit(e.name, e.user.Spec.App, change, roles, origin.values()...)
		}
	}
}

// boundRoles returns the roles by App that native bindings give a user, for one that vanished: a finalizer was taken away from it,
// and no status tells what it held.
func (r *Reconciler) boundRoles(ctx context.Context, entry earned.Entry) (map[string][]auditRole, error) {
	roles := map[string][]auditRole{}
	for _, key := range entry.Keys {
		named, err := r.Syncer.IsNamed(ctx, key, entry.Subject, entry.Groups[key])
		if err != nil {
			return nil, err
		}
		if named {
			roles[key.App] = append(roles[key.App], auditRole{Role: key.Role, Scope: key.Scope})
		}
	}
	return roles, nil
}

// auditChanges compares two statuses: the roles that changed, by what happened to them. A role that was never bound, since the App only
// observes or since the binding was refused, is neither granted nor revoked.
func auditChanges(before, after *v1alpha1.UserStatus) map[auditChange][]auditRole {
	had, has := rolesOf(before), rolesOf(after)
	changes := map[auditChange][]auditRole{}
	add := func(change auditChange, role v1alpha1.EarnedRole) {
		changes[change] = append(changes[change], auditRole{
			Role: role.Role, Scope: role.Scope, Reasons: access.ReasonKinds(role.Reasons), Ended: change.takes() && isActive(after) && access.HasEnded(role, time.Now()),
		})
	}
	for key, role := range has {
		former, known := had[key]
		was, is := 0, extent(after, role)
		if known {
			was = extent(before, former)
		}
		switch {
		case access.IsHeld(role) && (!known || !access.IsHeld(former)):
			add(auditChange{action: auditHeld}, role)
		case access.IsHeld(role):
		case is > was:
			add(auditChange{auditGranted, is == boundPartly}, role)
		case is == boundNowhere && was > is:
			add(auditChange{action: auditRevoked}, role)
		}
	}
	for key, role := range had {
		_, known := has[key]
		switch {
		case known:
		case access.IsHeld(role):
			add(auditChange{action: auditReleased}, role)
		case extent(before, role) > boundNowhere:
			add(auditChange{action: auditRevoked}, role)
		}
	}
	return changes
}

// How far a role is bound.
const (
	boundNowhere = iota
	boundPartly
	boundInFull
)

func extent(status *v1alpha1.UserStatus, role v1alpha1.EarnedRole) int {
	switch {
	case isObserved(status), role.Bound == v1alpha1.BoundNo:
		return boundNowhere
	case role.Bound == v1alpha1.BoundPartly:
		return boundPartly
	}
	return boundInFull
}

func writeAudit(user types.NamespacedName, app string, change auditChange, roles []auditRole, more ...any) {
	result := "done"
	if change.partly {
		result = "partial"
	}
	values := append([]any{
		"action", change.action, "resource", "User", "id", user.Name,
		"app", types.NamespacedName{Namespace: user.Namespace, Name: app}.String(),
		"count", len(roles), "roles", sortedRoles(roles), "result", result,
	}, more...)
	log.Log.WithName("audit").Info("Access change", values...)
}

// changedByRequest says whether a client's request changed the user since the former status, rather than an edit in the cluster or a
// backup. A change of a group or of the App leaves the user as it was.
func (e report) changedByRequest(before *v1alpha1.UserStatus) bool {
	if before.ObservedGeneration > 0 && e.user.Spec.LastModified == nil {
		return false // no client has changed the user since it was created
	}
	return e.isByRequest() && e.user.Spec.LastRequest != before.LastRequest &&
		before.ObservedGeneration < e.user.Generation && !e.user.Spec.Suspended
}

// isByRequest says whether a client's request made the user what it is, rather than a backup.
func (e report) isByRequest() bool {
	spec := &e.user.Spec
	modified := spec.ModifiedAt()
	return spec.LastRequest != "" && modified != nil && modified.After(e.user.CreationTimestamp.Add(-requestSkew))
}

func rolesOf(status *v1alpha1.UserStatus) map[[2]string]v1alpha1.EarnedRole {
	roles := make(map[[2]string]v1alpha1.EarnedRole, len(status.Roles))
	for _, role := range status.Roles {
		roles[[2]string{role.Role, role.Scope}] = role
	}
	return roles
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
