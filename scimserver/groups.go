package scimserver

import (
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

const (
	// maxGroupBody bounds the body of a POST or PUT of a group, in bytes: some 500,000 members. It is read as a stream.
	maxGroupBody = 64 << 20
	// maxGroupPatch bounds the body of a PATCH of a group, in bytes, which is held in memory.
	maxGroupPatch = 16 << 20
	// fewGroups is up to how many groups of a filter are answered with their members read live; more, and lists, come from
	// memory.
	fewGroups = 3
)

// groupHandlers answers requests about groups.
type groupHandlers struct{ *Server }

// createGroup answers POST /Groups.
func (s groupHandlers) createGroup(x *exchange) error {
	group, err := s.decodeGroup(x)
	if err != nil {
		return err
	}
	if err := s.directory.Groups.Schemas().Validate(group.Attributes); err != nil {
		return err
	}
	var moved movedMembers
	created, err := s.directory.Groups.Create(x.context(), x.app, group, func(members []string) { moved.observe(members, nil) })
	if err != nil {
		return err
	}
	x.audit(auditCreate, "Group", created.Name, moved.values()...)
	x.writer.Header().Set("Location", s.directory.Groups.Meta(created, s.baseURL(x)).Location)
	return s.answerGroup(x, http.StatusCreated, created)
}

// decodeGroup reads the body of a POST or PUT, member by member.
func (s groupHandlers) decodeGroup(x *exchange) (protocol.GroupResource, error) {
	if !x.app.Spec.Provisioning.PushesGroups() {
		return protocol.GroupResource{}, switchedOff(x.app, "pushGroups")
	}
	body, err := x.stream(maxGroupBody)
	if err != nil {
		return protocol.GroupResource{}, err
	}
	group, err := s.directory.Groups.Schemas().DecodeGroup(body)
	return group, readError(err, maxGroupBody)
}

// getGroup answers GET /Groups/{id} from the API server itself. A request without members does not wait for them.
func (s groupHandlers) getGroup(x *exchange) error {
	x.resourceID = x.route.id
	if !x.app.Spec.Provisioning.PushesGroups() {
		return protocol.NotFound("There is no group with this id: the App %s takes no groups.", x.app.Name)
	}
	group, err := s.directory.Groups.Get(x.context(), x.app, x.route.id)
	if err != nil {
		return err
	}
	if x.notModified(s.directory.Groups.Meta(group, "").Version) {
		return nil
	}
	return s.answerGroup(x, http.StatusOK, group)
}

// replaceGroup answers PUT /Groups/{id}. A body without members leaves them as they are; an empty list empties the group.
func (s groupHandlers) replaceGroup(x *exchange) error {
	x.resourceID = x.route.id
	group, err := s.decodeGroup(x)
	if err != nil {
		return err
	}
	if err := s.directory.Groups.Schemas().ValidateUpdate(protocol.Resource{}, group.Attributes); err != nil {
		return err
	}
	var made resourceChange
	var moved movedMembers
	change := func(current protocol.Resource) (protocol.Resource, bool, error) {
		made = resourceChange{current.DeepCopy(), group.Attributes.DeepCopy()}
		return group.Attributes.DeepCopy(), true, nil
	}
	members := directory.MembersChange{Delta: group.Membership(), Observe: moved.observe}
	updated, _, err := s.directory.Groups.Update(x.context(), x.app, x.route.id, change, members, x.condition())
	if err != nil {
		return s.removeLeftOut(x, group, err)
	}
	x.auditGroup(updated, made, &moved)
	return s.answerGroup(x, http.StatusOK, updated)
}

// removeLeftOut returns the answer to a PUT that failed. Where that is for a displayName that another group has, members that the PUT
// leaves out are removed all the same, and nothing else is done: Okta sends each later change of members with the same name, and people that left
// the group would keep its roles until an administrator settles the name. The error is that of the removal where that fails, so that
// the client tries again.
func (s groupHandlers) removeLeftOut(x *exchange, group protocol.GroupResource, err error) error {
	refusal := contentRefused(err)
	if refusal == nil || refusal.Status != http.StatusConflict || !group.MembersSet {
		return err
	}
	var moved movedMembers
	leavers := func(current, _ iter.Seq[protocol.Member]) (delta protocol.MembershipDelta) {
		stay := make(map[string]bool, len(group.Members))
		for _, id := range group.Members {
			stay[id] = true
		}
		for member := range current {
			if !stay[member.ID] {
				delta.Remove = append(delta.Remove, member.ID)
			}
		}
		return delta
	}
	updated, _, err := s.directory.Groups.Update(x.context(), x.app, x.route.id, nil, directory.MembersChange{Resolve: leavers, Observe: moved.observe}, x.condition())
	if err != nil {
		return err
	}
	if len(moved.left) == 0 {
		return refusal
	}
	x.auditGroup(updated, resourceChange{}, &moved)
	x.log.Info("Removed members of a group by a PUT that is refused for its displayName", "id", updated.Name, "members", len(moved.left))
	answer := *refusal
	answer.Detail += fmt.Sprintf(" Members that the request leaves out (%d) were removed; nothing else was changed.", len(moved.left))
	return &answer
}

// patchGroup answers PATCH /Groups/{id}: 204, as Entra advises and Okta takes, or the group where the request asks for
// attributes.
func (s groupHandlers) patchGroup(x *exchange) error {
	x.resourceID = x.route.id
	if !x.app.Spec.Provisioning.PushesGroups() {
		return switchedOff(x.app, "pushGroups")
	}
	body, err := x.body(maxGroupPatch)
	if err != nil {
		return err
	}
	schemas := s.directory.Groups.Schemas()
	patch, err := schemas.ParseGroupPatch(body)
	if err != nil {
		return err
	}
	var change directory.Change
	var made resourceChange
	var moved movedMembers
	if patch.HasAttributes() {
		change = func(current protocol.Resource) (protocol.Resource, bool, error) {
			before := current.DeepCopy()
			next, changed, err := patch.ApplyAttributes(current)
			if err != nil {
				return next, false, err
			}
			made = resourceChange{before, next}
			return next, changed, schemas.ValidateUpdate(current, next)
		}
	}
	members := directory.MembersChange{Observe: moved.observe}
	if delta, known := patch.Normalise(); known {
		members.Delta = delta
	} else {
		members.Resolve, members.Joining = patch.NormaliseOver, patch.Joining()
	}
	updated, _, err := s.directory.Groups.Update(x.context(), x.app, x.route.id, change, members, x.condition())
	if err != nil {
		return err
	}
	x.auditGroup(updated, made, &moved)
	if x.query().Has("attributes") {
		return s.answerGroup(x, http.StatusOK, updated)
	}
	x.writer.Header().Set("ETag", s.directory.Groups.Meta(updated, "").Version)
	x.noContent()
	return nil
}

// deleteGroup answers DELETE /Groups/{id}. Its members stay.
func (s groupHandlers) deleteGroup(x *exchange) error {
	x.resourceID = x.route.id
	if !x.app.Spec.Provisioning.PushesGroups() {
		return switchedOff(x.app, "pushGroups")
	}
	if err := s.directory.Groups.Delete(x.context(), x.app, x.route.id, x.condition()); err != nil {
		return err
	}
	x.audit(auditDelete, "Group", x.route.id)
	x.noContent()
	return nil
}

func (s groupHandlers) listGroups(x *exchange) error {
	query, err := parseListQuery(x.route.endpoint, x.query())
	if err != nil {
		return err
	}
	return s.groups(x).list(x, query)
}

// groups is the App's groups as lists go through them. Where the App takes no groups, lists are empty, so that the
// connection test passes.
func (s groupHandlers) groups(x *exchange) collection[*v1alpha1.Group] {
	base, schemas := s.baseURL(x), s.directory.Groups.Schemas()
	live := false
	groups := collection[*v1alpha1.Group]{
		schemas: schemas,
		page: func(startIndex, count int) ([]*v1alpha1.Group, int) {
			return s.directory.Groups.Page(x.app, startIndex, count)
		},
		after: func(created time.Time, id string, count int) ([]*v1alpha1.Group, int) {
			return s.directory.Groups.After(x.app, created, id, count)
		},
		before: func(created time.Time, id string, count int) []*v1alpha1.Group {
			return s.directory.Groups.Before(x.app, created, id, count)
		},
		find: func(filter *protocol.Filter) ([]*v1alpha1.Group, error) {
			found, err := s.directory.Groups.Find(directory.WithPace(x.context(), x.step), x.app, filter, base)
			live = len(found) <= fewGroups
			return found, err
		},
		complete: func(group *v1alpha1.Group) (map[string]any, error) {
			attributes, err := directory.GroupAttributes(group)
			if err != nil {
				return nil, err
			}
			return schemas.Complete(attributes, s.directory.Groups.Meta(group, base)), nil
		},
		render: func(w *answerWriter, group *v1alpha1.Group, projection protocol.Projection) error {
			rendering, err := s.groupRendering(x, group, projection, live)
			if err != nil {
				return err
			}
			return rendering.write(w)
		},
		step:       x.step,
		positionOf: func(group *v1alpha1.Group) (time.Time, string) { return directory.GroupCreatedAt(group), group.Name },
	}
	if !x.app.Spec.Provisioning.PushesGroups() {
		groups.page = func(int, int) ([]*v1alpha1.Group, int) { return nil, 0 }
		groups.after = func(time.Time, string, int) ([]*v1alpha1.Group, int) { return nil, 0 }
		groups.before = func(time.Time, string, int) []*v1alpha1.Group { return nil }
		groups.find = func(*protocol.Filter) ([]*v1alpha1.Group, error) { return nil, nil }
	}
	return groups
}

// answerGroup answers one group, with the attributes that the request asks for.
func (s groupHandlers) answerGroup(x *exchange, status int, group *v1alpha1.Group) error {
	x.resourceID = group.Name
	projection, err := parseProjection(x.query())
	if err != nil {
		return err
	}
	rendering, err := s.groupRendering(x, group, projection, true)
	if err != nil {
		return err
	}
	x.writer.Header().Set("ETag", rendering.meta.Version)
	w := &answerWriter{exchange: x, status: status}
	return w.end(rendering.write(w))
}

// groupRendering is a group that is about to be written. Where members are shown, its version is by those that are.
type groupRendering struct {
	schemas    *protocol.SchemaSet
	attributes protocol.Resource
	meta       protocol.Meta
	members    iter.Seq[protocol.Member]
	projection protocol.Projection
}

func (r groupRendering) write(w io.Writer) error {
	return r.schemas.RenderGroup(w, r.attributes, r.meta, r.members, r.projection)
}

func (s groupHandlers) groupRendering(x *exchange, group *v1alpha1.Group, projection protocol.Projection, live bool) (groupRendering, error) {
	r := groupRendering{schemas: s.directory.Groups.Schemas(), projection: projection}
	var err error
	if r.attributes, err = directory.GroupAttributes(group); err != nil {
		return r, err
	}
	if !projection.Includes("members") {
		r.meta = s.directory.Groups.Meta(group, s.baseURL(x))
		return r, nil
	}
	var members []protocol.Member
	if live {
		if members, err = s.directory.Groups.Members(x.context(), group); err != nil {
			return r, err
		}
	} else {
		members = s.directory.Groups.CachedMembers(group)
	}
	r.meta, r.members = directory.GroupMetaWith(group, s.baseURL(x), members), slices.Values(members)
	return r, nil
}
