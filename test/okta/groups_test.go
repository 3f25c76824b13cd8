package okta_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// groupLife is one pushed group's way, from the first push to its deletion.
type groupLife struct {
	okta  *okta.Client
	app   harness.App
	group *okta.PushedGroup
	// people are assigned to the app; some of them are in the group at each stage.
	people []*okta.Assignment
}

// The whole life of a pushed group: what Okta does, and what the directory then says of the group and of the people in it.
func TestGroupPush(t *testing.T) {
	eachDialect(t, func(t *testing.T, dialect okta.Dialect) {
		client, app := ownApp(t, dialect)
		l := &groupLife{okta: client, app: app}
		for range 6 {
			person := okta.Assign(okta.NewProfile(newName(t, "member")))
			say(t)(client.AssignUser(t.Context(), person))
			l.people = append(l.people, person)
		}
		say(t)(client.TestConnection(t.Context(), true))
		for _, stage := range []struct {
			name string
			run  func(*testing.T)
		}{
			{"first push", l.firstPush},
			{"linked", l.linked},
			{"shown by kubectl", l.shown},
			{"members changed", l.membersChanged},
			{"renamed", l.renamed},
			{"the former name is free", l.formerName},
			{"pushed now", l.pushedNow},
			{"pushed now while empty", l.pushedEmpty},
			{"filled again", l.filledAgain},
			{"an inactive member stays", l.inactiveMember},
			{"a deleted member leaves", l.deletedMember},
			{"deleted", l.deleted},
			{"name used again", l.usedAgain},
		} {
			if !t.Run(stage.name, stage.run) {
				return
			}
		}
	})
}

// members names people by their indexes.
func (l *groupLife) members(indexes ...int) []okta.GroupMember {
	members := []okta.GroupMember{}
	for _, index := range indexes {
		members = append(members, okta.MemberOf(l.people[index]))
	}
	return members
}

// holds checks that the group has its name and its members, in each way to ask.
func (l *groupLife) holds(t *testing.T) {
	t.Helper()
	group := getGroup(t, l.okta, l.group.ID)
	if got := group.Text("displayName"); got != l.group.Name {
		t.Errorf("the group is named %q, want %q", got, l.group.Name)
	}
	want := []string{}
	for _, member := range l.group.Members {
		want = append(want, member.ID)
	}
	hasMembers(t, l.okta, l.group.ID, want...)
	if got := findGroups(t, l.okta, okta.Equals("displayName", l.group.Name)); !slices.Equal(got, []string{l.group.ID}) {
		t.Errorf("displayName finds %q, want %q", got, l.group.ID)
	}
	for _, person := range l.people {
		l.belongs(t, person, slices.Contains(want, person.ID))
	}
}

// belongs checks the read-only attribute groups of a user.
func (l *groupLife) belongs(t *testing.T, person *okta.Assignment, member bool) {
	t.Helper()
	soon(t, "groups of a user", func(context.Context) error {
		user := do(t, l.okta, http.MethodGet, "/Users/"+person.ID, "")
		if user.Status == http.StatusNotFound {
			return nil
		}
		groups, _ := user.At("groups").([]any)
		switch {
		case !member && len(groups) == 0:
			return nil
		case !member || len(groups) != 1:
			return fmt.Errorf("the user has the groups %v, want it in the group: %t", groups, member)
		}
		for name, want := range map[string]string{"value": l.group.ID, "display": l.group.Name, "type": "direct"} {
			if got := okta.At(groups[0], name); got != want {
				return fmt.Errorf("groups[0].%s is %v, want %q", name, got, want)
			}
		}
		if reference, _ := okta.At(groups[0], "$ref").(string); !strings.HasSuffix(reference, "/scim/v2/Groups/"+l.group.ID) {
			return fmt.Errorf("groups[0].$ref is %q", reference)
		}
		return nil
	})
}

func (l *groupLife) firstPush(t *testing.T) {
	// The POST has members already, as with the one dialect, or none, as where Okta does not know their ids yet.
	l.group = &okta.PushedGroup{Name: newName(t, "Droids: R2/D2 & \"friends\""), Members: l.members(0, 1)}
	if l.okta.Dialect == okta.Template {
		l.group.Members = l.members()
	}
	conversation, err := l.okta.PushGroup(t.Context(), l.group)
	say(t)(conversation, err)
	want := map[okta.Dialect]string{okta.AppWizard: "GET POST GET PUT", okta.Template: "GET POST PATCH"}[l.okta.Dialect]
	if conversation.Methods() != want {
		t.Errorf("the conversation was %q, want %q", conversation.Methods(), want)
	}
	l.holds(t)
	if len(l.group.Members) == 0 {
		say(t)(l.okta.ChangeMembers(t.Context(), l.group, nil, l.members(0, 1)))
		l.holds(t)
	}
}

// linked is another push mapping of the same name: the look-up finds the group.
func (l *groupLife) linked(t *testing.T) {
	again := &okta.PushedGroup{Name: l.group.Name, Members: l.group.Members}
	conversation, err := l.okta.PushGroup(t.Context(), again)
	say(t)(conversation, err)
	if strings.Contains(conversation.Methods(), "POST") || again.ID != l.group.ID {
		t.Errorf("the conversation was %q and found %s, want %s and no POST", conversation.Methods(), again.ID, l.group.ID)
	}
	l.holds(t)
	soon(t, "the import", func(ctx context.Context) error {
		groups, _, err := l.okta.ImportGroups(ctx)
		if err == nil && (len(groups) != 1 || okta.At(groups[0], "id") != l.group.ID || len(okta.MembersIn(groups[0])) != 2) {
			err = fmt.Errorf("the import has %v, want the group with its members", groups)
		}
		return err
	})
}

func (l *groupLife) shown(t *testing.T) {
	l.tableShows(t, "2")
	titles, row := operator.Table(t, "groups", l.app.Namespace, l.group.ID)
	if want := []string{"NAME", "DISPLAY NAME", "MEMBERS", "ROLES", "APP", "READY", "AGE"}; !slices.Equal(titles, want) {
		t.Errorf("kubectl get groups shows the columns %q, want %q", titles, want)
	}
	if row["AGE"] == "" {
		t.Errorf("the age is empty in %v", row)
	}
}

// tableShows waits until the row of `kubectl get groups` says so; the status follows the members.
func (l *groupLife) tableShows(t *testing.T, members string) {
	t.Helper()
	groupTableShows(t, l.app, l.group.ID, harness.Row{"DISPLAY NAME": l.group.Name, "MEMBERS": members, "APP": l.app.Name, "READY": "True"})
}

func (l *groupLife) membersChanged(t *testing.T) {
	say(t)(l.okta.ChangeMembers(t.Context(), l.group, l.members(0, 1), l.members(2, 3, 4)))
	l.holds(t)
	// Okta repeats itself after an error even if the server made the change.
	l.group.Members = l.members(0, 1)
	say(t)(l.okta.ChangeMembers(t.Context(), l.group, l.members(0, 1), l.members(2, 3, 4)))
	l.holds(t)
	say(t)(l.okta.ChangeMembers(t.Context(), l.group, nil, l.members(0)))
	l.holds(t)
	say(t)(l.okta.ChangeMembers(t.Context(), l.group, l.members(3), nil))
	l.holds(t)
	l.tableShows(t, "3")
}

func (l *groupLife) renamed(t *testing.T) {
	before := l.group.ID
	former := l.group.Name
	say(t)(l.okta.RenameGroup(t.Context(), l.group, newName(t, "Renamed ü")))
	if l.group.ID != before {
		t.Errorf("the id is now %s, want %s as before", l.group.ID, before)
	}
	l.holds(t)
	if ids := findGroups(t, l.okta, okta.Equals("displayName", former)); len(ids) != 0 {
		t.Errorf("the former name still finds %q", ids)
	}
	l.tableShows(t, "3")
	// In other letters it is the same name, and no conflict with itself.
	say(t)(l.okta.RenameGroup(t.Context(), l.group, strings.ToUpper(l.group.Name)))
	l.holds(t)
}

func (l *groupLife) formerName(t *testing.T) {
	former := l.group.Name
	say(t)(l.okta.RenameGroup(t.Context(), l.group, newName(t, "Moved on")))
	other := &okta.PushedGroup{Name: former}
	say(t)(l.okta.PushGroup(t.Context(), other))
	if other.ID == l.group.ID {
		t.Errorf("another group got the same id %s", other.ID)
	}
	say(t)(l.okta.DeleteGroup(t.Context(), other))
}

// pushedNow drops a member that only the app knows: only the members that Okta names stay.
func (l *groupLife) pushedNow(t *testing.T) {
	patchGroup(t, l.okta, l.group.ID, `{"op":"add","path":"members","value":[{"value":"`+l.people[5].ID+`"}]}`)
	l.belongs(t, l.people[5], true)
	l.group.Members = l.members(1, 2, 3)
	say(t)(l.okta.PushNow(t.Context(), l.group))
	l.holds(t)
}

func (l *groupLife) pushedEmpty(t *testing.T) {
	l.group.Members = l.members()
	say(t)(l.okta.PushNow(t.Context(), l.group))
	l.holds(t)
	l.tableShows(t, "0")
	say(t)(l.okta.PushNow(t.Context(), l.group))
	l.holds(t)
}

func (l *groupLife) filledAgain(t *testing.T) {
	l.group.Members = l.members(0, 1, 2, 3)
	say(t)(l.okta.PushNow(t.Context(), l.group))
	l.holds(t)
}

func (l *groupLife) inactiveMember(t *testing.T) {
	say(t)(l.okta.Deactivate(t.Context(), l.people[0]))
	l.holds(t)
	say(t)(l.okta.PushNow(t.Context(), l.group)) // the member may be pushed, too
	l.holds(t)
	say(t)(l.okta.Reactivate(t.Context(), l.people[0]))
	l.holds(t)
}

func (l *groupLife) deletedMember(t *testing.T) {
	must(t, do(t, l.okta, http.MethodDelete, "/Users/"+l.people[3].ID, "").ExpectStatus(http.StatusNoContent))
	pushed := l.group.Members
	l.group.Members = l.members(0, 1, 2)
	l.holds(t)
	l.tableShows(t, "3")
	// Okta may still know the member: the push goes on without.
	var stale []string
	for _, member := range pushed {
		stale = append(stale, member.ID)
	}
	if l.okta.Dialect == okta.Template {
		patchGroup(t, l.okta, l.group.ID, `{"op":"replace","path":"members","value":`+membersJSON(stale...)+`}`)
	} else {
		put := do(t, l.okta, http.MethodPut, "/Groups/"+l.group.ID, groupJSON(l.group.Name, `,"members":`+membersJSON(stale...)))
		must(t, put.ExpectGroup())
	}
	l.holds(t)
}

// deleted takes the group and leaves the people.
func (l *groupLife) deleted(t *testing.T) {
	say(t)(l.okta.DeleteGroup(t.Context(), l.group))
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		must(t, do(t, l.okta, method, "/Groups/"+l.group.ID, "").ExpectError(http.StatusNotFound, ""))
	}
	must(t, do(t, l.okta, http.MethodPut, "/Groups/"+l.group.ID, groupJSON(l.group.Name, "")).ExpectError(http.StatusNotFound, ""))
	must(t, do(t, l.okta, http.MethodPatch, "/Groups/"+l.group.ID, patchOf(`{"op":"replace","path":"members","value":[]}`)).ExpectError(http.StatusNotFound, ""))
	if ids := findGroups(t, l.okta, okta.Equals("displayName", l.group.Name)); len(ids) != 0 {
		t.Errorf("the deleted group's name still finds %q", ids)
	}
	for _, person := range l.people[:3] {
		if answer := get(t, l.okta, person.ID); answer.At("active") != true {
			t.Errorf("a member of the deleted group is no longer active\n%s", answer)
		}
		l.belongs(t, person, false)
	}
}

func (l *groupLife) usedAgain(t *testing.T) {
	before := l.group.ID
	l.group.Members = l.members(2)
	conversation, err := l.okta.PushGroup(t.Context(), l.group)
	say(t)(conversation, err)
	if l.group.ID == before || !strings.Contains(conversation.Methods(), "POST") {
		t.Errorf("the conversation %q made the group %s; the deleted one was %s", conversation.Methods(), l.group.ID, before)
	}
	l.holds(t)
}

// groupTableShows waits until the row of `kubectl get groups` has the cells.
func groupTableShows(t *testing.T, app harness.App, id string, cells harness.Row) {
	t.Helper()
	soon(t, "kubectl get groups", func(context.Context) error {
		_, row := operator.Table(t, "groups", app.Namespace, id)
		for title, want := range cells {
			if row[title] != want {
				return fmt.Errorf("column %s shows %q, want %q, in %v", title, row[title], want, row)
			}
		}
		return nil
	})
}

// groupJSON is a small body of a group; extra members begin with a comma.
func groupJSON(displayName, extra string) string {
	return `{"schemas":["` + okta.SchemaGroup + `"],"displayName":` + quoted(displayName) + extra + `}`
}

// quoted writes a text as JSON.
func quoted(text string) string {
	return strings.TrimSuffix(strings.TrimPrefix(string(okta.ObjectOf("a", text).Encode()), `{"a":`), `}`)
}

// createGroup posts a group with members and returns its id.
func createGroup(t *testing.T, client *okta.Client, displayName string, members ...string) string {
	t.Helper()
	exchange := do(t, client, http.MethodPost, "/Groups", groupJSON(displayName, `,"members":`+membersJSON(members...)))
	must(t, exchange.ExpectGroup(http.StatusCreated))
	return exchange.Text("id")
}

func membersJSON(ids ...string) string {
	elements := make([]string, len(ids))
	for i, id := range ids {
		elements[i] = `{"value":"` + id + `"}`
	}
	return "[" + strings.Join(elements, ",") + "]"
}

// getGroup reads a group by id.
func getGroup(t *testing.T, client *okta.Client, id string) *okta.Exchange {
	t.Helper()
	exchange := do(t, client, http.MethodGet, "/Groups/"+id, "")
	must(t, exchange.ExpectGroup())
	return exchange
}

// hasMembers reads a group, and fails the test unless exactly these are in it.
func hasMembers(t *testing.T, client *okta.Client, id string, want ...string) {
	t.Helper()
	group := getGroup(t, client, id)
	got := group.Members()
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("the group has the members %q, want %q\n%s", got, want, group)
	}
}

// patchGroup sends operations, which 204 must answer.
func patchGroup(t *testing.T, client *okta.Client, id string, operations ...string) {
	t.Helper()
	must(t, do(t, client, http.MethodPatch, "/Groups/"+id, patchOf(operations...)).ExpectStatus(http.StatusNoContent))
}

// findGroups lists the ids that a filter finds.
func findGroups(t *testing.T, client *okta.Client, filter string) []string {
	t.Helper()
	exchange := do(t, client, http.MethodGet, "/Groups"+okta.FilterQuery(filter), "")
	must(t, exchange.ExpectGroups())
	return idsOf(exchange)
}
