package protocol

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/internal/names"
)

// fuzzSchemas has no attribute that rendering leaves out, so that what is rendered decodes to the same resource.
func fuzzSchemas(t testing.TB) *SchemaSet {
	t.Helper()
	s, err := NewUserSchemas([]CustomAttribute{
		{Attribute: Attribute{Name: "role"}, Schema: lowerCoreURN},
		{Attribute: Attribute{Name: "teams", MultiValued: true}},
		{Attribute: Attribute{Name: "level", Type: TypeInteger}, Schema: spaceURN},
		{Attribute: Attribute{Name: "score", Type: TypeDecimal}, Schema: spaceURN},
		{Attribute: Attribute{Name: "since", Type: TypeDateTime}, Schema: spaceURN},
		{Attribute: Attribute{Name: "badge", Mutability: Immutable}, Schema: spaceURN},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Bodies as Okta and Entra send them.
var userSeeds = []string{
	oktaUser,
	`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"5fc0c238","externalId":"00u6a15d23T9AeHhF5d7","userName":"jane@test.com","name":{"givenName":"Jane","familyName":"Smith","formatted":"Mona Octocat"},"emails":[{"primary":true,"type":"work","value":"jane@test.com"}],"displayName":"Jane Smith","locale":"en-US","groups":[],"active":true,"meta":{"resourceType":"User","created":"2026-01-01T00:00:00Z"}}`,
	`{"userName":"a","urn:ietf:params:scim:schemas:core:2.0":{"regions":"us1,emea2"},"urn:ietf:params:scim:schemas:custom:Space":{"level":"7","score":1.5,"since":"2011-05-13"}}`,
	`{"userName":"a","roles":["role1","role2"],"entitlements":[{"value":"e","display":"E","type":"License"}],"addresses":null,"title":null,"teams":["x",""],"manager":"5"}`,
	`{"USERNAME":"a","userName":"b","emails":[{"Value":"x","value":"y","primary":"True"},{"value":"y","primary":true}],"urn:x:password":{"a":1},"a":{"password":{"b":1}}}`,
	filterUser,
}

var patchSeeds = []string{
	patchBody(`{"op":"replace","value":{"active":false}}`),
	patchBody(`{"op":"replace","value":{"id":"5fc0c238","displayName":"D","active":true}}`),
	patchBody(`{"op":"Replace","path":"active","value":"False"}`),
	patchBody(`{"op":"Replace","value":{"name.givenName":"G","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber":"7"}}`),
	patchBody(`{"op":"Add","path":"emails[type eq \"work\"].value","value":"w@x"}`, `{"op":"Replace","path":"roles[primary eq \"True\"].value","value":"r"}`),
	patchBody(`{"op":"Add","path":"manager","value":[{"$ref":"http://x/1","value":"1"}]}`),
	patchBody(`{"op":"Remove","path":"roles","value":[{"$ref":null,"value":"role1"}]}`, `{"op":"remove","path":"emails[value eq \"jane@test.com\"]"}`),
	patchBody(`{"op":"add","path":"emails","value":[{"value":"x","primary":true}]}`, `{"op":"replace","path":"emails[value eq \"x\"].display","value":"X"}`),
	patchBody(`{"op":"replace","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User","value":{"department":"D"}}`, `{"op":"replace","path":"password","value":"x"}`),
	patchBody(`{"op":"replace","value":{"urn:ietf:params:scim:schemas:core:2.0:user":{"role":"r","urn:foo:Bar":{"x":1}}}}`, `{"op":"add","path":"urn:foo:Bar:y.z","value":[1,2]}`),
}

func FuzzDecodeUser(f *testing.F) {
	for _, body := range userSeeds {
		f.Add([]byte(body))
	}
	s := fuzzSchemas(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if redacted := RedactJSON(body); !json.Valid(redacted) || string(RedactJSON(redacted)) != string(redacted) {
			t.Fatalf("redacted: %s", redacted)
		}
		r, err := s.DecodeUser(body)
		if err != nil {
			wantProtocolError(t, err)
			return
		}
		checkDeactivates(t, "PUT", s.PutDeactivates(body), r)
		checkNormalised(t, s, r)
	})
}

func FuzzApplyPatch(f *testing.F) {
	for i, body := range patchSeeds {
		f.Add([]byte(userSeeds[i%len(userSeeds)]), []byte(body))
	}
	s := fuzzSchemas(f)
	f.Fuzz(func(t *testing.T, user, body []byte) {
		if current, err := s.DecodeUser(user); err == nil {
			checkPatch(t, s, current, body)
		}
	})
}

// checkPatch checks what holds for every PATCH of every resource.
func checkPatch(t *testing.T, s *SchemaSet, current Resource, body []byte) (Resource, bool) {
	t.Helper()
	before := current.DeepCopy()
	next, changed, err := s.ApplyPatch(current, body)
	if !sameResource(current, before) {
		t.Fatalf("the current resource was changed")
	}
	if err != nil {
		wantProtocolError(t, err)
		if changed || !sameResource(next, before) {
			t.Fatalf("a refused PATCH changed the resource")
		}
		return next, false
	}
	if changed == sameResource(next, before) {
		t.Fatalf("changed is %v", changed)
	}
	if before.Attributes["userName"] != nil && next.Attributes["userName"] == nil {
		t.Fatalf("userName was removed")
	}
	if before.Attributes["active"] != false {
		checkDeactivates(t, "PATCH", s.PatchDeactivates(body), next)
	}
	again, _, err := s.ApplyPatch(current, body)
	if err != nil || !sameResource(next, again) {
		t.Fatalf("a second application gives something else: %v\n%s\n%s", err, encoded(next.Attributes), encoded(again.Attributes))
	}
	checkNormalised(t, s, next)
	return next, true
}

func wantProtocolError(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Status < 400 || e.Status > 499 || e.Detail == "" {
		t.Fatalf("not an error of the protocol: %v", err)
	}
}

// checkNormalised: no password, nothing empty, one primary at most, and rendering and decoding gives the same resource.
func checkNormalised(t *testing.T, s *SchemaSet, r Resource) {
	t.Helper()
	checkValue(t, r.Attributes, "")
	for name := range r.Containers {
		if _, ok := r.Attributes[name]; !ok {
			t.Fatalf("container of the absent attribute %q", name)
		}
	}
	for _, a := range s.core.Attributes {
		if list, ok := r.Attributes[a.Name].([]any); ok && a.Type == TypeComplex {
			primaries := 0
			for _, element := range list {
				if element.(map[string]any)["primary"] == true {
					primaries++
				}
			}
			if primaries > 1 {
				t.Fatalf("%d primary values: %s", primaries, encoded(list))
			}
		}
	}
	rendered, err := s.Render(r, testMeta, Projection{})
	if err != nil || !json.Valid(rendered) {
		t.Fatalf("rendered %s, %v", rendered, err)
	}
	back, err := s.DecodeUser(rendered)
	if err != nil {
		t.Fatalf("what was rendered cannot be decoded: %v\n%s", err, rendered)
	}
	if !sameResource(r, back) {
		t.Fatalf("not a fixed point:\n%s %v\n%s %v", encoded(r.Attributes), r.Containers, encoded(back.Attributes), back.Containers)
	}
}

func checkValue(t *testing.T, v any, key string) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 && key != "" {
			t.Fatalf("%q is an empty object", key)
		}
		for name, value := range v {
			if isPassword(name) {
				t.Fatalf("a password survived under %q", key)
			}
			checkValue(t, value, name+".")
		}
	case []any:
		if len(v) == 0 {
			t.Fatalf("%q is an empty array", key)
		}
		for _, element := range v {
			checkValue(t, element, key)
		}
	case string:
		if v == "" {
			t.Fatalf("%q is an empty string", key)
		}
	case json.Number, bool:
	default:
		t.Fatalf("%q is %T", key, v)
	}
}

func FuzzFilter(f *testing.F) {
	for _, filter := range []string{
		`userName eq "test.user@okta.local"`, `email eq "a@x" OR email eq "jane@work.example"`, `emails[type eq "work"].value eq "jane@work.example"`,
		`emails[type eq "work" and value eq "jane@work.example"]`, `externalId eq jyoung`, `meta.lastModified gt "2026-01-01T00:00:00Z"`, `not (active eq true) and (title pr or name.givenName sw "J")`,
		`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq 26118915`, `id eq "jane-abc" and manager eq "26118915"`, `title ne null`, `role co "ADMIN" or shoeSize ge 44`,
	} {
		f.Add(filter)
	}
	s := fuzzSchemas(f)
	var resources []map[string]any
	for _, body := range append(userSeeds, `{}`) {
		resources = append(resources, s.Complete(decode(f, s, body), testMeta))
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter, ok := bindForFuzz(t, s, text)
		if !ok {
			return
		}
		lookups, exact := filter.Lookups()
		wrapped := map[string]*Filter{}
		for _, form := range []string{"not (F)", "not (not (F))", "(F) and (F)", "(F) or (F)", "(F) or nobody pr"} {
			if other, ok := bindForFuzz(t, s, strings.ReplaceAll(form, "F", text)); ok {
				wrapped[form] = other
			} else if len(text) < MaxFilterLength/3 && strings.Count(text, "(")+strings.Count(text, "[") < MaxFilterNesting-2 {
				t.Fatalf("%s is a filter, but not inside %s", text, form)
			}
		}
		for i, resource := range resources {
			matches := filter.Matches(resource)
			for form, other := range wrapped {
				if other.Matches(resource) != (matches != (form == "not (F)")) {
					t.Errorf("resource %d: %s is %v, %s is the same", i, text, matches, form)
				}
			}
			found := satisfiesAny(resource, lookups)
			if len(lookups) > 0 && matches && !found {
				t.Errorf("resource %d matches %s, but none of its look-ups %v", i, text, lookups)
			}
			if exact && found && !matches {
				t.Errorf("resource %d satisfies a look-up of %v, but does not match %s", i, lookups, text)
			}
		}
	})
}

func bindForFuzz(t *testing.T, s *SchemaSet, text string) (*Filter, bool) {
	parsed, err := ParseFilter(text)
	if err == nil {
		parsed, err = parsed.Bind(s)
	}
	if err != nil {
		wantProtocolError(t, err)
	}
	return parsed, err == nil
}

// satisfiesAny answers look-ups as an index would, without the filter's code.
func satisfiesAny(resource map[string]any, lookups []Lookup) bool {
	for _, lookup := range lookups {
		switch lookup.Attribute {
		case "emails.value":
			emails, _ := resource["emails"].([]any)
			for _, email := range emails {
				if value, ok := email.(map[string]any)["value"].(string); ok && names.Fold(value) == names.Fold(lookup.Value) {
					return true
				}
			}
		case "userName":
			if value, ok := resource["userName"].(string); ok && names.Fold(value) == names.Fold(lookup.Value) {
				return true
			}
		default:
			if resource[lookup.Attribute] == lookup.Value {
				return true
			}
		}
	}
	return false
}
