package okta_test

import (
	"net/http"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// webrix is the guide under way.
type webrix struct {
	*guide
	okta *okta.Client
	app  harness.App
}

// The guide of Webrix, in both of Okta's dialects: the unique identifier is email, and the groups that are assigned are
// pushed as well and give the roles.
func TestGuideWebrix(t *testing.T) {
	eachDialect(t, func(t *testing.T, dialect okta.Dialect) {
		g := follow(t, guide{
			name: "webrix", namespaces: []string{"webrix-workspace"},
			rungs: []rung{{"member", "list", "configmaps"}, {"admin", "create", "pods"}},
		})
		w := &webrix{guide: g, app: g.open(t, "webrix", "webrix", "okta")}
		w.okta = g.client(w.app, "/scim/v2", dialect)
		// The guide has people paste the word Bearer into a field that adds it.
		w.okta.Authorization = "Bearer Bearer " + w.app.Token
		t.Run("test the connection", func(t *testing.T) { say(t)(w.okta.TestConnection(t.Context(), true)) })
		t.Run("find by email", w.filters)
		t.Run("assign and push the same groups", w.groups)
		t.Run("an empty group", w.emptyGroup)
		t.Run("import", func(t *testing.T) {
			_, _, err := w.okta.Import(t.Context())
			must(t, err)
			_, _, err = w.okta.ImportGroups(t.Context())
			must(t, err)
		})
	})
}

// assign provisions a person with a userName that is no address, and returns their Kubernetes user name: the address.
func (w *webrix) assign(t *testing.T, first string) (*okta.Assignment, string) {
	t.Helper()
	email := newName(t, first)
	profile := okta.NewProfile(email)
	profile.UserName = "login-of-" + email[:len(email)-len("@example.com")]
	person := okta.Assign(profile)
	say(t)(w.okta.AssignUser(t.Context(), person))
	return person, w.app.Subject(email)
}

// Every form in which a filter for the unique identifier has been seen or written down, for present people, leavers and
// people that never were there.
func (w *webrix) filters(t *testing.T) {
	person, _ := w.assign(t, "Filtered+Tag")
	email := person.Profile.Email
	forms := func(email string) []string {
		return []string{
			okta.Equals("userName", email),
			okta.Equals("email", email),
			okta.Equals("emails", email),
			okta.Equals("emails.value", email),
			`emails[type eq "work"].value eq ` + quoted(email),
			`emails[primary eq true and value eq ` + quoted(email) + `]`,
			`emails[type eq "work" and value eq ` + quoted(email) + `]`,
			okta.Equals("email", email) + " or " + okta.Equals("email", "x"+email),
			okta.Equals("externalId", email) + " or " + okta.Equals("emails.value", email),
			okta.Equals("id", email) + " or " + okta.Equals("userName", email) + " or " + okta.Equals("email", email),
			`EMAIL EQ ` + quoted(email),
			`Emails.Value Eq ` + quoted(email),
			okta.Equals("urn:ietf:params:scim:schemas:core:2.0:User:emails.value", email),
		}
	}
	for _, state := range []string{"active", "inactive"} {
		for _, form := range forms(email) {
			found := find(t, w.okta, form)
			if len(found) != 1 || found[0] != person.ID {
				t.Errorf("%s: %s finds %v, want %s", state, form, found, person.ID)
			}
		}
		for _, filter := range []string{
			okta.Equals("userName", person.Profile.UserName), okta.Equals("id", person.ID), okta.Equals("externalId", person.Profile.ExternalID),
		} {
			if found := find(t, w.okta, filter); len(found) != 1 || found[0] != person.ID {
				t.Errorf("%s: %s finds %v, want %s", state, filter, found, person.ID)
			}
		}
		for _, form := range forms("nobody." + email) {
			if found := find(t, w.okta, form); len(found) != 0 {
				t.Errorf("%s finds %v, want no user", form, found)
			}
		}
		say(t)(w.okta.Deactivate(t.Context(), person))
	}
	refused(t, do(t, w.okta, http.MethodGet, "/Users"+okta.FilterQuery(`email eq`), ""), http.StatusBadRequest, "invalidFilter", "")
}

// The groups are assigned to the app and pushed: the first push can come before the people. A role comes and goes with the
// group, and with the person.
func (w *webrix) groups(t *testing.T) {
	admins, members := &okta.PushedGroup{Name: "Webrix Admins"}, &okta.PushedGroup{Name: "Webrix Members"}
	say(t)(w.okta.PushGroup(t.Context(), admins)) // as yet without members
	one, oneSubject := w.assign(t, "Admin.One")
	two, twoSubject := w.assign(t, "Member.Two")
	w.tells(t, "users.scim-operator.io", "webrix", one.ID, "Ready", "True NoRole")
	members.Members = []okta.GroupMember{okta.MemberOf(one), okta.MemberOf(two)}
	say(t)(w.okta.PushGroup(t.Context(), members))
	w.has(t, oneSubject, access{"webrix-workspace": "member"})
	w.has(t, twoSubject, access{"webrix-workspace": "member"})
	say(t)(w.okta.ChangeMembers(t.Context(), admins, nil, []okta.GroupMember{okta.MemberOf(one)}))
	w.has(t, oneSubject, access{"webrix-workspace": "admin"})
	w.shows(t, "users", "webrix", one.ID, harness.Row{"ROLES": "admin,member", "GRANTED": "True"})
	w.shows(t, "groups", "webrix", admins.ID, harness.Row{"MEMBERS": "1"})

	// A group that has another name gives nothing; with its own again, it does.
	say(t)(w.okta.RenameGroup(t.Context(), admins, "Former Admins"))
	w.has(t, oneSubject, access{"webrix-workspace": "member"})
	say(t)(w.okta.RenameGroup(t.Context(), admins, "Webrix Admins"))
	w.has(t, oneSubject, access{"webrix-workspace": "admin"})

	// Out of the assigned group: Okta deactivates, and takes the person out of the pushed group, in either order.
	say(t)(w.okta.Deactivate(t.Context(), one))
	w.hasNow(t, oneSubject, access{})
	say(t)(w.okta.ChangeMembers(t.Context(), admins, []okta.GroupMember{okta.MemberOf(one)}, nil))
	say(t)(w.okta.Reactivate(t.Context(), one))
	w.has(t, oneSubject, access{"webrix-workspace": "member"})
	say(t)(w.okta.ChangeMembers(t.Context(), members, []okta.GroupMember{okta.MemberOf(two)}, nil))
	w.has(t, twoSubject, access{})
	w.tells(t, "users.scim-operator.io", "webrix", two.ID, "Ready", "True NoRole")

	// Push Now repairs what the app has made of a group.
	say(t)(w.okta.PushNow(t.Context(), admins))
	members.Members = []okta.GroupMember{okta.MemberOf(two)}
	say(t)(w.okta.PushNow(t.Context(), members))
	w.has(t, twoSubject, access{"webrix-workspace": "member"})
	w.has(t, oneSubject, access{})
	say(t)(w.okta.DeleteGroup(t.Context(), members))
	w.has(t, twoSubject, access{})
	say(t)(w.okta.DeleteGroup(t.Context(), admins))
}

func (w *webrix) emptyGroup(t *testing.T) {
	group := &okta.PushedGroup{Name: "Webrix Members"}
	say(t)(w.okta.PushGroup(t.Context(), group))
	w.shows(t, "groups", "webrix", group.ID, harness.Row{"MEMBERS": "0"})
	say(t)(w.okta.PushNow(t.Context(), group))
	hasMembers(t, w.okta, group.ID)
	person, subject := w.assign(t, "Late.Comer")
	say(t)(w.okta.ChangeMembers(t.Context(), group, nil, []okta.GroupMember{okta.MemberOf(person)}))
	w.has(t, subject, access{"webrix-workspace": "member"})
	say(t)(w.okta.ChangeMembers(t.Context(), group, []okta.GroupMember{okta.MemberOf(person)}, nil))
	w.has(t, subject, access{})
	say(t)(w.okta.DeleteGroup(t.Context(), group))
}
