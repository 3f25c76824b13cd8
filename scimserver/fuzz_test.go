package scimserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

func FuzzListQuery(f *testing.F) {
	position := cursor{Query: queryDigest(endpointUsers, "", "", ""), ID: "ada-abcdefghij"}
	for _, query := range []string{
		"startIndex=1&count=10", "cursor", "cursor=" + position.String(), "cursor=e30&count=x", "filter=userName+eq+%22a%22&sortBy=title&sortOrder=descending",
		"attributes=userName&excludedAttributes=emails.type", "count=-99999999999999999999", "filter=",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		parsed, err := parseListQuery(endpointUsers, values)
		var problem *protocol.Error
		if err != nil {
			if !errors.As(err, &problem) || problem.Status != 400 || problem.Detail == "" {
				t.Fatalf("not an error of the protocol: %v", err)
			}
			return
		}
		if parsed.startIndex < 1 || parsed.count < 0 || parsed.count > maxPageSize {
			t.Fatalf("startIndex %d, count %d", parsed.startIndex, parsed.count)
		}
		if given := parsed.cursor; given != nil && given.ID != "" {
			again, err := parseCursor(given.String(), queryDigest(endpointUsers, parsed.filter, values.Get("sortBy"), values.Get("sortOrder")))
			if err != nil || again.String() != given.String() {
				t.Fatalf("a cursor that was taken comes back as %v, %v", again, err)
			}
		}
	})
}

// FuzzCursor lists by cursors that no answer contained: whatever the place, the pages on from there are in order, and the
// way back leads to the same.
func FuzzCursor(f *testing.F) {
	for _, position := range []string{
		`{"i":"p0003","c":"2026-01-01T00:00:01Z"}`, `{"i":"p0011","c":"2026-01-01T00:00:03Z","b":true}`, `{"i":"p0003","k":{"k":4,"t":"title 3"}}`,
		`{"i":"x","k":{"k":2,"n":"1e400"},"b":true}`, `{"i":"p","c":"9999-12-31T23:59:59-23:59"}`, `{"i":"p0000","k":{}}`, `{"i":""}`,
	} {
		f.Add(position, "", false, byte(3))
		f.Add(position, "title", true, byte(4))
	}
	people := crowd(25)
	f.Fuzz(func(t *testing.T, position, sortBy string, descending bool, count byte) {
		var at cursor
		if json.Unmarshal([]byte(position), &at) != nil || at.ID == "" {
			return
		}
		values := url.Values{"sortBy": {sortBy}, "count": {strconv.Itoa(int(count) % 30)}}
		if descending {
			values.Set("sortOrder", "descending")
		}
		at.Query = queryDigest(endpointUsers, "", sortBy, values.Get("sortOrder"))
		values.Set("cursor", at.String())
		c := peopleOf(t, &people)
		query, err := parseListQuery(endpointUsers, values)
		if err == nil {
			err = c.list(&exchange{request: httptest.NewRequest(http.MethodGet, "/Users", nil), writer: httptest.NewRecorder(), log: logr.Discard()}, query)
		}
		var problem *protocol.Error
		if errors.As(err, &problem) && problem.Status == 400 && problem.Detail != "" {
			return
		}
		page := ask(t, c, values.Encode())
		if len(page.Resources) > int(count)%30 || page.TotalResults != len(people) {
			t.Fatalf("a page of %d of %d", len(page.Resources), page.TotalResults)
		}
		shown := ids(page)
		for page.NextCursor != "" {
			last := shown[len(shown)-1:]
			values.Set("cursor", page.NextCursor)
			page = ask(t, c, values.Encode())
			if len(page.Resources) == 0 || page.PreviousCursor == "" {
				t.Fatalf("the page after %s is %+v", last, page)
			}
			shown = append(shown, ids(page)...)
			values.Set("cursor", page.PreviousCursor)
			if back := ids(ask(t, c, values.Encode())); !slices.Equal(back[len(back)-1:], last) {
				t.Fatalf("the page before %s ends with %s, not with %s", ids(page)[0], back, last)
			}
		}
		whole := url.Values{"sortBy": {sortBy}, "sortOrder": values["sortOrder"]}
		if all := ids(ask(t, c, whole.Encode())); !strings.Contains(strings.Join(all, " "), strings.Join(shown, " ")) {
			t.Fatalf("pages show %s of %s", shown, all)
		}
	})
}

func FuzzRoute(f *testing.F) {
	for _, path := range []string{"/scim/v2/Users/a", "/Users", "/apps/ns/app/scim/v2/Groups/x", "//scim//v2//Users//", "/Users/%2e%2e/a", "/%", "/.search", "/Bulk/x", ""} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		parsed, known := parseRoute(path)
		if !known {
			return
		}
		if parsed.endpoint == "" || strings.HasSuffix(parsed.base, "/") {
			t.Fatalf("%q is %+v", path, parsed)
		}
		again, known := parseRoute(parsed.base + "/" + parsed.endpoint + "/" + url.PathEscape(parsed.id))
		if !known || again != parsed {
			t.Fatalf("%q is %+v, which is written as %+v", path, parsed, again)
		}
	})
}

func FuzzBearerToken(f *testing.F) {
	for _, header := range []string{"Bearer x", "bearer  x ", "Basic eDp5", "x", "", "Bearer", "Bearer\tx"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if token := bearerToken(header); token != "" && !strings.Contains(header, token) {
			t.Fatalf("%q has the token %q", header, token)
		}
	})
}
