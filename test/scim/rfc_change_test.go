package scim_test

import (
	"strings"
	"testing"
)

// RFC 7644 section 3.5.1.
func TestPut(t *testing.T) {
	p := newProvider(t, nil)
	p.send("PUT", "/Users/nobody", person("ada", nil)).refuses(404, "")
	if list := p.get("/Users" + query("filter", `userName eq "ada"`)).expect(200); list.number("totalResults") != 0 {
		t.Errorf("PUT has created a user: %s", list.what)
	}
	path := "/Users/" + p.create("ada", object{"title": "Countess", "nickName": "Ada"})
	p.send("PUT", path, object{"schemas": []string{userSchema}, "title": "Lady"}).refuses(400, "invalidValue")
	replaced := p.send("PUT", path, person("ada", object{"title": "Lady"})).expect(200)
	if replaced.text("title") != "Lady" || replaced.at("nickName") != nil || replaced.text("userName") != "ada" || replaced.header.Get("ETag") == "" {
		t.Errorf("replaced: %s", replaced.what)
	}
}

// RFC 7644 section 3.5.2: what a PATCH answers, and that it is atomic.
func TestPatch(t *testing.T) {
	p := newProvider(t, nil)
	path := "/Users/" + p.create("ada", object{"emails": []object{{"type": "work", "value": "w@example.com", "primary": true}, {"type": "home", "value": "h@example.com"}}})
	before := p.get(path).expect(200)

	p.patch(path, object{"op": "add", "path": "title", "value": "Countess"}, object{"op": "remove", "path": "userName"}).refuses(400, "mutability")
	p.patch(path, object{"op": "add", "path": "title", "value": "Countess"}, object{"op": "replace", "path": `emails[type sw "x"].value`, "value": "y"}).refuses(400, "noTarget")
	p.patch(path, object{"op": "remove"}).refuses(400, "noTarget")
	p.patch(path, object{"op": "replace", "path": "emails[type eq", "value": "y"}).refuses(400, "invalidPath")
	p.patch(path, object{"op": "move", "path": "title", "value": "y"}).refuses(400, "invalidSyntax")
	p.patch(path, object{"op": "replace", "path": "active", "value": "perhaps"}).refuses(400, "invalidValue")
	p.send("PATCH", path, object{"schemas": []string{patchSchema}}).refuses(400, "invalidSyntax")
	if after := p.get(path); after.header.Get("ETag") != before.header.Get("ETag") || after.at("title") != nil {
		t.Errorf("refused, and yet changed: %s", after.what)
	}

	same := p.patch(path, object{"op": "add", "path": "emails", "value": []object{{"type": "home", "value": "h@example.com"}}}).expect(200)
	if same.text("meta", "lastModified") != before.text("meta", "lastModified") || same.text("meta", "version") != before.text("meta", "version") {
		t.Errorf("nothing was added, and yet: %s", same.what)
	}
	primary := p.patch(path, object{"op": "replace", "path": `emails[type eq "home"].primary`, "value": true}).expect(200)
	if primary.at("emails", 0, "primary") != false || primary.at("emails", 1, "primary") != true {
		t.Errorf("primary: %s", primary.what)
	}
	sequence := p.patch(path, object{"op": "add", "path": "nickName", "value": "a"}, object{"op": "remove", "path": "nickName"},
		object{"op": "add", "path": "nickName", "value": "b"}).expect(200)
	if sequence.text("nickName") != "b" {
		t.Errorf("operations in order: %s", sequence.what)
	}
	attributes := p.patch(path+query("attributes", "nickName"), object{"op": "add", "path": "nickName", "value": "c"}).expect(200)
	if attributes.text("nickName") != "c" || attributes.at("userName") != nil {
		t.Errorf("with attributes: %s", attributes.what)
	}
	gone := p.patch(path, object{"op": "remove", "path": "emails"}).expect(200)
	if gone.at("emails") != nil {
		t.Errorf("removed: %s", gone.what)
	}
}

// RFC 7644 section 3.6.
func TestDelete(t *testing.T) {
	p := newProvider(t, nil)
	id := p.create("ada", nil)
	path := "/Users/" + id
	if gone := p.send("DELETE", path, nil).expect(204); gone.body != nil {
		t.Errorf("a body: %s", gone.what)
	}
	p.get(path).refuses(404, "")
	p.send("PUT", path, person("ada", nil)).refuses(404, "")
	p.patch(path, object{"op": "add", "path": "title", "value": "x"}).refuses(404, "")
	p.send("DELETE", path, nil).refuses(404, "")
	if list := p.get("/Users" + query("filter", `id eq "`+id+`"`)).expect(200); list.number("totalResults") != 0 {
		t.Errorf("still listed: %s", list.what)
	}
	p.awaitTotal("/Users", 0)
	if again := p.create("ada", nil); again == id {
		t.Errorf("the id %s is used again", id)
	}
}

// RFC 7644 section 3.14 and RFC 7643 section 3.1: versions.
func TestETags(t *testing.T) {
	p := newProvider(t, nil)
	created := p.send("POST", "/Users", person("ada", nil)).expect(201)
	path := "/Users/" + created.text("id")
	read := p.get(path).expect(200)
	etag := read.header.Get("ETag")
	if etag == "" || strings.HasPrefix(etag, "W/") || etag != read.text("meta", "version") || etag != created.header.Get("ETag") {
		t.Errorf("ETag %q then %q: %s", created.header.Get("ETag"), etag, read.what)
	}
	if same := p.send("GET", path, nil, header{"If-None-Match", etag}).expect(304); same.body != nil || same.header.Get("ETag") != etag {
		t.Errorf("not modified: %v %s", same.header, same.what)
	}
	p.send("GET", path, nil, header{"If-None-Match", `"other"`}).expect(200)
	changed := p.send("PUT", path, person("ada", object{"title": "Countess"}), header{"If-Match", etag}).expect(200)
	if changed.header.Get("ETag") == etag || changed.text("meta", "version") != changed.header.Get("ETag") {
		t.Errorf("the version after a change: %s", changed.what)
	}
	stale := header{"If-Match", etag}
	p.send("PUT", path, person("ada", nil), stale).refuses(412, "")
	p.send("PATCH", path, object{"schemas": []string{patchSchema}, "Operations": []object{{"op": "remove", "path": "title"}}}, stale).refuses(412, "")
	p.send("DELETE", path, nil, stale).refuses(412, "")
	if after := p.get(path); after.text("title") != "Countess" {
		t.Errorf("a stale request has changed it: %s", after.what)
	}
	p.send("GET", path, nil, header{"If-None-Match", etag}).expect(200)
	p.send("DELETE", path, nil, header{"If-Match", "*"}).expect(204)
}

// RFC 7644 section 3.3: a name that is taken.
func TestConflict(t *testing.T) {
	p := newProvider(t, nil)
	p.create("ada@example.com", nil)
	p.send("POST", "/Users", person("ADA@example.com", nil)).refuses(409, "uniqueness")
	path := "/Users/" + p.create("bob", nil)
	p.send("PUT", path, person("Ada@Example.com", nil)).refuses(409, "uniqueness")
	p.patch(path, object{"op": "replace", "path": "userName", "value": "ada@example.com"}).refuses(409, "uniqueness")
	p.send("PUT", path, person("BOB", nil)).expect(200)
	// RFC 7644 section 5: names are prepared before they are compared.
	p.create("\u212Bngström", nil)
	p.send("POST", "/Users", person("a\u030Angstro\u0308m", nil)).refuses(409, "uniqueness")
	p.send("POST", "/Users", object{"schemas": []string{userSchema}}).refuses(400, "invalidValue")
	p.send("POST", "/Users", person("", nil)).refuses(400, "invalidValue")
}

// RFC 7643 section 4.2, RFC 7644 sections 3.5.2.1 and 3.5.2.2: groups, their members, and the groups of a user.
func TestGroups(t *testing.T) {
	p := newProvider(t, nil)
	ada, bob := p.create("ada", nil), p.create("bob", nil)
	p.send("POST", "/Groups", object{"schemas": []string{groupSchema}}).refuses(400, "invalidValue")
	created := p.send("POST", "/Groups", object{"schemas": []string{groupSchema}, "displayName": "Pioneers", "members": []object{{"value": ada}}}).expect(201)
	path := "/Groups/" + created.text("id")
	if created.text("meta", "resourceType") != "Group" || created.text("meta", "location") != p.base+path || created.header.Get("Location") != p.base+path ||
		created.text("members", 0, "$ref") != p.base+"/Users/"+ada || created.text("members", 0, "value") != ada {
		t.Errorf("created: %s", created.what)
	}
	members := func(want ...string) {
		t.Helper()
		group := p.get(path).expect(200)
		list, _ := group.at("members").([]any)
		got := map[string]bool{}
		for _, member := range list {
			got[at(member, "value").(string)] = true
		}
		if len(list) != len(want) || len(got) != len(want) {
			t.Errorf("members: %s, want %v", group.what, want)
		}
		for _, id := range want {
			if !got[id] {
				t.Errorf("members: %s, want %v", group.what, want)
			}
		}
	}
	p.patch(path, object{"op": "add", "path": "members", "value": []object{{"value": ada}, {"value": bob}}}).expect(204)
	members(ada, bob)
	user := p.get("/Users/" + bob).expect(200)
	if user.text("groups", 0, "value") != created.text("id") || user.text("groups", 0, "$ref") != p.base+path || user.text("groups", 0, "type") != "direct" {
		t.Errorf("the member's groups: %s", user.what)
	}
	for _, reference := range []string{created.text("members", 0, "$ref"), user.text("groups", 0, "$ref")} {
		p.get(strings.TrimPrefix(reference, p.base)).expect(200)
	}
	p.patch(path, object{"op": "remove", "path": `members[value eq "` + ada + `"]`}).expect(204)
	members(bob)
	p.patch(path, object{"op": "remove", "path": `members[value eq "` + ada + `"]`}).expect(204)
	p.patch(path, object{"op": "replace", "path": "members", "value": []object{{"value": ada}}}).expect(204)
	members(ada)
	p.patch(path, object{"op": "remove", "path": "members"}).expect(204)
	members()
	if answered := p.patch(path+query("attributes", "displayName"), object{"op": "replace", "path": "displayName", "value": "Founders"}).expect(200); answered.text("displayName") != "Founders" {
		t.Errorf("with attributes: %s", answered.what)
	}
	p.send("DELETE", path, nil).expect(204)
	p.get(path).refuses(404, "")
}
