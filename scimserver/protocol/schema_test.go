package protocol

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestNewUserSchemasRefuses(t *testing.T) {
	declared := func(a Attribute) CustomAttribute { return CustomAttribute{Attribute: a} }
	tests := []struct {
		name   string
		custom []CustomAttribute
		part   string
	}{
		{"a name that is no name", []CustomAttribute{declared(Attribute{Name: "shoe size"})}, "a name has"},
		{"an empty name", []CustomAttribute{declared(Attribute{})}, "a name has"},
		{"a name that begins with a digit", []CustomAttribute{declared(Attribute{Name: "1st"})}, "a name has"},
		{"password", []CustomAttribute{declared(Attribute{Name: "Password"})}, "never stored"},
		{"id", []CustomAttribute{declared(Attribute{Name: "ID"})}, "reserved"},
		{"groups", []CustomAttribute{declared(Attribute{Name: "groups", MultiValued: true})}, "reserved"},
		{"an unknown type", []CustomAttribute{declared(Attribute{Name: "a", Type: "number"})}, "unknown type"},
		{"an unknown mutability", []CustomAttribute{declared(Attribute{Name: "a", Mutability: "writeOnly"})}, "mutability"},
		{"an unknown returned", []CustomAttribute{declared(Attribute{Name: "a", Returned: "sometimes"})}, "returned"},
		{"complex without sub-attributes", []CustomAttribute{declared(Attribute{Name: "a", Type: TypeComplex})}, "subAttributes"},
		{"plain with sub-attributes", []CustomAttribute{declared(Attribute{Name: "a", SubAttributes: []Attribute{{Name: "b"}}})}, "subAttributes"},
		{"complex in complex", []CustomAttribute{declared(Attribute{Name: "a", Type: TypeComplex, SubAttributes: []Attribute{{Name: "b", Type: TypeComplex, SubAttributes: []Attribute{{Name: "c"}}}}})}, "must not be complex"},
		{"a bad sub-attribute", []CustomAttribute{declared(Attribute{Name: "a", Type: TypeComplex, SubAttributes: []Attribute{{Name: "b c"}}})}, `sub-attribute "b c"`},
		{"the same twice, in any letter case", []CustomAttribute{declared(Attribute{Name: "role"}), {Attribute: Attribute{Name: "ROLE"}, Schema: strings.ToUpper(UserSchema)}}, "twice"},
		{"a core attribute with another type", []CustomAttribute{declared(Attribute{Name: "active"})}, "RFC 7643 defines it as boolean"},
		{"a core attribute with another cardinality", []CustomAttribute{declared(Attribute{Name: "title", MultiValued: true})}, "multiValued false"},
		{"a schema that is no URN", []CustomAttribute{{Attribute: Attribute{Name: "a"}, Schema: "custom"}}, "not a URN"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewUserSchemas(test.custom)
			if err == nil || !strings.Contains(err.Error(), test.part) {
				t.Errorf("got %v, want an error with %q", err, test.part)
			}
		})
	}
}

func TestNewUserSchemasTightensCoreAttributes(t *testing.T) {
	s, err := NewUserSchemas([]CustomAttribute{
		{Attribute: Attribute{Name: "usertype", Required: true, CanonicalValues: []string{"Employee"}}},
		{Attribute: Attribute{Name: "department", Required: true}, Schema: strings.ToLower(EnterpriseUserSchema)},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, s.Validate(decode(t, s, `{"userName":"a"}`)), 400, "invalidValue", "userType is required")
	wantError(t, s.Validate(decode(t, s, `{"userName":"a","userType":"x"}`)), 400, "invalidValue", "Employee")
	wantError(t, s.Validate(decode(t, s, `{"userName":"a","userType":"Employee"}`)), 400, "invalidValue", "department is required")
	if err := s.Validate(decode(t, s, `{"userName":"a","userType":"Employee","`+EnterpriseUserSchema+`":{"department":"D"}}`)); err != nil {
		t.Error(err)
	}
	plain, err := NewUserSchemas(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := plain.Validate(decode(t, plain, `{"userName":"a"}`)); err != nil {
		t.Errorf("one App's attributes reached another's: %v", err)
	}
}

func TestSchemaDocuments(t *testing.T) {
	s := testSchemas(t)
	documents := s.SchemaDocuments("https://x/scim/v2")
	byID := map[string]map[string]any{}
	for _, document := range documents {
		byID[document["id"].(string)] = document
		if got, want := encoded(document["meta"]), `{"location":"https://x/scim/v2/Schemas/`+document["id"].(string)+`","resourceType":"Schema"}`; got != want {
			t.Errorf("meta %s, want %s", got, want)
		}
	}
	if len(documents) != 3 || byID[UserSchema] == nil || byID[EnterpriseUserSchema] == nil || byID[spaceURN] == nil {
		t.Fatalf("schemas: %v", byID)
	}
	names := map[string]map[string]any{}
	for _, a := range byID[UserSchema]["attributes"].([]any) {
		a := a.(map[string]any)
		names[a["name"].(string)] = a
		for _, key := range []string{"name", "type", "multiValued", "required", "caseExact", "mutability", "returned", "uniqueness", "description"} {
			if a[key] == nil || a[key] == "" {
				t.Errorf("%s has no %s", a["name"], key)
			}
		}
	}
	for _, name := range []string{"userName", "role", "regions", "groups", "emails"} {
		if names[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
	for _, name := range []string{"password", "id", "meta", "schemas"} {
		if names[name] != nil {
			t.Errorf("%s is listed", name)
		}
	}
	role := encoded(names["role"])
	if want := `{"canonicalValues":["RESELLER_ADMIN","RESELLER_STAFF"],"caseExact":false,"description":"role","multiValued":false,"mutability":"readWrite","name":"role","required":true,"returned":"default","type":"string","uniqueness":"none"}`; role != want {
		t.Errorf("got %s, want %s", role, want)
	}
	if _, err := json.Marshal(documents); err != nil {
		t.Error(err)
	}
}

func TestResourceTypeDocuments(t *testing.T) {
	got, err := json.Marshal(ResourceTypeDocuments("https://x", testSchemas(t)))
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"description":"User Account","endpoint":"/Users","id":"User","meta":{"location":"https://x/ResourceTypes/User","resourceType":"ResourceType"},"name":"User",` +
		`"schema":"` + UserSchema + `","schemaExtensions":[{"required":false,"schema":"` + EnterpriseUserSchema + `"},{"required":false,"schema":"` + spaceURN + `"}],"schemas":["` + ResourceTypeSchema + `"]}]`
	if string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestServiceProviderConfigDocument(t *testing.T) {
	document := ServiceProviderConfigDocument(ServiceProviderConfigOptions{
		BaseURL: "https://x", DocumentationURI: "https://docs", Patch: true, FilterMaxResults: 200,
		AuthenticationSchemes: []AuthenticationScheme{{Type: "oauthbearertoken", Name: "Bearer", Description: "A token", SpecURI: "https://rfc", Primary: true}},
	})
	got, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"authenticationSchemes":[{"description":"A token","name":"Bearer","primary":true,"specUri":"https://rfc","type":"oauthbearertoken"}],` +
		`"bulk":{"maxOperations":0,"maxPayloadSize":0,"supported":false},"changePassword":{"supported":false},"documentationUri":"https://docs","etag":{"supported":false},` +
		`"filter":{"maxResults":200,"supported":true},"meta":{"location":"https://x/ServiceProviderConfig","resourceType":"ServiceProviderConfig"},"patch":{"supported":true},` +
		`"schemas":["` + ServiceProviderConfigSchema + `"],"sort":{"supported":false}}`
	if string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestResourceDeepCopy(t *testing.T) {
	r := Resource{Attributes: map[string]any{"a": map[string]any{"b": []any{"c"}}}, Containers: map[string]string{"a": "x"}}
	copied := r.DeepCopy()
	copied.Attributes["a"].(map[string]any)["b"].([]any)[0] = "changed"
	copied.Containers["a"] = "changed"
	if encoded(r.Attributes) != `{"a":{"b":["c"]}}` || r.Containers["a"] != "x" {
		t.Errorf("the original changed: %v", r)
	}
	if empty := (Resource{}).DeepCopy(); empty.Attributes != nil || empty.Containers != nil {
		t.Errorf("got %v", empty)
	}
}
