package directory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

func groupFilter(t testing.TB, d *Directory, text string) *protocol.Filter {
	t.Helper()
	parsed, err := protocol.ParseFilter(text)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := parsed.Bind(d.Groups.Schemas())
	if err != nil {
		t.Fatal(err)
	}
	return bound
}

func TestFindGroups(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d, other := replica(t, app), replica(t, app)
	d.members.inlineLimit = 3
	ids := people(t, d, app, 8)
	group := func(name, externalID string, members ...string) *v1alpha1.Group {
		resource := team(name, members...)
		resource.Attributes.Attributes["externalId"] = externalID
		made, err := d.Groups.Create(t.Context(), app, resource)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	staff := group("Staff", "00g1", ids...) // in shards
	guests := group("Guests", "00g2", ids[0], ids[1])
	empty := group("Empty", "00g3")
	for text, want := range map[string][]string{
		`displayName eq "STAFF"`:                                            {"Staff"},
		`displayName eq "nobody"`:                                           nil,
		`externalId eq "00g2"`:                                              {"Guests"},
		`externalId eq "00G2"`:                                              nil,
		`id eq "` + empty.Name + `"`:                                        {"Empty"},
		`members.value eq "` + ids[0] + `"`:                                 {"Staff", "Guests"},
		`members[value eq "` + ids[5] + `"]`:                                {"Staff"},
		`members eq "` + ids[1] + `"`:                                       {"Staff", "Guests"},
		`id eq "` + staff.Name + `" and members eq "` + ids[5] + `"`:        {"Staff"},
		`id eq "` + guests.Name + `" and members eq "` + ids[5] + `"`:       nil,
		`members[value eq "` + ids[5] + `"] and id eq "` + staff.Name + `"`: {"Staff"},
		`displayName eq "guests" and members.display sw "person"`:           {"Guests"},
		`displayName eq "empty" or displayName eq "staff"`:                  {"Staff", "Empty"},
		`displayName co "e" and not (members pr)`:                           {"Empty"},
		`members pr`:                             {"Staff", "Guests"},
		`meta.location ew "` + guests.Name + `"`: {"Guests"},
		`members.value eq "` + ids[0] + `" and displayName ne "Staff"`:                   {"Guests"},
		`externalId eq "00g1" and members[value eq "` + ids[7] + `" and type eq "User"]`: {"Staff"},
	} {
		for name, d := range map[string]*Directory{"writer": d, "other": other} {
			filter := groupFilter(t, d, text)
			check := func() bool {
				found, err := d.Groups.Find(t.Context(), app, filter, baseURL)
				if err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				var got []string
				for _, group := range found {
					got = append(got, group.Spec.DisplayName)
				}
				return slices.Equal(got, want)
			}
			if name == "writer" && !check() {
				t.Errorf("%s: not at once %v", text, want)
			}
			eventually(t, text, check)
		}
	}
}

func TestGroupPages(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	var want []string
	for i := range 25 {
		want = append(want, mustCreateGroup(t, d, app, fmt.Sprint("group ", i)).Name)
	}
	var byIndex, byPlace []string
	for start := 1; start <= 25; start += 7 {
		page, total := d.Groups.Page(app, start, 7)
		if total != 25 {
			t.Fatalf("%d groups in all", total)
		}
		for _, group := range page {
			byIndex = append(byIndex, group.Name)
		}
	}
	page, total := d.Groups.After(app, GroupCreatedAt(&v1alpha1.Group{}), "", 7)
	for len(page) > 0 && total == 25 {
		for _, group := range page {
			byPlace = append(byPlace, group.Name)
		}
		last := page[len(page)-1]
		page, total = d.Groups.After(app, GroupCreatedAt(last), last.Name, 7)
	}
	if !slices.Equal(byIndex, want) || !slices.Equal(byPlace, want) {
		t.Errorf("by index %v\nby place %v\nwant %v", byIndex, byPlace, want)
	}
	for _, of := range [][2]int{{26, 5}, {1, 0}, {1, -1}} {
		if page, total := d.Groups.Page(app, of[0], of[1]); len(page) != 0 || total != 25 {
			t.Errorf("page %v has %d of %d", of, len(page), total)
		}
	}
	if page, _ := d.Groups.Page(app, -3, 2); len(page) != 2 || page[0].Name != want[0] {
		t.Errorf("a page before the first: %d", len(page))
	}
}

// TestUsersShowTheirGroups compares a user in a list with the same user rendered by itself.
func TestUsersShowTheirGroups(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d, other := replica(t, app), replica(t, app)
	ids := people(t, d, app, 3)
	want := map[string][]string{}
	for _, name := range []string{`B "quoted" <b>`, "A", "C"} {
		group := mustCreateGroup(t, d, app, name, ids[0], ids[1])
		want[ids[0]], want[ids[1]] = append(want[ids[0]], group.Name), append(want[ids[1]], group.Name)
	}
	check := func(d *Directory) string {
		page, _, err := d.Users.List(app, baseURL, 1, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) != 3 {
			return fmt.Sprintf("%d users are listed", len(page))
		}
		for _, body := range page {
			var listed, alone map[string]any
			if err := json.Unmarshal(body, &listed); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			user, err := d.Users.Get(t.Context(), app, listed["id"].(string))
			if err != nil {
				t.Fatal(err)
			}
			resource, err := Resource(user)
			if err != nil {
				t.Fatal(err)
			}
			rendered, err := d.Users.Schemas(app).Render(resource, d.Users.Meta(user, baseURL), protocol.Projection{})
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(rendered, &alone); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(listed, alone) {
				return fmt.Sprintf("listed\n%s\nalone\n%s", body, rendered)
			}
			groups, _ := listed["groups"].([]any)
			if len(groups) != len(want[user.Name]) {
				return fmt.Sprintf("%s is in %v", user.Name, groups)
			}
		}
		return ""
	}
	if problem := check(d); problem != "" {
		t.Fatal(problem)
	}
	eventually(t, "another replica shows them", func() bool { return check(other) == "" })

	// A change of members shows without a change of the user.
	gone := want[ids[0]][0]
	if _, _, err := d.Groups.Update(t.Context(), app, gone, nil, removeMembers(ids[0])); err != nil {
		t.Fatal(err)
	}
	want[ids[0]] = want[ids[0]][1:]
	if _, _, err := d.Groups.Update(t.Context(), app, gone, setting("displayName", "Renamed"), MembersChange{}); err != nil {
		t.Fatal(err)
	}
	if problem := check(d); problem != "" {
		t.Fatal(problem)
	}
	page, _, err := d.Users.List(app, baseURL, 1, 10)
	if err != nil || !bytes.Contains(slices.Concat(page[0], page[1], page[2]), []byte(`"display":"Renamed"`)) {
		t.Errorf("the new name is not shown (%v)", err)
	}
	// Filters on groups.
	for text, count := range map[string]int{
		`groups.value eq "` + gone + `"`: 1, `groups.display eq "a"`: 2, `groups pr`: 2, `not (groups pr)`: 1,
		`groups[value eq "` + gone + `"] and userName sw "PERSON"`: 1,
	} {
		parsed, err := protocol.ParseFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		filter, err := parsed.Bind(d.Users.Schemas(app))
		if err != nil {
			t.Fatal(err)
		}
		if found, err := d.Users.Find(t.Context(), app, filter, baseURL); err != nil || len(found) != count {
			t.Errorf("%s: %v, %v", text, strings.Join(namesOf(found), ","), err)
		}
	}
}
