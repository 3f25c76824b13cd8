package plugin

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// matcher evaluates a SCIM filter over User objects, by the schemas of the App of each.
type matcher struct {
	session *session
	parsed  *protocol.Filter // nil: every user matches
	apps    map[types.NamespacedName]*appFilter
	// groups is read once for each namespace, and only for a filter that asks for groups.
	groups map[string]*groupsOf
}

type appFilter struct {
	schemas *protocol.SchemaSet
	bound   *protocol.Filter
}

func newMatcher(s *session, text string) (*matcher, error) {
	m := &matcher{session: s, apps: map[types.NamespacedName]*appFilter{}, groups: map[string]*groupsOf{}}
	if text == "" {
		return m, nil
	}
	var err error
	if m.parsed, err = protocol.ParseFilter(text); err != nil {
		return nil, fmt.Errorf("--filter: %s", scimDetail(err))
	}
	return m, nil
}

// scimDetail is what a client would be told.
func scimDetail(err error) string {
	if scim := (*protocol.Error)(nil); errors.As(err, &scim) {
		return scim.Detail
	}
	return err.Error()
}

// matches reports whether the user matches. It reads the user's App, and groups where the filter asks for them, each once.
func (m *matcher) matches(ctx context.Context, user *v1alpha1.User) (bool, error) {
	if m.parsed == nil {
		return true, nil
	}
	filter, err := m.filterFor(ctx, types.NamespacedName{Namespace: user.Namespace, Name: user.Spec.App})
	if err != nil {
		return false, err
	}
	resource, err := directory.Resource(user)
	if err != nil {
		return false, err
	}
	meta := protocol.Meta{ID: user.Name}
	if user.Spec.CreatedAt != nil {
		meta.Created = user.Spec.CreatedAt.Time
	}
	if modified := user.Spec.ModifiedAt(); modified != nil {
		meta.LastModified = modified.Time
	}
	if filter.bound.Mentions("groups") {
		if meta.Groups, err = m.groupReferences(ctx, user); err != nil {
			return false, err
		}
	}
	return filter.bound.Matches(filter.schemas.Complete(resource, meta)), nil
}

func (m *matcher) filterFor(ctx context.Context, name types.NamespacedName) (*appFilter, error) {
	if known := m.apps[name]; known != nil {
		return known, nil
	}
	app := &v1alpha1.App{} // one that is gone leaves its users behind: RFC 7643 describes them
	if err := m.session.client.Get(ctx, name, app); err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	filter := &appFilter{schemas: directory.SchemasOf(app)}
	var err error
	if filter.bound, err = m.parsed.Bind(filter.schemas); err != nil {
		return nil, fmt.Errorf("--filter, for users of App %s: %s", name.Name, scimDetail(err))
	}
	if filter.bound.Mentions("meta.location") || filter.bound.Mentions("meta.version") {
		return nil, errors.New("--filter: meta.location and meta.version are made by the server, and cannot be asked for here")
	}
	m.apps[name] = filter
	return filter, nil
}

func (m *matcher) groupReferences(ctx context.Context, user *v1alpha1.User) (references []protocol.GroupReference, err error) {
	groups := m.groups[user.Namespace]
	if groups == nil {
		if groups, err = m.session.readGroups(ctx, user.Namespace); err != nil {
			return nil, err
		}
		m.groups[user.Namespace] = groups
	}
	for _, group := range groups.of(user) {
		references = append(references, protocol.GroupReference{ID: group.Name, Display: group.Spec.DisplayName})
	}
	return references, nil
}

// groupsOf is the groups of one namespace, and the members of each.
type groupsOf struct {
	byName  map[string]*v1alpha1.Group
	members *membership.Index
}

// readGroups reads the groups of a namespace, with the shards of those that have any. Groups without the claim of their name,
// and those that are being deleted, count for no user.
func (s *session) readGroups(ctx context.Context, namespace string) (*groupsOf, error) {
	groups := &groupsOf{byName: map[string]*v1alpha1.Group{}, members: membership.NewIndex()}
	sharded := false
	list := &v1alpha1.GroupList{}
	if err := s.each(ctx, list, func() error {
		for i := range list.Items {
			group := list.Items[i].DeepCopy()
			if !group.IsNameReserved() || !group.DeletionTimestamp.IsZero() {
				continue
			}
			groups.byName[group.Name] = group
			groups.members.PutGroup(group)
			sharded = sharded || group.Spec.Sharding != nil
		}
		return nil
	}, client.InNamespace(namespace)); err != nil || !sharded {
		return groups, err
	}
	shards := &v1alpha1.MemberShardList{}
	return groups, s.each(ctx, shards, func() error {
		for i := range shards.Items {
			groups.members.PutShard(shards.Items[i].DeepCopy())
		}
		return nil
	}, client.InNamespace(namespace))
}

// of returns the groups of the user's App that the user is a member of.
func (g *groupsOf) of(user *v1alpha1.User) (groups []*v1alpha1.Group) {
	for _, name := range g.members.GroupsOf(user.Namespace, user.Name) {
		if group := g.byName[name]; group != nil && group.Spec.App == user.Spec.App {
			groups = append(groups, group)
		}
	}
	return groups
}
