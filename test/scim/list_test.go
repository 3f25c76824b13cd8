package scim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
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

// cursorPage reads a page of a cursor: it has no startIndex (RFC 9865 section 2).
func (s *scim) cursorPage(target string) *okta.Exchange {
	s.t.Helper()
	page := s.get(target)
	if page.Number("totalResults") < 0 || page.Number("itemsPerPage") != len(page.Resources()) || page.At("startIndex") != nil {
		s.t.Fatalf("want totalResults, itemsPerPage of this page, and no startIndex\n%s", page)
	}
	return page
}

// through follows cursors to the end, and returns what each page had.
func (s *scim) through(target string) [][]string {
	s.t.Helper()
	var pages [][]string
	cursor := ""
	for {
		page := s.cursorPage(target + "&cursor=" + okta.Escape(cursor))
		pages = append(pages, idsOf(page))
		next, more := page.At("nextCursor").(string)
		if !more {
			return pages
		}
		if next == "" || next == cursor || len(pages) > 1000 {
			s.t.Fatalf("nextCursor leads nowhere\n%s", page)
		}
		cursor = next
	}
}

// RFC 9865: a user that is there from the first page to the last is seen once, whatever is written in the meantime.
func TestCursors(t *testing.T) {
	s := newClient(t, nil)
	var ids []string
	for i := range 23 {
		ids = append(ids, s.user(newName(fmt.Sprintf("cursor%d", i%7)), fmt.Sprintf(`,"title":"t%d"`, i%4)))
	}
	s.listed("/Users", len(ids))
	for _, query := range []string{"", "&sortBy=userName", "&sortBy=title&sortOrder=descending", "&filter=title%20pr", "&filter=active%20eq%20true&sortBy=meta.lastModified"} {
		t.Run("query "+query, func(t *testing.T) {
			s := s.on(t)
			pages := s.through("/Users?count=5" + query)
			all := slices.Concat(pages...)
			if len(pages) != 5 || len(pages[0]) != 5 || len(pages[4]) != 3 || !sameSet(all, ids) {
				t.Errorf("%d pages have %d of %d users", len(pages), len(all), len(ids))
			}
			if whole := idsOf(s.list("/Users?count=100" + query)); !slices.Equal(whole, all) {
				t.Errorf("cursors give the order %q, an index %q", all, whole)
			}
		})
	}
	t.Run("by searches", func(t *testing.T) {
		s := s.on(t)
		var got []string
		cursor := ""
		for {
			page := s.do(http.MethodPost, "/Users/.search", `{"schemas":["`+searchSchema+`"],"count":10,"cursor":"`+cursor+`"}`)
			s.must(page.ExpectStatus(http.StatusOK))
			got = append(got, idsOf(page)...)
			if cursor = page.Text("nextCursor"); cursor == "" {
				break
			}
		}
		if !sameSet(got, ids) {
			t.Errorf("searches with cursors found %d users of %d", len(got), len(ids))
		}
	})
	t.Run("groups", func(t *testing.T) {
		s := s.on(t)
		var groups []string
		for i := range 7 {
			groups = append(groups, s.group(fmt.Sprintf("Cursor group %d", i), ids[i]))
		}
		s.listed("/Groups", len(groups))
		for _, query := range []string{"", "&sortBy=displayName", "&filter=members%20pr", "&excludedAttributes=members"} {
			if got := slices.Concat(s.through("/Groups?count=3" + query)...); !slices.Equal(got, groups) {
				t.Errorf("query %q: cursors give %q, want %q", query, got, groups)
			}
			var got []string
			for start := 1; start <= len(groups); start += 3 {
				got = append(got, idsOf(s.list(fmt.Sprintf("/Groups?startIndex=%d&count=3%s", start, query)))...)
			}
			if !slices.Equal(got, groups) {
				t.Errorf("query %q: pages give %q, want %q", query, got, groups)
			}
		}
	})
	t.Run("a page that ends with the last", func(t *testing.T) {
		if pages := s.on(t).through("/Users?count=23"); len(pages) != 1 {
			t.Errorf("%d pages, want 1", len(pages))
		}
	})
	t.Run("back", func(t *testing.T) {
		s := s.on(t)
		for _, target := range []string{"/Users?count=5", "/Users?count=5&sortBy=title", "/Users?count=5&filter=title%20pr&sortBy=userName", "/Groups?count=3"} {
			pages := s.through(target)
			page := s.cursorPage(target + "&cursor=")
			for page.At("nextCursor") != nil {
				page = s.cursorPage(target + "&cursor=" + okta.Escape(page.Text("nextCursor")))
			}
			for i := len(pages) - 2; i >= 0; i-- {
				page = s.cursorPage(target + "&cursor=" + okta.Escape(page.Text("previousCursor")))
				if !slices.Equal(idsOf(page), pages[i]) || page.At("nextCursor") == nil {
					t.Errorf("%s: back on page %d there are %q, before there were %q", target, i, idsOf(page), pages[i])
				}
			}
			if page.At("previousCursor") != nil {
				t.Errorf("%s: the first page has a previousCursor\n%s", target, page)
			}
		}
	})
	t.Run("the total alone", func(t *testing.T) {
		page := s.on(t).cursorPage("/Users?cursor=&count=0")
		if page.Number("totalResults") != len(ids) || len(page.Resources()) != 0 || page.At("nextCursor") != nil {
			t.Errorf("a page of nothing\n%s", page)
		}
	})
	t.Run("refused", func(t *testing.T) {
		s := s.on(t)
		page := s.cursorPage("/Users?count=5&cursor=")
		next := okta.Escape(page.Text("nextCursor"))
		s.refused(http.StatusBadRequest, "invalidCursor", http.MethodGet, "/Users?cursor=made-up", "")
		s.refused(http.StatusBadRequest, "invalidCursor", http.MethodGet, "/Users?cursor="+next+"&filter=title%20pr", "")
		s.refused(http.StatusBadRequest, "invalidCursor", http.MethodGet, "/Users?cursor="+next+"&sortBy=title", "")
		s.refused(http.StatusBadRequest, "invalidCount", http.MethodGet, "/Users?cursor=&count=few", "")
		s.refused(http.StatusBadRequest, "invalidCount", http.MethodPost, "/Users/.search", `{"cursor":"","count":"few"}`)
	})
	t.Run("with concurrent writes", func(t *testing.T) { s.on(t).cursorsUnderWrites(ids) })
}

// A cursor of one endpoint is none of another (RFC 9865 section 2).
func TestCursorOfAnotherEndpoint(t *testing.T) {
	s := newClient(t, nil)
	s.user(newName("one"), "")
	s.user(newName("two"), "")
	s.listed("/Users", 2)
	next := okta.Escape(s.cursorPage("/Users?count=1&cursor=").Text("nextCursor"))
	s.refused(http.StatusBadRequest, "invalidCursor", http.MethodGet, "/Groups?cursor="+next, "")
}

func (s *scim) cursorsUnderWrites(stay []string) {
	var mu sync.Mutex
	var passing []string
	s.writeMeanwhile(stay, func() {
		for _, query := range []string{"", "&sortBy=userName", "&filter=userName%20sw%20%22cursor%22"} {
			for range 6 {
				all := slices.Concat(s.through("/Users?count=3" + query)...)
				seen := map[string]int{}
				for _, id := range all {
					seen[id]++
				}
				for _, id := range stay {
					if seen[id] != 1 {
						s.t.Errorf("query %q: %s was seen %d times", query, id, seen[id])
					}
				}
				for id, times := range seen {
					if times > 1 {
						s.t.Errorf("query %q: %s was seen %d times", query, id, times)
					}
				}
			}
		}
	}, func(id string) {
		mu.Lock()
		defer mu.Unlock()
		passing = append(passing, id)
	})
	if len(passing) == 0 {
		s.t.Error("no user was written meanwhile: the test has tested nothing")
	}
}

// writeMeanwhile creates, deletes and changes users while act runs. The users in stay keep what lists are sorted by.
func (s *scim) writeMeanwhile(stay []string, act func(), created func(id string)) {
	stop := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			answer, err := s.http.Do(s.t.Context(), http.MethodPost, "/Users", []byte(userJSON(newName("passing"), "")))
			if err != nil || answer.Status != http.StatusCreated {
				s.t.Errorf("a create meanwhile: %v %v", err, answer)
				return
			}
			created(answer.Text("id"))
			for method, target := range map[string]string{http.MethodDelete: "/Users/" + answer.Text("id"), http.MethodPatch: "/Users/" + stay[i%len(stay)]} {
				body := []byte(patchJSON(fmt.Sprintf(`{"op":"replace","path":"nickName","value":"%d"}`, i)))
				if method == http.MethodDelete {
					body = nil
				}
				if answer, err := s.http.Do(s.t.Context(), method, target, body); err != nil || answer.Status >= 300 {
					s.t.Errorf("%s meanwhile: %v %v", method, err, answer)
					return
				}
			}
		}
	})
	defer wait.Wait()
	defer close(stop)
	act()
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
