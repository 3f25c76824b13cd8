package okta_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// providerWays are the ways of identity providers that docs/providers has a page for: which calls each makes is what its documentation
// says, as its page quotes it. No tenant was asked for the bodies: they are those of RFC 7644, with the spelling that a page documents.
var providerWays = []struct {
	name string
	// search is the filter that the provider looks a person up with; unknown, what its test of the connection asks for, where it does.
	search  func(userName string) string
	unknown string
	// user is the body that creates a person.
	user func(userName string) string
	// update and end change a person and take it out: by PUT of everything, or by PATCH.
	update, end func(userName string) (method, body string)
	// members changes the members of a group, from all that were in it to those that stay.
	members func(group string, gone, stay string) (method, body string)
	// tries says that the test of the connection makes a user and a group, and deletes both.
	tries bool
}{
	{
		name:   "JumpCloud",
		search: func(userName string) string { return okta.Equals("userName", userName) },
		user:   func(userName string) string { return userJSON(userName, `,"displayName":"Given Family"`) },
		update: replaceWhole(`,"displayName":"Changed"`, true), end: replaceWhole("", false),
		members: func(_, gone, _ string) (string, string) {
			return http.MethodPatch, patchOf(`{"op":"remove","path":"members","value":[{"value":"` + gone + `"}]}`)
		},
		tries: true,
	},
	{
		name:    "OneLogin",
		search:  func(userName string) string { return okta.Equals("userName", userName) },
		unknown: "nobody-has-this-name",
		user: func(userName string) string {
			return `{"schemas":["` + okta.SchemaUser + `"],"userName":"` + userName + `","name":{"givenName":"Given","familyName":"Family","formatted":"Given Family"},` +
				`"emails":[{"value":"` + userName + `","type":"work","primary":true}],"groups":[]}`
		},
		update: replaceWhole(`,"displayName":"Changed"`, true), end: replaceWhole("", false),
		members: func(_, gone, stay string) (string, string) {
			return http.MethodPatch, patchOf(`{"op":"replace","path":"members","value":[{"value":"`+stay+`"}]}`,
				`{"op":"remove","path":"members[value eq \"`+gone+`\"]"}`)
		},
	},
	{
		name:   "PingOne", // the filter is the one that its documentation shows
		search: func(userName string) string { return `username Eq "` + userName + `"` },
		user:   func(userName string) string { return userJSON(userName, "") },
		update: replaceWhole(`,"displayName":"Changed"`, true), end: replaceWhole("", false),
		members: func(group, _, stay string) (string, string) {
			return http.MethodPut, groupJSON(group, `,"members":[{"value":"`+stay+`"}]`)
		},
	},
	{
		name:   "PingFederate with PATCH for groups",
		search: func(userName string) string { return okta.Equals("userName", userName) },
		user:   func(userName string) string { return userJSON(userName, "") },
		update: replaceWhole(`,"displayName":"Changed"`, true),
		end: func(string) (string, string) {
			return http.MethodPatch, patchOf(`{"op":"replace","path":"active","value":false}`)
		},
		members: func(_, gone, _ string) (string, string) {
			return http.MethodPatch, patchOf(`{"op":"remove","path":"members[value eq \"` + gone + `\"]"}`)
		},
	},
}

// replaceWhole is a change by PUT of the whole person.
func replaceWhole(extra string, active bool) func(string) (string, string) {
	return func(userName string) (string, string) {
		if !active {
			return http.MethodPut, `{"schemas":["` + okta.SchemaUser + `"],"userName":"` + userName + `","active":false}`
		}
		return http.MethodPut, userJSON(userName, extra)
	}
}

// Each provider's way with a person and a group, to the end: the access of a leaver is gone when the answer comes, and a person that
// is taken out of a group has lost the group's role.
func TestProviders(t *testing.T) {
	for _, way := range providerWays {
		t.Run(way.name, func(t *testing.T) {
			operator.ShowOnFailure(t)
			group := newName(t, "developers")
			app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "own", func(spec *v1alpha1.AppSpec) {
				for i := range spec.Roles {
					if spec.Roles[i].Name == harness.Developer {
						spec.Roles[i].Groups = []string{group}
					}
				}
			})
			client := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
			send := func(method, target, body string) *okta.Exchange {
				t.Helper()
				return do(t, client, method, target, body, okta.WithHeader("User-Agent", way.name), okta.WithHeader("Accept", "application/json"))
			}
			find := func(userName string) []string {
				t.Helper()
				list := send(http.MethodGet, "/Users?filter="+okta.Escape(way.search(userName)), "")
				must(t, list.ExpectUsers())
				return idsOf(list)
			}
			provision := func(userName string) string {
				t.Helper()
				if found := find(userName); len(found) != 0 {
					t.Fatalf("%s is there before it is made: %q", userName, found)
				}
				created := send(http.MethodPost, "/Users", way.user(userName))
				must(t, created.ExpectUser(http.StatusCreated))
				if found := find(userName); !slices.Equal(found, []string{created.Text("id")}) {
					t.Fatalf("%s is found as %q, made as %s", userName, found, created.Text("id"))
				}
				return created.Text("id")
			}
			if way.unknown != "" && len(find(way.unknown)) != 0 {
				t.Errorf("%s is found", way.unknown)
			}
			if way.tries {
				id := provision(newName(t, "connection.test"))
				tried := send(http.MethodPost, "/Groups", groupJSON(newName(t, "connection test"), ""))
				must(t, tried.ExpectGroup(http.StatusCreated))
				must(t, send(http.MethodDelete, "/Groups/"+tried.Text("id"), "").ExpectStatus(http.StatusNoContent))
				must(t, send(http.MethodDelete, "/Users/"+id, "").ExpectStatus(http.StatusNoContent))
			}

			leaver, stayer := newName(t, "leaver"), newName(t, "stayer")
			gone, stay := provision(leaver), provision(stayer)
			operator.AccessSoon(t, app.Subject(leaver), harness.Everywhere(harness.Viewer))
			created := send(http.MethodPost, "/Groups", groupJSON(group, ""))
			must(t, created.ExpectGroup(http.StatusCreated))
			members := "/Groups/" + created.Text("id")
			must(t, send(http.MethodPatch, members, patchOf(`{"op":"add","path":"members","value":[{"value":"`+gone+`"},{"value":"`+stay+`"}]}`)).
				ExpectStatus(http.StatusOK, http.StatusNoContent))
			for _, person := range []string{leaver, stayer} {
				operator.AccessSoon(t, app.Subject(person), harness.Everywhere(harness.Developer))
			}
			method, body := way.members(group, gone, stay)
			must(t, send(method, members, body).ExpectStatus(http.StatusOK, http.StatusNoContent))
			hasMembers(t, client, created.Text("id"), stay)
			operator.AccessSoon(t, app.Subject(leaver), harness.Everywhere(harness.Viewer))
			operator.AccessNow(t, app.Subject(stayer), harness.Everywhere(harness.Developer))

			method, body = way.update(leaver)
			changed := send(method, "/Users/"+gone, body)
			must(t, changed.ExpectUser())
			if changed.Text("displayName") != "Changed" || changed.Text("id") != gone {
				t.Errorf("want the changed person\n%s", changed)
			}
			for person, id := range map[string]string{leaver: gone, stayer: stay} {
				method, body = way.end(person)
				ended := send(method, "/Users/"+id, body)
				must(t, ended.ExpectUser())
				operator.AccessNow(t, app.Subject(person), harness.Nowhere())
				if ended.At("active") != false || !slices.Equal(find(person), []string{id}) {
					t.Errorf("the leaver is active, or not found\n%s", ended)
				}
			}
			must(t, send(http.MethodDelete, "/Users/"+gone, "").ExpectStatus(http.StatusNoContent))
			must(t, send(http.MethodDelete, members, "").ExpectStatus(http.StatusNoContent))
		})
	}
}
