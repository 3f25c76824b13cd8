package protocol

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRender(t *testing.T) {
	s := testSchemas(t)
	r := decode(t, s, `{"userName":"Jane@x","externalId":"00u","name":{"givenName":"J<>&é\u2028"},"active":true,
		"`+lowerCoreURN+`":{"role":"R"},"`+shortCoreURN+`":{"regions":"us1"},"`+strings.ToLower(EnterpriseUserSchema)+`":{"department":"D"},"urn:A:b":{"C":1},"plain":"p"}`)
	want := `{"schemas":["` + UserSchema + `","urn:A:b","` + EnterpriseUserSchema + `"],"id":"jane-abc","externalId":"00u","userName":"Jane@x","active":true,` +
		"\"name\":{\"givenName\":\"J<>&é\u2028\"},\"plain\":\"p\",\"urn:A:b\":{\"C\":1},\"" + shortCoreURN + `":{"regions":"us1"},"` + lowerCoreURN + `":{"role":"R"},"` +
		strings.ToLower(EnterpriseUserSchema) + `":{"department":"D"},"meta":{"created":"2026-01-02T03:04:05Z","lastModified":"2026-02-03T03:05:06.789Z",` +
		`"location":"https://scim.example.com/scim/v2/Users/jane-abc","resourceType":"User","version":"W/\"7\""}}`
	if got := render(t, s, r, Projection{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRenderOfAnEmptyResource(t *testing.T) {
	s := testSchemas(t)
	body, err := s.Render(Resource{}, Meta{}, Projection{})
	if want := `{"schemas":["` + UserSchema + `"],"meta":{"resourceType":"User"}}`; err != nil || string(body) != want {
		t.Errorf("got %s, %v; want %s", body, err, want)
	}
}

// What Okta read it writes back, with its own values over it: each must come back to where it was, and none twice.
func TestReadModifyWriteKeepsContainers(t *testing.T) {
	s := testSchemas(t)
	first := decode(t, s, `{"userName":"a","`+lowerCoreURN+`":{"role":"old"},"`+strings.ToLower(EnterpriseUserSchema)+`":{"department":"old"},"name":{"formatted":"Kept"}}`)
	var body map[string]any
	if err := json.Unmarshal([]byte(render(t, s, first, Projection{})), &body); err != nil {
		t.Fatal(err)
	}
	body[lowerCoreURN].(map[string]any)["role"] = "new"
	body[strings.ToLower(EnterpriseUserSchema)].(map[string]any)["department"] = "new"
	written, _ := json.Marshal(body)
	second := decode(t, s, string(written))
	want := canonical(t, `{"userName":"a","role":"new","`+EnterpriseUserSchema+`":{"department":"new"},"name":{"formatted":"Kept"}}`)
	if got := encoded(second.Attributes); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if out := render(t, s, second, Projection{}); strings.Contains(out, "old") || strings.Count(out, `"role"`) != 1 || strings.Count(out, `"department"`) != 1 {
		t.Errorf("a stale or second copy: %s", out)
	}
}

func TestPasswordIsNeverRendered(t *testing.T) {
	s := testSchemas(t)
	r := Resource{Attributes: map[string]any{"userName": "a", "password": "hunter2", "Password": "hunter2"}}
	p, _ := ParseProjection("password,userName", "")
	for _, projection := range []Projection{{}, p} {
		if out := render(t, s, r, projection); strings.Contains(out, "hunter2") {
			t.Errorf("rendered: %s", out)
		}
	}
}

func TestProjection(t *testing.T) {
	const body = `{"userName":"a","title":"t","name":{"givenName":"G","familyName":"F"},"emails":[{"type":"work","value":"x"},{"value":"y","primary":true}],"teams":["z"],"onRequest":"o",
		"` + lowerCoreURN + `":{"role":"R"},"` + EnterpriseUserSchema + `":{"department":"D","manager":{"value":"1","displayName":"M"}},"` + spaceURN + `":{"level":1,"hidden":"h"},"urn:foo:Bar":{"title":"inner","x":1}}`
	const ent = EnterpriseUserSchema
	core, id := `"`+UserSchema+`"`, `"id":"jane-abc"`
	tests := []struct {
		name                string
		attributes, exclude string
		want                string
	}{
		{"attributes keep id and schemas", "userName", "", `{"schemas":[` + core + `],` + id + `,"userName":"a"}`},
		{"in any letter case, with spaces and empty names", " USERNAME ,, ", "", `{"schemas":[` + core + `],` + id + `,"userName":"a"}`},
		{"sub-attributes", "name.givenName,emails.VALUE", "", `{"schemas":[` + core + `],` + id + `,"name":{"givenName":"G"},"emails":[{"value":"x"},{"value":"y"}]}`},
		{"a value filter is passed over", `emails[type eq "a,b]\"]" or value pr].value, userName`, "", `{"schemas":[` + core + `],` + id + `,"userName":"a","emails":[{"value":"x"},{"value":"y"}]}`},
		{"a whole attribute and a part of it", "name,name.givenName", "", `{"schemas":[` + core + `],` + id + `,"name":{"givenName":"G","familyName":"F"}}`},
		{"elements without the sub-attribute are left out", "emails.type", "", `{"schemas":[` + core + `],` + id + `,"emails":[{"type":"work"}]}`},
		{"a core URN", UserSchema + ":title," + lowerCoreURN + ":name.givenname," + shortCoreURN + ":teams", "", `{"schemas":[` + core + `],` + id + `,"title":"t","name":{"givenName":"G"},"teams":["z"]}`},
		{"an attribute in its container", "role", "", `{"schemas":[` + core + `],` + id + `,"` + lowerCoreURN + `":{"role":"R"}}`},
		{"an extension's attribute", ent + ":department", "", `{"schemas":[` + core + `,"` + ent + `"],` + id + `,"` + ent + `":{"department":"D"}}`},
		{"an extension's sub-attribute", strings.ToUpper(ent) + ":manager.value", "", `{"schemas":[` + core + `,"` + ent + `"],` + id + `,"` + ent + `":{"manager":{"value":"1"}}}`},
		{"an extension's attribute by its name alone", "manager", "", `{"schemas":[` + core + `,"` + ent + `"],` + id + `,"` + ent + `":{"manager":{"value":"1","displayName":"M"}}}`},
		{"a whole extension", ent, "", `{"schemas":[` + core + `,"` + ent + `"],` + id + `,"` + ent + `":{"department":"D","manager":{"value":"1","displayName":"M"}}}`},
		{"an unqualified name is the core attribute", "title", "", `{"schemas":[` + core + `],` + id + `,"title":"t"}`},
		{"an undeclared extension's attribute", "urn:foo:bar:TITLE", "", `{"schemas":[` + core + `,"urn:foo:Bar"],` + id + `,"urn:foo:Bar":{"title":"inner"}}`},
		{"meta", "meta.version", "", `{"schemas":[` + core + `],` + id + `,"meta":{"version":"W/\"7\""}}`},
		{"returned on request", "onRequest", "", `{"schemas":[` + core + `],` + id + `,"onRequest":"o"}`},
		{"never returned", spaceURN + ":hidden", "", `{"schemas":[` + core + `],` + id + `}`},
		{"unknown names select nothing", "nobody,userName.x", "", `{"schemas":[` + core + `],` + id + `}`},
		{"excluded wins over included", "userName,title", "title", `{"schemas":[` + core + `],` + id + `,"userName":"a"}`},
		{"id and schemas cannot be excluded", "userName", "id,schemas," + UserSchema + ":id", `{"schemas":[` + core + `],` + id + `,"userName":"a"}`},
		{"excluded attributes and sub-attributes", "", "meta,title,name.familyName,emails.type,emails.primary,teams,userName,role,urn:foo:Bar," + ent + ":manager.displayName," + spaceURN,
			`{"schemas":[` + core + `,"` + ent + `"],` + id + `,"name":{"givenName":"G"},"emails":[{"value":"x"},{"value":"y"}],"` + ent + `":{"department":"D","manager":{"value":"1"}}}`},
		{"all core attributes by the bare URN", UserSchema, "emails,name,title,teams,role,meta,onRequest", `{"schemas":[` + core + `],` + id + `,"userName":"a"}`},
	}
	s := testSchemas(t)
	r := decode(t, s, body)
	before := encoded(r.Attributes)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := ParseProjection(test.attributes, test.exclude)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := canonical(t, render(t, s, r, p)), canonical(t, test.want); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
			if encoded(r.Attributes) != before {
				t.Error("rendering changed the resource")
			}
		})
	}
	t.Run("by default neither on request nor never", func(t *testing.T) {
		if out := render(t, s, r, Projection{}); strings.Contains(out, "onRequest") || strings.Contains(out, "hidden") {
			t.Error(out)
		}
	})
}

func TestParseProjectionErrors(t *testing.T) {
	for _, list := range []string{`emails[type eq "x"`, `emails[type eq "]"`, "user name", strings.Repeat("a", MaxProjectionLength+1)} {
		_, err := ParseProjection(list, "")
		wantError(t, err, 400, "invalidValue", "attributes")
		_, err = ParseProjection("", list)
		wantError(t, err, 400, "invalidValue", "excludedAttributes")
	}
	if p, err := ParseProjection(" , ", ""); err != nil || !p.IsZero() {
		t.Errorf("got %v, %v for nothing", p, err)
	}
}

func TestAlwaysReturned(t *testing.T) {
	s, err := NewUserSchemas([]CustomAttribute{{Attribute: Attribute{Name: "tenant", Returned: ReturnedAlways}}, {Attribute: Attribute{Name: "site", Returned: ReturnedAlways}, Schema: spaceURN}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParseProjection("userName", "tenant,"+spaceURN)
	if err != nil {
		t.Fatal(err)
	}
	got := render(t, s, decode(t, s, `{"userName":"a","title":"t","tenant":"T","`+spaceURN+`":{"site":"S","x":1}}`), p)
	want := `{"schemas":["` + UserSchema + `","` + spaceURN + `"],"id":"jane-abc","userName":"a","tenant":"T","` + spaceURN + `":{"site":"S"}}`
	if canonical(t, got) != canonical(t, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMemberIsDeterministic(t *testing.T) {
	object := map[string]any{"foo": 1, "FOO": 2, "Foo": 3, "fo": 4}
	for range 50 {
		if key, value, ok := member(object, "fOO"); key != "FOO" || value != 2 || !ok {
			t.Fatalf("got %s %v %v: want the smallest spelling", key, value, ok)
		}
		if key, _, _ := member(object, "foo"); key != "foo" {
			t.Fatalf("got %s: want the exact spelling", key)
		}
	}
	if _, _, ok := member(object, "bar"); ok {
		t.Error("found what is not there")
	}
}

func TestCompleteSharesNothingThatItChanges(t *testing.T) {
	s := testSchemas(t)
	r := decode(t, s, `{"userName":"a","`+lowerCoreURN+`":{"role":"R","regions":"us1"}}`)
	complete := s.Complete(r, testMeta)
	if got, want := encoded(complete[lowerCoreURN]), `{"regions":"us1","role":"R"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, moved := complete["role"]; moved || r.Attributes["role"] != "R" || r.Attributes["schemas"] != nil {
		t.Errorf("got %v, resource %v", complete, r)
	}
}
