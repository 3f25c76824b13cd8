package scim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// RFC 7644 section 3.4.2.3.
func TestSort(t *testing.T) {
	s := newClient(t, nil)
	for _, person := range []struct{ name, extra string }{
		{"dora@example.com", `,"name":{"familyName":"zimmer"},"title":"b","emails":[{"value":"d1@x","type":"home"},{"value":"a@x","primary":true}]`},
		{"Anna@example.com", `,"name":{"familyName":"Adler"},"title":"a"`},
		{"carl@example.com", `,"name":{"familyName":"öhler"},"title":"b","emails":[{"value":"c@x"}],"externalId":"z"`},
		{"Bert@example.com", `,"name":{"familyName":"Bär"},"emails":[{"value":"B@x"}],"externalId":"A"`},
	} {
		s.user(person.name, person.extra)
	}
	for _, name := range []string{"beta", "Alpha", "gamma"} {
		s.group(name)
	}
	s.listed("/Users", 4)
	s.listed("/Groups", 3)
	for _, test := range []struct{ query, want string }{
		{"sortBy=userName", "anna bert carl dora"},
		{"sortBy=userName&sortOrder=ascending", "anna bert carl dora"},
		{"sortBy=USERNAME&sortOrder=Descending", "dora carl bert anna"},
		{"sortBy=name.familyName", "anna bert dora carl"},
		{"sortBy=title", "anna dora carl bert"},                      // without a value: last
		{"sortBy=title&sortOrder=descending", "bert dora carl anna"}, // and first
		{"sortBy=emails", "dora bert carl anna"},                     // the primary one counts, else the first
		{"sortBy=emails.value&sortOrder=descending", "anna carl bert dora"},
		{"sortBy=externalId", "bert carl dora anna"},
		{"sortBy=meta.created", "dora anna carl bert"},
		{"sortBy=meta.created&sortOrder=descending", "bert carl anna dora"},
		{"sortBy=" + okta.SchemaUser + ":userName&filter=title%20pr", "anna carl dora"},
		{"sortBy=userName&filter=userName%20co%20%22a%40%22", "anna dora"},
	} {
		t.Run(test.query, func(t *testing.T) {
			s := s.on(t)
			all := s.list("/Users?" + test.query)
			var got []string
			for _, name := range textsOf(all, "userName") {
				first, _, _ := strings.Cut(strings.ToLower(name), "@")
				got = append(got, first)
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("the order is %q, want %q", strings.Join(got, " "), test.want)
			}
			var paged []string
			for start := 1; start <= len(got); start += 2 {
				page := s.list(fmt.Sprintf("/Users?%s&startIndex=%d&count=2", test.query, start))
				if page.Number("totalResults") != len(got) || page.Number("startIndex") != start {
					t.Errorf("totalResults or startIndex is wrong\n%s", page)
				}
				paged = append(paged, idsOf(page)...)
			}
			if !slices.Equal(paged, idsOf(all)) {
				t.Errorf("pages have the order %q, the whole %q", paged, idsOf(all))
			}
		})
	}
	if got := strings.Join(textsOf(s.list("/Groups?sortBy=displayName"), "displayName"), " "); got != "Alpha beta gamma" {
		t.Errorf("groups have the order %q", got)
	}
	if got := strings.Join(textsOf(s.list("/Groups?sortBy=displayName&sortOrder=descending&count=2"), "displayName"), " "); got != "gamma beta" {
		t.Errorf("groups have the order %q", got)
	}
	for target, scimType := range map[string]string{
		"/Users?sortBy=userName&sortOrder=upwards": "invalidValue", "/Users?sortBy=name": "invalidPath", "/Users?sortBy=a%5Bb": "invalidPath",
	} {
		s.refused(http.StatusBadRequest, scimType, http.MethodGet, target, "")
	}
}

const searchSchema = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"

// RFC 7644 section 3.4.3: a search answers what the same query answers.
func TestSearch(t *testing.T) {
	s := newClient(t, nil)
	var users []string
	for _, name := range []string{"search.one", "search.two", "search.three"} {
		users = append(users, s.user(newName(name), `,"displayName":"Searched `+name+`"`))
	}
	groups := []string{s.group("Searched group", users...), s.group("Other group")}
	s.listed("/Users", 3)
	s.listed("/Groups", 2)
	search := func(t *testing.T, target, members string) *okta.Exchange {
		t.Helper()
		s := s.on(t)
		answer := s.do(http.MethodPost, target, `{"schemas":["`+searchSchema+`"]`+members+`}`)
		s.must(answer.ExpectList())
		return answer
	}
	for _, test := range []struct {
		target, members string
		want            []string
		total           int
	}{
		{"/.search", ``, slices.Concat(users, groups), 5},
		{"/.search", `,"filter":"displayName sw \"searched\""`, slices.Concat(users, groups[:1]), 4},
		{"/.search", `,"filter":"meta.resourceType eq \"Group\""`, groups, 2},
		{"/.search", `,"startIndex":3,"count":2`, []string{users[2], groups[0]}, 5},
		{"/.search", `,"startIndex":5,"count":10`, groups[1:], 5},
		{"/.search", `,"startIndex":6`, nil, 5},
		{"/.search", `,"count":0`, nil, 5},
		{"/Users/.search", ``, users, 3},
		{"/Users/.search", `,"filter":"displayName co \"TWO\""`, users[1:2], 1},
		{"/Users/.search", `,"sortBy":"userName","sortOrder":"descending","count":2`, []string{users[1], users[2]}, 3},
		{"/Users/.search", `,"startIndex":2,"count":1`, users[1:2], 3},
		{"/Groups/.search", ``, groups, 2},
		{"/Groups/.search", `,"filter":"members.value eq \"` + users[0] + `\""`, groups[:1], 1},
		{"/Groups/.search", `,"sortBy":"displayName"`, []string{groups[1], groups[0]}, 2},
	} {
		t.Run(test.target+test.members, func(t *testing.T) {
			answer := search(t, test.target, test.members)
			if got := idsOf(answer); !slices.Equal(got, append([]string{}, test.want...)) || answer.Number("totalResults") != test.total {
				t.Errorf("found %q of %d, want %q of %d", got, answer.Number("totalResults"), test.want, test.total)
			}
		})
	}
	t.Run("attributes", func(t *testing.T) {
		only := search(t, "/.search", `,"attributes":["displayName"]`)
		for _, resource := range only.Resources() {
			resource := resource.(map[string]any)
			if resource["id"] == nil || resource["displayName"] == nil || resource["meta"] != nil || resource["userName"] != nil {
				t.Errorf("want id and displayName alone: %v", resource)
			}
		}
		without := search(t, "/Groups/.search", `,"excludedAttributes":["members","meta"]`)
		if text := string(without.Body); strings.Contains(text, `"members"`) || strings.Contains(text, `"meta"`) {
			t.Errorf("what was excluded is there\n%s", without)
		}
	})
	for body, scimType := range map[string]string{
		`{"filter":"nothing at all"}`: "invalidFilter", `[]`: "invalidSyntax", `{"startIndex":"first"}`: "invalidValue", `{"attributes":{}}`: "invalidValue",
	} {
		s.refused(http.StatusBadRequest, scimType, http.MethodPost, "/Users/.search", body)
	}
	s.refused(http.StatusMethodNotAllowed, "", http.MethodGet, "/Users/.search", "")
	s.refused(http.StatusMethodNotAllowed, "", http.MethodGet, "/.search", "")
	s.refused(http.StatusRequestEntityTooLarge, "", http.MethodPost, "/Users/.search", `{"x":"`+strings.Repeat("x", 1<<17)+`"}`)
}

// RFC 7644 section 3.9, and `returned` of RFC 7643 section 7.
func TestAttributes(t *testing.T) {
	s := newClient(t, nil)
	password := okta.NewPassword()
	operator.RememberPassword(password)
	name := newName("projected")
	created := s.do(http.MethodPost, "/Users?attributes=userName,password", userJSON(name, `,"password":"`+password+`","title":"T","name":{"givenName":"G","familyName":"F"},`+
		`"emails":[{"value":"w@x","type":"work","primary":true},{"value":"h@x","type":"home"}],"`+okta.SchemaEnterprise+`":{"department":"D","costCenter":"C"}`))
	s.must(created.ExpectStatus(http.StatusCreated))
	id := created.Text("id")
	s.listed("/Users", 1)
	keys := func(document any) string {
		object, _ := document.(map[string]any)
		var names []string
		for name := range object {
			if name != "schemas" {
				names = append(names, strings.TrimPrefix(name, "urn:ietf:params:scim:schemas:extension:"))
			}
		}
		return strings.Join(sorted(names), " ")
	}
	if got := keys(created.Document); got != "id userName" {
		t.Errorf("POST with attributes answers %q", got)
	}
	everything := "active emails enterprise:2.0:User id meta name title userName"
	for _, test := range []struct{ query, want string }{
		{"attributes=userName", "id userName"},
		{"attributes=USERNAME,%20title", "id title userName"},
		{"attributes=id", "id"},
		{"attributes=password", "id"},
		{"attributes=nothing", "id"},
		{"attributes=name.givenName", "id name"},
		{"attributes=" + okta.SchemaUser + ":title", "id title"},
		{"attributes=" + okta.SchemaEnterprise + ":department", "enterprise:2.0:User id"},
		{"attributes=" + okta.SchemaEnterprise, "enterprise:2.0:User id"},
		{"attributes=emails.value", "emails id"},
		{"attributes=meta.version", "id meta"},
		{"excludedAttributes=title,name,emails", "active enterprise:2.0:User id meta userName"},
		{"excludedAttributes=id,meta", "active emails enterprise:2.0:User id name title userName"},
		{"excludedAttributes=" + okta.SchemaEnterprise + "," + okta.SchemaUser + ":emails", "active id meta name title userName"},
		{"excludedAttributes=nothing", everything},
		{"attributes=userName,title&excludedAttributes=title", "id userName"},
		{"attributes=", everything},
	} {
		t.Run(test.query, func(t *testing.T) {
			s := s.on(t)
			ignoring := func(document any) string { // read-only attributes that an implementation may add
				return strings.Join(slices.DeleteFunc(strings.Fields(keys(document)), func(name string) bool { return name == "groups" }), " ")
			}
			if got := ignoring(s.get("/Users/" + id + "?" + test.query).Document); got != test.want {
				t.Errorf("GET answers %q, want %q", got, test.want)
			}
			if got := ignoring(s.list("/Users?" + test.query).Resources()[0]); got != test.want {
				t.Errorf("the list has %q, want %q", got, test.want)
			}
			patched := s.do(http.MethodPatch, "/Users/"+id+"?"+test.query, patchJSON(`{"op":"replace","path":"title","value":"T"}`))
			s.must(patched.ExpectStatus(http.StatusOK))
			if got := ignoring(patched.Document); got != test.want {
				t.Errorf("PATCH answers %q, want %q", got, test.want)
			}
		})
	}
	parts := s.get("/Users/" + id + "?attributes=name.givenName,emails.value," + okta.SchemaEnterprise + ":costCenter")
	got, _ := json.Marshal([]any{parts.At("name"), parts.At("emails"), parts.At(okta.SchemaEnterprise)})
	if want := `[{"givenName":"G"},[{"value":"w@x"},{"value":"h@x"}],{"costCenter":"C"}]`; string(got) != want {
		t.Errorf("sub-attributes alone are %s, want %s", got, want)
	}
	group := s.group("Projected", id)
	answered := s.do(http.MethodPatch, "/Groups/"+group+"?attributes=displayName", patchJSON(`{"op":"replace","path":"displayName","value":"Projected anew"}`))
	s.must(answered.ExpectStatus(http.StatusOK))
	if got := keys(answered.Document); got != "displayName id" {
		t.Errorf("PATCH of a group with attributes answers %q", got)
	}
	if got := keys(s.get("/Groups/" + group + "?attributes=members.value").Document); got != "id members" {
		t.Errorf("GET with members.value answers %q", got)
	}
}
