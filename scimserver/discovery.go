package scimserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// serviceProviderConfig answers what the server can do (RFC 7643 section 5), and nothing that it cannot.
func (s *Server) serviceProviderConfig(x *exchange) error {
	schemes := []protocol.AuthenticationScheme{{
		Type:        "oauthbearertoken",
		Name:        "Bearer token",
		Description: "The token of one of the App's ScimTokens in the Authorization header.",
		SpecURI:     "https://www.rfc-editor.org/rfc/rfc6750",
		Primary:     true,
	}}
	if x.credential.basic {
		schemes = append(schemes, protocol.AuthenticationScheme{
			Type:        "httpbasic",
			Name:        "HTTP Basic",
			Description: "The token as the password, with the user name of its ScimToken.",
			SpecURI:     "https://www.rfc-editor.org/rfc/rfc7617",
		})
	}
	x.answerJSON(http.StatusOK, protocol.ServiceProviderConfigDocument(protocol.ServiceProviderConfigOptions{
		BaseURL:           s.baseURL(x),
		Patch:             true,
		Sort:              true,
		ETag:              true,
		FilterMaxResults:  maxPageSize,
		BulkMaxOperations: maxBulkOperations, BulkMaxPayloadSize: maxBulkBody,
		Pagination: &protocol.PaginationOptions{
			Cursor: true, Index: true, DefaultMethod: protocol.PaginationIndex,
			DefaultPageSize: defaultPageSize, MaxPageSize: maxPageSize,
		},
		AuthenticationSchemes: schemes,
	}))
	return nil
}

// resourceTypes are what this server has for the App. Roles and entitlements are there where the App has some.
func (s *Server) resourceTypes(x *exchange) []*protocol.SchemaSet {
	types := []*protocol.SchemaSet{s.directory.Users.Schemas(x.app)}
	if x.app.Spec.Provisioning.PushesGroups() {
		types = append(types, s.directory.Groups.Schemas())
	}
	if len(x.app.Spec.Roles) > 0 {
		types = append(types, protocol.NewRoleSchemas())
	}
	if len(x.app.Spec.Scopes.List) > 0 {
		types = append(types, protocol.NewEntitlementSchemas())
	}
	return types
}

func (s *Server) schemaDocuments(x *exchange) []map[string]any {
	var documents []map[string]any
	for i, set := range s.resourceTypes(x) {
		some := set.SchemaDocuments(s.baseURL(x))
		if i == 0 && !x.app.Spec.Provisioning.UpdatesUsers() { // users come first
			for _, document := range some {
				markReadOnly(document["attributes"])
			}
		}
		documents = append(documents, some...)
	}
	return documents
}

// markReadOnly says of attributes, and of what is in them, that an update changes none: those of an App that does not update
// users, but for active.
func markReadOnly(attributes any) {
	list, _ := attributes.([]any)
	for _, element := range list {
		if attribute, ok := element.(map[string]any); ok && attribute["name"] != "active" {
			attribute["mutability"] = protocol.ReadOnly
			markReadOnly(attribute["subAttributes"])
		}
	}
}

func (s *Server) listResourceTypes(x *exchange) error {
	return s.answerDocuments(x, protocol.ResourceTypeDocuments(s.baseURL(x), s.resourceTypes(x)...))
}

func (s *Server) listSchemas(x *exchange) error {
	return s.answerDocuments(x, s.schemaDocuments(x))
}

func (s *Server) getResourceType(x *exchange) error {
	return s.answerDocument(x, protocol.ResourceTypeDocuments(s.baseURL(x), s.resourceTypes(x)...))
}

func (s *Server) getSchema(x *exchange) error {
	return s.answerDocument(x, s.schemaDocuments(x))
}

// answerDocuments answers all documents of a discovery endpoint. They are not paged, and a filter is refused, as
// RFC 7644 section 4 says.
func (s *Server) answerDocuments(x *exchange, documents []map[string]any) error {
	if x.query().Has("filter") {
		return protocol.Forbidden("%s takes no filter (RFC 7644 section 4).", x.route.endpoint)
	}
	list := protocol.ListResponse{TotalResults: len(documents), StartIndex: 1}
	for _, document := range documents {
		encoded, err := json.Marshal(document)
		if err != nil {
			return fmt.Errorf("encode a discovery document: %w", err)
		}
		list.Resources = append(list.Resources, encoded)
	}
	x.answer(http.StatusOK, list.AppendJSON(nil))
	return nil
}

// answerDocument answers one document, by its id in any letter case.
func (s *Server) answerDocument(x *exchange, documents []map[string]any) error {
	for _, document := range documents {
		if id, ok := document["id"].(string); ok && strings.EqualFold(id, x.route.id) {
			x.answerJSON(http.StatusOK, document)
			return nil
		}
	}
	return protocol.NotFound("There is no %s with this id.", strings.TrimSuffix(x.route.endpoint, "s"))
}
