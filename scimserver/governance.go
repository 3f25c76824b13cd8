package scimserver

import (
	"time"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// What Okta's governance apps list: the roles that people of the App can have, and the scopes that those hold in. Both come
// from the App; their ids are the names that attributes of users hold.

// entitlementType is the resource type that the App's scopes are listed under.
const entitlementType = "Entitlement"

// named is one role or scope. Its place in a list is the one that it has in the App.
type named struct {
	id       string
	resource protocol.Resource
	index    int
}

// position has the index for a time of creation, of which a role has none.
func (n named) position() (time.Time, string) { return time.Unix(int64(n.index), 0).UTC(), n.id }

func (s *Server) roleItems(x *exchange) []named {
	items := make([]named, 0, len(x.app.Spec.Roles))
	for i := range x.app.Spec.Roles {
		role := &x.app.Spec.Roles[i]
		items = append(items, named{role.Name, protocol.GovernanceResource(nameOr(role.DisplayName, role.Name), role.Description, ""), i})
	}
	return items
}

func (s *Server) entitlementItems(x *exchange) []named {
	items := make([]named, 0, len(x.app.Spec.Scopes.List))
	for i := range x.app.Spec.Scopes.List {
		scope := &x.app.Spec.Scopes.List[i]
		items = append(items, named{scope.Name, protocol.GovernanceResource(nameOr(scope.DisplayName, scope.Name), "", entitlementType), i})
	}
	return items
}

func nameOr(displayName, name string) string {
	if displayName != "" {
		return displayName
	}
	return name
}

func (s *Server) listRoles(x *exchange) error {
	return s.listNamed(x, protocol.NewRoleSchemas(), s.roleItems(x))
}

func (s *Server) listEntitlements(x *exchange) error {
	return s.listNamed(x, protocol.NewEntitlementSchemas(), s.entitlementItems(x))
}

func (s *Server) getRole(x *exchange) error {
	return s.getNamed(x, protocol.NewRoleSchemas(), s.roleItems(x))
}

func (s *Server) getEntitlement(x *exchange) error {
	return s.getNamed(x, protocol.NewEntitlementSchemas(), s.entitlementItems(x))
}

func (s *Server) listNamed(x *exchange, schemas *protocol.SchemaSet, all []named) error {
	query, err := parseListQuery(x.route.endpoint, x.query())
	if err != nil {
		return err
	}
	meta := func(item named) protocol.Meta {
		return protocol.Meta{ID: item.id, Location: s.baseURL(x) + "/" + x.route.endpoint + "/" + item.id}
	}
	window := func(from, count int) []named {
		from = min(from, len(all))
		return all[from : from+min(count, len(all)-from)]
	}
	// from is where those begin that come at or after a place.
	from := func(created time.Time) int { return int(min(max(created.Unix(), 0), int64(len(all)))) }
	return collection[named]{
		schemas: schemas,
		page:    func(startIndex, count int) ([]named, int) { return window(startIndex-1, count), len(all) },
		after: func(created time.Time, id string, count int) ([]named, int) {
			if id == "" {
				return window(0, count), len(all)
			}
			return window(from(created.Add(time.Second)), count), len(all)
		},
		before: func(created time.Time, _ string, count int) []named {
			return all[max(0, from(created)-count):from(created)]
		},
		find: func(filter *protocol.Filter) ([]named, error) {
			var matching []named
			for _, item := range all {
				if filter.Matches(schemas.Complete(item.resource, meta(item))) {
					matching = append(matching, item)
				}
			}
			return matching, nil
		},
		complete: func(item named) (map[string]any, error) { return schemas.Complete(item.resource, meta(item)), nil },
		render: func(w *answerWriter, item named, projection protocol.Projection) error {
			body, err := schemas.Render(item.resource, meta(item), projection)
			if err == nil {
				_, err = w.Write(body)
			}
			return err
		},
		positionOf: named.position,
		step:       x.step,
	}.list(x, query)
}

func (s *Server) getNamed(x *exchange, schemas *protocol.SchemaSet, all []named) error {
	projection, err := parseProjection(x.query())
	if err != nil {
		return err
	}
	for _, item := range all {
		if item.id != x.route.id {
			continue
		}
		body, err := schemas.Render(item.resource, protocol.Meta{ID: item.id, Location: s.baseURL(x) + "/" + x.route.endpoint + "/" + item.id}, projection)
		if err != nil {
			return err
		}
		x.answer(200, body)
		return nil
	}
	return protocol.NotFound("There is no %s with this id.", x.route.endpoint[:len(x.route.endpoint)-1])
}
