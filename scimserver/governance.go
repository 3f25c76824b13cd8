package scimserver

import (
	"encoding/json"
	"time"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// What Okta's governance apps list: the roles that people of the App can have, and the scopes that those hold in. Both come
// from the App; their ids are the names that attributes of users hold.

// entitlementType is the resource type that the App's scopes are listed under.
const entitlementType = "Entitlement"

// named is one role or scope.
type named struct {
	id       string
	resource protocol.Resource
}

func (s *Server) roleItems(x *exchange) []named {
	items := make([]named, 0, len(x.app.Spec.Roles))
	for i := range x.app.Spec.Roles {
		role := &x.app.Spec.Roles[i]
		items = append(items, named{role.Name, protocol.GovernanceResource(nameOr(role.DisplayName, role.Name), role.Description, "")})
	}
	return items
}

func (s *Server) entitlementItems(x *exchange) []named {
	items := make([]named, 0, len(x.app.Spec.Scopes.List))
	for i := range x.app.Spec.Scopes.List {
		scope := &x.app.Spec.Scopes.List[i]
		items = append(items, named{scope.Name, protocol.GovernanceResource(nameOr(scope.DisplayName, scope.Name), "", entitlementType)})
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
	query, err := parseListQuery(x.route.endpoint, x.request.URL.Query())
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
	return collection[named]{
		schemas: schemas,
		page:    func(startIndex, count int) ([]named, int) { return window(startIndex-1, count), len(all) },
		after: func(_ time.Time, id string, count int) ([]named, int) {
			from := 0
			for i := range all {
				if all[i].id == id {
					from = i + 1
				}
			}
			return window(from, count), len(all)
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
		render: func(item named, projection protocol.Projection) (json.RawMessage, error) {
			return schemas.Render(item.resource, meta(item), projection)
		},
		place: func(item named) (time.Time, string) { return time.Time{}, item.id },
	}.list(x, query)
}

func (s *Server) getNamed(x *exchange, schemas *protocol.SchemaSet, all []named) error {
	projection, err := parseProjection(x.request.URL.Query())
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
