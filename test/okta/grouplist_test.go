package okta_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// Display names are unique in an App, in any letters; a rename or a deletion frees a name.
func TestGroupNames(t *testing.T) {
	client, _ := ownApp(t, okta.AppWizard)
	taken, own := newName(t, "Taken ß"), newName(t, "Own")
	first, second := createGroup(t, client, taken), createGroup(t, client, own)
	other := strings.ToUpper(strings.ReplaceAll(taken, "ß", "§"))
	other = strings.ReplaceAll(other, "§", "ß")
	for _, name := range []string{taken, other, strings.ToLower(other)} {
		must(t, do(t, client, http.MethodPost, "/Groups", groupJSON(name, "")).ExpectError(409, "uniqueness"))
		must(t, do(t, client, http.MethodPut, "/Groups/"+second, groupJSON(name, "")).ExpectError(409, "uniqueness"))
		must(t, do(t, client, http.MethodPatch, "/Groups/"+second, patchOf(`{"op":"replace","path":"displayName","value":`+quoted(name)+`}`)).ExpectError(409, "uniqueness"))
	}
	if got := getGroup(t, client, second).Text("displayName"); got != own {
		t.Errorf("the group is named %q after a refused rename, want %q", got, own)
	}
	if ids := findGroups(t, client, okta.Equals("displayName", other)); !slices.Equal(ids, []string{first}) {
		t.Errorf("the taken name finds %q, want %q", ids, first)
	}
	renamed := do(t, client, http.MethodPut, "/Groups/"+first, groupJSON(newName(t, "Renamed"), ""))
	must(t, renamed.ExpectGroup())
	patchGroup(t, client, second, `{"op":"replace","value":{"displayName":`+quoted(other)+`}}`)
	if got := getGroup(t, client, second).Text("displayName"); got != other {
		t.Errorf("the group is named %q, want %q", got, other)
	}
	must(t, do(t, client, http.MethodDelete, "/Groups/"+second, "").ExpectStatus(http.StatusNoContent))
	createGroup(t, client, taken)
	// Another App's groups have nothing to do with it.
	stranger, _ := ownApp(t, okta.AppWizard)
	createGroup(t, stranger, taken)
	must(t, do(t, stranger, http.MethodGet, "/Groups/"+first, "").ExpectError(404, ""))
	must(t, do(t, stranger, http.MethodPatch, "/Groups/"+first, patchOf(`{"op":"remove","path":"members"}`)).ExpectError(404, ""))
	must(t, do(t, stranger, http.MethodDelete, "/Groups/"+first, "").ExpectError(404, ""))
}

// Two server processes are asked for the same display name at once, by creating and by renaming: one request wins.
func TestTwoServersRaceForGroupNames(t *testing.T) {
	operator.ShowOnFailure(t)
	second, err := operator.RunServer(t.Context(), "")
	must(t, err)
	harness.StopAtEnd(t, second)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "race", nil)
	operator.Opens(t, second, app)
	var servers [2]*okta.Client
	for i, server := range []string{operator.Server.URL, second.URL} {
		servers[i] = okta.New(server+"/scim/v2", "Bearer "+app.Token, okta.Template)
		servers[i].Retries = 20
		t.Cleanup(servers[i].Close)
	}
	var own [racers]string
	for racer := range racers {
		own[racer] = createGroup(t, servers[racer%2], newName(t, "racer"))
	}
	for round := range 3 {
		var mu sync.Mutex
		var won []string
		var wait sync.WaitGroup
		for racer := range racers {
			wait.Go(func() {
				method, target, body := http.MethodPost, "/Groups", groupJSON(spell("prize group", racer), `,"members":[]`)
				if round > 0 && racer/2%2 == 0 {
					method, target, body = http.MethodPatch, "/Groups/"+own[racer], patchOf(`{"op":"replace","value":{"displayName":"`+spell("prize group", racer)+`"}}`)
				}
				answer, err := servers[racer%2].Do(t.Context(), method, target, []byte(body))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					t.Error(err)
				case answer.Status == http.StatusCreated:
					won = append(won, answer.Text("id"))
				case answer.Status == http.StatusNoContent:
					won = append(won, own[racer])
				default:
					if err := answer.ExpectError(http.StatusConflict, "uniqueness"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		if t.Failed() || len(won) != 1 {
			t.Fatalf("round %d: %d racers won: %q", round, len(won), won)
		}
		for number, server := range servers {
			if got := findGroups(t, server, `displayName eq "PRIZE GROUP"`); !slices.Equal(got, won) {
				t.Errorf("server %d finds %q, want %q", number, got, won)
			}
		}
		must(t, do(t, servers[round%2], http.MethodDelete, "/Groups/"+won[0], "").ExpectStatus(http.StatusNoContent))
		for racer := range racers {
			if own[racer] == won[0] {
				own[racer] = createGroup(t, servers[racer%2], newName(t, "racer"))
			}
		}
	}
}

func TestGroupFilters(t *testing.T) {
	m := newMembership(t, okta.AppWizard)
	names := map[string]string{}
	groups := map[string]string{"empty": m.group}
	for name, letters := range map[string]string{"one": "a", "two": "ab", "three": "bcd"} {
		names[name] = newName(t, "Filter "+name)
		answer := do(t, m.client, http.MethodPost, "/Groups",
			groupJSON(names[name], `,"externalId":"Ext-`+name+`","members":`+membersJSON(m.ofLetters(letters)...)))
		must(t, answer.ExpectGroup(http.StatusCreated))
		groups[name] = answer.Text("id")
	}
	soon(t, "the list", func(context.Context) error {
		if list := do(t, m.client, http.MethodGet, "/Groups?count=0", ""); list.Number("totalResults") != 4 {
			return fmt.Errorf("want 4 groups\n%s", list)
		}
		return nil
	})
	for _, test := range []struct{ filter, want string }{
		{okta.Equals("displayName", names["one"]), "one"},
		{okta.Equals("displayName", strings.ToUpper(names["one"])), "one"},
		{"DISPLAYNAME EQ \"" + names["one"] + `"`, "one"},
		{okta.Equals(okta.SchemaGroup+":displayName", names["two"]), "two"},
		{okta.Equals("displayName", "nobody"), ""},
		{`displayName sw "filter "`, "one two three"},
		{`displayName co "TWO"`, "two"},
		{okta.Equals("externalId", "Ext-two"), "two"},
		{okta.Equals("externalId", "ext-two"), ""}, // caseExact
		{"externalId pr", "one two three"},
		{"not (externalId pr)", "empty"},
		{okta.Equals("id", groups["three"]), "three"},
		{okta.Equals("id", strings.ToUpper(groups["three"])), ""},
		{`members.value eq "<a>"`, "one two"},
		{`members eq "<b>"`, "two three"},
		{`members[value eq "<a>"]`, "one two"},
		{`members[value eq "<z>"]`, ""},
		{`members.value eq "<e>"`, ""},
		{`members.display eq "<c.name>"`, "three"},
		{`members[value eq "<b>" and type eq "User"]`, "two three"},
		{`members[type eq "Group"]`, ""},
		{`members pr`, "one two three"},
		{`members.value eq "<a>" and members.value eq "<b>"`, "two"},
		{`members.value eq "<a>" or externalId eq "Ext-three"`, "one two three"},
		{`id eq "` + groups["two"] + `" and members eq "<b>"`, "two"},
		{`id eq "` + groups["two"] + `" and members eq "<c>"`, ""},
		{`members[value eq "<a>"] and not (displayName co "two")`, "one"},
		{`meta.resourceType eq "Group"`, "empty one two three"},
		{`meta.created gt "2001-01-01T00:00:00Z" and displayName pr`, "empty one two three"},
	} {
		t.Run(test.filter, func(t *testing.T) {
			var want []string
			for name := range strings.FieldsSeq(test.want) {
				want = append(want, groups[name])
			}
			filter := m.fill(test.filter)
			// Members follow the API server by watch, where a filter does not name the group.
			soon(t, filter, func(context.Context) error {
				got := findGroups(t, m.client, filter)
				if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
					return fmt.Errorf("found %q, want %q", got, want)
				}
				return nil
			})
		})
	}
	t.Run("without members", func(t *testing.T) {
		for _, target := range []string{
			"/Groups/" + groups["two"] + "?excludedAttributes=members",
			"/Groups?excludedAttributes=members&filter=" + okta.Escape(okta.Equals("displayName", names["two"])),
			"/Groups?filter=" + okta.Escape(okta.Equals("displayName", names["two"])) + "&excludedAttributes=MEMBERS",
			"/Groups?excludedAttributes=" + okta.Escape(okta.SchemaGroup+":members"),
		} {
			answer := do(t, m.client, http.MethodGet, target, "")
			must(t, answer.ExpectStatus(http.StatusOK))
			if strings.Contains(string(answer.Body), `"members"`) || !strings.Contains(string(answer.Body), groups["two"]) {
				t.Errorf("want the group without members\n%s", answer)
			}
		}
	})
	t.Run("members in lists", func(t *testing.T) {
		list := do(t, m.client, http.MethodGet, "/Groups", "")
		must(t, list.ExpectGroups())
		for _, group := range list.Resources() {
			want := map[any]int{groups["one"]: 1, groups["two"]: 2, groups["three"]: 3}[okta.At(group, "id")]
			if got := len(okta.MembersIn(group)); got != want {
				t.Errorf("a group has %d members, want %d\n%s", got, want, list)
			}
		}
	})
}

// Where the App takes no groups, every write says so, and what Okta asks to test a connection still works.
func TestGroupsSwitchedOff(t *testing.T) {
	operator.ShowOnFailure(t)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "nogroups", func(spec *v1alpha1.AppSpec) {
		spec.Provisioning.PushGroups = new(bool)
	})
	client := operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
	say(t)(client.TestConnection(t.Context(), true))
	user := create(t, client, userJSON(newName(t, "groupless"), "")).Text("id")
	for _, refused := range []struct{ method, target, body string }{
		{http.MethodPost, "/Groups", groupJSON("Refused", "")},
		{http.MethodPut, "/Groups/some", groupJSON("Refused", "")},
		{http.MethodPatch, "/Groups/some", patchOf(`{"op":"add","path":"members","value":[{"value":"` + user + `"}]}`)},
		{http.MethodDelete, "/Groups/some", ""},
	} {
		must(t, do(t, client, refused.method, refused.target, refused.body).ExpectError(http.StatusNotImplemented, ""))
	}
	must(t, do(t, client, http.MethodGet, "/Groups/some", "").ExpectError(http.StatusNotFound, ""))
	for _, query := range []string{"", "?startIndex=1&count=100", okta.FilterQuery(okta.Equals("displayName", "Refused")), "?sortBy=displayName", "?cursor="} {
		list := do(t, client, http.MethodGet, "/Groups"+query, "")
		must(t, list.ExpectStatus(http.StatusOK))
		if list.Number("totalResults") != 0 || len(list.Resources()) != 0 {
			t.Errorf("want an empty list\n%s", list)
		}
	}
	types := do(t, client, http.MethodGet, "/ResourceTypes", "")
	must(t, types.ExpectList())
	if slices.Contains(idsOf(types), "Group") {
		t.Errorf("the resource type Group is listed, of which there can be none\n%s", types)
	}
	if groups, ok := get(t, client, user).At("groups").([]any); ok && len(groups) > 0 {
		t.Errorf("the user is in groups: %v", groups)
	}
}
