package directory

import (
	"cmp"
	"context"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// Members returns the members of a group just read, in the order of their ids: those that are users of the App and visible,
// with the userName as display. Members are read live. The userNames come from memory where the user is there. The error is
// *UnavailableError where the API server cannot be read.
func (g *Groups) Members(ctx context.Context, group *v1alpha1.Group) ([]protocol.Member, error) {
	return g.members.of(ctx, group)
}

// CachedMembers returns the members of a group as they are in memory, in the order of their ids.
func (g *Groups) CachedMembers(group *v1alpha1.Group) []protocol.Member {
	return g.members.cached(group)
}

// FindByName returns the App's group with the displayName, in any letter case; none or one. It is exact at the time of
// the call on every replica, as Users.FindByUserName is. The error is *UnavailableError where the API server cannot be read.
func (g *Groups) FindByName(ctx context.Context, app *v1alpha1.App, displayName string) ([]*v1alpha1.Group, error) {
	group, err := g.readByKey(ctx, appName(app), claims.Key(displayName))
	if err != nil || group == nil {
		return nil, asGroupClientSees(err, "")
	}
	return []*v1alpha1.Group{group}, nil
}

// Find returns the App's groups that a bound filter matches, each once, in the order of creation. A filter that asks
// for displayName, id or externalId is answered by live reads, members included; any other, members.value eq too, by what is
// in memory. baseURL is what meta.location begins with. The error is *UnavailableError where the API server cannot be read.
func (g *Groups) Find(ctx context.Context, app *v1alpha1.App, filter *protocol.Filter, baseURL string) ([]*v1alpha1.Group, error) {
	return search[*v1alpha1.Group]{
		scan: func(visit func(*v1alpha1.Group) bool) {
			g.model.snapshot(appName(app)).Scan(func(e *groupEntry) bool { return visit(e.group) })
		},
		inMemory: func(group *v1alpha1.Group) (bool, error) {
			return g.matches(filter, group, baseURL, indexedMembers{g.members, group})
		},
		lookUp: func(lookup protocol.Lookup) ([]*v1alpha1.Group, error) {
			found, err := g.lookUp(ctx, app, lookup)
			return found, asGroupClientSees(err, "")
		},
		matches: func(group *v1alpha1.Group) (bool, error) {
			members := &liveMembers{in: g.members, ctx: ctx, group: group}
			matches, err := g.matches(filter, group, baseURL, members)
			return matches, asGroupClientSees(cmp.Or(err, members.err), group.Name)
		},
		compare: g.compare,
	}.find(ctx, filter)
}

func (g *Groups) matches(filter *protocol.Filter, group *v1alpha1.Group, baseURL string, members protocol.MemberSet) (bool, error) {
	resource, err := GroupAttributes(group)
	if err != nil {
		return false, err
	}
	if !filter.Mentions("members") {
		members = nil
	}
	return filter.Matches(g.schemas.CompleteGroup(resource, g.Meta(group, baseURL), members)), nil
}

func (g *Groups) lookUp(ctx context.Context, app *v1alpha1.App, lookup protocol.Lookup) ([]*v1alpha1.Group, error) {
	switch lookup.Attribute {
	case "displayName":
		return g.FindByName(ctx, app, lookup.Value)
	case "members.value":
		return groupsOf(g.members.groupsWith(appName(app), lookup.Value)), nil
	case "externalId":
		return g.confirm(ctx, appName(app), g.model.byExternalID(appName(app), lookup.Value), func(group *v1alpha1.Group) bool {
			return group.Spec.ExternalID == lookup.Value
		})
	}
	group, err := g.read(ctx, appName(app), lookup.Value) // id
	if err != nil || group == nil {
		return nil, err
	}
	return []*v1alpha1.Group{group}, nil
}
