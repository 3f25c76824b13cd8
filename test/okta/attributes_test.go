package okta_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// containers are where an administrator's external namespace makes Okta put a core-level attribute.
var containers = map[string]string{
	"top level":              "",
	"core with a small user": "urn:ietf:params:scim:schemas:core:2.0:user",
	"core without User":      "urn:ietf:params:scim:schemas:core:2.0",
	"core as it is written":  okta.SchemaUser,
}

// in puts an attribute into a container; "" is top level.
func in(container, name string, value any) okta.Object {
	if container == "" {
		return okta.ObjectOf(name, value)
	}
	return okta.ObjectOf(container, okta.ObjectOf(name, value))
}

// onlyIn fails unless the user has the attribute in that container and nowhere else.
func onlyIn(t *testing.T, answer *okta.Exchange, user any, container, name, want string) {
	t.Helper()
	for _, candidate := range containers {
		got := okta.At(user, candidate, name)
		if candidate == "" {
			got = okta.At(user, name)
		}
		if candidate == container && got != want {
			t.Errorf("%s in %q is %v, want %q\n%s", name, candidate, got, want, answer)
		}
		if candidate != container && got != nil {
			t.Errorf("%s is also in %q, sent was %q\n%s", name, candidate, container, answer)
		}
	}
}

// Okta writes back what it reads: an attribute that came back elsewhere would return twice, once stale. So it stays in
// its container through every way to write, and the role that it names follows.
func TestContainers(t *testing.T) {
	eachDialect(t, func(t *testing.T, dialect okta.Dialect) {
		client, app := quickstart(t, dialect)
		for title, container := range containers {
			t.Run(title, func(t *testing.T) {
				profile := okta.NewProfile(newName(t, "contained"))
				profile.Custom = in(container, "role", harness.Developer)
				person := okta.Assign(profile)
				answer := say(t)(client.AssignUser(t.Context(), person))
				onlyIn(t, answer, answer.Document, container, "role", harness.Developer)
				operator.AccessSoon(t, app.Subject(profile.UserName), harness.Everywhere(harness.Developer))

				for _, role := range []string{harness.Viewer, harness.Developer} {
					person.Profile.Custom = in(container, "role", role)
					answer = say(t)(client.PushProfile(t.Context(), person))
					onlyIn(t, answer, answer.Document, container, "role", role)
					read := get(t, client, person.ID)
					onlyIn(t, read, read.Document, container, "role", role)
					operator.AccessSoon(t, app.Subject(profile.UserName), harness.Everywhere(role))
				}
				found := do(t, client, http.MethodGet, "/Users"+okta.FilterQuery(okta.Equals("userName", profile.UserName)), "")
				onlyIn(t, found, found.At("Resources", 0), container, "role", harness.Developer)
			})
		}
	})
}

// regions is one string with commas; none of them means everywhere.
func TestRegions(t *testing.T) {
	client, app := quickstart(t, okta.AppWizard)
	profile := okta.NewProfile(newName(t, "regional"))
	person := okta.Assign(profile)
	subject := app.Subject(profile.UserName)
	for _, test := range []struct {
		regions any
		want    harness.Access
	}{
		{"us1,emea2", harness.Everywhere(harness.Developer)},
		{"us1", harness.Access{"team-a": harness.Developer}},
		{" emea2 , ", harness.Access{"team-b": harness.Developer}},
		{"us1,us1,mars", harness.Access{"team-a": harness.Developer}},
		{"mars", harness.Nowhere()},
		{"emea2,us1", harness.Everywhere(harness.Developer)},
		{"mars,emea2", harness.Access{"team-b": harness.Developer}},
		{"", harness.Everywhere(harness.Developer)},
		{"us1", harness.Access{"team-a": harness.Developer}},
		{nil, harness.Everywhere(harness.Developer)},
	} {
		t.Run(fmt.Sprintf("%q", test.regions), func(t *testing.T) {
			person.Profile.Custom = okta.ObjectOf("role", harness.Developer, "urn:ietf:params:scim:schemas:core:2.0", okta.ObjectOf("regions", test.regions))
			if person.ID == "" {
				say(t)(client.AssignUser(t.Context(), person))
			} else {
				say(t)(client.PushProfile(t.Context(), person))
			}
			operator.AccessSoon(t, subject, test.want)
		})
	}
}

// An update names a role that the App does not have: it is taken, it grants nothing, and the next one is right again.
func TestUnknownRoleInAnUpdate(t *testing.T) {
	eachDialect(t, func(t *testing.T, dialect okta.Dialect) {
		client, app := quickstart(t, dialect)
		profile := okta.NewProfile(newName(t, "unknown.role"))
		profile.Custom = okta.ObjectOf("role", harness.Developer)
		person := okta.Assign(profile)
		say(t)(client.AssignUser(t.Context(), person))
		operator.AccessSoon(t, app.Subject(profile.UserName), harness.Everywhere(harness.Developer))
		person.Profile.Custom = okta.ObjectOf("role", "emperor")
		if got := say(t)(client.PushProfile(t.Context(), person)).At("role"); got != "emperor" {
			t.Errorf("role is %v, want it as sent", got)
		}
		soon(t, "the loss of developer", func(ctx context.Context) error {
			access, err := operator.AccessOf(ctx, app.Subject(profile.UserName))
			if err == nil && (access["team-a"] == harness.Developer || access["team-b"] == harness.Developer) {
				err = fmt.Errorf("still has %s", access)
			}
			return err
		})
		person.Profile.Custom = okta.ObjectOf("role", harness.Viewer)
		say(t)(client.PushProfile(t.Context(), person))
		operator.AccessSoon(t, app.Subject(profile.UserName), harness.Everywhere(harness.Viewer))
	})
}

// roles is an array of strings from the templates' own attribute, and of objects from others.
func TestRolesAttribute(t *testing.T) {
	client, app := quickstart(t, okta.AppWizard)
	for title, extra := range map[string]string{
		"strings":         `,"roles":["developer"]`,
		"objects":         `,"roles":[{"primary":true,"value":"developer"}]`,
		"objects by type": `,"roles":[{"type":"team","value":"developer"},{"type":"other","value":""}]`,
		"in a container":  `,"` + okta.SchemaUser + `":{"roles":["developer"]}`,
		"string booleans": `,"roles":[{"primary":"true","value":"developer"}]`,
		"one string":      `,"roles":"developer"`,
	} {
		t.Run(title, func(t *testing.T) {
			name := newName(t, "roles")
			answer := create(t, client, userJSON(name, extra))
			operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Developer))
			roles := answer.At("roles")
			if okta.At(roles, 0, "value") != "developer" || okta.At(roles, 1) != nil {
				t.Errorf("roles is %v, want one element with the value developer\n%s", roles, answer)
			}
			if title == "objects by type" && okta.At(roles, 0, "type") != "team" {
				t.Errorf("the element has lost its type\n%s", answer)
			}
		})
	}
	t.Run("added and removed by PATCH", func(t *testing.T) {
		name := newName(t, "roles.patched")
		id := create(t, client, userJSON(name, `,"roles":[{"value":"viewer"}]`)).Text("id")
		operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Viewer))
		patch(t, client, id, `{"op":"add","path":"roles","value":[{"value":"developer"}]}`)
		operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Developer))
		patch(t, client, id, `{"op":"remove","path":"roles[value eq \"developer\"]"}`)
		operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Viewer))
	})
}

func TestEnterpriseExtension(t *testing.T) {
	client, app := quickstart(t, okta.AppWizard)
	answer := create(t, client, userJSON(newName(t, "enterprise"), `,"`+okta.SchemaEnterprise+`":{"department":"Sales","employeeNumber":4711,"costCenter":"C 1",`+
		`"manager":{"value":"boss@example.com","displayName":"The Boss"}}`))
	id := answer.Text("id")
	want := map[string]any{
		"department": "Sales", "employeeNumber": "4711", "costCenter": "C 1",
		"manager": map[string]any{"value": "boss@example.com", "displayName": "The Boss"},
	}
	for _, shown := range []*okta.Exchange{answer, get(t, client, id)} {
		if got := shown.At(okta.SchemaEnterprise); !reflect.DeepEqual(got, want) {
			t.Errorf("the extension is %v, want %v\n%s", got, want, shown)
		}
		if schemas := fmt.Sprint(shown.At("schemas")); !strings.Contains(schemas, okta.SchemaEnterprise) {
			t.Errorf("schemas is %s, without the extension", schemas)
		}
	}
	object := operator.User(t, app, id)
	if object.Spec.Enterprise == nil || object.Spec.Enterprise.Department != "Sales" || object.Spec.Enterprise.Manager == nil {
		t.Errorf("the User's spec.enterprise is %+v", object.Spec.Enterprise)
	}
	// Paths with the URN, as every client but Okta sends them.
	answer = patch(t, client, id, `{"op":"Replace","path":"`+okta.SchemaEnterprise+`:department","value":"Legal"}`)
	if got := answer.At(okta.SchemaEnterprise, "department"); got != "Legal" {
		t.Errorf("department is %v, want Legal\n%s", got, answer)
	}
	answer = patch(t, client, id, `{"op":"replace","value":{"`+okta.SchemaEnterprise+`":{"division":"North"}}}`)
	if answer.At(okta.SchemaEnterprise, "division") != "North" || answer.At(okta.SchemaEnterprise, "department") != "Legal" {
		t.Errorf("division is to be added and department to stay\n%s", answer)
	}
}

// However a manager is written, it comes back as an object: clients that find anything else cannot read the user.
func TestManagerForms(t *testing.T) {
	client, _ := quickstart(t, okta.AppWizard)
	for title, manager := range map[string]string{
		"object":          `{"value":"m-1"}`,
		"string":          `"m-1"`,
		"array":           `[{"value":"m-1"}]`,
		"array of string": `["m-1"]`,
		"with a null":     `{"value":"m-1","displayName":null}`,
	} {
		t.Run("POST "+title, func(t *testing.T) {
			answer := create(t, client, userJSON(newName(t, "managed"), `,"`+okta.SchemaEnterprise+`":{"manager":`+manager+`}`))
			hasManager(t, answer, "m-1")
		})
	}
	id := create(t, client, userJSON(newName(t, "managed"), "")).Text("id")
	for title, operation := range map[string]string{
		"array without the URN": `{"op":"Add","path":"manager","value":[{"$ref":"","value":"m-1"}]}`,
		"string by URN":         `{"op":"add","path":"` + okta.SchemaEnterprise + `:manager","value":"m-2"}`,
		"sub-attribute by URN":  `{"op":"replace","path":"` + okta.SchemaEnterprise + `:manager.value","value":"m-3"}`,
		"object without path":   `{"op":"replace","value":{"` + okta.SchemaEnterprise + `":{"manager":{"value":"m-4"}}}}`,
	} {
		t.Run("PATCH "+title, func(t *testing.T) {
			answer := patch(t, client, id, operation)
			hasManager(t, answer, "m-"+operation[strings.Index(operation, `"m-`)+3:][:1])
		})
	}
}

func hasManager(t *testing.T, answer *okta.Exchange, want string) {
	t.Helper()
	if got := answer.At(okta.SchemaEnterprise, "manager", "value"); got != want {
		t.Errorf("manager.value is %v, want %q\n%s", got, want, answer)
	}
}

// What no schema knows is kept as it came, and goes through Okta's read-and-write-back unharmed.
func TestUnknownAttributesAreKept(t *testing.T) {
	const urn = "urn:ietf:params:scim:schemas:custom:Space"
	const extension = `{"custom1":"x & y <z>","Custom2":12345678901234567,"list":["b","a","b"],"deep":{"flag":false,"n":1.50,"zero":0},"ü":"ß"}`
	eachDialect(t, func(t *testing.T, dialect okta.Dialect) {
		client, _ := quickstart(t, dialect)
		profile := okta.NewProfile(newName(t, "unknown"))
		custom, err := okta.DecodeObject([]byte(`{"shoeSize":43,"favourites":["a"],"` + urn + `":` + extension + `}`))
		must(t, err)
		profile.Custom = custom
		person := okta.Assign(profile)
		answer := say(t)(client.AssignUser(t.Context(), person))
		holds := func(answer *okta.Exchange) {
			t.Helper()
			var want any
			decoder := json.NewDecoder(strings.NewReader(extension))
			decoder.UseNumber()
			must(t, decoder.Decode(&want))
			if got := answer.At(urn); !sameJSON(got, want) {
				t.Errorf("the extension is %v, want %v\n%s", got, want, answer)
			}
			if fmt.Sprint(answer.At("shoeSize")) != "43" || okta.At(answer.At("favourites"), 0) != "a" {
				t.Errorf("attributes at top level are lost\n%s", answer)
			}
		}
		holds(answer)
		person.Profile.Custom = nil // Okta's overlay leaves what it does not manage
		person.Profile.FamilyName = "Other"
		holds(say(t)(client.PushProfile(t.Context(), person)))
		holds(get(t, client, person.ID))
		holds(say(t)(client.Deactivate(t.Context(), person)))
	})
}

// sameJSON compares numbers by value: 1.50 may come back as 1.5.
func sameJSON(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, isNumber := b.(json.Number)
		x, _ := a.Float64()
		y, _ := b.Float64()
		return isNumber && (a == b || x == y && !strings.HasPrefix(string(a), "1234567"))
	case []any:
		b, isList := b.([]any)
		if !isList || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameJSON(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, isObject := b.(map[string]any)
		if !isObject || len(a) != len(b) {
			return false
		}
		for name := range a {
			if !sameJSON(a[name], b[name]) {
				return false
			}
		}
		return true
	}
	return a == b
}

// Clients write booleans as strings, in any letters.
func TestStringBooleans(t *testing.T) {
	client, app := quickstart(t, okta.AppWizard)
	name := newName(t, "stringly")
	body := strings.Replace(userJSON(name, ""), `"active":true`, `"active":"True"`, 1)
	answer := create(t, client, strings.Replace(body, `"primary":true`, `"primary":"true"`, 1))
	if answer.At("active") != true || answer.At("emails", 0, "primary") != true {
		t.Fatalf("active and emails[0].primary must be booleans\n%s", answer)
	}
	id := answer.Text("id")
	operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Viewer))
	for _, operation := range []string{
		`{"op":"Replace","path":"active","value":"False"}`,
		`{"op":"replace","value":{"active":"false"}}`,
		`{"op":"REPLACE","path":"active","value":false}`,
		`{"op":"replace","path":"` + okta.SchemaUser + `:active","value":"FALSE"}`,
	} {
		if answer := patch(t, client, id, operation); answer.At("active") != false {
			t.Errorf("active is %v after %s\n%s", answer.At("active"), operation, answer)
		}
		operator.AccessNow(t, app.Subject(name), harness.Nowhere())
		patch(t, client, id, `{"op":"replace","value":{"active":"TRUE"}}`)
		operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Viewer))
	}
}

// null, "" and [] mean that there is no value, on the way in and in updates.
func TestEmptyValues(t *testing.T) {
	client, _ := quickstart(t, okta.AppWizard)
	name := newName(t, "empty")
	answer := create(t, client, userJSON(name, `,"title":null,"nickName":"","phoneNumbers":[],"addresses":null,"roles":[{"primary":true,"value":""}],`+
		`"externalId":null,"role":"","`+okta.SchemaEnterprise+`":{"department":null,"manager":{"value":""}}`))
	for _, attribute := range []string{"title", "nickName", "phoneNumbers", "addresses", "roles", "externalId", "role", okta.SchemaEnterprise} {
		if got := answer.At(attribute); got != nil {
			t.Errorf("%s is %v, want none\n%s", attribute, got, answer)
		}
	}
	id := answer.Text("id")
	for title, cleared := range map[string]string{"null": "null", "an empty string": `""`} {
		patch(t, client, id, `{"op":"replace","value":{"title":"Boss","name":{"middleName":"M"}}}`)
		t.Run("PUT of "+title, func(t *testing.T) {
			put := do(t, client, http.MethodPut, "/Users/"+id, userJSON(name, `,"title":`+cleared))
			must(t, put.ExpectUser())
			if got := put.At("title"); got != nil {
				t.Errorf("title is still %v", got)
			}
		})
		patch(t, client, id, `{"op":"replace","value":{"title":"Boss"}}`)
		t.Run("PATCH of "+title, func(t *testing.T) {
			if got := patch(t, client, id, `{"op":"replace","value":{"title":`+cleared+`}}`).At("title"); got != nil {
				t.Errorf("title is still %v", got)
			}
		})
	}
	t.Run("PUT without an attribute", func(t *testing.T) {
		patch(t, client, id, `{"op":"replace","value":{"title":"Boss"}}`)
		put := do(t, client, http.MethodPut, "/Users/"+id, userJSON(name, ""))
		must(t, put.ExpectUser())
		if got := put.At("title"); got != nil {
			t.Errorf("title is still %v", got)
		}
	})
}

// Other ways in which PATCH requests change one attribute.
func TestPatchPaths(t *testing.T) {
	client, _ := quickstart(t, okta.AppWizard)
	id := create(t, client, userJSON(newName(t, "patched"), `,"title":"Old"`)).Text("id")
	for _, test := range []struct {
		operation string
		path      []any
		want      any
	}{
		{`{"op":"replace","path":"title","value":"New"}`, []any{"title"}, "New"},
		{`{"op":"Replace","path":"name.familyName","value":"Other"}`, []any{"name", "familyName"}, "Other"},
		{`{"op":"replace","value":{"name.givenName":"Dotted"}}`, []any{"name", "givenName"}, "Dotted"},
		{`{"op":"replace","path":"emails[type eq \"work\"].value","value":"new@example.com"}`, []any{"emails", 0, "value"}, "new@example.com"},
		{`{"op":"add","path":"phoneNumbers[type eq \"mobile\"].value","value":"+1 555"}`, []any{"phoneNumbers", 0, "value"}, "+1 555"},
		{`{"op":"replace","path":"nickName","value":"Nick"}`, []any{"nickName"}, "Nick"},
		{`{"op":"remove","path":"nickName"}`, []any{"nickName"}, nil},
		{`{"op":"remove","path":"nickName"}`, []any{"nickName"}, nil},
		{`{"op":"replace","value":{"id":"` + id + `","displayName":"With id","groups":[],"meta":{"resourceType":"X"}}}`, []any{"displayName"}, "With id"},
	} {
		answer := patch(t, client, id, test.operation)
		if got := answer.At(test.path...); got != test.want {
			t.Errorf("%v is %v, want %v\n%s", test.path, got, test.want, answer)
		}
		if got := get(t, client, id).At(test.path...); got != test.want {
			t.Errorf("GET: %v is %v, want %v", test.path, got, test.want)
		}
	}
}
