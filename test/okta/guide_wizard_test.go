package okta_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// wizard is the guide under way.
type wizard struct {
	*guide
	okta *okta.Client
	app  harness.App
}

// Okta's own guide, in both dialects: each of the provisioning actions, on and off by itself, and each of the authentication modes.
func TestGuideOktaWizard(t *testing.T) {
	eachDialect(t, func(t *testing.T, dialect okta.Dialect) {
		g := follow(t, guide{
			name: "okta-wizard", namespaces: []string{"okta-wizard-team"},
			rungs: []rung{{"member", "list", "configmaps"}, {"maintainer", "create", "pods"}},
		})
		w := &wizard{guide: g, app: g.open(t, "okta-wizard", "wizard", "okta")}
		w.okta = g.client(w.app, "/scim/v2", dialect)
		t.Run("everything on", w.everythingOn)
		for mode, connect := range map[string]func(*testing.T) *okta.Client{"HTTP Header": w.byHeader, "Basic Auth": w.byBasic, "OAuth2": w.byOAuth} {
			t.Run(mode, func(t *testing.T) { w.lives(t, connect(t)) })
		}
		for action, test := range map[string]func(*testing.T){
			"importUsers": w.noImport, "createUsers": w.noCreation, "updateUsers": w.noUpdates,
			"deactivateUsers": w.noDeactivation, "pushGroups": w.noGroups,
		} {
			t.Run(action+" off", func(t *testing.T) {
				w.switchTo(t, action, false)
				defer w.switchTo(t, action, true)
				say(t)(w.okta.TestConnection(t.Context(), true))
				test(t)
			})
		}
		t.Run("everything off", w.everythingOff)
		t.Run("provisioning removed", w.removed)
	})
}

// switchTo turns a provisioning switch, and waits until the server knows: /ServiceProviderConfig does not tell, the App does.
func (w *wizard) switchTo(t *testing.T, action string, on bool) {
	t.Helper()
	w.kubectl(t, "--namespace", "okta-wizard", "patch", "app", "wizard", "--type=merge", "--patch", fmt.Sprintf(`{"spec":{"provisioning":{%q:%t}}}`, action, on))
	probes := map[string]struct {
		method, target, body string
		on                   int
	}{
		"importUsers":     {http.MethodGet, "/Users?startIndex=1&count=100", "", http.StatusOK},
		"createUsers":     {http.MethodPost, "/Users", "{}", http.StatusBadRequest},
		"pushGroups":      {http.MethodPost, "/Groups", "{}", http.StatusBadRequest},
		"deactivateUsers": {http.MethodDelete, "/Users/nobody", "", http.StatusNotFound},
	}
	probe, found := probes[action]
	if !found {
		return
	}
	want := http.StatusNotImplemented
	if on {
		want = probe.on
	}
	patiently(t, "the server's knowledge of "+action, func(ctx context.Context) error {
		var body []byte
		if probe.body != "" {
			body = []byte(probe.body)
		}
		answer, err := w.okta.Do(ctx, probe.method, probe.target, body)
		if err != nil {
			return err
		}
		return answer.ExpectStatus(want)
	})
}

func off(action string) string {
	return "The App wizard does not take this action: spec.provisioning." + action + " is false."
}

func (w *wizard) assign(t *testing.T, first string) (*okta.Assignment, string) {
	t.Helper()
	person := okta.Assign(okta.NewProfile(newName(t, first)))
	say(t)(w.okta.AssignUser(t.Context(), person))
	return person, w.app.Subject(person.Profile.UserName)
}

func (w *wizard) everythingOn(t *testing.T) {
	say(t)(w.okta.TestConnection(t.Context(), true))
	person, subject := w.assign(t, "first")
	w.has(t, subject, access{"okta-wizard-team": "member"})
	person.Profile.FamilyName = "Renamed"
	say(t)(w.okta.PushProfile(t.Context(), person))
	group := &okta.PushedGroup{Name: "Maintainers", Members: []okta.GroupMember{okta.MemberOf(person)}}
	say(t)(w.okta.PushGroup(t.Context(), group))
	w.has(t, subject, access{"okta-wizard-team": "maintainer"})
	users, _, err := w.okta.Import(t.Context())
	must(t, err)
	if len(users) == 0 {
		t.Error("an import shows no user")
	}
	say(t)(w.okta.DeleteGroup(t.Context(), group))
	w.has(t, subject, access{"okta-wizard-team": "member"})
	say(t)(w.okta.Deactivate(t.Context(), person))
	w.hasNow(t, subject, access{})
}

// lives plays a person's life over a connection.
func (w *wizard) lives(t *testing.T, connection *okta.Client) {
	say(t)(connection.TestConnection(t.Context(), true))
	person := okta.Assign(okta.NewProfile(newName(t, "mode")))
	say(t)(connection.AssignUser(t.Context(), person))
	w.has(t, w.app.Subject(person.Profile.UserName), access{"okta-wizard-team": "member"})
	say(t)(connection.Deactivate(t.Context(), person))
	w.hasNow(t, w.app.Subject(person.Profile.UserName), access{})
}

func (w *wizard) byHeader(*testing.T) *okta.Client {
	connection := operator.Client(operator.Server, "/scim/v2", w.app, w.okta.Dialect)
	connection.Authorization = "Bearer " + w.app.Token
	return connection
}

// byBasic types what the page says of Okta's mode Basic Auth.
func (w *wizard) byBasic(t *testing.T) *okta.Client {
	w.typed(t, "### Basic Auth\n")
	connection := operator.Client(operator.Server, "/scim/v2", w.app, w.okta.Dialect)
	connection.Authorization = basic("okta", w.app.Token)
	patiently(t, "Basic", func(ctx context.Context) error {
		answer, err := connection.Do(ctx, http.MethodGet, "/Users?startIndex=1&count=2", nil)
		if err == nil {
			err = answer.ExpectStatus(http.StatusOK)
		}
		return err
	})
	return connection
}

// byOAuth types what the page says of Okta's mode OAuth2, connects as Okta does, and approves as an administrator does.
func (w *wizard) byOAuth(t *testing.T) *okta.Client {
	w.kubectl(t, "--namespace", "okta-wizard", "patch", "sapp", "wizard", "--type", "merge", "-p", fmt.Sprintf(`{"spec":{"externalURL":%q}}`, operator.Server.URL))
	lines := strings.Fields(w.typed(t, "### OAuth2\n"))
	issuer := operator.Server.URL + "/apps/okta-wizard/wizard"
	o := &oauthApp{issuingApp: issuingApp{w.app}, issuer: issuer, okta: okta.NewOAuth(issuer, "okta", lines[len(lines)-1],
		"https://system-admin.okta.com/admin/app/cpc/"+oktaAppName+"/oauth/callback")}
	o.okta.HTTP = fromAnAddressOfItsOwn(t)
	o.isAnswered(t, "invalid_grant")
	own := w.app
	own.Token = o.connect(t, url.Values{"scope": {"offline_access"}}).Access
	return operator.Client(operator.Server, "/scim/v2", own, w.okta.Dialect)
}

// typed runs the block of commands below a heading of the page, and returns what it prints.
func (w *wizard) typed(t *testing.T, heading string) string {
	t.Helper()
	page, err := os.ReadFile(repository + "/docs/guides/okta-wizard.md")
	must(t, err)
	_, rest, found := strings.Cut(string(page), heading)
	_, rest, begins := strings.Cut(rest, "```sh\n")
	block, _, ends := strings.Cut(rest, "```\n")
	if !found || !begins || !ends {
		t.Fatalf("the page has no commands below %q", heading)
	}
	output, err := w.command(t.Context(), "set -e\n"+block).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", block, err, output)
	}
	return string(output)
}

// An import is refused rather than empty: Okta would take an empty one for all people having left.
func (w *wizard) noImport(t *testing.T) {
	person, subject := w.assign(t, "unlisted") // the look-up goes on
	w.has(t, subject, access{"okta-wizard-team": "member"})
	for _, target := range []string{"/Users?startIndex=1&count=100", "/Users?startIndex=101&count=100", "/Users", "/Users?cursor=", "/Users?sortBy=userName"} {
		refused(t, do(t, w.okta, http.MethodGet, target, ""), http.StatusNotImplemented, "", off("importUsers"))
	}
	search := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"count":100}`
	refused(t, do(t, w.okta, http.MethodPost, "/Users/.search", search), http.StatusNotImplemented, "", off("importUsers"))
	if list := do(t, w.okta, http.MethodGet, "/Users?startIndex=1&count=2", ""); list.Number("totalResults") != 0 {
		t.Errorf("the connection test shows present users\n%s", list)
	}
	get(t, w.okta, person.ID)
	say(t)(w.okta.Deactivate(t.Context(), person))
	w.hasNow(t, subject, access{})
}

func (w *wizard) noCreation(t *testing.T) {
	person := okta.Assign(okta.NewProfile(newName(t, "uncreated")))
	conversation, err := w.okta.AssignUser(t.Context(), person)
	refused(t, givenUp(t, conversation, err), http.StatusNotImplemented, "", off("createUsers"))
}

// Updates are answered 200 all the same, and change nothing but active: a refused one would make Okta forget the person,
// and their deactivation would never come.
func (w *wizard) noUpdates(t *testing.T) {
	person, subject := w.assign(t, "unchanged")
	w.has(t, subject, access{"okta-wizard-team": "member"})
	before := get(t, w.okta, person.ID)
	must(t, do(t, w.okta, http.MethodPut, "/Users/"+person.ID, userJSON(person.Profile.UserName, `,"title":"Boss"`)).ExpectUser())
	patch(t, w.okta, person.ID, `{"op":"replace","value":{"title":"Boss"}}`)
	if after := get(t, w.okta, person.ID); string(after.Body) != string(before.Body) {
		t.Errorf("the user changed from\n%s\nto\n%s", before.Body, after.Body)
	}
	say(t)(w.okta.Deactivate(t.Context(), person))
	w.hasNow(t, subject, access{})
	say(t)(w.okta.Reactivate(t.Context(), person))
	w.has(t, subject, access{"okta-wizard-team": "member"})
}

func (w *wizard) noDeactivation(t *testing.T) {
	person, subject := w.assign(t, "kept")
	w.has(t, subject, access{"okta-wizard-team": "member"})
	conversation, err := w.okta.Deactivate(t.Context(), person)
	refused(t, givenUp(t, conversation, err), http.StatusNotImplemented, "", off("deactivateUsers"))
	refused(t, do(t, w.okta, http.MethodDelete, "/Users/"+person.ID, ""), http.StatusNotImplemented, "", off("deactivateUsers"))
	w.hasNow(t, subject, access{"okta-wizard-team": "member"})
	say(t)(w.okta.PushProfile(t.Context(), person))
	// The cluster can, and no push undoes it.
	w.kubectl(t, "--namespace", "okta-wizard", "patch", "users.scim-operator.io", person.ID, "--type=merge", "--patch", `{"spec":{"suspended":true}}`)
	w.has(t, subject, access{})
	say(t)(w.okta.PushProfile(t.Context(), person))
	w.hasNow(t, subject, access{})
}

func (w *wizard) noGroups(t *testing.T) {
	group := &okta.PushedGroup{Name: "Maintainers"}
	conversation, err := w.okta.PushGroup(t.Context(), group)
	if conversation.Methods() != "GET POST" {
		t.Errorf("the conversation was %q: the look-up is to be answered", conversation.Methods())
	}
	refused(t, givenUp(t, conversation, err), http.StatusNotImplemented, "", off("pushGroups"))
	for method, body := range map[string]string{http.MethodPut: groupJSON("Maintainers", ""), http.MethodPatch: patchOf(`{"op":"replace","path":"members","value":[]}`), http.MethodDelete: ""} {
		refused(t, do(t, w.okta, method, "/Groups/some", body), http.StatusNotImplemented, "", off("pushGroups"))
	}
	groups, _, err := w.okta.ImportGroups(t.Context())
	must(t, err)
	if len(groups) != 0 {
		t.Errorf("there are groups: %v", groups)
	}
}

func (w *wizard) everythingOff(t *testing.T) {
	for _, action := range []string{"importUsers", "createUsers", "updateUsers", "deactivateUsers", "pushGroups"} {
		w.switchTo(t, action, false)
		defer w.switchTo(t, action, true)
	}
	say(t)(w.okta.TestConnection(t.Context(), true))
}

// Removing provisioning in Okta sends nothing: everything stays until an administrator of the cluster removes the token and
// the App.
func (w *wizard) removed(t *testing.T) {
	person, subject := w.assign(t, "left.behind")
	w.has(t, subject, access{"okta-wizard-team": "member"})
	w.kubectl(t, "--namespace", "okta-wizard", "patch", "scimtoken", "okta", "--type=merge", "--patch", `{"spec":{"suspended":true}}`)
	operator.Refuses(t, operator.Server, w.app, guidePatience)
	w.hasNow(t, subject, access{"okta-wizard-team": "member"})
	w.kubectl(t, "--namespace", "okta-wizard", "delete", "app", "wizard", "--timeout=60s")
	w.has(t, subject, access{})
	w.shows(t, "users", "okta-wizard", person.ID, harness.Row{"USERNAME": person.Profile.UserName})
}
