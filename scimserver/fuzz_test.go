package scimserver

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

func FuzzListQuery(f *testing.F) {
	place := cursor{Query: queryDigest(endpointUsers, "", "", ""), ID: "ada-abcdefghij"}
	for _, query := range []string{
		"startIndex=1&count=10", "cursor", "cursor=" + place.String(), "cursor=e30&count=x", "filter=userName+eq+%22a%22&sortBy=title&sortOrder=descending",
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
