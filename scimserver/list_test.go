package scimserver

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// person is a resource of a collection in memory.
type person struct {
	id, title string
	created   time.Time
}

func (p person) resource() protocol.Resource {
	attributes := map[string]any{"userName": p.id}
	if p.title != "" {
		attributes["title"] = p.title
	}
	return protocol.Resource{Attributes: attributes}
}

// peopleOf makes a collection of people, which must be in order.
func peopleOf(t *testing.T, people *[]person) collection[person] {
	t.Helper()
	schemas, err := protocol.NewUserSchemas(nil)
	if err != nil {
		t.Fatal(err)
	}
	complete := func(p person) map[string]any { return schemas.Complete(p.resource(), protocol.Meta{ID: p.id}) }
	return collection[person]{
		schemas: schemas,
		page: func(startIndex, count int) ([]person, int) {
			from := min(startIndex-1, len(*people))
			return (*people)[from : from+min(count, len(*people)-from)], len(*people)
		},
		after: func(created time.Time, id string, count int) ([]person, int) {
			rest := *people
			if id != "" {
				rest = slices.Clone(rest)
				rest = slices.DeleteFunc(rest, func(p person) bool {
					order := p.created.Compare(created)
					return order < 0 || order == 0 && p.id <= id
				})
			}
			return rest[:min(count, len(rest))], len(*people)
		},
		before: func(created time.Time, id string, count int) []person {
			to := slices.IndexFunc(*people, func(p person) bool {
				return cmp.Or(p.created.Compare(created), cmp.Compare(p.id, id)) >= 0
			})
			if to < 0 {
				to = len(*people)
			}
			return (*people)[max(0, to-count):to]
		},
		find: func(filter *protocol.Filter) ([]person, error) {
			var found []person
			for _, p := range *people {
				if filter.Matches(complete(p)) {
					found = append(found, p)
				}
			}
			return found, nil
		},
		complete: func(p person) (map[string]any, error) { return complete(p), nil },
		render: func(w *answerWriter, p person, projection protocol.Projection) error {
			body, err := schemas.Render(p.resource(), protocol.Meta{ID: p.id}, projection)
			_, writeErr := w.Write(body)
			return errors.Join(err, writeErr)
		},
		step:       func() error { return nil },
		positionOf: func(p person) (time.Time, string) { return p.created, p.id },
	}
}

type listAnswer struct {
	TotalResults int
	StartIndex   *int
	ItemsPerPage int
	NextCursor   string

	PreviousCursor string
	Resources      []struct{ ID, Title string }
}

func ask(t *testing.T, c collection[person], query string) listAnswer {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parseListQuery(endpointUsers, values)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	recorder := httptest.NewRecorder()
	x := &exchange{request: httptest.NewRequest(http.MethodGet, "/Users", nil), writer: recorder, log: logr.Discard()}
	if err := c.list(x, parsed); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var answer listAnswer
	body, err := io.ReadAll(recorder.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%s: %v in %s", query, err, body)
	}
	if answer.ItemsPerPage != len(answer.Resources) {
		t.Fatalf("%s: itemsPerPage %d of %d resources", query, answer.ItemsPerPage, len(answer.Resources))
	}
	return answer
}

func crowd(n int) []person {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	people := make([]person, n)
	for i := range people {
		// Three of them at the same time each, so that the id has to tell them apart.
		people[i] = person{id: fmt.Sprintf("p%04d", i), created: start.Add(time.Duration(i/3) * time.Second)}
		if i%5 != 0 {
			people[i].title = fmt.Sprintf("title %d", (i*7919)%17)
		}
	}
	return people
}

// Whatever the query and the page size, pages by index and pages by cursor give the same resources in the same order.
func TestPagesByIndexAndCursorAgree(t *testing.T) {
	people := crowd(137)
	c := peopleOf(t, &people)
	for _, query := range []string{
		"", "filter=title+pr", "sortBy=title", "sortBy=title&sortOrder=descending", "sortBy=userName&sortOrder=descending",
		"filter=" + url.QueryEscape(`title sw "title 1"`) + "&sortBy=title", "attributes=userName", "filter=title+eq+%22none%22",
	} {
		whole := ask(t, c, query+"&count=1000")
		for _, count := range []int{1, 7, 50, 137, 1000} {
			var byIndex, byCursor []string
			for start := 1; ; start += count {
				page := ask(t, c, fmt.Sprintf("%s&startIndex=%d&count=%d", query, start, count))
				if page.TotalResults != whole.TotalResults || page.StartIndex == nil || *page.StartIndex != start {
					t.Fatalf("%s from %d: %+v", query, start, page)
				}
				if len(page.Resources) == 0 {
					break
				}
				byIndex = append(byIndex, ids(page)...)
			}
			var next, previous string
			var pages [][]string
			for {
				page := ask(t, c, fmt.Sprintf("%s&cursor=%s&count=%d", query, next, count))
				if page.TotalResults != whole.TotalResults || page.StartIndex != nil {
					t.Fatalf("%s at %q: %+v", query, next, page)
				}
				if byCursor = append(byCursor, ids(page)...); len(page.Resources) > 0 {
					pages = append(pages, ids(page))
				}
				if first := len(pages) < 2; first != (page.PreviousCursor == "") {
					t.Fatalf("%s by %d: page %d has the previousCursor %q", query, count, len(pages), page.PreviousCursor)
				}
				previous = page.PreviousCursor
				if next = page.NextCursor; next == "" {
					break
				}
				if url.QueryEscape(next) != next {
					t.Fatalf("cursor %q is not made of unreserved characters", next)
				}
			}
			for i := len(pages) - 2; i >= 0; i-- {
				page := ask(t, c, fmt.Sprintf("%s&cursor=%s&count=%d", query, previous, count))
				if !slices.Equal(ids(page), pages[i]) || page.NextCursor == "" || (i == 0) != (page.PreviousCursor == "") {
					t.Fatalf("%s by %d: back on page %d: %+v, before it was %q", query, count, i, page, pages[i])
				}
				previous = page.PreviousCursor
			}
			if !slices.Equal(byIndex, ids(whole)) || !slices.Equal(byCursor, ids(whole)) {
				t.Errorf("%s by %d: %d by index, %d by cursor, %d in all, or in another order", query, count, len(byIndex), len(byCursor), len(whole.Resources))
			}
		}
	}
}

func ids(page listAnswer) []string {
	var all []string
	for _, resource := range page.Resources {
		all = append(all, resource.ID)
	}
	return all
}

// People that come and go while a client pages by cursor neither hide the others nor show one of them twice.
func TestCursorIsStableUnderWrites(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, query := range []string{"", "sortBy=title", "sortBy=title&sortOrder=descending"} {
		people := crowd(200)
		c := peopleOf(t, &people)
		stays := map[string]bool{}
		for _, p := range people {
			stays[p.id] = true
		}
		seen, next := map[string]int{}, ""
		for {
			page := ask(t, c, fmt.Sprintf("%s&cursor=%s&count=9", query, next))
			for _, id := range ids(page) {
				seen[id]++
			}
			if next = page.NextCursor; next == "" {
				break
			}
			gone := random.IntN(len(people))
			delete(stays, people[gone].id)
			people = slices.Delete(people, gone, gone+1)
			people = append(people, person{id: fmt.Sprintf("q%04d", len(seen)), created: people[len(people)-1].created.Add(time.Second), title: "title 3"})
		}
		for id, times := range seen {
			if times != 1 {
				t.Errorf("%s: %s was shown %d times", query, id, times)
			}
		}
		for id := range stays {
			if seen[id] == 0 {
				t.Errorf("%s: %s was there all the time and not shown", query, id)
			}
		}
	}
}

// A page of nothing tells the total; the way back leads to what is there, whatever has gone.
func TestCursorsAtTheEdges(t *testing.T) {
	people := crowd(9)
	c := peopleOf(t, &people)
	for _, query := range []string{"", "&filter=userName+pr", "&sortBy=userName"} {
		for _, count := range []string{"0", "-3"} {
			if page := ask(t, c, "cursor=&count="+count+query); page.TotalResults != len(people) || len(page.Resources) > 0 || page.NextCursor != "" || page.PreviousCursor != "" {
				t.Errorf("%s: a page of %s: %+v", query, count, page)
			}
		}
	}
	second := ask(t, c, "count=3&cursor="+ask(t, c, "count=3&cursor=").NextCursor)
	people = people[3:]
	if page := ask(t, c, "count=3&cursor="+second.PreviousCursor); !slices.Equal(ids(page), ids(second)) || page.PreviousCursor != "" || page.NextCursor == "" {
		t.Errorf("back to where no user is left: %+v", page)
	}
	if page := ask(t, c, "count=3&cursor="+second.NextCursor); len(page.Resources) != 3 || page.PreviousCursor == "" || page.NextCursor != "" {
		t.Errorf("the last page: %+v", page)
	}
}

func TestListQueryRefuses(t *testing.T) {
	people := crowd(20)
	c := peopleOf(t, &people)
	good := ask(t, c, "cursor=&count=5").NextCursor
	for query, scimType := range map[string]string{
		"startIndex=x":                   "invalidValue",
		"count=1.5":                      "invalidValue",
		"sortOrder=up&sortBy=title":      "invalidValue",
		"filter=":                        "invalidFilter",
		"filter=+%20":                    "invalidFilter",
		"cursor=&count=x":                "invalidCount",
		"cursor=nonsense!":               "invalidCursor",
		"cursor=e30":                     "invalidCursor",
		"filter=title+pr&cursor=" + good: "invalidCursor",
		"sortBy=title&cursor=" + good:    "invalidCursor",
		"attributes=" + strings.Repeat("a,", 4000): "invalidValue",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parseListQuery(endpointUsers, values)
		var problem *protocol.Error
		ok := errors.As(err, &problem)
		if !ok || problem.Status != 400 || problem.ScimType != scimType {
			t.Errorf("%.40s: %v, want 400 %s", query, err, scimType)
		}
	}
	if _, err := parseListQuery(endpointGroups, url.Values{"cursor": {good}}); err == nil {
		t.Error("a cursor of users was taken for groups")
	}
	for query, want := range map[string][2]int{
		"startIndex=0": {1, 20}, "startIndex=-4&count=3": {1, 3}, "count=-1": {1, 0}, "startIndex=21": {21, 0},
		"startIndex=9999999999999&count=9999999": {9999999999999, 0}, "count=9999999": {1, 20},
	} {
		page := ask(t, c, query)
		if page.TotalResults != 20 || *page.StartIndex != want[0] || len(page.Resources) != want[1] {
			t.Errorf("%s: total %d, startIndex %d, %d resources; want 20, %d, %d", query, page.TotalResults, *page.StartIndex, len(page.Resources), want[0], want[1])
		}
	}
}
