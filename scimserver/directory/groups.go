package directory

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// Groups is the groups of all Apps. Changes of one group wait for each other in a process, and are then written together.
type Groups struct {
	*collection[*v1alpha1.Group, *groupEntry]

	members *memberships
	writers *groupWriters
	schemas *protocol.SchemaSet
}

func newGroups(live client.Client, schemas *protocol.SchemaSet, members *memberships) *Groups {
	g := &Groups{
		collection: &collection[*v1alpha1.Group, *groupEntry]{
			kind: kind[*v1alpha1.Group, *groupEntry]{
				claims:       claims.Groups,
				empty:        func() *v1alpha1.Group { return &v1alpha1.Group{} },
				entry:        newGroupEntry,
				createdAt:    func(group *v1alpha1.Group) *metav1.MicroTime { return group.Spec.CreatedAt },
				seen:         func(e *groupEntry) { members.index.PutGroup(e.group) },
				lost:         func(e *groupEntry) { members.index.RemoveGroup(e.group) },
				version:      members.versionOf,
				changed:      members.index.Changed,
				asClientSees: asGroupClientSees,
				notFound:     errGroupNotFound,
			},
			live: live, model: newReadModel(observer[*groupEntry]{}), unverified: newVerifyQueue(),
		},
		members: members, schemas: schemas,
	}
	g.writers = newGroupWriters(g)
	return g
}

// Schemas returns what every App knows about groups.
func (g *Groups) Schemas() *protocol.SchemaSet { return g.schemas }

// Page returns the App's groups from startIndex on, which counts from 1, at most count of them, and how many there are in
// all. The order is that of creation. The answer comes from memory: it shows this process' own writes at once, other
// replicas' after the watch. CachedMembers has the members as they are in memory, Members as they are.
func (g *Groups) Page(app *v1alpha1.App, startIndex, count int) ([]*v1alpha1.Group, int) {
	entries, total := g.model.page(appName(app), max(startIndex, 1)-1, count)
	return groupsOf(entries), total
}

// After returns the first count groups that come after a place in the order of creation, or from the beginning where the id
// is "", and how many there are in all. The group in that place need not be there any more.
func (g *Groups) After(app *v1alpha1.App, created time.Time, id string, count int) ([]*v1alpha1.Group, int) {
	entries, total := g.model.after(appName(app), positionOf(created, id), count)
	return groupsOf(entries), total
}

// Before is Users.Before for groups.
func (g *Groups) Before(app *v1alpha1.App, created time.Time, id string, count int) []*v1alpha1.Group {
	return groupsOf(g.model.before(appName(app), positionOf(created, id), count))
}

// Meta returns what the server knows about a group (RFC 7643 section 3.1). baseURL has no slash at the end. The version is by
// the members and their names as they are in memory.
func (g *Groups) Meta(group *v1alpha1.Group, baseURL string) protocol.Meta {
	return groupMeta(group, baseURL, g.members.versionOf(group))
}

// GroupCreatedAt is when the group was created, as lists are ordered by it.
func GroupCreatedAt(group *v1alpha1.Group) time.Time { return createdAt(group, group.Spec.CreatedAt) }

func (g *Groups) onGroupEvent(group *v1alpha1.Group) { g.onEvent(newGroupEntry(group)) }

func (g *Groups) onGroupDelete(group *v1alpha1.Group) { g.forget(newGroupEntry(group)) }
