package scimserver

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/clip"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// The audit trail: one line of the logger "audit" for each change that a request made, written when the change is in etcd.
// docs/audit.md has the schema, which is stable. No line holds a value of an attribute.

// Actions of audit lines.
const (
	auditCreate     = "create"
	auditRestore    = "restore"
	auditActivate   = "activate"
	auditDeactivate = "deactivate"
	auditUpdate     = "update"
	auditRename     = "rename"
	auditMembers    = "members"
	auditDelete     = "delete"
)

const (
	// maxAuditNames bounds the names of attributes and the ids of members, each list, in one line. Counts are always whole.
	maxAuditNames = 100
	// maxAuditName bounds one name of an attribute, in bytes: undeclared ones are the client's own.
	maxAuditName = 128
)

// audit writes one line: what was done to which resource, by which credential, from where.
func (x *exchange) audit(action, resource, id string, more ...any) {
	x.writeAudit(action, resource, id, append(more, "result", "done")...)
}

// auditUndetermined writes the line of a request that was answered 429 after its writes may have begun: it is open whether the
// change happened, in whole or, of many members, in part.
func (x *exchange) auditUndetermined() {
	action := map[string]string{
		http.MethodPost: auditCreate, http.MethodPut: auditUpdate, http.MethodPatch: auditUpdate, http.MethodDelete: auditDelete,
	}[x.request.Method]
	resource := map[string]string{endpointUsers: "User", endpointGroups: "Group"}[x.route.endpoint]
	if action != "" && resource != "" && x.route.id != searchPath {
		x.writeAudit(action, resource, x.resourceID, "result", "undetermined")
	}
}

func (x *exchange) writeAudit(action, resource, id string, more ...any) {
	values := []any{
		"requestID", x.requestID, "action", action, "resource", resource, "id", id,
		"app", x.credential.app.String(), "tokenID", x.credential.tokenID, "client", x.server.options.TrustedProxies.ClientAddress(x.request).String(),
	}
	values = append(values, x.credential.foreign.values()...)
	x.server.options.Log.WithName("audit").Info("SCIM change", append(values, more...)...)
}

// resourceChange is what a PUT or PATCH did to a user, or to a group but for its members: the state before it and after it.
type resourceChange struct{ before, after protocol.Resource }

// auditUser writes the line of a changed user; none where nothing changed.
func (x *exchange) auditUser(user *v1alpha1.User, change resourceChange) {
	names := changedAttributes(change.before, change.after)
	if len(names) == 0 {
		return
	}
	action := auditUpdate
	if before, after := isActive(change.before), isActive(change.after); before != after {
		action = auditDeactivate
		if after {
			action = auditActivate
		}
	}
	x.audit(action, "User", user.Name, "attributes", bounded(names))
}

// auditGroup writes the line of a changed group; none where nothing changed.
func (x *exchange) auditGroup(group *v1alpha1.Group, change resourceChange, moved *movedMembers) {
	names := changedAttributes(change.before, change.after)
	more := append([]any{}, moved.values()...)
	action := auditMembers
	switch {
	case slices.Contains(names, "displayName"):
		action = auditRename
	case len(names) > 0:
		action = auditUpdate
	case len(more) == 0:
		return
	}
	if len(names) > 0 {
		more = append(more, "attributes", bounded(names))
	}
	x.audit(action, "Group", group.Name, more...)
}

// movedMembers are ids that joined or left a group by one request.
type movedMembers struct{ joined, left []string }

func (m *movedMembers) observe(joined, left []string) {
	m.joined, m.left = append(m.joined, joined...), append(m.left, left...)
}

// values are those of the audit line.
func (m *movedMembers) values() []any {
	var values []any
	if len(m.joined) > 0 {
		values = append(values, "membersAdded", len(m.joined), "added", bounded(m.joined))
	}
	if len(m.left) > 0 {
		values = append(values, "membersRemoved", len(m.left), "removed", bounded(m.left))
	}
	return values
}

// changedAttributes lists the attributes that differ, in order; of an extension those in it, as URN:name.
func changedAttributes(before, after protocol.Resource) []string {
	var names []string
	compare := func(prefix string, old, changed map[string]any) {
		for _, name := range slices.Sorted(maps.Keys(union(old, changed))) {
			if !reflect.DeepEqual(old[name], changed[name]) {
				names = append(names, prefix+name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(union(before.Attributes, after.Attributes))) {
		old, changed := before.Attributes[name], after.Attributes[name]
		oldObject, _ := old.(map[string]any)
		newObject, _ := changed.(map[string]any)
		switch {
		case reflect.DeepEqual(old, changed):
		case strings.Contains(name, ":") && (oldObject != nil || newObject != nil):
			compare(name+":", oldObject, newObject)
		default:
			names = append(names, name)
		}
	}
	return names
}

func union(a, b map[string]any) map[string]bool {
	keys := make(map[string]bool, len(a)+len(b))
	for key := range a {
		keys[key] = true
	}
	for key := range b {
		keys[key] = true
	}
	return keys
}

// bounded returns up to maxAuditNames of a list, each cut to maxAuditName bytes of whole characters.
func bounded(list []string) []string {
	kept := slices.Clone(list[:min(len(list), maxAuditNames)])
	for i, name := range kept {
		kept[i] = clip.Text(name, maxAuditName)
	}
	return kept
}
