package directory

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// GroupRef names one of the groups that a user is in.
type GroupRef = protocol.GroupReference

// refs returns the groups that a user of the App is in, in the order of their ids, from memory.
func (m *memberships) refs(app types.NamespacedName, user string) []GroupRef {
	entries := m.groupsWith(app, user)
	if len(entries) == 0 {
		return nil
	}
	refs := make([]GroupRef, len(entries))
	for i, e := range entries {
		refs[i] = GroupRef{ID: e.group.Name, Display: e.group.Spec.DisplayName}
	}
	return refs
}

// shownTo returns the groups that a user just read is in.
func (m *memberships) shownTo(user *v1alpha1.User) []GroupRef {
	return m.refs(types.NamespacedName{Namespace: user.Namespace, Name: user.Spec.App}, user.Name)
}

// groupsWith returns the visible groups that a visible user of the App is in.
func (m *memberships) groupsWith(app types.NamespacedName, user string) []*groupEntry {
	names := m.index.GroupsOf(app.Namespace, user)
	if len(names) == 0 {
		return nil
	}
	if m.users.model.visible(app, user) == nil {
		return nil
	}
	entries := make([]*groupEntry, 0, len(names))
	for _, name := range names {
		if e := m.groups.visible(app, name); e != nil {
			entries = append(entries, e)
		}
	}
	return slices.Clip(entries)
}

// usersIn returns the App's users that are in a group, from memory.
func (m *memberships) usersIn(app types.NamespacedName, group string) []*Entry {
	e := m.groups.visible(app, group)
	if e == nil {
		return nil
	}
	var users []*Entry
	for _, id := range m.index.Members(e.name()) {
		if user := m.users.model.visible(app, id); user != nil {
			users = append(users, user)
		}
	}
	return users
}
