package okta_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// manyUsers fills an App and waits until its list has them all.
func manyUsers(t *testing.T, client *okta.Client, count int) []string {
	t.Helper()
	var ids []string
	for i := range count {
		ids = append(ids, create(t, client, userJSON(newName(t, "page"+strconv.Itoa(i%10)), "")).Text("id"))
	}
	listed(t, client, count)
	return ids
}

// listed waits until the list, which follows the API server by watch, has that many users.
func listed(t *testing.T, client *okta.Client, count int) {
	t.Helper()
	soon(t, "the list", func(context.Context) error {
		if total := do(t, client, http.MethodGet, "/Users?count=0", "").Number("totalResults"); total != count {
			return fmt.Errorf("totalResults is %d, want %d", total, count)
		}
		return nil
	})
}

func TestPaging(t *testing.T) {
	client, _ := ownApp(t, okta.AppWizard)
	const total = 12
	created := manyUsers(t, client, total)
	all := do(t, client, http.MethodGet, "/Users?startIndex=1&count=100", "")
	must(t, all.ExpectUsers())
	order := idsOf(all)
	if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, slices.Sorted(slices.Values(created))) {
		t.Fatalf("the list has %q, want %q", order, created)
	}
	for _, test := range []struct {
		query      string
		startIndex int
		want       []string
	}{
		{"", 1, order},
		{"?count=5", 1, order[:5]},
		{"?startIndex=4", 4, order[3:]},
		{"?startIndex=4&count=3", 4, order[3:6]},
		{"?count=3&startIndex=4", 4, order[3:6]},
		{"?startIndex=12&count=100", 12, order[11:]},
		{"?startIndex=13&count=100", 13, nil},
		{"?startIndex=101&count=100", 101, nil},
		{"?startIndex=9223372036854775807&count=100", 9223372036854775807, nil},
		{"?count=0", 1, nil},
		{"?startIndex=0&count=2", 1, order[:2]},
		{"?startIndex=-3&count=2", 1, order[:2]},
		{"?startIndex=1&count=-1", 1, nil},
	} {
		t.Run("query "+test.query, func(t *testing.T) {
			answer := do(t, client, http.MethodGet, "/Users"+test.query, "")
			must(t, answer.ExpectUsers())
			if got := idsOf(answer); !slices.Equal(got, test.want) {
				t.Errorf("the page has %q, want %q\n%s", got, test.want, answer)
			}
			if answer.Number("totalResults") != total || answer.Number("startIndex") != test.startIndex {
				t.Errorf("totalResults %d startIndex %d, want %d and %d", answer.Number("totalResults"), answer.Number("startIndex"), total, test.startIndex)
			}
		})
	}
	t.Run("order is kept by updates", func(t *testing.T) {
		for _, id := range order[:4] {
			patch(t, client, id, `{"op":"replace","value":{"title":"moved?"}}`)
		}
		soon(t, "the list with the updates", func(context.Context) error {
			page := do(t, client, http.MethodGet, "/Users?startIndex=1&count=100", "")
			if page.Text("Resources", 3, "title") != "moved?" {
				return fmt.Errorf("the list is still without the last update")
			}
			if got := idsOf(page); !slices.Equal(got, order) {
				return fmt.Errorf("the order is %q, was %q", got, order)
			}
			return nil
		})
	})
}

// A count of 100 is honoured in full: Okta's next page begins 100 later whatever came.
func TestImportOfSeveralPages(t *testing.T) {
	client, _ := ownApp(t, okta.AppWizard)
	const total = 205
	ids := manyUsers(t, client, total)
	inactive := &okta.Assignment{ID: ids[0]}
	must(t, do(t, client, http.MethodPatch, "/Users/"+inactive.ID, patchOf(`{"op":"replace","value":{"active":false}}`)).ExpectUser())
	users, conversation, err := client.Import(t.Context())
	must(t, err)
	if len(conversation) != 3 {
		t.Errorf("the import took %d pages, want 3", len(conversation))
	}
	seen := map[string]bool{}
	for _, user := range users {
		id, _ := okta.At(user, "id").(string)
		if seen[id] {
			t.Errorf("%s is on two pages", id)
		}
		seen[id] = true
	}
	if len(seen) != total {
		t.Errorf("the import has %d users, want %d", len(seen), total)
	}
}

func TestFilters(t *testing.T) {
	client, _ := ownApp(t, okta.AppWizard)
	jane, tagged, foreign := newName(t, "Jane.Filter"), newName(t, "jo+tag"), newName(t, "Zoë.Ünal")
	body := func(userName, externalID, email string) string {
		return `{"schemas":["` + okta.SchemaUser + `"],"userName":"` + userName + `","name":{"givenName":"G","familyName":"F"},` +
			`"emails":[{"value":"home-` + email + `","type":"home"},{"primary":true,"value":"` + email + `","type":"work"}],` +
			`"externalId":"` + externalID + `","active":true}`
	}
	janeID := create(t, client, body(jane, "00uJane", "jane@mail.example.com")).Text("id")
	taggedID := create(t, client, body(tagged, "00uTagged", "jo+tag@mail.example.com")).Text("id")
	foreignID := create(t, client, body(foreign, "00uForeign", "zoe@mail.example.com")).Text("id")
	quotedID := create(t, client, body(`o\"brien\\x@example.com`, "00uQuoted", "quoted@mail.example.com")).Text("id")
	listed(t, client, 4)
	everybody := []string{janeID, taggedID, foreignID, quotedID}

	for _, test := range []struct {
		filter string
		want   []string
	}{
		{okta.Equals("userName", jane), []string{janeID}},
		{okta.Equals("userName", strings.ToUpper(jane)), []string{janeID}},
		{"USERNAME EQ \"" + strings.ToLower(jane) + `"`, []string{janeID}},
		{okta.SchemaUser + ":" + okta.Equals("userName", jane), []string{janeID}},
		{okta.Equals("userName", tagged), []string{taggedID}},
		{okta.Equals("userName", strings.ToUpper(foreign)), []string{foreignID}},
		{`userName eq "o\"BRIEN\\x@example.com"`, []string{quotedID}},
		{okta.Equals("userName", "nobody@example.com"), nil},
		{okta.Equals("userName", ""), nil},
		{okta.Equals("userName", "*"), nil},
		{okta.Equals("externalId", "00uJane"), []string{janeID}},
		{okta.Equals("externalId", "00UJANE"), nil}, // caseExact
		{"externalId eq 00uJane", []string{janeID}}, // as one client's manual writes it
		{okta.Equals("id", janeID), []string{janeID}},
		{okta.Equals("id", strings.ToUpper(janeID)), nil},
		{okta.Equals("id", "nothing"), nil},
		{okta.Equals("email", "jane@mail.example.com"), []string{janeID}},
		{okta.Equals("emails", "jane@mail.example.com"), []string{janeID}},
		{okta.Equals("emails.value", "JANE@mail.example.com"), []string{janeID}},
		{okta.Equals("emails.value", "home-jane@mail.example.com"), []string{janeID}},
		{`emails[type eq "work"].value eq "jane@mail.example.com"`, []string{janeID}},
		{`emails[type eq "work"].value eq "home-jane@mail.example.com"`, nil},
		{`emails[type eq "work" and value eq "jane@mail.example.com"]`, []string{janeID}},
		{`email eq "none@example.com" or email eq "jane@mail.example.com"`, []string{janeID}},
		{okta.Equals("userName", jane) + " or " + okta.Equals("userName", tagged) + " or " + okta.Equals("userName", "no"), []string{janeID, taggedID}},
		{okta.Equals("userName", jane) + " or " + okta.Equals("externalId", "00uJane"), []string{janeID}},
		{okta.Equals("userName", jane) + " and active eq true", []string{janeID}},
		{okta.Equals("userName", jane) + " and active eq false", nil},
		{okta.Equals("id", janeID) + " and " + okta.Equals("externalId", "00uJane"), []string{janeID}},
		{"(" + okta.Equals("userName", jane) + " or " + okta.Equals("userName", tagged) + ") and " + okta.Equals("externalId", "00uTagged"), []string{taggedID}},
		{"active eq true", everybody},
	} {
		t.Run(test.filter, func(t *testing.T) {
			got := find(t, client, test.filter)
			if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(test.want))) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
	t.Run("a plus is a space in the older encoding", func(t *testing.T) {
		answer := do(t, client, http.MethodGet, "/Users?filter=userName+eq+%22"+strings.ReplaceAll(jane, "@", "%40")+"%22", "")
		must(t, answer.ExpectUsers())
		if got := idsOf(answer); !slices.Equal(got, []string{janeID}) {
			t.Errorf("found %q, want %q\n%s", got, janeID, answer)
		}
	})
	t.Run("pages of a filter", func(t *testing.T) {
		answer := do(t, client, http.MethodGet, "/Users?filter=active%20eq%20true&startIndex=2&count=2", "")
		must(t, answer.ExpectUsers())
		if answer.Number("totalResults") != 4 || answer.Number("startIndex") != 2 || len(idsOf(answer)) != 2 {
			t.Errorf("want 2 of 4 users from the second\n%s", answer)
		}
	})
}

// What a write acknowledged, a look-up shows at once: by id and by userName, with no time to catch up.
func TestReadYourWrites(t *testing.T) {
	client, _ := ownApp(t, okta.AppWizard)
	for range 20 {
		name := newName(t, "at.once")
		id := create(t, client, userJSON(name, "")).Text("id")
		if got := find(t, client, okta.Equals("userName", name)); !slices.Equal(got, []string{id}) {
			t.Fatalf("userName eq %q finds %q, want %q", name, got, id)
		}
		renamed := newName(t, "renamed.at.once")
		patch(t, client, id, `{"op":"replace","value":{"userName":"`+renamed+`","active":false}}`)
		if got := get(t, client, id); got.Text("userName") != renamed || got.At("active") != false {
			t.Fatalf("the user is not what the PATCH answered\n%s", got)
		}
		if got := find(t, client, okta.Equals("userName", renamed)); !slices.Equal(got, []string{id}) {
			t.Fatalf("userName eq %q finds %q, want %q", renamed, got, id)
		}
		if got := find(t, client, okta.Equals("userName", name)); len(got) != 0 {
			t.Fatalf("userName eq %q, the former name, finds %q", name, got)
		}
	}
}
