package okta_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// auzmor is the guide under way.
type auzmor struct {
	*guide
	app harness.App
	// byWizard and byTemplate are the two apps in Okta, each with a token of its own.
	byWizard, byTemplate *okta.Client
}

// The guide of Auzmor Learn: one App, and both of Okta's kinds of app at it, with a token each.
func TestGuideAuzmor(t *testing.T) {
	g := follow(t, guide{
		name: "auzmor", namespaces: []string{"auzmor-learn"},
		rungs: []rung{{"learner", "list", "configmaps"}, {"instructor", "create", "configmaps"}},
	})
	a := &auzmor{guide: g, app: g.open(t, "auzmor", "learn", "okta-wizard-app")}
	other := g.open(t, "auzmor", "learn", "okta-template-app")
	a.byWizard, a.byTemplate = g.client(a.app, "/scim/v2", okta.AppWizard), g.client(other, "/scim/v2", okta.Template)
	t.Run("test the connection", func(t *testing.T) {
		say(t)(a.byWizard.TestConnection(t.Context(), true))
		say(t)(a.byTemplate.TestConnection(t.Context(), false))
	})
	for title, client := range map[string]*okta.Client{"AppWizard": a.byWizard, "Template": a.byTemplate} {
		t.Run(title, func(t *testing.T) { a.life(t, client) })
	}
	t.Run("both apps at one person", a.both)
	t.Run("push groups", a.groups)
	t.Run("a new key", a.newKey)
}

// withManager has the manager's id and, as their display name, the manager's address: neither is a user here.
func withManager(profile okta.Profile, department string) okta.Profile {
	extension := okta.ObjectOf("manager", okta.ObjectOf("value", "E-4711", "displayName", "boss@example.com"))
	if department != "" {
		extension.Set("department", department)
	}
	profile.Custom = okta.ObjectOf(okta.SchemaEnterprise, extension)
	return profile
}

func hasAuzmorManager(t *testing.T, answer *okta.Exchange) {
	t.Helper()
	value, name := answer.At(okta.SchemaEnterprise, "manager", "value"), answer.At(okta.SchemaEnterprise, "manager", "displayName")
	if value != "E-4711" || name != "boss@example.com" || answer.At(okta.SchemaEnterprise, "manager", "$ref") != nil {
		t.Errorf("the manager is %v, %v, want them as sent\n%s", value, name, answer)
	}
}

func (a *auzmor) life(t *testing.T, client *okta.Client) {
	person := okta.Assign(withManager(okta.NewProfile(newName(t, "student")), ""))
	subject := a.app.Subject(person.Profile.UserName)
	hasAuzmorManager(t, say(t)(client.AssignUser(t.Context(), person)))
	a.has(t, subject, access{"auzmor-learn": "learner"})
	kept := a.kubectl(t, "--namespace", "auzmor", "get", "users.scim-operator.io", person.ID, "--output", "jsonpath={.spec.enterprise.manager}")
	if kept != `{"displayName":"boss@example.com","value":"E-4711"}` {
		t.Errorf("the User has the manager %s", kept)
	}

	// An edit of the assignment, or of the profile everywhere: both arrive as a push of the profile.
	person.Profile = withManager(person.Profile, "Education")
	hasAuzmorManager(t, say(t)(client.PushProfile(t.Context(), person)))
	a.has(t, subject, access{"auzmor-learn": "instructor"})
	a.shows(t, "users", "auzmor", person.ID, harness.Row{"ROLES": "instructor", "GRANTED": "True"})

	// Unassigned: soft deletion. The user stays, is found, and has no access.
	for range 2 {
		say(t)(client.Deactivate(t.Context(), person))
		a.hasNow(t, subject, access{})
		a.shows(t, "users", "auzmor", person.ID, harness.Row{"ACTIVE": "false", "ROLES": "", "REVOKED": "True"})
		if found := find(t, client, okta.Equals("userName", person.Profile.UserName)); fmt.Sprint(found) != "["+person.ID+"]" {
			t.Fatalf("the inactive user is not found: %v", found)
		}
		hasAuzmorManager(t, get(t, client, person.ID))
		say(t)(client.Reactivate(t.Context(), person))
		a.has(t, subject, access{"auzmor-learn": "instructor"})
	}

	// Okta may create the person again, also under another name: the externalId identifies them.
	for _, userName := range []string{person.Profile.UserName, newName(t, "renamed.student")} {
		before := person.ID
		say(t)(client.Deactivate(t.Context(), person))
		a.hasNow(t, a.app.Subject(person.Profile.UserName), access{})
		person.Profile.UserName = userName
		hasAuzmorManager(t, say(t)(client.Create(t.Context(), person)))
		if person.ID != before {
			t.Fatalf("created again, the id is %s, want %s", person.ID, before)
		}
		a.has(t, a.app.Subject(userName), access{"auzmor-learn": "instructor"})
	}
	say(t)(client.Deactivate(t.Context(), person))
	a.hasNow(t, a.app.Subject(person.Profile.UserName), access{})
}

// What one app provisioned, the other finds, links and takes away.
func (a *auzmor) both(t *testing.T) {
	person := okta.Assign(withManager(okta.NewProfile(newName(t, "shared")), "Education"))
	subject := a.app.Subject(person.Profile.UserName)
	say(t)(a.byWizard.AssignUser(t.Context(), person))
	linked := okta.Assign(person.Profile)
	conversation, err := a.byTemplate.AssignUser(t.Context(), linked)
	hasAuzmorManager(t, say(t)(conversation, err))
	if linked.ID != person.ID {
		t.Fatalf("the other app has the id %s, want %s", linked.ID, person.ID)
	}
	a.has(t, subject, access{"auzmor-learn": "instructor"})
	say(t)(a.byTemplate.Deactivate(t.Context(), linked))
	a.hasNow(t, subject, access{})
	say(t)(a.byWizard.Reactivate(t.Context(), person))
	a.has(t, subject, access{"auzmor-learn": "instructor"})
	// Another person with that name is refused, and told why.
	stranger := okta.Assign(okta.NewProfile(person.Profile.UserName))
	conversation, err = a.byTemplate.Create(t.Context(), stranger)
	refused(t, givenUp(t, conversation, err), http.StatusConflict, "uniqueness", "userName")
}

func (a *auzmor) groups(t *testing.T) {
	person := okta.Assign(okta.NewProfile(newName(t, "class.mate")))
	say(t)(a.byWizard.AssignUser(t.Context(), person))
	for _, client := range []*okta.Client{a.byWizard, a.byTemplate} {
		class := &okta.PushedGroup{Name: "Class of " + string(client.Dialect), Members: []okta.GroupMember{okta.MemberOf(person)}}
		say(t)(client.PushGroup(t.Context(), class))
		a.shows(t, "groups", "auzmor", class.ID, harness.Row{"MEMBERS": "1"})
		say(t)(client.DeleteGroup(t.Context(), class))
	}
}

// A key that is generated anew replaces the one before, and no other app's.
func (a *auzmor) newKey(t *testing.T) {
	former := *a.byWizard
	renewed := a.renew(t, a.app, "okta-wizard-app")
	a.byWizard = a.client(renewed, "/scim/v2", okta.AppWizard)
	patiently(t, "the end of the former key", func(ctx context.Context) error {
		answer, err := former.Do(ctx, http.MethodGet, "/Users?startIndex=1&count=2", nil)
		if err != nil {
			return err
		}
		return answer.ExpectError(http.StatusUnauthorized, "")
	})
	say(t)(a.byWizard.TestConnection(t.Context(), true))
	say(t)(a.byTemplate.TestConnection(t.Context(), true))
}
