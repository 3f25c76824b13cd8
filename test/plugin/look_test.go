package plugin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// create makes a user by SCIM and returns its id. fields are further members of the JSON object.
func create(t *testing.T, app harness.App, userName, fields string) string {
	t.Helper()
	return post(t, app, "/Users", fmt.Sprintf(`{"schemas": [%q], "userName": %q, "active": true%s}`,
		"urn:ietf:params:scim:schemas:core:2.0:User", userName, fields))
}

func post(t *testing.T, app harness.App, path, body string) string {
	t.Helper()
	exchange, err := h.Client(h.Server, "/scim/v2", app, okta.AppWizard).Do(t.Context(), http.MethodPost, path, []byte(body))
	must(t, err)
	must(t, exchange.ExpectStatus(http.StatusCreated))
	return exchange.Text("id")
}

func TestUsersByFilter(t *testing.T) {
	app := newApp(t, nil)
	ada := create(t, app, "Ada@example.com", `, "role": "developer", "externalId": "x1"`)
	lin := create(t, app, "lin@example.com", `, "displayName": "Lin\u001b[31m"`)
	create(t, app, "eve@example.com", `, "active": true, "emails": [{"value": "eve@example.org", "type": "work"}]`)
	post(t, app, "/Groups", fmt.Sprintf(`{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Platform", "members": [{"value": %q}]}`, lin))
	evaluated(t, app.Namespace, 3)
	a := admin(t, app.Namespace)
	for filter, want := range map[string]string{
		`userName eq "ADA@EXAMPLE.COM"`:                     "ada",
		`role eq "developer"`:                               "ada",
		`emails[type eq "work" and value ew "example.org"]`: "eve",
		`not (externalId pr) and not (emails pr)`:           "lin",
		`meta.created gt "2100-01-01T00:00:00Z"`:            "",
		``:                                                  "ada eve lin",
	} {
		printed := a.scim("get", "users", "--filter", filter, "-o", "name").expect(0).out
		var names []string
		for line := range strings.Lines(printed) {
			name, _, _ := strings.Cut(strings.TrimPrefix(line, "user.scim-operator.io/"), "-")
			names = append(names, name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s finds %q, want %q", filter, got, want)
		}
	}
	// The controller looks at a new group in its own time.
	harness.Eventually(t, limit, "the group", func(context.Context) error {
		if out := a.scim("get", "users", "--filter", `groups.display eq "platform"`, "-o", "name").out; !strings.Contains(out, lin) || strings.Contains(out, ada) {
			return fmt.Errorf("printed %q", out)
		}
		return nil
	})
	a.scim("get", "users").expect(0, "Lin").lacks("\x1b")
	a.scim("get", "users", "--filter", "userName zz").expect(2, "--filter", "expected an operator")
	a.scim("get", "users", "--filter", `meta.location pr`).expect(2, "made by the server")
	a.scim("get", "users", "-o", "xml").expect(2, "want json, yaml, wide, name")
	var list struct{ Items []v1alpha1.User }
	must(t, json.Unmarshal([]byte(a.scim("get", "users", "-o", "json").expect(0).out), &list))
	if len(list.Items) != 3 || list.Items[0].Kind != "User" {
		t.Errorf("-o json has %d users, the first of kind %q", len(list.Items), list.Items[0].Kind)
	}
	a.scim("__complete", "explain", "ad").expect(0, ada).lacks("lin@", "eve@")
}

func TestMissingRights(t *testing.T) {
	app := newApp(t, nil)
	create(t, app, "ada@example.com", `, "role": "developer"`)
	evaluated(t, app.Namespace, 1)
	nothing := accountWith(t, app.Namespace, "nina")
	viewer := accountWith(t, app.Namespace, "vera", "scim-operator-viewer")
	operator := accountWith(t, app.Namespace, "otto", "scim-operator-admin")

	in := " in namespace " + app.Namespace
	nothing.scim("status").expect(3, "you lack the right to list apps.scim-operator.io"+in)
	nothing.scim("get", "users").expect(3, "you lack the right to list users.scim-operator.io"+in)
	nothing.scim("explain", "ada@example.com").expect(3, "you lack the right to get users.scim-operator.io"+in)
	viewer.scim("status").expect(0, "Enforce", "list scimtokens.scim-operator.io"+in)
	viewer.scim("status", "-A").expect(3, "list apps.scim-operator.io in all namespaces")
	viewer.scim("explain", "ada@example.com").expect(0, `attribute role is "developer"`, "Events not shown: you lack the right to list events"+in)
	viewer.scim("suspend", "ada@example.com").expect(3, "you lack the right to patch users.scim-operator.io"+in)
	operator.scim("suspend", "ada@example.com", "--dry-run=server").expect(0, "server dry run")
	operator.scim("explain", "ada@example.com").expect(0, "State       Active")
	operator.scim("suspend", "ada@example.com").expect(0, "suspended: No RoleBinding or ClusterRoleBinding of this operator")
	operator.scim("resume", "ada@example.com").expect(0, "resumed: developer")
}

func TestExplanation(t *testing.T) {
	app := newApp(t, func(spec *v1alpha1.AppSpec) {
		for i := range spec.Attributes {
			spec.Attributes[i].CanonicalValues = nil
		}
		spec.Roles[0].Groups = []string{"Readers"}
	})
	id := create(t, app, "ada@example.com", `, "externalId": "x1", "role": "boss"`)
	// An update is never refused for a scope that does not exist.
	exchange, err := h.Client(h.Server, "/scim/v2", app, okta.AppWizard).Do(t.Context(), http.MethodPatch, "/Users/"+id, []byte(
		`{"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{"op": "replace", "value": {"regions": "emea2,mars"}}]}`))
	must(t, err)
	must(t, exchange.ExpectStatus(http.StatusOK))
	post(t, app, "/Groups", fmt.Sprintf(`{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Readers", "members": [{"value": %q}]}`, id))
	a := admin(t, app.Namespace)
	harness.Eventually(t, limit, "the role by the group", func(context.Context) error {
		if out := a.scim("explain", "x1").out; !strings.Contains(out, `member of group "Readers"`) {
			return fmt.Errorf("printed %s", out)
		}
		return nil
	})
	for _, name := range []string{"ADA@example.com", "x1", id, "user.scim-operator.io/" + id, app.Prefix + "ada@example.com"} {
		a.scim("explain", name).expect(0, "viewer   emea2", "namespaces team-b", "ClusterRole/quickstart-viewer",
			`attribute role is "boss", which is no role`, `names "mars", which is no scope`, `developer: attribute role with "developer"`)
	}
	a.scim("explain", "bob@example.com").expect(2, `no user "bob@example.com"`, "-A")
	a.scim("suspend", "bob@example.com").expect(2, "no user")
	a.scim("suspend", "x1").expect(0)
	var e struct {
		State          string
		Roles, Missing []struct{ Role, Scope, Why string }
	}
	must(t, json.Unmarshal([]byte(a.scim("explain", "x1", "-o", "json").expect(0).out), &e))
	if e.State != "Suspended" || len(e.Roles) != 0 || len(e.Missing) == 0 || e.Missing[0].Role != "viewer" || !strings.Contains(e.Missing[0].Why, "suspended") {
		t.Errorf("of a suspended user: %+v", e)
	}
}
