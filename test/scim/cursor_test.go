package scim_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

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
