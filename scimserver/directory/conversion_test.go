package directory

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

func roundTrip(t *testing.T, resource protocol.Resource) (*v1alpha1.User, protocol.Resource) {
	t.Helper()
	user := &v1alpha1.User{}
	if err := setResource(&user.Spec, resource); err != nil {
		t.Fatal(err)
	}
	// As the API server has it: what JSON drops is gone.
	encoded, err := json.Marshal(user)
	if err != nil {
		t.Fatal(err)
	}
	stored := &v1alpha1.User{}
	if err := json.Unmarshal(encoded, stored); err != nil {
		t.Fatal(err)
	}
	back, err := Resource(stored)
	if err != nil {
		t.Fatal(err)
	}
	return stored, back
}

func TestTypedAttributes(t *testing.T) {
	resource := person("Ada@Example.com",
		"active", true, "externalId", "00u1", "displayName", "Ada", "nickName", "A", "profileUrl", "https://x", "title", "Dr",
		"userType", "Employee", "preferredLanguage", "en", "locale", "en-GB", "timezone", "Europe/London",
		"name", map[string]any{"givenName": "Ada", "familyName": "Lovelace", "formatted": "Ada Lovelace", "middleName": "K",
			"honorificPrefix": "Lady", "honorificSuffix": "I"},
		"emails", []any{map[string]any{"value": "a@x", "type": "work", "primary": true, "display": "A"}, map[string]any{"value": "b@x"}},
		"addresses", []any{map[string]any{"locality": "London", "country": "GB", "type": "work", "primary": true}},
		"roles", []any{map[string]any{"value": "viewer"}},
		"role", "viewer", "regions", []any{"us1", "emea2"},
		protocol.EnterpriseUserSchema, map[string]any{"department": "Engines", "employeeNumber": "1",
			"manager": map[string]any{"value": "babbage", "$ref": "../Users/babbage", "displayName": "Charles"}},
		"urn:example:extra", map[string]any{"badge": json.Number("7"), "nested": map[string]any{"list": []any{true, "x"}}},
	)
	resource.Containers = map[string]string{"role": "urn:ietf:params:scim:schemas:core:2.0:user"}
	user, back := roundTrip(t, resource)
	if !reflect.DeepEqual(back, resource) {
		t.Fatalf("came back as\n%v, want\n%v", back, resource)
	}
	spec := user.Spec
	if spec.UserNameKey != "ada@example.com" || spec.UserName != "Ada@Example.com" || spec.Emails[0].Display != "A" ||
		spec.Enterprise.Manager.Ref != "../Users/babbage" || spec.Name.GivenName != "Ada" || spec.Roles[0].Value != "viewer" {
		t.Errorf("fields: %+v", spec)
	}
	if got := string(spec.Attributes.Raw); got != `{"regions":["us1","emea2"],"role":"viewer"}` {
		t.Errorf("spec.attributes = %s: only what has no field of its own belongs there", got)
	}
}

// What a field cannot hold is kept whole beside it; the field has the rest for the controllers.
func TestAttributesThatDoNotFitTheirFields(t *testing.T) {
	for name, value := range map[string]any{
		"roles":  []any{map[string]any{"value": "admin", "$ref": "https://x/1"}, map[string]any{"value": "viewer", "weight": json.Number("3")}},
		"emails": []any{map[string]any{"value": "a@x", "primary": false}},
		"name":   map[string]any{"givenName": "Ada", "nameOfHouse": "Byron"},
		"title":  json.Number("7"),
		protocol.EnterpriseUserSchema: map[string]any{
			"department": "Engines", "badge": json.Number("1"), "manager": map[string]any{"value": "x", "since": "1842"},
		},
	} {
		resource := person("ada", "active", false, name, value)
		user, back := roundTrip(t, resource)
		if !reflect.DeepEqual(back, resource) {
			t.Errorf("%s came back as %v, want %v", name, back.Attributes[name], value)
		}
		if a, _ := typed(name); name != "title" && a.get(&user.Spec) == nil {
			t.Errorf("%s: nothing is left in the field", name)
		}
	}
}

func TestAFieldEditedInTheClusterWins(t *testing.T) {
	user, _ := roundTrip(t, person("ada", "roles", []any{map[string]any{"value": "admin", "$ref": "https://x/1"}}))
	user.Spec.Roles[0].Value = "viewer"
	back, err := Resource(user)
	if err != nil {
		t.Fatal(err)
	}
	if want := []any{map[string]any{"value": "viewer"}}; !reflect.DeepEqual(back.Attributes["roles"], want) {
		t.Errorf("roles = %v, want %v", back.Attributes["roles"], want)
	}
}

func TestWhatTheClusterDecidesSurvives(t *testing.T) {
	spec := v1alpha1.UserSpec{App: "wiki", Suspended: true, PendingKey: "p", Active: true, Title: "old"}
	if err := setResource(&spec, person("ada")); err != nil {
		t.Fatal(err)
	}
	if spec.App != "wiki" || !spec.Suspended || spec.PendingKey != "p" || !spec.Active || spec.Title != "" {
		t.Errorf("spec = %+v", spec)
	}
	if err := setResource(&spec, protocol.Resource{}); err == nil {
		t.Error("a user without a name was taken")
	}
}

func TestNumbersKeepTheirSpelling(t *testing.T) {
	for text, plain := range map[string]bool{
		"0": true, "-7": true, "1.5": true, "9223372036854775807": true, "1.0": false, "1e3": false, "0.10": false,
		"9223372036854775808": false, "-0": false, "1E400": false, "12345678901234567890.123": false,
	} {
		if survives(json.Number(text)) != plain {
			t.Errorf("survives(%s) = %v", text, !plain)
		}
	}
	_, back := roundTrip(t, person("ada", "active", true, "factor", json.Number("1.50"),
		"marked", map[string]any{numberKey: "1.50"}, "twice", map[string]any{numberKey: map[string]any{numberKey: json.Number("1e3")}}, numberKey, "x"))
	want := person("ada", "active", true, "factor", json.Number("1.50"),
		"marked", map[string]any{numberKey: "1.50"}, "twice", map[string]any{numberKey: map[string]any{numberKey: json.Number("1e3")}}, numberKey, "x")
	if !reflect.DeepEqual(back, want) {
		t.Errorf("came back as %v", back)
	}
}

// TestRoundTrip is the property that nothing a client sends is lost or changed, over random resources.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(5000) {
		g := generator{rand.New(rand.NewPCG(seed, 7))}
		resource := g.resource()
		if _, back := roundTrip(t, resource); !reflect.DeepEqual(back, resource) {
			t.Fatalf("seed %d: came back as\n%v, want\n%v", seed, back, resource)
		}
	}
}

type generator struct{ *rand.Rand }

func (g generator) resource() protocol.Resource {
	r := person("ada", "active", g.IntN(2) == 0)
	for _, a := range userAttributes[1:] {
		switch g.IntN(4) {
		case 0:
			r.Attributes[a.name] = g.value(2)
		case 1:
			r.Attributes[a.name] = g.likely(a)
		}
	}
	for range g.IntN(4) {
		r.Attributes[g.name()] = g.value(3)
		r.Attributes["urn:example:"+g.name()] = g.value(3)
	}
	if g.IntN(2) == 0 {
		r.Attributes[protocol.EnterpriseUserSchema] = g.value(2)
		r.Containers = map[string]string{"title": "urn:ietf:params:scim:schemas:core:2.0"}
	}
	return r
}

// likely returns a value that may fit the attribute's field.
func (g generator) likely(a attribute) any {
	switch a.name {
	case "name":
		return map[string]any{"givenName": g.text(), g.name(): g.text()}
	case "emails", "phoneNumbers", "ims", "photos", "addresses", "entitlements", "roles", "x509Certificates":
		list := []any{map[string]any{"value": g.text(), "type": g.text(), "primary": g.IntN(2) == 0}}
		if g.IntN(2) == 0 {
			list = append(list, map[string]any{"formatted": g.text(), "display": g.text(), "primary": true})
		}
		return list
	default:
		return g.text()
	}
}

func (g generator) value(depth int) any {
	switch kind := g.IntN(6); {
	case kind == 0 && depth > 0:
		list := make([]any, 1+g.IntN(3))
		for i := range list {
			list[i] = g.value(depth - 1)
		}
		return list
	case kind <= 2 && depth > 0:
		object := map[string]any{}
		for range 1 + g.IntN(3) {
			object[g.name()] = g.value(depth - 1)
		}
		return object
	case kind == 3:
		return g.IntN(2) == 0
	case kind == 4:
		return json.Number([]string{"0", "-1", "1.0", "2.50", "1e9", "-0", "123456789012345678901234567890"}[g.IntN(7)])
	default:
		return g.text()
	}
}

func (g generator) name() string {
	return []string{"value", "type", "primary", "display", "$ref", "givenName", "manager", numberKey, "département", "x"}[g.IntN(10)]
}

func (g generator) text() string {
	return []string{"a", "Ünï", "<b>&", "\"quoted\"", "1.0", "true", fmt.Sprint(g.IntN(1000)), " ", "\u0000"}[g.IntN(9)]
}

// TestEntriesShowWhatObjectsHold holds the bytes that are kept of a user against the object: they are the same in every App,
// and all of it comes back from them.
func TestEntriesShowWhatObjectsHold(t *testing.T) {
	declared := &v1alpha1.App{Spec: v1alpha1.AppSpec{Attributes: []v1alpha1.CustomAttribute{
		{Name: "role", Required: true, CanonicalValues: []string{"viewer"}}, {Name: "regions", MultiValued: true},
		{Name: "level", Type: protocol.TypeInteger}, {Name: "badge", Schema: "urn:example:extra"},
	}}}
	resource := person("Ada@Example.com", "active", true, "externalId", "00u1", "title", "<Dr> \"é\" ☃\n",
		"name", map[string]any{"givenName": "Ada"}, "emails", []any{map[string]any{"value": "A@x"}, map[string]any{"value": "a@X"}},
		"role", "viewer", "regions", []any{"us1"}, "level", json.Number("1.50"),
		protocol.EnterpriseUserSchema, map[string]any{"department": "Engines"},
		"urn:example:extra", map[string]any{"badge": json.Number("7")})
	resource.Containers = map[string]string{
		"role": "urn:ietf:params:scim:schemas:core:2.0:user", "level": "urn:ietf:params:scim:schemas:core:2.0:user",
		protocol.EnterpriseUserSchema: strings.ToLower(protocol.EnterpriseUserSchema),
	}
	user, back := roundTrip(t, resource)
	user.Name, user.UID, user.Generation = "ada-x", "0123-4", 7
	entry := newEntry(user)
	if got, err := entry.resource(); err != nil || !reflect.DeepEqual(got, back) {
		t.Errorf("from the bytes came back\n%v, want\n%v (%v)", got, back, err)
	}
	groups := []GroupRef{{ID: "g", Display: `A "group"`}}
	for _, app := range []*v1alpha1.App{{}, declared} {
		meta := Meta(user, baseURL)
		meta.Groups, meta.Version = groups, userVersion(user, groups).String()
		if got := entry.meta(baseURL, groups); !reflect.DeepEqual(got, meta) {
			t.Errorf("meta is %+v, want %+v", got, meta)
		}
		want, err := SchemasOf(app).Render(back, meta, protocol.Projection{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := entry.append(nil, groups, []byte(baseURL))
		// Groups stand elsewhere.
		if err != nil || !reflect.DeepEqual(protocol.ReadRendered(got), protocol.ReadRendered(want)) {
			t.Errorf("the bytes show\n%s, want\n%s (%v)", got, want, err)
		}
	}
}

// TestEntriesAreSmall keeps what a hundred thousand users take in memory: the bytes that are shown, and little else.
func TestEntriesAreSmall(t *testing.T) {
	if size := unsafe.Sizeof(Entry{}); size > 208 {
		t.Errorf("an Entry takes %d bytes beside its texts", size)
	}
	user := stored("ada-x", "ada@example.com", 1, epoch)
	if entry := newEntry(user); cap(entry.body) > len(entry.body)*5/4 {
		t.Errorf("%d bytes are held for %d", cap(entry.body), len(entry.body))
	}
}
