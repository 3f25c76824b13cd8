package directory

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// GroupRef names one of the groups that a user is in.
type GroupRef = protocol.GroupReference

// GroupSchemas returns what every App knows about groups.
func (d *Directory) GroupSchemas() *protocol.SchemaSet { return d.groupSchemas }

// ListGroups returns the App's groups from startIndex on, which counts from 1, at most count of them, and how many there
// are in all. The order is that of creation. The answer comes from memory: it shows this process' own writes at once,
// other replicas' after the watch. CachedMembers has the members as they are in memory, Members as they are.
func (d *Directory) ListGroups(app *v1alpha1.App, startIndex, count int) ([]*v1alpha1.Group, int) {
	sorted := d.groups.snapshot(appName(app))
	first, found := sorted.GetAt(max(startIndex, 1) - 1)
	if !found || count <= 0 {
		return nil, sorted.Len()
	}
	groups := make([]*v1alpha1.Group, 0, min(count, sorted.Len()))
	sorted.Ascend(first, func(entry *groupEntry) bool {
		groups = append(groups, entry.group)
		return len(groups) < count
	})
	return groups, sorted.Len()
}

// GroupsAfter returns the first count groups that come after a place in the order of creation, or from the beginning
// where the id is "", and how many there are in all. The group in that place need not be there any more.
func (d *Directory) GroupsAfter(app *v1alpha1.App, created time.Time, id string, count int) ([]*v1alpha1.Group, int) {
	sorted := d.groups.snapshot(appName(app))
	groups := make([]*v1alpha1.Group, 0, min(count, sorted.Len()))
	place := &groupEntry{created: created, group: &v1alpha1.Group{ObjectMeta: metav1.ObjectMeta{Name: id}}}
	visit := func(entry *groupEntry) bool {
		if len(groups) < count && (id == "" || entry.compare(place) > 0) {
			groups = append(groups, entry.group)
		}
		return len(groups) < count
	}
	if id == "" {
		sorted.Scan(visit)
	} else {
		sorted.Ascend(place, visit)
	}
	return groups, sorted.Len()
}

// GroupCreatedAt is when the group was created, as lists are ordered by it.
func GroupCreatedAt(group *v1alpha1.Group) time.Time { return groupCreatedAt(group) }

// GroupsOf returns the groups that a user of the App is in, in the order of their ids, from memory.
func (d *Directory) GroupsOf(app *v1alpha1.App, userID string) []GroupRef {
	entries := d.groupsOf(app, userID)
	if len(entries) == 0 {
		return nil
	}
	refs := make([]GroupRef, len(entries))
	for i, entry := range entries {
		refs[i] = GroupRef{ID: entry.group.Name, Display: entry.group.Spec.DisplayName}
	}
	return refs
}

func (d *Directory) groupsOf(app *v1alpha1.App, userID string) []*groupEntry {
	names := d.members.GroupsOf(app.Namespace, userID)
	if len(names) == 0 {
		return nil
	}
	if user := d.users.get(types.NamespacedName{Namespace: app.Namespace, Name: userID}); user == nil || !user.visible() || user.app.Value() != appName(app) {
		return nil
	}
	entries := make([]*groupEntry, 0, len(names))
	for _, name := range names {
		entry := d.groups.get(types.NamespacedName{Namespace: app.Namespace, Name: name})
		if entry != nil && entry.visible() && entry.app() == appName(app) {
			entries = append(entries, entry)
		}
	}
	return slices.Clip(entries)
}

// UserMeta is Meta with the groups that the user is in, and with the version that they make.
func (d *Directory) UserMeta(user *v1alpha1.User, baseURL string) protocol.Meta {
	meta := Meta(user, baseURL)
	meta.Groups = d.GroupsOf(&v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: user.Namespace, Name: user.Spec.App}}, user.Name)
	meta.Version = userVersion(user, meta.Groups).String()
	return meta
}

// usersIn returns the App's users that are in a group, from memory.
func (d *Directory) usersIn(app *v1alpha1.App, group string) []*Entry {
	name := types.NamespacedName{Namespace: app.Namespace, Name: group}
	if entry := d.groups.get(name); entry == nil || !entry.visible() || entry.app() != appName(app) {
		return nil
	}
	var users []*Entry
	for _, id := range d.members.Members(name) {
		entry := d.users.get(types.NamespacedName{Namespace: app.Namespace, Name: id})
		if entry != nil && entry.visible() && entry.app.Value() == appName(app) {
			users = append(users, entry)
		}
	}
	return users
}
