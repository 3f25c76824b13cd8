package scim_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// RFC 7644 section 3.4.2: the form of lists.
func TestListResponse(t *testing.T) {
	p := newProvider(t, nil)
	empty := p.get("/Users" + query("filter", `userName eq "nobody"`)).expect(200)
	if empty.number("totalResults") != 0 || empty.text("schemas", 0) != listSchema {
		t.Errorf("no match: %s", empty.what)
	}
	for i := range 5 {
		p.create(fmt.Sprintf("user%d", i), nil)
	}
	p.awaitTotal("/Users", 5)
	for given, want := range map[string][4]int{ // startIndex, itemsPerPage, totalResults, resources
		"":                       {1, 5, 5, 5},
		"?startIndex=4&count=10": {4, 2, 5, 2},
		"?startIndex=0&count=2":  {1, 2, 5, 2},
		"?startIndex=-9&count=2": {1, 2, 5, 2},
		"?count=-1":              {1, 0, 5, 0},
		"?count=0":               {1, 0, 5, 0},
		"?startIndex=9":          {9, 0, 5, 0},
		"?unheardOf=1&count=1":   {1, 1, 5, 1},
	} {
		list := p.get("/Users" + given).expect(200)
		got := [4]int{list.number("startIndex"), list.number("itemsPerPage"), list.number("totalResults"), len(list.texts("id"))}
		if got != want {
			t.Errorf("%q: %v, want %v", given, got, want)
		}
	}
}

// RFC 7644 section 3.4.2.2 over HTTP; test/conformance and scimserver/protocol look at the language itself.
func TestFilter(t *testing.T) {
	p := newProvider(t, nil)
	p.create("ada", object{"title": "Countess", "emails": []object{{"type": "work", "value": "ada@example.com"}, {"type": "home", "value": "ada@example.org"}}})
	p.create("bob", object{enterpriseSchema: object{"department": "Analysis"}})
	p.awaitTotal("/Users", 2)
	for filter, want := range map[string][]string{
		`USERNAME Eq "ADA"`:                          {"ada"},
		userSchema + `:userName sw "b"`:              {"bob"},
		`title pr`:                                   {"ada"},
		`not (title pr)`:                             {"bob"},
		`emails co "example.org"`:                    {"ada"},
		`emails[type eq "work" and value ew ".org"]`: {},
		`schemas eq "` + enterpriseSchema + `"`:      {"bob"},
		`meta.resourceType eq "User"`:                {"ada", "bob"},
		`meta.lastModified gt "2011-05-13T04:42:34Z" and meta.created lt "2999-01-01T00:00:00+02:00"`: {"ada", "bob"},
		`title eq "none" or userName eq "ada" and active eq false`:                                    {},
		`(title eq "none" or userName eq "ada") and active eq true`:                                   {"ada"},
		`unheardOf eq "x"`: {},
	} {
		list := p.get("/Users" + query("filter", filter, "sortBy", "userName")).expect(200)
		if got := list.texts("userName"); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
	for _, filter := range []string{`userName regex "a"`, `userName`, `active gt true`, `(userName eq "a"`, `emails[type eq "work"`} {
		p.get("/Users"+query("filter", filter)).refuses(400, "invalidFilter")
	}
	if detail := p.get("/Users" + query("filter", `userName regex "a"`)).text("detail"); !strings.Contains(detail, "character 10") {
		t.Errorf("the detail does not show where: %s", detail)
	}
}

// RFC 7644 section 3.4.2.3.
func TestSortOrder(t *testing.T) {
	p := newProvider(t, nil)
	email := func(value string, primary bool) object { return object{"value": value, "primary": primary} }
	p.create("b", object{"title": "a", "name": object{"familyName": "Zuse"}, "externalId": "B", "emails": []object{email("9@x.org", false), email("1@x.org", true)}})
	p.create("A", object{"title": "B", "name": object{"familyName": "ampère"}, "externalId": "a", "emails": []object{email("2@x.org", false)}})
	p.create("c", nil)
	p.awaitTotal("/Users", 3)
	for sortBy, want := range map[string]string{
		"userName": "A b c", "title": "b A c", "name.familyName": "A b c", "externalId": "b A c", "emails": "b A c", userSchema + ":TITLE": "b A c",
	} {
		up := p.get("/Users" + query("sortBy", sortBy)).expect(200).texts("userName")
		if got := strings.Join(up, " "); got != want {
			t.Errorf("sortBy %s: %s, want %s", sortBy, got, want)
		}
		down := p.get("/Users" + query("sortBy", sortBy, "sortOrder", "descending")).expect(200).texts("userName")
		slices.Reverse(down)
		if !slices.Equal(up, down) {
			t.Errorf("sortBy %s descending: %v reversed, want %v", sortBy, down, up)
		}
	}
	p.get("/Users"+query("sortBy", "userName", "sortOrder", "sideways")).refuses(400, "invalidValue")
}

// RFC 7644 section 3.4.3, and section 3.4.2.1 for searches of the root.
func TestSearchMessages(t *testing.T) {
	p := newProvider(t, nil)
	id := p.create("ada", object{"displayName": "Ada"})
	p.send("POST", "/Groups", object{"schemas": []string{groupSchema}, "displayName": "Adas"}).expect(201)
	p.awaitTotal("/Users", 1)
	p.awaitTotal("/Groups", 1)
	found := p.search("/Users", object{"filter": `userName eq "ada"`, "count": 10, "startIndex": 1, "sortBy": "userName", "sortOrder": "ascending"}).expect(200)
	if found.text("schemas", 0) != listSchema || !slices.Equal(found.texts("id"), []string{id}) {
		t.Errorf("found: %s", found.what)
	}
	if both := p.search("", object{"filter": `displayName sw "ada"`, "attributes": []string{"displayName"}}).expect(200); both.number("totalResults") != 2 {
		t.Errorf("in all types: %s", both.what)
	}
	if groups := p.search("", object{"filter": `meta.resourceType eq "Group"`}).expect(200); groups.number("totalResults") != 1 || groups.text("Resources", 0, "displayName") != "Adas" {
		t.Errorf("groups only: %s", groups.what)
	}
	// An attribute that a type does not have has no value there.
	if users := p.search("", object{"filter": `userName pr`}).expect(200); !slices.Equal(users.texts("id"), []string{id}) {
		t.Errorf("an attribute of users only: %s", users.what)
	}
	p.send("POST", "/Users/.search", "[]").refuses(400, "invalidSyntax")
	p.search("/Users", object{"filter": "userName is"}).refuses(400, "invalidFilter")
	if users := p.get("/Users").number("totalResults"); users != 1 {
		t.Errorf("a search has made users: %d", users)
	}
}

// RFC 9865.
func TestCursorMessages(t *testing.T) {
	p := newProvider(t, nil)
	var names []string
	for i := range 7 {
		names = append(names, fmt.Sprintf("user%d", i))
		p.create(names[i], nil)
	}
	p.awaitTotal("/Users", 7)
	unreserved := regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)
	walk := func(next func(cursor string) answer) (got []string) {
		t.Helper()
		for cursor := ""; ; {
			page := next(cursor).expect(200)
			if page.number("totalResults") != 7 || len(page.texts("id")) > 3 || page.number("itemsPerPage") != len(page.texts("id")) {
				t.Errorf("a page: %s", page.what)
			}
			got = append(got, page.texts("userName")...)
			if _, more := page.body["nextCursor"]; !more {
				return got
			}
			if cursor = page.text("nextCursor"); !unreserved.MatchString(cursor) || len(got) > 7 {
				t.Fatalf("nextCursor %q after %d", cursor, len(got))
			}
		}
	}
	if got := walk(func(cursor string) answer { return p.get("/Users?count=3&cursor=" + cursor) }); !slices.Equal(got, names) {
		t.Errorf("in order of creation: %q", got)
	}
	reversed := slices.Clone(names)
	slices.Reverse(reversed)
	if got := walk(func(cursor string) answer {
		return p.get("/Users?sortBy=userName&sortOrder=descending&count=3&cursor=" + cursor)
	}); !slices.Equal(got, reversed) {
		t.Errorf("sorted: %q", got)
	}
	if got := walk(func(cursor string) answer { return p.search("/Users", object{"count": 3, "cursor": cursor}) }); !slices.Equal(got, names) {
		t.Errorf("by POST: %q", got)
	}
	if bare := p.get("/Users?cursor&count=3").expect(200); bare.text("nextCursor") == "" {
		t.Errorf("a bare cursor: %s", bare.what)
	}
	if index := p.get("/Users?count=3").expect(200); index.at("nextCursor") != nil || index.number("startIndex") != 1 {
		t.Errorf("without a method: %s", index.what)
	}
	cursor := p.get("/Users?cursor=&count=3").text("nextCursor")
	// The names of attributes have no letter case, and both methods at once are the cursor's.
	named := p.get("/Users?count=3&cursor=&filter=" + okta.Escape(`userName sw "U"`)).expect(200).text("nextCursor")
	if page := p.get("/Users?count=3&startIndex=7&cursor=" + named + "&filter=" + okta.Escape(`username sw "U"`)).expect(200); !slices.Equal(page.texts("userName"), names[3:6]) {
		t.Errorf("a filter in other letters: %s", page.what)
	}
	p.get("/Users?cursor="+named+"&filter="+okta.Escape(`userName sw "us"`)).refuses(400, "invalidCursor")
	if page := p.get("/Users?count=5000&cursor=" + cursor).expect(200); !slices.Equal(page.texts("userName"), names[3:]) {
		t.Errorf("more than maxPageSize, and another count than before: %s", page.what)
	}
	p.get("/Users?cursor=nonsense").refuses(400, "invalidCursor")
	p.get("/Users?sortBy=userName&cursor="+cursor).refuses(400, "invalidCursor")
	p.get("/Users?cursor=&count=x").refuses(400, "invalidCount")
	for _, count := range []string{"0", "-1"} {
		if page := p.get("/Users?cursor=&count=" + count).expect(200); page.number("totalResults") != 7 || len(page.texts("id")) != 0 {
			t.Errorf("a page of %s: %s", count, page.what)
		}
	}
	if first := p.get("/Users?cursor=&count=3").expect(200); first.at("previousCursor") != nil {
		t.Errorf("the first page: %s", first.what)
	}
	if second := p.get("/Users?count=3&cursor=" + cursor).expect(200); !unreserved.MatchString(second.text("previousCursor")) ||
		!slices.Equal(p.get("/Users?count=3&cursor="+second.text("previousCursor")).expect(200).texts("userName"), names[:3]) {
		t.Errorf("the second page: %s", second.what)
	}
	if pagination, _ := p.get("/ServiceProviderConfig").at("pagination").(object); pagination["cursor"] != true || pagination["index"] != true ||
		pagination["defaultPaginationMethod"] != "index" || pagination["maxPageSize"] == nil || pagination["defaultPageSize"] == nil {
		t.Errorf("pagination %v", pagination)
	}
	// A cursor is a place, not a right: with another App's token it shows that App's people.
	other := newProvider(t, nil)
	other.create("stranger", nil)
	other.awaitTotal("/Users", 1)
	if page := other.get("/Users?count=3&cursor=" + cursor); page.status == 200 && slices.ContainsFunc(page.texts("userName"), func(name string) bool { return name != "stranger" }) {
		t.Errorf("a cursor has opened another App: %s", page.what)
	}
}

// RFC 7644 section 4, RFC 7643 sections 5 to 7.
func TestDiscovery(t *testing.T) {
	p := newProvider(t, func(app *v1alpha1.AppSpec) {
		app.Attributes = append(app.Attributes, v1alpha1.CustomAttribute{Name: "badge", Description: "Number on the door"})
	})
	config := p.get("/ServiceProviderConfig" + query("sortBy", "x")).expect(200)
	if config.text("schemas", 0) != "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig" {
		t.Errorf("configuration: %s", config.what)
	}
	for _, feature := range []string{"patch", "bulk", "filter", "changePassword", "sort", "etag"} {
		if _, ok := config.at(feature, "supported").(bool); !ok {
			t.Errorf("no %s: %s", feature, config.what)
		}
	}
	for _, path := range [][2]string{{"bulk", "maxOperations"}, {"bulk", "maxPayloadSize"}, {"filter", "maxResults"}} {
		if _, ok := config.at(path[0], path[1]).(float64); !ok {
			t.Errorf("no %v: %s", path, config.what)
		}
	}
	for _, name := range []string{"type", "name", "description"} {
		if config.text("authenticationSchemes", 0, name) == "" {
			t.Errorf("authenticationSchemes without %s: %s", name, config.what)
		}
	}
	for _, path := range []string{"/ResourceTypes", "/Schemas"} {
		p.get(path+query("filter", `id pr`)).refuses(403, "")
		all, paged := p.get(path).expect(200), p.get(path+query("count", "1", "startIndex", "2", "sortBy", "id", "attributes", "id")).expect(200)
		if all.text("schemas", 0) != listSchema || all.number("totalResults") != len(all.texts("id")) || len(paged.texts("id")) != len(all.texts("id")) {
			t.Errorf("%s: %s", path, paged.what)
		}
		for _, id := range all.texts("id") {
			if one := p.get(path + "/" + id).expect(200); one.text("id") != id || one.text("schemas", 0) == listSchema {
				t.Errorf("%s/%s: %s", path, id, one.what)
			}
			p.send("DELETE", path+"/"+id, nil).refuses(405, "")
		}
		p.get(path+"/urn:none").refuses(404, "")
	}
	checkSchemas(t, p)
}

func checkSchemas(t *testing.T, p provider) {
	t.Helper()
	schemas := map[string]object{}
	list, _ := p.get("/Schemas").at("Resources").([]any)
	for _, schema := range list {
		schemas[at(schema, "id").(string)] = schema.(object)
	}
	for id, schema := range schemas {
		if strings.HasPrefix(id, "urn:ietf:params:scim:api:") || schema["name"] == "" || schema["description"] == "" {
			t.Errorf("schema %v", schema)
		}
	}
	types, _ := p.get("/ResourceTypes").at("Resources").([]any)
	for _, resourceType := range types {
		extensions, _ := at(resourceType, "schemaExtensions").([]any)
		for _, urn := range append([]any{at(resourceType, "schema")}, schemaOf(extensions)...) {
			if schemas[urn.(string)] == nil {
				t.Errorf("%v: no schema %s", resourceType, urn)
			}
		}
		p.get(at(resourceType, "endpoint").(string) + "?count=1").expect(200)
	}
	attributes, _ := schemas[userSchema]["attributes"].([]any)
	characteristics := []string{"name", "type", "multiValued", "description", "required", "mutability", "returned"}
	found := false
	for _, attribute := range attributes {
		found = found || at(attribute, "name") == "badge" && at(attribute, "description") == "Number on the door"
		for _, name := range characteristics {
			if at(attribute, name) == nil {
				t.Errorf("%v has no %s", attribute, name)
			}
		}
		if at(attribute, "type") == "complex" && at(attribute, "subAttributes") == nil {
			t.Errorf("%v has no sub-attributes", attribute)
		}
	}
	if !found {
		t.Error("the App's own attribute is in no schema")
	}
}

func schemaOf(extensions []any) []any {
	var urns []any
	for _, extension := range extensions {
		urns = append(urns, at(extension, "schema"))
	}
	return urns
}
