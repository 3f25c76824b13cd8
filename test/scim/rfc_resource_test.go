package scim_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// RFC 7643 section 3.1: id and meta are the server's, and say what they have to.
func TestCommonAttributes(t *testing.T) {
	p := newProvider(t, nil)
	created := p.send("POST", "/Users", person("ada", object{"id": "mine", "meta": object{"resourceType": "Robot", "created": "1999-01-01T00:00:00Z"}})).expect(201)
	id := created.text("id")
	if id == "" || id == "mine" || strings.Contains(id, "bulkId") {
		t.Errorf("id %q", id)
	}
	if created.text("meta", "resourceType") != "User" || created.text("meta", "created") != created.text("meta", "lastModified") {
		t.Errorf("meta: %s", created.what)
	}
	if at, err := time.Parse(time.RFC3339, created.text("meta", "created")); err != nil || time.Since(at).Abs() > time.Hour {
		t.Errorf("meta.created %v, %v", at, err)
	}
	location := p.base + "/Users/" + id
	if created.text("meta", "location") != location || created.header.Get("Location") != location {
		t.Errorf("location: header %q, %s", created.header.Get("Location"), created.what)
	}
	if schemas, _ := created.at("schemas").([]any); len(schemas) != 1 || schemas[0] != userSchema {
		t.Errorf("schemas %v", schemas)
	}
	if linked := p.get(strings.TrimPrefix(created.text("meta", "location"), p.base)).expect(200); linked.text("id") != id {
		t.Errorf("meta.location leads to %s", linked.what)
	}
	if created.at("externalId") != nil {
		t.Errorf("an externalId that no client gave: %s", created.what)
	}
	changed := p.patch("/Users/"+id, object{"op": "add", "path": "title", "value": "Countess"}).expect(200)
	if changed.text("id") != id || changed.text("meta", "created") != created.text("meta", "created") || changed.text("meta", "lastModified") == created.text("meta", "lastModified") {
		t.Errorf("after a change: %s", changed.what)
	}
	if other := p.create("bob", nil); other == id {
		t.Errorf("two resources with the id %s", id)
	}
}

// RFC 7643 section 3.3: extensions are in containers, and schemas lists what is there, whatever the client listed.
func TestSchemasAttribute(t *testing.T) {
	p := newProvider(t, nil)
	created := p.send("POST", "/Users", object{"schemas": []string{userSchema, userSchema, enterpriseSchema}, "userName": "ada"}).expect(201)
	if schemas, _ := created.at("schemas").([]any); len(schemas) != 1 || schemas[0] != userSchema {
		t.Errorf("schemas of what is not there: %v", schemas)
	}
	path := "/Users/" + created.text("id")
	patched := p.patch(path, object{"op": "add", "path": enterpriseSchema + ":department", "value": "Analysis"}).expect(200)
	schemas, _ := patched.at("schemas").([]any)
	if len(schemas) != 2 || !slices.Contains(schemas, any(enterpriseSchema)) || patched.text(enterpriseSchema, "department") != "Analysis" {
		t.Errorf("after adding to an extension: %s", patched.what)
	}
	var department []any
	for i, order := range [][]string{{enterpriseSchema, userSchema}, {userSchema, enterpriseSchema}} {
		created := p.send("POST", "/Users", object{"schemas": order, "userName": []string{"one", "two"}[i], enterpriseSchema: object{"department": "Order"}}).expect(201)
		department = append(department, created.at(enterpriseSchema, "department"), created.at("schemas"))
	}
	if !reflect.DeepEqual(department[:2], department[2:]) || department[0] != "Order" {
		t.Errorf("in two orders: %v", department)
	}
}

// RFC 7643 section 2.4: at most one primary value, and no (type, value) twice.
func TestMultiValuedAttributes(t *testing.T) {
	p := newProvider(t, nil)
	email := func(kind, value string, primary bool) object {
		return object{"type": kind, "value": value, "primary": primary}
	}
	created := p.send("POST", "/Users", person("ada", object{"emails": []object{
		email("work", "a@example.com", true), email("work", "a@example.com", true), email("home", "a@example.com", true),
	}})).expect(201)
	emails, _ := created.at("emails").([]any)
	primary := 0
	for _, e := range emails {
		if at(e, "primary") == true {
			primary++
		}
	}
	if len(emails) != 2 || primary != 1 {
		t.Errorf("want two addresses, one primary: %s", created.what)
	}
}

// RFC 7643 section 2.5, 7644 sections 3.3 and 3.5.1: null and [] are no value.
func TestUnassigned(t *testing.T) {
	p := newProvider(t, nil)
	created := p.send("POST", "/Users", person("ada", object{"title": nil, "emails": []object{}, "nickName": "Ada"})).expect(201)
	if _, there := created.body["title"]; there || created.at("emails") != nil || created.text("nickName") != "Ada" {
		t.Errorf("created: %s", created.what)
	}
	path := "/Users/" + created.text("id")
	replaced := p.send("PUT", path, person("ada", object{"nickName": nil})).expect(200)
	if _, there := replaced.body["nickName"]; there {
		t.Errorf("replaced: %s", replaced.what)
	}
	if found := p.get("/Users" + query("filter", `userName eq "ada" and title eq null and not (nickName pr)`)).expect(200); found.number("totalResults") != 1 {
		t.Errorf("found: %s", found.what)
	}
}

// RFC 7644 sections 3.3, 3.5.1 and 3.5.2: what is read-only is passed over in a whole resource, and refused in a PATCH.
func TestMutability(t *testing.T) {
	p := newProvider(t, nil)
	foreign := object{"id": "other", "groups": []object{{"value": "admins"}}, "meta": object{"version": "x"}}
	created := p.send("POST", "/Users", person("ada", foreign)).expect(201)
	path := "/Users/" + created.text("id")
	replaced := p.send("PUT", path, person("ada", foreign)).expect(200)
	for _, a := range []answer{created, replaced, p.get(path)} {
		if a.at("groups") != nil || a.text("id") == "other" || a.text("id") != created.text("id") || a.text("meta", "version") == "x" {
			t.Errorf("the client has set what is the server's: %s", a.what)
		}
	}
	p.patch(path, object{"op": "replace", "path": "id", "value": "8"}).refuses(400, "mutability")
	p.patch(path, object{"op": "add", "path": "groups", "value": []object{{"value": "admins"}}}).refuses(400, "mutability")
	p.patch(path, object{"op": "remove", "path": "userName"}).refuses(400, "mutability")
	if after := p.get(path).expect(200); after.header.Get("ETag") != replaced.header.Get("ETag") {
		t.Errorf("after refusals: %s", after.what)
	}
}

// RFC 7643 section 4.1.1: a password is taken and never seen again.
func TestPasswordIsNeverReturned(t *testing.T) {
	p := newProvider(t, nil)
	const password = "t1meMa$heen-rfc"
	operator.RememberPassword(password)
	created := p.send("POST", "/Users"+query("attributes", "password,userName"), person("ada", object{"password": password})).expect(201)
	path := "/Users/" + created.text("id")
	answers := []answer{created, p.get(path + query("attributes", "password")), p.send("PUT", path, person("ada", object{"password": password})),
		p.patch(path, object{"op": "replace", "path": "password", "value": password}), p.get("/Users" + query("attributes", "password"))}
	for _, a := range answers {
		if _, body, _ := strings.Cut(a.what, "{"); body == "" || strings.Contains(strings.ToLower(body), "password") || strings.Contains(body, password) {
			t.Errorf("the answer has a password: %s", a.what)
		}
	}
}

// RFC 7644 sections 3.4.2.5 and 3.9: attributes and excludedAttributes wherever a resource is answered.
func TestProjection(t *testing.T) {
	p := newProvider(t, nil)
	body := person("ada", object{"title": "Countess", "name": object{"givenName": "Ada", "familyName": "Lovelace"}})
	only, without := query("attributes", "name.givenName,TITLE"), query("excludedAttributes", "name.familyName,title,id")
	created := p.send("POST", "/Users"+only, body).expect(201)
	id := created.text("id")
	p.awaitTotal("/Users", 1)
	path := "/Users/" + id
	check := func(name string, resource any, included bool) {
		t.Helper()
		given, family := at(resource, "name", "givenName"), at(resource, "name", "familyName")
		title, userName := at(resource, "title"), at(resource, "userName")
		if at(resource, "id") != id || given != "Ada" || family != nil || (title != nil) != included || (userName != nil) == included {
			t.Errorf("%s: %v", name, resource)
		}
	}
	for name, a := range map[string]answer{
		"POST": created, "GET": p.get(path + only), "PUT": p.send("PUT", path+only, body),
		"PATCH": p.patch(path+only, object{"op": "replace", "path": "nickName", "value": "x"}),
	} {
		check(name, a.body, true)
	}
	check("GET without", p.get(path+without).body, false)
	check("list", p.get("/Users"+only).at("Resources", 0), true)
	check("list without", p.get("/Users"+without).at("Resources", 0), false)
	check("search", p.search("/Users", object{"attributes": []string{"name.givenName", "title"}}).at("Resources", 0), true)
	check("search without", p.search("/Users", object{"excludedAttributes": []string{userSchema + ":name.familyName", "title", "id"}}).at("Resources", 0), false)
}
