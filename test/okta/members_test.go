package okta_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// membership is one group, and its people by letters, so that tables read well.
type membership struct {
	client *okta.Client
	app    harness.App
	group  string
	ids    map[rune]string
	names  map[rune]string
}

// newMembership makes an App with the people a to f, the deleted person z, and a group.
func newMembership(t *testing.T, dialect okta.Dialect) *membership {
	t.Helper()
	client, app := ownApp(t, dialect)
	m := &membership{client: client, app: app, ids: map[rune]string{}, names: map[rune]string{}}
	for _, letter := range "abcdefz" {
		m.names[letter] = newName(t, string(letter))
		m.ids[letter] = create(t, client, userJSON(m.names[letter], "")).Text("id")
	}
	must(t, do(t, client, http.MethodDelete, "/Users/"+m.ids['z'], "").ExpectStatus(http.StatusNoContent))
	m.group = createGroup(t, client, newName(t, "Group"))
	return m
}

// ofLetters lists ids.
func (m *membership) ofLetters(letters string) []string {
	ids := []string{}
	for _, letter := range letters {
		ids = append(ids, m.ids[letter])
	}
	return ids
}

// fill writes ids and names into a text that has <a> for an id and <a.name> for a userName.
func (m *membership) fill(text string) string {
	for letter, id := range m.ids {
		text = strings.ReplaceAll(text, "<"+string(letter)+">", id)
		text = strings.ReplaceAll(text, "<"+string(letter)+".name>", m.names[letter])
	}
	return strings.ReplaceAll(text, "<group>", m.group)
}

// Every shape in which clients change members.
func TestGroupPatch(t *testing.T) {
	m := newMembership(t, okta.Template)
	for _, test := range []struct {
		name, before string
		// operations, one a line, with <a> for a's id.
		operations, after string
	}{
		{"add", "a", `{"op":"add","path":"members","value":[{"value":"<b>","display":"<b.name>"},{"value":"<c>"}]}`, "abc"},
		{"add a present member", "ab", `{"op":"add","path":"members","value":[{"value":"<a>"},{"value":"<b>"}]}`, "ab"},
		{"add twice", "a", `{"op":"add","path":"members","value":[{"value":"<b>"},{"value":"<b>"},{"value":"<b>"}]}`, "ab"},
		{"add one without an array", "a", `{"op":"add","path":"members","value":{"value":"<b>"}}`, "ab"},
		{"add ids alone", "a", `{"op":"add","path":"members","value":["<b>","<c>"]}`, "abc"},
		{"add without a path", "a", `{"op":"add","value":{"members":[{"value":"<b>"}]}}`, "ab"},
		{"add by URN", "a", `{"op":"add","path":"urn:ietf:params:scim:schemas:core:2.0:Group:members","value":[{"value":"<b>"}]}`, "ab"},
		{"add with all that is known", "a", `{"op":"add","path":"members","value":[{"value":"<b>","type":"User","$ref":"https://elsewhere/scim/v2/Users/<b>","display":"x"}]}`, "ab"},
		{"add an unknown id", "a", `{"op":"add","path":"members","value":[]}`, "a"},
		{"add a stranger", "a", `{"op":"add","path":"members","value":[{"value":"nobody-0123456789"},{"value":"<b>"}]}`, "ab"},
		{"add a deleted user", "a", `{"op":"add","path":"members","value":[{"value":"<z>"}]}`, "a"},
		{"add an id that no object can have", "a", `{"op":"add","path":"members","value":[{"value":"../../<b>"},{"value":"A B\u0000"}]}`, "a"},
		{"add the group itself by id", "a", `{"op":"add","path":"members","value":[{"value":"<group>"}]}`, "a"},

		{"remove one", "abc", `{"op":"remove","path":"members[value eq \"<b>\"]"}`, "ac"},
		{"remove several, then add", "abc", `{"op":"remove","path":"members[value eq \"<a>\"]"}
			{"op":"remove","path":"members[value eq \"<b>\"]"}
			{"op":"add","path":"members","value":[{"value":"<d>","display":"<d.name>"},{"value":"<e>"}]}`, "cde"},
		{"remove an absent member", "ab", `{"op":"remove","path":"members[value eq \"<c>\"]"}`, "ab"},
		{"remove a stranger", "ab", `{"op":"remove","path":"members[value eq \"nobody\"]"}`, "ab"},
		{"remove with a list", "abc", `{"op":"remove","path":"members","value":[{"value":"<a>"},{"value":"<c>"}]}`, "b"},
		{"remove with a list of ids", "abc", `{"op":"remove","path":"members","value":["<a>"]}`, "bc"},
		{"remove with one value", "abc", `{"op":"remove","path":"members","value":{"value":"<a>"}}`, "bc"},
		{"remove with a list as Entra", "abc", `{"op":"Remove","path":"members","value":[{"$ref":null,"value":"<a>"}]}`, "bc"},
		{"remove with an empty list", "abc", `{"op":"remove","path":"members","value":[]}`, "abc"},
		{"remove with a list of strangers", "abc", `{"op":"remove","path":"members","value":[{"value":"<d>"},{"value":"nobody"}]}`, "abc"},
		{"remove without a list", "abc", `{"op":"remove","path":"members"}`, ""},
		{"remove from an empty group", "", `{"op":"remove","path":"members"}`, ""},
		{"remove either", "abc", `{"op":"remove","path":"members[value eq \"<a>\" or value eq \"<b>\"]"}`, "c"},
		{"remove by name", "abc", `{"op":"remove","path":"members[display eq \"<a.name>\"]"}`, "bc"},
		{"remove all others", "abc", `{"op":"remove","path":"members[not (value eq \"<a>\")]"}`, "a"},
		{"remove by type", "abc", `{"op":"remove","path":"members[type eq \"Group\"]"}`, "abc"},
		{"remove by URN", "abc", `{"op":"remove","path":"urn:ietf:params:scim:schemas:core:2.0:Group:members[value eq \"<a>\"]"}`, "bc"},

		{"replace", "abc", `{"op":"replace","path":"members","value":[{"value":"<c>","display":"x"},{"value":"<d>"}]}`, "cd"},
		{"replace by the same", "abc", `{"op":"replace","path":"members","value":[{"value":"<c>"},{"value":"<b>"},{"value":"<a>"},{"value":"<a>"}]}`, "abc"},
		{"replace by an empty list", "abc", `{"op":"replace","path":"members","value":[]}`, ""},
		{"replace by null", "abc", `{"op":"replace","path":"members","value":null}`, ""},
		{"replace without a path", "abc", `{"op":"replace","value":{"id":"<group>","members":[{"value":"<d>"}]}}`, "d"},
		{"replace with strangers", "abc", `{"op":"replace","path":"members","value":[{"value":"<a>"},{"value":"nobody"},{"value":"<z>"}]}`, "a"},

		{"a rename that says nothing of members", "abc", `{"op":"replace","value":{"id":"<group>","displayName":"Silent"}}`, "abc"},
		{"a rename with members null", "abc", `{"op":"replace","value":{"displayName":"Silent too","members":null}}`, "abc"},
		{"no operations", "abc", ``, "abc"},

		{"add and then remove", "a", `{"op":"add","path":"members","value":[{"value":"<b>"}]}
			{"op":"remove","path":"members[value eq \"<b>\"]"}`, "a"},
		{"remove and then add", "ab", `{"op":"remove","path":"members[value eq \"<b>\"]"}
			{"op":"add","path":"members","value":[{"value":"<b>"}]}`, "ab"},
		{"replace and then change", "abc", `{"op":"replace","path":"members","value":[{"value":"<d>"},{"value":"<e>"}]}
			{"op":"add","path":"members","value":[{"value":"<f>"}]}
			{"op":"remove","path":"members[value eq \"<d>\"]"}`, "ef"},
		{"change and then replace", "abc", `{"op":"add","path":"members","value":[{"value":"<f>"}]}
			{"op":"replace","path":"members","value":[{"value":"<d>"}]}`, "d"},
		{"clear and then add", "abc", `{"op":"remove","path":"members"}
			{"op":"add","path":"members","value":[{"value":"<d>"}]}`, "d"},
		{"add by a filter", "a", `{"op":"add","path":"members[value eq \"<b>\"]","value":{"value":"<b>"}}`, "ab"},
	} {
		t.Run(test.name, func(t *testing.T) {
			patchGroup(t, m.client, m.group, `{"op":"replace","path":"members","value":`+membersJSON(m.ofLetters(test.before)...)+`}`)
			var operations []string
			for line := range strings.Lines(test.operations) {
				operations = append(operations, m.fill(line))
			}
			patchGroup(t, m.client, m.group, operations...)
			hasMembers(t, m.client, m.group, m.ofLetters(test.after)...)
		})
	}
}

// What is refused changes nothing, not by the operations before it either.
func TestGroupPatchRefused(t *testing.T) {
	m := newMembership(t, okta.Template)
	other := createGroup(t, m.client, newName(t, "Other"))
	otherName := getGroup(t, m.client, other).Text("displayName")
	patchGroup(t, m.client, m.group, `{"op":"replace","path":"members","value":`+membersJSON(m.ofLetters("ab")...)+`}`)
	before := getGroup(t, m.client, m.group)
	for _, test := range []struct {
		name, operation, scimType string
		status                    int
	}{
		{"another id for a member", `{"op":"replace","path":"members[value eq \"<a>\"].value","value":"<c>"}`, "mutability", 400},
		{"a group as a member", `{"op":"add","path":"members","value":[{"value":"` + other + `","type":"Group"}]}`, "invalidValue", 400},
		{"a member without an id", `{"op":"add","path":"members","value":[{"display":"<c.name>"}]}`, "invalidValue", 400},
		{"a number as a list", `{"op":"add","path":"members","value":[[1]]}`, "invalidValue", 400},
		{"a broken path", `{"op":"remove","path":"members[value eq \"<a>\""}`, "invalidPath", 400},
		{"a broken comparison", `{"op":"remove","path":"members[value is \"<a>\"]"}`, "invalidPath", 400},
		{"an unknown sub-attribute", `{"op":"replace","path":"members.colour","value":"red"}`, "invalidPath", 400},
		{"an unknown op", `{"op":"multiply","path":"members","value":[]}`, "invalidSyntax", 400},
		{"no name", `{"op":"remove","path":"displayName"}`, "", 400},
		{"an empty name", `{"op":"replace","path":"displayName","value":""}`, "", 400},
		{"a taken name", `{"op":"replace","value":{"displayName":` + quoted(strings.ToUpper(otherName)) + `}}`, "uniqueness", 409},
	} {
		t.Run(test.name, func(t *testing.T) {
			operations := patchOf(m.fill(`{"op":"add","path":"members","value":[{"value":"<c>"}]}`),
				m.fill(`{"op":"remove","path":"members[value eq \"<a>\"]"}`), m.fill(test.operation))
			must(t, do(t, m.client, http.MethodPatch, "/Groups/"+m.group, operations).ExpectError(test.status, test.scimType))
			after := getGroup(t, m.client, m.group)
			for _, path := range [][]any{{"displayName"}, {"meta", "lastModified"}} {
				if before.Text(path...) != after.Text(path...) {
					t.Errorf("%v has changed from %q\n%s", path, before.Text(path...), after)
				}
			}
			hasMembers(t, m.client, m.group, m.ofLetters("ab")...)
		})
	}
}

// PUT says what all of the group is; what it is silent about stays, as far as members go.
func TestGroupPut(t *testing.T) {
	m := newMembership(t, okta.AppWizard)
	name := getGroup(t, m.client, m.group).Text("displayName")
	other := newName(t, "Other")
	createGroup(t, m.client, other)
	for _, test := range []struct {
		name, before, displayName, extra, after string
	}{
		{"its own name, members unsaid", "ab", name, ``, "ab"},
		{"its own name in other letters", "ab", strings.ToUpper(name), `,"id":"<group>"`, "ab"},
		{"members", "ab", name, `,"members":[{"value":"<c>","display":"<c.name>"},{"value":"<d>"}]`, "cd"},
		{"no members", "ab", name, `,"members":[]`, ""},
		{"members null", "ab", name, `,"members":null`, "ab"},
		{"duplicates and strangers", "ab", name, `,"members":[{"value":"<c>"},{"value":"nobody"},{"value":"<c>"},{"value":"<z>"},{"value":"<a>"}]`, "ac"},
		{"everything that GET answers, and more", "ab", name, `,"id":"x","meta":{"version":"\"1\"","resourceType":"Group"},"externalId":"ext-1","unknown":[{"a":1}],` +
			`"members":[{"value":"<a>","type":"User","$ref":"/Users/<a>","display":"other"}]`, "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			patchGroup(t, m.client, m.group, `{"op":"replace","path":"members","value":`+membersJSON(m.ofLetters(test.before)...)+`}`)
			put := do(t, m.client, http.MethodPut, "/Groups/"+m.group, m.fill(groupJSON(test.displayName, test.extra)))
			must(t, put.ExpectGroup())
			if put.Text("id") != m.group || put.Text("displayName") != test.displayName {
				t.Errorf("the answer has another id or name\n%s", put)
			}
			hasMembers(t, m.client, m.group, m.ofLetters(test.after)...)
		})
	}
	t.Run("what no schema knows is kept until it is not sent", func(t *testing.T) {
		if got := getGroup(t, m.client, m.group); got.Text("externalId") != "ext-1" || okta.At(got.At("unknown"), 0, "a") != json.Number("1") {
			t.Errorf("externalId or unknown is lost\n%s", got)
		}
		put := do(t, m.client, http.MethodPut, "/Groups/"+m.group, groupJSON(name, ""))
		must(t, put.ExpectGroup())
		if put.At("externalId") != nil || put.At("unknown") != nil {
			t.Errorf("externalId or unknown is still there\n%s", put)
		}
	})
	t.Run("PUT creates nothing", func(t *testing.T) {
		must(t, do(t, m.client, http.MethodPut, "/Groups/unknown", groupJSON(newName(t, "new"), "")).ExpectError(404, ""))
	})
	t.Run("a taken name", func(t *testing.T) {
		// People that left the group lose its roles, though an administrator has to settle the name; nothing else is done.
		patchGroup(t, m.client, m.group, `{"op":"replace","path":"members","value":`+membersJSON(m.ofLetters("abc")...)+`}`)
		before := getGroup(t, m.client, m.group)
		put := func(extra, says string) {
			t.Helper()
			answer := do(t, m.client, http.MethodPut, "/Groups/"+m.group, m.fill(groupJSON(strings.ToUpper(other), extra)))
			must(t, answer.ExpectError(409, "uniqueness"))
			if removed := strings.Contains(answer.Text("detail"), "were removed"); removed != (says != "") || !strings.Contains(answer.Text("detail"), says) {
				t.Errorf("the detail is %q, want %q", answer.Text("detail"), says)
			}
		}
		put(``, "")
		put(`,"externalId":"ext-2","members":[{"value":"<a>"},{"value":"<b>"},{"value":"<c>"},{"value":"<d>"}]`, "")
		hasMembers(t, m.client, m.group, m.ofLetters("abc")...)
		put(`,"externalId":"ext-2","members":[{"value":"<a>"},{"value":"<d>"}]`, "(2) were removed; nothing else was changed")
		hasMembers(t, m.client, m.group, m.ofLetters("a")...)
		after := getGroup(t, m.client, m.group)
		if after.Text("displayName") != name || after.Text("externalId") != before.Text("externalId") {
			t.Errorf("the group has changed\n%s", after)
		}
		must(t, do(t, m.client, http.MethodPut, "/Groups/"+m.group, groupJSON(strings.ToUpper(other), `,"members":[]`), okta.WithHeader("If-Match", before.Header.Get("ETag"))).ExpectError(412, ""))
		hasMembers(t, m.client, m.group, m.ofLetters("a")...)
		put(`,"members":[]`, "(1) were removed")
		hasMembers(t, m.client, m.group)
		patchGroup(t, m.client, m.group, `{"op":"replace","path":"members","value":`+membersJSON(m.ofLetters("a")...)+`}`)
	})
	t.Run("no name", func(t *testing.T) {
		must(t, do(t, m.client, http.MethodPut, "/Groups/"+m.group, `{"schemas":["`+okta.SchemaGroup+`"],"members":[]}`).ExpectError(400, "invalidValue"))
		hasMembers(t, m.client, m.group, m.ofLetters("a")...)
	})
}

// Members that are no users of the App never fail a push. They are kept out, and the Group tells of them.
func TestUnknownMembers(t *testing.T) {
	m := newMembership(t, okta.AppWizard)
	stranger, _ := ownApp(t, okta.AppWizard)
	foreign := create(t, stranger, userJSON(newName(t, "foreign"), "")).Text("id")
	name := newName(t, "With strangers")
	id := createGroup(t, m.client, name, m.ids['a'], foreign, "nobody-0123456789", m.ids['z'])
	hasMembers(t, m.client, id, m.ids['a'])
	known := func(want bool, mentions ...string) {
		t.Helper()
		soon(t, "the condition MembersKnown", func(ctx context.Context) error {
			group := &v1alpha1.Group{}
			if err := operator.Env.Client.Get(ctx, client.ObjectKey{Namespace: m.app.Namespace, Name: id}, group); err != nil {
				return err
			}
			condition := meta.FindStatusCondition(group.Status.Conditions, v1alpha1.ConditionMembersKnown)
			if condition == nil || (condition.Status == "True") != want {
				return fmt.Errorf("it is %+v, want it %t", condition, want)
			}
			for _, mention := range mentions {
				if !strings.Contains(condition.Message, mention) {
					return fmt.Errorf("its message %q does not mention %q", condition.Message, mention)
				}
			}
			return nil
		})
	}
	known(false, "3", "nobody-0123456789")
	must(t, do(t, m.client, http.MethodPut, "/Groups/"+id, groupJSON(name, `,"members":`+membersJSON(m.ofLetters("ab")...))).ExpectGroup())
	known(true)
	if !strings.Contains(operator.ServerLog.String(), `"group":"`+id+`"`) {
		t.Error("the server's log says nothing of members left out of the group")
	}
}

// Many clients change one group at once: every change is made.
func TestConcurrentMemberPatches(t *testing.T) {
	m := newMembership(t, okta.Template)
	m.client.Retries = 20
	ids := append(m.ofLetters("abcdef"), manyMore(t, m.client, 18)...)
	patchGroup(t, m.client, m.group, `{"op":"replace","path":"members","value":`+membersJSON(ids[:8]...)+`}`)
	var wait sync.WaitGroup
	for i, id := range ids {
		operation := `{"op":"Add","path":"members","value":[{"$ref":null,"value":"` + id + `"}]}`
		if i < 8 {
			operation = `{"op":"Remove","path":"members","value":[{"$ref":null,"value":"` + id + `"}]}`
		}
		wait.Go(func() {
			answer, err := m.client.Do(t.Context(), http.MethodPatch, "/Groups/"+m.group, []byte(patchOf(operation)))
			if err == nil {
				err = answer.ExpectStatus(http.StatusNoContent)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	hasMembers(t, m.client, m.group, ids[8:]...)
}

func manyMore(t *testing.T, client *okta.Client, count int) []string {
	t.Helper()
	var ids []string
	for range count {
		ids = append(ids, create(t, client, userJSON(newName(t, "more"), "")).Text("id"))
	}
	return ids
}
