package okta_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// wacmNamespace is the external namespace that the guide has people type: with a small user.
const wacmNamespace = "urn:ietf:params:scim:schemas:core:2.0:user"

var wacmRungs = []rung{
	{"viewer", "list", "configmaps"}, {"staff lite", "update", "configmaps"}, {"staff", "create", "configmaps"}, {"admin", "create", "pods"},
}

// wacmRoles are the guide's 15 values of the attribute role, with what each gives in account north.
var wacmRoles = map[string]access{}

func init() {
	for _, level := range []struct {
		prefix     string
		namespaces []string
		kinds      []string
	}{
		{"DISTRIBUTOR_PLUS_", []string{"north-governance", "north-channel", "north-control"}, []string{"ADMIN", "STAFF", "STAFF_LITE", "VIEWER"}},
		{"DISTRIBUTOR_", []string{"north-governance", "north-control"}, []string{"ADMIN", "STAFF", "VIEWER"}},
		{"CHANNEL_ACCOUNT_", []string{"north-channel", "north-control"}, []string{"ADMIN", "STAFF", "STAFF_LITE", "VIEWER"}},
		{"RESELLER_", []string{"north-control"}, []string{"ADMIN", "STAFF", "STAFF_LITE", "VIEWER"}},
	} {
		for _, kind := range level.kinds {
			given := access{}
			for _, namespace := range level.namespaces {
				given[namespace] = strings.ToLower(strings.ReplaceAll(kind, "_", " "))
			}
			wacmRoles[level.prefix+kind] = given
		}
	}
}

// wacmProfile has the three mappings that the guide leaves, and the role.
func wacmProfile(t *testing.T, first, role string) okta.Profile {
	profile := okta.NewProfile(newName(t, first))
	profile.DisplayName, profile.Locale = "", ""
	profile.Custom = wacmRole(role)
	return profile
}

func wacmRole(role string) okta.Object {
	return okta.ObjectOf(wacmNamespace, okta.ObjectOf("role", role))
}

// The guide of Wasabi's account control manager, in both of Okta's dialects, from the connection test to the day that a
// person leaves. The base URL is a bare host, and the token decides which account a request is for.
func TestGuideWasabi(t *testing.T) {
	if len(wacmRoles) != 15 {
		t.Fatalf("%d roles, want the guide's 15", len(wacmRoles))
	}
	eachDialect(t, func(t *testing.T, dialect okta.Dialect) {
		g := follow(t, guide{name: "wasabi", rungs: wacmRungs, namespaces: []string{
			"north-governance", "north-channel", "north-control", "south-governance", "south-channel", "south-control",
		}})
		north := g.open(t, "wacm-north", "wacm", "okta")
		client := g.client(north, "", dialect)

		t.Run("test the connection", func(t *testing.T) {
			say(t)(client.TestConnection(t.Context(), false))
			wrong := *client
			wrong.Authorization = "Bearer " + newText(t)
			refused(t, do(t, &wrong, http.MethodGet, "/Users?startIndex=1&count=2", ""), http.StatusUnauthorized, "", "token")
		})
		t.Run("every role", func(t *testing.T) { wacmEveryRole(t, g, client, north) })
		t.Run("a role is required", func(t *testing.T) { wacmRequired(t, client) })
		t.Run("a role that an update breaks", func(t *testing.T) { wacmBroken(t, g, client, north) })
		t.Run("another group, another role", func(t *testing.T) { wacmChanged(t, g, client, north) })
		t.Run("groups only assign", func(t *testing.T) {
			say(t)(client.TestConnection(t.Context(), true))
			refused(t, do(t, client, http.MethodPost, "/Groups", groupJSON("Admins", "")), http.StatusNotImplemented, "", "spec.provisioning.pushGroups is false")
		})
		t.Run("two accounts", func(t *testing.T) { wacmAccounts(t, g, client, north, dialect) })
	})
}

func wacmEveryRole(t *testing.T, g *guide, client *okta.Client, app harness.App) {
	people := map[string]*okta.Assignment{}
	for role := range wacmRoles {
		person := okta.Assign(wacmProfile(t, strings.ToLower(strings.ReplaceAll(role, "_", ".")), role))
		answer := say(t)(client.AssignUser(t.Context(), person))
		if got := answer.At(wacmNamespace, "role"); got != role || answer.At("role") != nil {
			t.Errorf("role is %v in its namespace and %v at top level, want it as sent\n%s", got, answer.At("role"), answer)
		}
		people[role] = person
	}
	for role, person := range people {
		g.has(t, app.Subject(person.Profile.UserName), wacmRoles[role])
		g.shows(t, "users", app.Namespace, person.ID, harness.Row{"ACTIVE": "true", "ROLES": role, "GRANTED": "True"})
	}
}

func wacmRequired(t *testing.T, client *okta.Client) {
	for title, test := range map[string]struct {
		custom okta.Object
		words  string
	}{
		"none":              {nil, "role is required"},
		"empty":             {wacmRole(""), "role is required"},
		"unknown":           {wacmRole("EMPEROR"), "role is none of the values that it may have: DISTRIBUTOR_PLUS_ADMIN,"},
		"the missing value": {wacmRole("DISTRIBUTOR_STAFF_LITE"), "role is none of the values"},
		"the display name":  {wacmRole("Control Account Admin"), "role is none of the values"},
	} {
		profile := wacmProfile(t, "nobody", "")
		profile.Custom = test.custom
		person := okta.Assign(profile)
		conversation, err := client.AssignUser(t.Context(), person)
		refused(t, givenUp(t, conversation, err), http.StatusBadRequest, "invalidValue", test.words)
		if found := find(t, client, okta.Equals("userName", profile.UserName)); len(found) != 0 {
			t.Errorf("%s: the person is there", title)
		}
		// Corrected in Okta, the task is retried.
		person.Profile.Custom = wacmRole("RESELLER_VIEWER")
		say(t)(client.AssignUser(t.Context(), person))
	}
}

// An update with a role that is missing or unknown is admitted, because Okta would forget the person after a refused update.
// It grants nothing and shows.
func wacmBroken(t *testing.T, g *guide, client *okta.Client, app harness.App) {
	person := okta.Assign(wacmProfile(t, "broken", "CHANNEL_ACCOUNT_ADMIN"))
	subject := app.Subject(person.Profile.UserName)
	say(t)(client.AssignUser(t.Context(), person))
	g.has(t, subject, wacmRoles["CHANNEL_ACCOUNT_ADMIN"])
	for role, told := range map[string]string{"EMPEROR": `False UnknownRole: Attribute role is "EMPEROR", which is no role of the App`, "": "True NoRole: The person holds no role."} {
		person.Profile.Custom = wacmRole(role)
		say(t)(client.PushProfile(t.Context(), person))
		g.has(t, subject, access{})
		g.tells(t, "users", app.Namespace, person.ID, "Ready", told)
		person.Profile.Custom = wacmRole("CHANNEL_ACCOUNT_ADMIN")
		say(t)(client.PushProfile(t.Context(), person))
		g.has(t, subject, wacmRoles["CHANNEL_ACCOUNT_ADMIN"])
		g.tells(t, "users", app.Namespace, person.ID, "Ready", "True Ready")
	}
}

// Okta settles which of several assigned groups counts; what arrives is one role, by a profile push.
func wacmChanged(t *testing.T, g *guide, client *okta.Client, app harness.App) {
	person := okta.Assign(wacmProfile(t, "mover", "RESELLER_ADMIN"))
	subject := app.Subject(person.Profile.UserName)
	say(t)(client.AssignUser(t.Context(), person))
	for _, role := range []string{"RESELLER_ADMIN", "DISTRIBUTOR_VIEWER", "CHANNEL_ACCOUNT_STAFF_LITE", "RESELLER_STAFF"} {
		person.Profile.Custom = wacmRole(role)
		say(t)(client.PushProfile(t.Context(), person))
		g.has(t, subject, wacmRoles[role])
		// One AppRoleBinding and one RoleBinding for each level that the role reaches, and nothing of the former one.
		patiently(t, "the bindings of "+role, func(context.Context) error {
			if bindings := operator.BindingsOf(t, subject); len(bindings) != 2*len(wacmRoles[role]) {
				return fmt.Errorf("%s is named by %q", subject, bindings)
			}
			return nil
		})
	}
	say(t)(client.Deactivate(t.Context(), person))
	g.hasNow(t, subject, access{})
	operator.UnboundNow(t, subject)
	g.shows(t, "users", app.Namespace, person.ID, harness.Row{"ACTIVE": "false", "ROLES": "", "REVOKED": "True"})
	say(t)(client.Reactivate(t.Context(), person))
	g.has(t, subject, wacmRoles["RESELLER_STAFF"])
}

// The same person in two accounts is two users, with an access each.
func wacmAccounts(t *testing.T, g *guide, client *okta.Client, north harness.App, dialect okta.Dialect) {
	south := g.open(t, "wacm-south", "wacm", "okta")
	other := g.client(south, "", dialect)
	inNorth, inSouth := okta.Assign(wacmProfile(t, "both", "RESELLER_ADMIN")), &okta.Assignment{}
	inSouth.Profile = inNorth.Profile
	inSouth.Profile.Custom = wacmRole("RESELLER_VIEWER")
	subject := north.Subject(inNorth.Profile.UserName)
	say(t)(client.AssignUser(t.Context(), inNorth))
	if answer := say(t)(other.AssignUser(t.Context(), inSouth)); answer.Status != http.StatusCreated {
		t.Fatalf("the other account answers %d, want its own user created\n%s", answer.Status, answer)
	}
	g.has(t, subject, access{"north-control": "admin", "south-control": "viewer"})
	must(t, do(t, other, http.MethodGet, "/Users/"+inNorth.ID, "").ExpectError(http.StatusNotFound, ""))
	say(t)(client.Deactivate(t.Context(), inNorth))
	g.hasNow(t, subject, access{"south-control": "viewer"})
	say(t)(other.Deactivate(t.Context(), inSouth))
	g.hasNow(t, subject, access{})
}
