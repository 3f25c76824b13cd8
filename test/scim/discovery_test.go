package scim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

const (
	roleSchema        = "urn:okta:scim:schemas:core:1.0:Role"
	entitlementSchema = "urn:okta:scim:schemas:core:1.0:Entitlement"
)

// ServiceProviderConfig says what works, and the same as the server does (RFC 7643 section 5).
func TestServiceProviderConfig(t *testing.T) {
	s := newClient(t, nil)
	config := s.get("/ServiceProviderConfig?filter=ignored%20here")
	for path, want := range map[string]any{
		"patch.supported": true, "bulk.supported": true, "filter.supported": true, "sort.supported": true, "etag.supported": true, "changePassword.supported": false,
		"pagination.cursor": true, "pagination.index": true, "pagination.defaultPaginationMethod": "index",
		"meta.resourceType": "ServiceProviderConfig",
	} {
		var steps []any
		for step := range strings.SplitSeq(path, ".") {
			steps = append(steps, step)
		}
		if got := config.At(steps...); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	if !strings.HasSuffix(config.Text("meta", "location"), "/scim/v2/ServiceProviderConfig") || config.At("authenticationSchemes", 0, "type") != "oauthbearertoken" {
		t.Errorf("meta.location or authenticationSchemes is wrong\n%s", config)
	}
	// maxPageSize and defaultPageSize are what lists do.
	for _, name := range []string{"defaultPageSize", "maxPageSize"} {
		if config.Number("pagination", name) < 1 {
			t.Errorf("pagination.%s is %d", name, config.Number("pagination", name))
		}
	}
	if config.Number("pagination", "maxPageSize") != config.Number("filter", "maxResults") {
		t.Errorf("pagination.maxPageSize and filter.maxResults differ\n%s", config)
	}
	size := config.Number("pagination", "defaultPageSize")
	if size > 250 {
		t.Fatalf("defaultPageSize is %d: more users than this test makes", size)
	}
	var operations []string
	for i := range size + 1 {
		operations = append(operations, postUser(fmt.Sprint(i), newName("page"), ""))
	}
	s.bulk("", operations...)
	s.listed("/Users", size+1)
	if got := len(s.list("/Users").Resources()); got != size {
		t.Errorf("a page has %d users, defaultPageSize is %d", got, size)
	}
	s.refused(http.StatusNotImplemented, "", http.MethodGet, "/Me", "")
	s.refused(http.StatusNotImplemented, "", http.MethodPatch, "/Me", patchJSON())
	s.refused(http.StatusNotImplemented, "", http.MethodDelete, "/Me", "")
}

// withAttributes is an App with an attribute of its own of every kind.
func withAttributes(spec *v1alpha1.AppSpec) {
	spec.Attributes = []v1alpha1.CustomAttribute{
		{Name: "role", Type: "string", Required: true, CanonicalValues: []string{"viewer", "developer"}, Description: "What one may do."},
		{Name: "badge", Schema: "urn:example:scim:badge:2.0:User", Type: "integer"},
		{Name: "nicknames", Schema: "urn:example:scim:badge:2.0:User", Type: "string", MultiValued: true},
		{Name: "joined", Schema: "urn:ietf:params:scim:schemas:core:2.0:user", Type: "dateTime"},
		{Name: "remote", Schema: okta.SchemaEnterprise, Type: "boolean"},
	}
}

// Schemas are the App's own: what it declares is there, and what is there is kept (RFC 7643 section 7).
func TestSchemasOfAnApp(t *testing.T) {
	s := newClient(t, withAttributes)
	list := s.list("/Schemas")
	want := []string{okta.SchemaUser, okta.SchemaEnterprise, "urn:example:scim:badge:2.0:User", okta.SchemaGroup, roleSchema, entitlementSchema}
	if got := idsOf(list); !sameSet(got, want) {
		t.Fatalf("the schemas are %q, want %q", got, want)
	}
	for _, expected := range []struct {
		schema, name string
		facts        map[string]any
	}{
		{okta.SchemaUser, "userName", map[string]any{"type": "string", "required": true, "uniqueness": "server", "caseExact": false, "mutability": "readWrite", "returned": "default"}},
		{okta.SchemaUser, "groups", map[string]any{"mutability": "readOnly", "multiValued": true, "type": "complex"}},
		{okta.SchemaUser, "role", map[string]any{"type": "string", "required": true, "multiValued": false, "description": "What one may do."}},
		{okta.SchemaUser, "joined", map[string]any{"type": "dateTime", "required": false}},
		{okta.SchemaEnterprise, "remote", map[string]any{"type": "boolean"}},
		{"urn:example:scim:badge:2.0:User", "badge", map[string]any{"type": "integer", "multiValued": false}},
		{"urn:example:scim:badge:2.0:User", "nicknames", map[string]any{"type": "string", "multiValued": true}},
		{okta.SchemaGroup, "displayName", map[string]any{"type": "string", "required": true}},
		{okta.SchemaGroup, "members", map[string]any{"type": "complex", "multiValued": true}},
	} {
		schema := s.get("/Schemas/" + expected.schema)
		attribute := attributeOf(schema, expected.name)
		if attribute == nil {
			t.Errorf("%s has no attribute %s\n%s", expected.schema, expected.name, schema)
			continue
		}
		for fact, want := range expected.facts {
			if got := okta.At(attribute, fact); got != want {
				t.Errorf("%s.%s is %v, want %v", expected.name, fact, got, want)
			}
		}
	}
	if got := fmt.Sprint(okta.At(attributeOf(s.get("/Schemas/"+okta.SchemaUser), "role"), "canonicalValues")); got != "[viewer developer]" {
		t.Errorf("canonicalValues of role are %s", got)
	}
	everyAttributeIsWhole(t, list)
	if attributeOf(s.get("/Schemas/"+okta.SchemaUser), "password") != nil {
		t.Error("the schema has a password, which is never kept")
	}
	s.must(s.do(http.MethodGet, "/Schemas/"+strings.ToUpper(okta.SchemaUser), "").ExpectStatus(http.StatusOK))
	s.refused(http.StatusNotFound, "", http.MethodGet, "/Schemas/urn:example:none", "")

	// What the schemas say is what happens.
	s.refused(http.StatusBadRequest, "invalidValue", http.MethodPost, "/Users", userJSON(newName("roleless"), ""))
	s.refused(http.StatusBadRequest, "invalidValue", http.MethodPost, "/Users", userJSON(newName("emperor"), `,"role":"emperor"`))
	s.refused(http.StatusBadRequest, "invalidValue", http.MethodPost, "/Users", userJSON(newName("badge"), `,"role":"viewer","urn:example:scim:badge:2.0:User":{"badge":"no number"}`))
	created := s.do(http.MethodPost, "/Users", userJSON(newName("whole"), `,"role":"viewer","joined":"2021-03-04T05:06:07Z","`+okta.SchemaEnterprise+`":{"remote":"True"},`+
		`"urn:example:scim:badge:2.0:User":{"badge":"17","nicknames":["b","a"]}`))
	s.must(created.ExpectUser(http.StatusCreated))
	got, _ := json.Marshal([]any{created.At("urn:example:scim:badge:2.0:User", "badge"), created.At("urn:example:scim:badge:2.0:User", "nicknames"), created.At(okta.SchemaEnterprise, "remote"), created.At("joined")})
	if string(got) != `[17,["b","a"],true,"2021-03-04T05:06:07Z"]` {
		t.Errorf("the attributes are %s\n%s", got, created)
	}
	s.listed("/Users", 1)
	for _, filter := range []string{
		`urn:example:scim:badge:2.0:User:badge ge 17`, `urn:example:scim:badge:2.0:User:nicknames eq "A"`, `joined gt "2021-03-04T07:06:06+02:00"`, okta.SchemaEnterprise + `:remote eq true`,
	} {
		if found := idsOf(s.list("/Users" + query("filter", filter))); len(found) != 1 {
			t.Errorf("%s finds %q", filter, found)
		}
	}
}

func attributeOf(schema *okta.Exchange, name string) any {
	attributes, _ := schema.At("attributes").([]any)
	for _, attribute := range attributes {
		if okta.At(attribute, "name") == name {
			return attribute
		}
	}
	return nil
}

// everyAttributeIsWhole checks that each attribute and sub-attribute says all that RFC 7643 section 7 wants said.
func everyAttributeIsWhole(t *testing.T, list *okta.Exchange) {
	t.Helper()
	var look func(path string, attributes any)
	look = func(path string, attributes any) {
		list, _ := attributes.([]any)
		if len(list) == 0 {
			t.Errorf("%s has no attributes", path)
		}
		for _, attribute := range list {
			name, _ := okta.At(attribute, "name").(string)
			for _, fact := range []string{"type", "multiValued", "description", "required", "caseExact", "mutability", "returned", "uniqueness"} {
				if okta.At(attribute, fact) == nil && (fact != "caseExact" || okta.At(attribute, "type") != "complex") {
					t.Errorf("%s.%s says nothing of %s", path, name, fact)
				}
			}
			if okta.At(attribute, "type") == "complex" {
				look(path+"."+name, okta.At(attribute, "subAttributes"))
			}
			if okta.At(attribute, "type") == "reference" && okta.At(attribute, "referenceTypes") == nil {
				t.Errorf("%s.%s is a reference to nothing", path, name)
			}
		}
	}
	for _, schema := range list.Resources() {
		id, _ := okta.At(schema, "id").(string)
		look(id, okta.At(schema, "attributes"))
	}
}

// Resource types name their endpoints and schemas; a filter on discovery is refused (RFC 7644 section 4).
func TestResourceTypes(t *testing.T) {
	s := newClient(t, withAttributes)
	list := s.list("/ResourceTypes")
	if got := idsOf(list); !slices.Equal(got, []string{"User", "Group", "Role", "Entitlement"}) {
		t.Errorf("the resource types are %q", got)
	}
	schemas := idsOf(s.list("/Schemas"))
	for _, resourceType := range list.Resources() {
		endpoint, _ := okta.At(resourceType, "endpoint").(string)
		s.list(endpoint + "?startIndex=1&count=1")
		if schema, _ := okta.At(resourceType, "schema").(string); !slices.Contains(schemas, schema) {
			t.Errorf("%s has the schema %s, which /Schemas lacks", endpoint, schema)
		}
		id, _ := okta.At(resourceType, "id").(string)
		if got := s.get("/ResourceTypes/" + id); got.Text("name") != id || got.Text("meta", "resourceType") != "ResourceType" {
			t.Errorf("the resource type %s is another\n%s", id, got)
		}
	}
	var extensions []string
	for _, extension := range list.At("Resources", 0, "schemaExtensions").([]any) {
		urn, _ := okta.At(extension, "schema").(string)
		extensions = append(extensions, urn)
	}
	if !sameSet(extensions, []string{okta.SchemaEnterprise, "urn:example:scim:badge:2.0:User"}) {
		t.Errorf("users have the extensions %q", extensions)
	}
	for _, endpoint := range []string{"/ResourceTypes", "/Schemas"} {
		s.refused(http.StatusForbidden, "", http.MethodGet, endpoint+"?filter=id%20pr", "")
		s.refused(http.StatusMethodNotAllowed, "", http.MethodPost, endpoint, "{}")
	}
	s.refused(http.StatusNotFound, "", http.MethodGet, "/ResourceTypes/Device", "")
}

// Okta's governance reads the roles and scopes of the App.
func TestRolesAndEntitlements(t *testing.T) {
	s := newClient(t, func(spec *v1alpha1.AppSpec) { spec.Roles[0].Description = "Sees everything." })
	for _, test := range []struct {
		endpoint, schema string
		ids, names       []string
	}{
		{"/Roles", roleSchema, []string{"viewer", "developer"}, []string{"Viewer", "Developer"}},
		{"/Entitlements", entitlementSchema, []string{"us1", "emea2"}, []string{"us1", "emea2"}},
	} {
		t.Run(test.endpoint, func(t *testing.T) {
			s := s.on(t)
			list := s.list(test.endpoint)
			if got := idsOf(list); !slices.Equal(got, test.ids) || list.Number("totalResults") != 2 {
				t.Errorf("the ids are %q, want %q", got, test.ids)
			}
			if got := textsOf(list, "displayName"); !slices.Equal(got, test.names) {
				t.Errorf("the names are %q, want %q", got, test.names)
			}
			for i, id := range test.ids {
				page := s.list(fmt.Sprintf("%s?count=1&startIndex=%d", test.endpoint, i+1))
				if page.Number("itemsPerPage") != 1 || page.Number("totalResults") != 2 || page.Text("Resources", 0, "id") != id {
					t.Errorf("want exactly %s of 2\n%s", id, page)
				}
				one := s.get(test.endpoint + "/" + id)
				if one.Text("id") != id || one.At("schemas", 0) != test.schema || !strings.HasSuffix(one.Text("meta", "location"), test.endpoint+"/"+id) {
					t.Errorf("the resource %s is wrong\n%s", id, one)
				}
			}
			if got := idsOf(s.list(test.endpoint + query("filter", okta.Equals("displayName", test.names[1])))); !slices.Equal(got, test.ids[1:]) {
				t.Errorf("displayName eq finds %q", got)
			}
			if got := idsOf(s.list(test.endpoint + "?sortBy=displayName&count=1")); !slices.Equal(got, test.ids[1:]) {
				t.Errorf("sortBy displayName begins with %q", got)
			}
			if got := idsOf(s.list(test.endpoint + "?startIndex=3&count=1")); len(got) != 0 {
				t.Errorf("past the end there is %q", got)
			}
			// Nothing says that names come in the order of the alphabet.
			for _, query := range []string{"", "&filter=" + okta.Escape("id pr"), "&sortBy=active"} {
				if got := slices.Concat(s.through(test.endpoint + "?count=1" + query)...); !slices.Equal(got, test.ids) {
					t.Errorf("%s: pages by cursor show %q", query, got)
				}
				next := s.cursorPage(test.endpoint + "?count=1&cursor=" + query).Text("nextCursor")
				back := s.cursorPage(test.endpoint + "?count=1&cursor=" + okta.Escape(next) + query).Text("previousCursor")
				if got := idsOf(s.cursorPage(test.endpoint + "?count=1&cursor=" + okta.Escape(back) + query)); !slices.Equal(got, test.ids[:1]) {
					t.Errorf("%s: the page before the second is %q", query, got)
				}
			}
			s.refused(http.StatusNotFound, "", http.MethodGet, test.endpoint+"/nothing", "")
			s.refused(http.StatusMethodNotAllowed, "", http.MethodPost, test.endpoint, `{"displayName":"x"}`)
			s.refused(http.StatusMethodNotAllowed, "", http.MethodDelete, test.endpoint+"/"+test.ids[0], "")
		})
	}
	if got := s.get("/Roles/viewer").Text("description"); got != "Sees everything." {
		t.Errorf("the description is %q", got)
	}
	if got := s.get("/Entitlements/us1").Text("type"); got != "Entitlement" {
		t.Errorf("the entitlement's type is %q, not the name of its resource type", got)
	}
	without := newClient(t, func(spec *v1alpha1.AppSpec) {
		spec.Roles, spec.Scopes, spec.RoleAssignment = nil, v1alpha1.Scopes{}, v1alpha1.RoleAssignment{}
	})
	if got := idsOf(without.list("/ResourceTypes")); !slices.Equal(got, []string{"User", "Group"}) {
		t.Errorf("an App without roles and scopes has the resource types %q", got)
	}
	if got := without.list("/Roles").Number("totalResults"); got != 0 {
		t.Errorf("an App without roles lists %d", got)
	}
}
