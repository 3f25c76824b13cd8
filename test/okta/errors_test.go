package okta_test

import (
	"net/http"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// Every answer of the server is SCIM JSON of the exact media type: Client.Do fails the test where one is not, where an
// error lacks its schema, status or detail, 401 its WWW-Authenticate and 405 its Allow. These tests ask for each error.
func TestErrors(t *testing.T) {
	client, _ := ownApp(t, okta.AppWizard)
	name := newName(t, "taken")
	id := create(t, client, userJSON(name, "")).Text("id")
	post, get, put, patch, remove := http.MethodPost, http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete
	plainText := okta.WithHeader("Content-Type", "text/plain")
	form := okta.WithHeader("Content-Type", "application/x-www-form-urlencoded")
	user := userJSON(newName(t, "refused"), "")

	for _, test := range []struct {
		name                 string
		method, target, body string
		edits                []okta.Edit
		status               int
		scimType             string
	}{
		{"no credentials", get, "/Users", "", []okta.Edit{okta.WithHeader("Authorization", "")}, 401, ""},
		{"wrong token", get, "/Users", "", []okta.Edit{okta.WithHeader("Authorization", "Bearer wrong")}, 401, ""},
		{"wrong bare token", get, "/Users", "", []okta.Edit{okta.WithHeader("Authorization", "non-token")}, 401, ""},
		{"the word Bearer only", get, "/Users", "", []okta.Edit{okta.WithHeader("Authorization", "Bearer ")}, 401, ""},
		{"Basic", get, "/Users", "", []okta.Edit{okta.WithHeader("Authorization", "Basic dXNlcjpwYXNz")}, 401, ""},
		{"token cut short", get, "/Users", "", []okta.Edit{okta.WithHeader("Authorization", client.Authorization[:len(client.Authorization)-1])}, 401, ""},
		{"POST without credentials", post, "/Users", user, []okta.Edit{okta.WithHeader("Authorization", "")}, 401, ""},
		{"discovery with a wrong token", get, "/Schemas", "", []okta.Edit{okta.WithHeader("Authorization", "Bearer wrong")}, 401, ""},

		{"unknown endpoint", get, "/Nothing", "", nil, 404, ""},
		{"the base itself", get, "", "", nil, 404, ""},
		{"a path below a user", get, "/Users/" + id + "/groups", "", nil, 404, ""},
		{"unknown id", get, "/Users/00919288221112222", "", nil, 404, ""},
		{"an id that no object can have", get, "/Users/A%20B%2F..%00", "", nil, 404, ""},
		{"a long id", get, "/Users/" + strings.Repeat("x", 2000), "", nil, 404, ""},
		{"PUT to an unknown id", put, "/Users/unknown", user, nil, 404, ""},
		{"PATCH of an unknown id", patch, "/Users/unknown", patchOf(`{"op":"replace","value":{"active":false}}`), nil, 404, ""},
		{"DELETE of an unknown id", remove, "/Users/unknown", "", nil, 404, ""},
		{"unknown schema", get, "/Schemas/urn:none", "", nil, 404, ""},

		{"DELETE of all users", remove, "/Users", "", nil, 405, ""},
		{"PUT to all users", put, "/Users", user, nil, 405, ""},
		{"POST to one user", post, "/Users/" + id, user, nil, 405, ""},
		{"POST to the configuration", post, "/ServiceProviderConfig", "test", nil, 405, ""},
		{"DELETE of a schema", remove, "/Schemas/" + okta.SchemaUser, "", nil, 405, ""},

		{"too large", post, "/Users", userJSON(newName(t, "large"), `,"title":"`+strings.Repeat("x", 1<<21)+`"`), nil, 413, ""},
		{"POST as text", post, "/Users", user, []okta.Edit{plainText}, 415, ""},
		{"PUT as a form", put, "/Users/" + id, user, []okta.Edit{form}, 415, ""},
		{"PATCH as text", patch, "/Users/" + id, patchOf(`{"op":"replace","value":{"active":false}}`), []okta.Edit{plainText}, 415, ""},

		{"half JSON", post, "/Users", `{"userName":"x`, nil, 400, "invalidSyntax"},
		{"JSON and more", post, "/Users", user + "x", nil, 400, "invalidSyntax"},
		{"an array", post, "/Users", `[]`, nil, 400, "invalidSyntax"},
		{"a body of spaces", post, "/Users", "  ", nil, 400, "invalidSyntax"},
		{"no userName", post, "/Users", `{"schemas":["` + okta.SchemaUser + `"],"active":true}`, nil, 400, "invalidValue"},
		{"empty userName", post, "/Users", userJSON("", ""), nil, 400, "invalidValue"},
		{"userName of the system", post, "/Users", userJSON("system:admin", ""), nil, 400, "invalidValue"},
		{"a role that is not offered", post, "/Users", userJSON(newName(t, "role"), `,"role":"emperor"`), nil, 400, "invalidValue"},
		{"active as an object", post, "/Users", userJSON(newName(t, "object"), `,"title":{"a":1}`), nil, 400, "invalidValue"},
		{"PUT of half JSON", put, "/Users/" + id, `{`, nil, 400, "invalidSyntax"},
		{"PATCH of half JSON", patch, "/Users/" + id, `{`, nil, 400, "invalidSyntax"},
		{"PATCH without operations", patch, "/Users/" + id, `{"schemas":["` + okta.SchemaPatchOp + `"]}`, nil, 400, ""},
		{"PATCH with an unknown op", patch, "/Users/" + id, patchOf(`{"op":"multiply","path":"title","value":"x"}`), nil, 400, ""},
		{"PATCH with a broken path", patch, "/Users/" + id, patchOf(`{"op":"replace","path":"emails[type eq","value":"x"}`), nil, 400, "invalidPath"},

		{"a bare word as filter", get, "/Users?filter=RUNSCOPE", "", nil, 400, "invalidFilter"},
		{"an open quote", get, "/Users?filter=userName%20eq%20%22x", "", nil, 400, "invalidFilter"},
		{"an unknown operator", get, "/Users?filter=userName%20is%20%22x%22", "", nil, 400, "invalidFilter"},
		{"an open bracket", get, "/Users?filter=emails%5Btype%20eq%20%22work%22", "", nil, 400, "invalidFilter"},
		{"a deep filter", get, "/Users?filter=" + strings.Repeat("(", 5000) + "x", "", nil, 400, "invalidFilter"},

		{"name taken", post, "/Users", userJSON(name, ""), nil, 409, "uniqueness"},
		{"name taken in other letters", post, "/Users", userJSON(strings.ToUpper(name), ""), nil, 409, "uniqueness"},
		{"name taken, other externalId", post, "/Users", userJSON(name, `,"externalId":"00uOther"`), nil, 409, "uniqueness"},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := do(t, client, test.method, test.target, test.body, test.edits...)
			must(t, answer.ExpectError(test.status, test.scimType))
		})
	}
	t.Run("nothing has changed", func(t *testing.T) {
		if users := do(t, client, get, "/Users", ""); users.Number("totalResults") != 1 || users.Text("Resources", 0, "id") != id {
			t.Fatalf("there is more than the first user\n%s", users)
		}
	})
}

// A rename into a taken name is refused, in each way to send it.
func TestRenameIntoATakenName(t *testing.T) {
	client, _ := ownApp(t, okta.AppWizard)
	taken, own := newName(t, "taken"), newName(t, "own")
	create(t, client, userJSON(taken, ""))
	id := create(t, client, userJSON(own, "")).Text("id")
	must(t, do(t, client, http.MethodPut, "/Users/"+id, userJSON(taken, "")).ExpectError(409, "uniqueness"))
	must(t, do(t, client, http.MethodPatch, "/Users/"+id, patchOf(`{"op":"replace","value":{"userName":"`+taken+`"}}`)).ExpectError(409, "uniqueness"))
	if got := get(t, client, id).Text("userName"); got != own {
		t.Errorf("the user is named %q, want %q", got, own)
	}
	// A user's own name, in other letters, is no taken name.
	renamed := do(t, client, http.MethodPut, "/Users/"+id, userJSON(strings.ToUpper(own), ""))
	must(t, renamed.ExpectUser())
	if got := renamed.Text("userName"); got != strings.ToUpper(own) {
		t.Errorf("userName is %q, want it in the letters sent", got)
	}
}

// Allow tells what the endpoint has.
func TestMethodsAllowed(t *testing.T) {
	client, _ := ownApp(t, okta.AppWizard)
	id := create(t, client, userJSON(newName(t, "methods"), "")).Text("id")
	for target, want := range map[string]string{
		"/Users":                 "GET, POST",
		"/Users/" + id:           "GET, PUT, PATCH, DELETE",
		"/Groups":                "GET, POST",
		"/ServiceProviderConfig": "GET",
		"/ResourceTypes":         "GET",
		"/Schemas":               "GET",
		"/Bulk":                  "POST",
		"/Users/.search":         "POST",
	} {
		answer := do(t, client, "PROPFIND", target, "")
		must(t, answer.ExpectError(http.StatusMethodNotAllowed, ""))
		if got := answer.Header.Get("Allow"); got != want {
			t.Errorf("Allow of %s is %q, want %q", target, got, want)
		}
	}
}

// Bodies are taken as either media type, with parameters or without any type at all.
func TestMediaTypes(t *testing.T) {
	client, _ := ownApp(t, okta.AppWizard)
	for _, contentType := range []string{
		"application/scim+json", "application/scim+json; charset=utf-8", "application/json", "application/json;charset=UTF-8", "Application/SCIM+JSON", "",
	} {
		for _, accept := range []string{"application/scim+json", "application/scim+json; charset=utf-8", "application/json", "*/*", ""} {
			answer := do(t, client, http.MethodPost, "/Users", userJSON(newName(t, "media"), ""),
				okta.WithHeader("Content-Type", contentType), okta.WithHeader("Accept", accept))
			must(t, answer.ExpectUser(http.StatusCreated))
		}
	}
}
