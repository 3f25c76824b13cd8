package scim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// RFC 7644 sections 2, 3.8, 3.11 and 3.13.
func TestHTTP(t *testing.T) {
	p := newProvider(t, nil)
	anonymous := p.send("GET", "/Users", nil, header{"Authorization", ""})
	anonymous.refuses(401, "")
	if scheme := anonymous.header.Get("WWW-Authenticate"); !strings.HasPrefix(scheme, "Bearer") {
		t.Errorf("WWW-Authenticate %q", scheme)
	}
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		p.send(method, "/Me", nil).refuses(501, "")
	}
	for _, accept := range []string{"application/scim+json", "application/json", "*/*", ""} {
		list := p.send("GET", "/Users", nil, header{"Accept", accept}).expect(200)
		if got := list.header.Get("Content-Type"); got != "application/scim+json" {
			t.Errorf("Accept %q: Content-Type %q", accept, got)
		}
	}
	created := p.send("POST", "/Users", `{"userName":"zoë","title":"\u8b66\u5bdf","nickName":"🦊"}`, header{"Content-Type", "application/json; charset=utf-8"}).expect(201)
	if created.text("title") != "警察" || created.text("nickName") != "🦊" || created.text("userName") != "zoë" {
		t.Errorf("UTF-8: %s", created.what)
	}
	p.send("POST", "/Users", "{\"userName\":\"zo\xeb\"}").refuses(400, "invalidSyntax")
	p.send("POST", "/Groups", "{\"displayName\":\"zo\xeb\"}").refuses(400, "invalidSyntax")
	unversioned := p
	unversioned.base = strings.TrimSuffix(p.base, "/v2")
	unversioned.get("/Users").expect(200)
	unversioned.get("/v1/Users").refuses(404, "")
	p.get("/Robots").refuses(404, "")
}

// RFC 7644 section 3.7.
func TestBulkMessages(t *testing.T) {
	p := newProvider(t, nil)
	bulk := func(failOnErrors int, operations ...object) answer {
		t.Helper()
		request := object{"schemas": []string{bulkSchema}, "Operations": operations}
		if failOnErrors > 0 {
			request["failOnErrors"] = failOnErrors
		}
		return p.send("POST", "/Bulk", request)
	}
	post := func(bulkID, path string, data object) object {
		return object{"method": "POST", "path": path, "bulkId": bulkID, "data": data}
	}
	group := func(name string, members ...object) object {
		return object{"schemas": []string{groupSchema}, "displayName": name, "members": members}
	}
	// A reference to what comes later, in a group and in an extension.
	done := bulk(0,
		post("g", "/Groups", group("Pioneers", object{"value": "bulkId:a"})),
		post("a", "/Users", person("ada", nil)),
		post("b", "/Users", person("bob", object{enterpriseSchema: object{"manager": object{"value": "bulkId:a"}}})),
	).expect(200)
	if done.text("schemas", 0) != "urn:ietf:params:scim:api:messages:2.0:BulkResponse" {
		t.Errorf("bulk: %s", done.what)
	}
	ids := map[string]string{}
	for i := range 3 {
		location := done.text("Operations", i, "location")
		if done.text("Operations", i, "status") != "201" || done.text("Operations", i, "method") != "POST" || location == "" || done.text("Operations", i, "version") == "" {
			t.Errorf("operation %d: %s", i, done.what)
		}
		ids[done.text("Operations", i, "bulkId")] = location[strings.LastIndex(location, "/")+1:]
	}
	if got := p.get("/Groups/" + ids["g"]); got.text("members", 0, "value") != ids["a"] {
		t.Errorf("the group: %s", got.what)
	}
	if got := p.get("/Users/" + ids["b"]); got.text(enterpriseSchema, "manager", "value") != ids["a"] {
		t.Errorf("the managed user: %s", got.what)
	}
	// Failures are passed over, in every method, and tell what happened.
	mixed := bulk(0,
		post("x", "/Users", person("ada", nil)),
		object{"method": "PUT", "path": "/Users/" + ids["b"], "version": `"stale"`, "data": person("bob", nil)},
		object{"method": "PATCH", "path": "/Users/" + ids["a"], "data": object{"schemas": []string{patchSchema}, "Operations": []object{{"op": "add", "path": "title", "value": "Countess"}}}},
		object{"method": "DELETE", "path": "/Users/" + ids["b"]},
		object{"method": "DELETE", "path": "/Users/nobody"},
	).expect(200)
	for i, want := range []string{"409", "412", "200", "204", "404"} {
		status, problem := mixed.text("Operations", i, "status"), mixed.text("Operations", i, "response", "detail")
		if status != want || (want >= "400") != (problem != "") || (mixed.text("Operations", i, "location") == "") != (i == 0) {
			t.Errorf("operation %d, want %s: %v", i, want, mixed.at("Operations", i))
		}
	}
	// failOnErrors stops after so many.
	stopped := bulk(1, post("y", "/Users", person("ada", nil)), post("z", "/Users", person("zoe", nil))).expect(200)
	if list, _ := stopped.at("Operations").([]any); len(list) != 1 {
		t.Errorf("after one error: %s", stopped.what)
	}
	// Circular references between groups need nested groups, which this server does not have: the operations end, with an answer.
	circular := bulk(0, post("p", "/Groups", group("P", object{"value": "bulkId:q"})), post("q", "/Groups", group("Q", object{"value": "bulkId:p"}))).expect(200)
	if list, _ := circular.at("Operations").([]any); len(list) != 2 {
		t.Errorf("circular: %s", circular.what)
	}
	var many []object
	for i := range 1001 {
		many = append(many, object{"method": "DELETE", "path": fmt.Sprintf("/Users/%d", i)})
	}
	tooMany := bulk(0, many...)
	tooMany.refuses(413, "")
	tooLarge := bulk(0, post("l", "/Users", person("large", object{"title": strings.Repeat("x", 5<<20)})))
	tooLarge.refuses(413, "")
	if !strings.Contains(tooMany.text("detail"), "1000") || !strings.Contains(tooLarge.text("detail"), "4194304") {
		t.Errorf("the limits: %s; %s", tooMany.text("detail"), tooLarge.text("detail"))
	}
	p.send("POST", "/Bulk", object{"schemas": []string{bulkSchema}}).refuses(400, "invalidSyntax")
}

// RFC 7643 section 3.1: locations are those under which clients reach the server, as its owner says, not as a header does.
func TestLocations(t *testing.T) {
	forged := []header{{"X-Forwarded-Host", "evil.example.com"}, {"X-Forwarded-Proto", "ftp"}, {"Forwarded", "host=evil.example.com"}}
	p := newProvider(t, nil)
	created := p.send("POST", "/Users", person("ada", nil), forged...).expect(201)
	if want := p.base + "/Users/" + created.text("id"); created.text("meta", "location") != want || created.header.Get("Location") != want {
		t.Errorf("location %q, want %q", created.text("meta", "location"), want)
	}
	const external = "https://scim.example.com/directory/v2"
	p = newProvider(t, func(app *v1alpha1.AppSpec) { app.ExternalURL = external })
	created = p.send("POST", "/Users", person("ada", nil), forged...).expect(201)
	want := external + "/Users/" + created.text("id")
	if created.text("meta", "location") != want || created.header.Get("Location") != want {
		t.Errorf("location %q, want %q", created.text("meta", "location"), want)
	}
}
