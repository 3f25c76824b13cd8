package scim_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// externalId is the client's note: it takes over no active user, whatever way the request comes.
func TestExternalIDTakesOverNoActiveUser(t *testing.T) {
	p := newProvider(t, nil)
	john := p.send("POST", "/Users", person("john@a", object{"externalId": "john"})).expect(201).text("id")
	p.send("POST", "/Users", person("john@b", object{"externalId": "john"})).refuses(409, "uniqueness")
	p.send("POST", "/Users", person("john@a", object{"externalId": "john"})).refuses(409, "uniqueness")
	bulk := p.send("POST", "/Bulk", object{"schemas": []string{bulkSchema}, "Operations": []object{
		{"method": "POST", "path": "/Users", "bulkId": "1", "data": person("john@c", object{"externalId": "john"})},
		{"method": "POST", "path": "/Users", "bulkId": "2", "data": person("new@a", object{"externalId": "new"})},
		{"method": "POST", "path": "/Users", "bulkId": "3", "data": person("new@b", object{"externalId": "new"})},
	}}).expect(200)
	for i, want := range []string{"409", "201", "409"} {
		if got := bulk.text("Operations", i, "status"); got != want {
			t.Errorf("bulk operation %d: %s, want %s: %s", i, got, want, bulk.what)
		}
	}
	if kept := p.get("/Users/" + john).expect(200); kept.text("userName") != "john@a" || kept.at("active") != true {
		t.Errorf("the active user is now %s", kept.what)
	}
	p.patch("/Users/"+john, object{"op": "replace", "path": "active", "value": false}).expect(200)
	if back := p.send("POST", "/Users", person("john@b", object{"externalId": "john"})).expect(201); back.text("id") != john || back.at("active") != true {
		t.Errorf("the inactive user was not restored: %s", back.what)
	}
}

// A copy of an RFC attribute in a container of the core schema changes nothing that the top level says, and active: false
// counts wherever it stands.
func TestCoreAttributesInAContainer(t *testing.T) {
	p := newProvider(t, nil)
	contained := p.send("POST", "/Users", object{"schemas": []string{userSchema}, userSchema: object{"userName": "ada", "title": "Countess", "active": true}}).expect(201)
	id := contained.text("id")
	if contained.text("userName") != "ada" || contained.text("title") != "Countess" || contained.at(userSchema) != nil {
		t.Errorf("not answered at top level: %s", contained.what)
	}
	for name, body := range map[string]object{
		"top level":   {"schemas": []string{userSchema}, "userName": "ada", "active": false, userSchema: object{"active": true}},
		"a container": {"schemas": []string{userSchema}, "userName": "ada", "active": true, userSchema: object{"active": false}},
		"full name":   {"schemas": []string{userSchema}, "userName": "ada", "active": true, userSchema + ":active": "False"},
	} {
		p.patch("/Users/"+id, object{"op": "replace", "path": "active", "value": true}).expect(200)
		if left := p.send("PUT", "/Users/"+id, body).expect(200); left.at("active") != false {
			t.Errorf("false in %s: %s", name, left.what)
		}
		p.patch("/Users/"+id, object{"op": "replace", "path": "active", "value": true}).expect(200)
		delete(body, "schemas")
		if left := p.patch("/Users/"+id, object{"op": "replace", "value": body}).expect(200); left.at("active") != false {
			t.Errorf("false in %s of a PATCH: %s", name, left.what)
		}
	}
	// Okta deactivates by reading and writing back.
	p.patch("/Users/"+id, object{"op": "replace", "path": "active", "value": true}).expect(200)
	read := p.get("/Users/" + id).expect(200).body
	read["active"] = false
	if left := p.send("PUT", "/Users/"+id, read).expect(200); left.at("active") != false {
		t.Errorf("GET and PUT: %s", left.what)
	}
}

// unreadable are userNames that look like others, or break lines.
var unreadable = map[string]string{
	"NUL": "ada\x00", "newline": "ada\nroot", "tab": "a\tda", "escape": "\x1b[31mada", "delete": "ada\x7f", "C1 control": "ada\u0085",
	"right-to-left override": "ada\u202egnp", "isolate": "ada\u2066", "zero-width space": "a\u200bda", "zero-width joiner": "a\u200dda",
	"byte order mark": "\ufeffada", "soft hyphen": "a\u00adda", "line separator": "ada\u2028", "no-break space": "a\u00a0da",
	"private use": "ada\ue000", "replacement character": "ada\ufffd", "blank before": " ada", "blank after": "ada ", "wide blank": "\u3000ada",
}

func TestUnreadableUserNames(t *testing.T) {
	p := newProvider(t, nil)
	id := p.send("POST", "/Users", person("ada", nil)).expect(201).text("id")
	for name, userName := range unreadable {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			p := p
			p.t = t
			p.send("POST", "/Users", person(userName, nil)).refuses(400, "invalidValue")
			p.send("PUT", "/Users/"+id, person(userName, nil)).refuses(400, "invalidValue")
			p.patch("/Users/"+id, object{"op": "replace", "path": "userName", "value": userName}).refuses(400, "invalidValue")
		})
	}
	for _, userName := range []string{"a b", "محمد", "e😀", "İst", "o'b", "x=y"} {
		p.send("POST", "/Users", person(userName, nil)).expect(201)
	}
}

// One that is stored already can be deactivated, in either way of Okta, renamed and deleted.
func TestStoredUnreadableUserName(t *testing.T) {
	p := newProvider(t, nil)
	const userName = "ada\u200b"
	user := &v1alpha1.User{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: "ada-aaaaaaaaaa", Labels: map[string]string{v1alpha1.LabelApp: p.app}},
		Spec:       v1alpha1.UserSpec{App: p.app, UserName: userName, UserNameKey: userName, Active: true},
	}
	if err := operator.Env.Client.Create(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	path := "/Users/" + user.Name
	harness.Eventually(t, patience, "the claim of the user's name", func(context.Context) error {
		if got := p.get(path); got.status != 200 {
			return errors.New(got.what)
		}
		return nil
	})
	read := p.get(path).expect(200).body
	read["active"] = false
	if left := p.send("PUT", path, read).expect(200); left.at("active") != false {
		t.Errorf("PUT: %s", left.what)
	}
	p.patch(path, object{"op": "replace", "path": "active", "value": true}).expect(200)
	if left := p.patch(path, object{"op": "replace", "path": "active", "value": false}).expect(200); left.at("active") != false {
		t.Errorf("PATCH: %s", left.what)
	}
	p.patch(path, object{"op": "replace", "path": "userName", "value": "ada"}).expect(200)
	p.send("DELETE", path, nil).expect(204)
}

// What clients of the field send, each in a way of its own.
func TestFieldSpellings(t *testing.T) {
	p := newProvider(t, nil)
	id := p.send("POST", "/Users", person("ada", object{"emails": []object{{"type": "work", "value": "ada@example.com"}}, "title": "T"})).expect(201).text("id")
	p.send("POST", "/Groups", object{"schemas": []string{groupSchema}, "displayName": "Engineers"}).expect(201)
	query := func(name, value string) string { return "?" + name + "=" + url.QueryEscape(value) }

	p.get("/Users"+query("filter", `userName eq 'ada'`)).refuses(400, "invalidFilter")
	if found := p.get("/users" + query("filter", `userName eq "ada"`)).expect(200); found.number("totalResults") != 1 || !strings.Contains(found.text("Resources", 0, "meta", "location"), "/Users/") {
		t.Errorf("/users in lower case: %s", found.what)
	}
	for _, filter := range []string{groupSchema + `:displayName eq "Engineers"`, userSchema + `:userName eq "ada"`} {
		found := p.send("POST", "/.search", object{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:SearchRequest"}, "filter": filter}).expect(200)
		if found.number("totalResults") != 1 {
			t.Errorf("%s over all types: %s", filter, found.what)
		}
	}
	p.get("/Users?filter=").refuses(400, "invalidFilter")
	p.send("POST", "/Users/.search", object{"filter": ""}).refuses(400, "invalidFilter")
	part := p.get("/Users/" + id + query("attributes", `emails[type eq "work"]`) + "&attributes=title").expect(200)
	if part.at("emails", 0, "value") != "ada@example.com" || part.text("title") != "T" || part.at("userName") != nil {
		t.Errorf("a value filter in attributes, which are repeated: %s", part.what)
	}
	before := p.get("/Users/" + id).expect(200)
	for _, operation := range []object{
		{"op": "replace", "path": "active", "value": true}, {"op": "Replace", "path": "active", "value": "True"},
		{"op": "add", "value": object{"active": "true"}}, {"op": "replace", "path": "active", "value": []object{{"$ref": nil, "value": "True"}}},
	} {
		after := p.patch("/Users/"+id, operation).expect(200)
		if after.text("meta", "version") != before.text("meta", "version") || after.text("meta", "lastModified") != before.text("meta", "lastModified") {
			t.Errorf("%v moved the version: %s", operation, after.what)
		}
	}
}

// An App that does not update users says so in its schemas.
func TestSchemasWithoutUpdates(t *testing.T) {
	p := newProvider(t, func(spec *v1alpha1.AppSpec) { spec.Provisioning.UpdateUsers = new(bool) })
	document := p.get("/Schemas/" + userSchema).expect(200)
	attributes, _ := document.at("attributes").([]any)
	for _, attribute := range attributes {
		want := "readOnly"
		if at(attribute, "name") == "active" {
			want = "readWrite"
		}
		if got := at(attribute, "mutability"); got != want {
			t.Errorf("%v is %v, want %s", at(attribute, "name"), got, want)
		}
	}
	group := p.get("/Schemas/" + groupSchema).expect(200)
	if got := group.at("attributes", 0, "mutability"); got != "readWrite" {
		t.Errorf("a group's attribute is %v", got)
	}
}

// A limit counts what its error says: a text of an attribute characters, however many bytes they have, and the text of a filter or
// path bytes.
func TestLimitsCountWhatTheySay(t *testing.T) {
	p := newProvider(t, nil)
	id := p.send("POST", "/Users", person("ada", nil)).expect(201).text("id")
	text := func(count int) string { return strings.Repeat("ä", count) }
	title := func(count int) answer {
		return p.patch("/Users/"+id, object{"op": "replace", "path": "title", "value": text(count)})
	}
	title(1024).expect(200)
	refused := title(1025).expect(400)
	if !strings.Contains(refused.text("detail"), "1024 characters") {
		t.Errorf("%s", refused.what)
	}
	p.send("POST", "/Groups", object{"schemas": []string{groupSchema}, "displayName": text(1024)}).expect(201)
	if refused := p.send("POST", "/Groups", object{"schemas": []string{groupSchema}, "displayName": text(1025)}).expect(400); !strings.Contains(refused.text("detail"), "1024 characters") {
		t.Errorf("%s", refused.what)
	}
	filter := "/Users?filter=" + url.QueryEscape(`title eq "`+text(2040)+`"`)
	p.get(filter).expect(200)
	if refused := p.get("/Users?filter=" + url.QueryEscape(`title eq "`+text(2048)+`"`)).expect(400); !strings.Contains(refused.text("detail"), "4096") || !strings.Contains(refused.text("detail"), "bytes") {
		t.Errorf("%s", refused.what)
	}
}
