package protocol

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A filter that says nothing is refused, as in the query of a GET.
func TestEmptyFilterInASearch(t *testing.T) {
	for _, body := range []string{`{"filter":""}`, `{"Filter":"  "}`} {
		_, err := DecodeSearchRequest([]byte(body))
		wantError(t, err, 400, "invalidFilter", "empty")
	}
}

func TestDecodeSearchRequest(t *testing.T) {
	request, err := DecodeSearchRequest([]byte(`{"schemas":["` + SearchRequestSchema + `"],"attributes":["displayName","userName"],"excludedAttributes":"emails, roles",
		"Filter":" displayName sw \"smith\" ","SORTBY":"userName","sortOrder":"descending","startIndex":"11","count":10}`))
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(request.Projection.include, request.Projection.exclude) != "[displayname username] [emails roles]" {
		t.Errorf("projection %v", request.Projection)
	}
	if request.Filter != `displayName sw "smith"` || request.SortBy != "userName" || request.SortOrder != "descending" {
		t.Errorf("got %+v", request)
	}
	if request.StartIndex == nil || *request.StartIndex != 11 || request.Count == nil || *request.Count != 10 || request.Cursor != nil {
		t.Errorf("got %+v", request)
	}
	request, err = DecodeSearchRequest([]byte(`{"filter":null,"attributes":null,"count":null,"startIndex":"","cursor":""}`))
	if err != nil || !request.Projection.IsZero() || request.Filter != "" || request.Count != nil || request.StartIndex != nil || request.Cursor == nil || *request.Cursor != "" {
		t.Errorf("got %+v, %v", request, err)
	}
	request, err = DecodeSearchRequest([]byte(`{"count":-1e30,"startIndex":1e30,"cursor":"abc"}`))
	if err != nil || *request.Count >= 0 || *request.StartIndex < 1<<61 || *request.Cursor != "abc" {
		t.Errorf("got %+v, %v", request, err)
	}
	for body, part := range map[string]string{
		`{"attributes":5}`: "attributes", `{"attributes":[5]}`: "attributes", `{"excludedAttributes":{}}`: "excludedAttributes", `{"attributes":["a b"]}`: "attributes",
		`{"filter":5}`: "filter", `{"sortBy":[]}`: "sortBy", `{"sortOrder":true}`: "sortOrder", `{"cursor":7}`: "cursor",
		`{"startIndex":"x"}`: "startIndex", `{"startIndex":1.5}`: "startIndex", `{"count":true}`: "count", `{"count":[]}`: "count", `{"count":1e999}`: "count",
	} {
		_, err := DecodeSearchRequest([]byte(body))
		wantError(t, err, 400, "invalidValue", part)
	}
	for _, body := range []string{``, `[]`, `{`} {
		_, err := DecodeSearchRequest([]byte(body))
		wantError(t, err, 400, "invalidSyntax")
	}
}

func TestCursorPaging(t *testing.T) {
	page := ListResponse{TotalResults: 3, Resources: []json.RawMessage{[]byte(`{}`)}, NextCursor: "n-1", PreviousCursor: "p~1"}
	want := `{"schemas":["` + ListResponseSchema + `"],"totalResults":3,"itemsPerPage":1,"previousCursor":"p~1","nextCursor":"n-1","Resources":[{}]}`
	if got := string(page.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	last := ListResponse{TotalResults: 3}
	if got, want := string(last.AppendJSON(nil)), `{"schemas":["`+ListResponseSchema+`"],"totalResults":3,"itemsPerPage":0,"Resources":[]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	wantError(t, InvalidCursor("no %s", "such"), 400, "invalidCursor", "no such")
	wantError(t, InvalidCount("zero"), 400, "invalidCount", "zero")
	wantError(t, Conflict("x"), 409, "", "x")

	options := ServiceProviderConfigOptions{Pagination: &PaginationOptions{
		Cursor: true, Index: true, DefaultMethod: PaginationIndex, DefaultPageSize: 100, MaxPageSize: 1000, CursorTimeout: time.Hour,
	}}
	pagination := `{"cursor":true,"cursorTimeout":3600,"defaultPageSize":100,"defaultPaginationMethod":"index","index":true,"maxPageSize":1000}`
	if got := encoded(ServiceProviderConfigDocument(options)["pagination"]); got != pagination {
		t.Errorf("got  %s\nwant %s", got, pagination)
	}
	options.Pagination = &PaginationOptions{Index: true}
	if got := encoded(ServiceProviderConfigDocument(options)["pagination"]); got != `{"cursor":false,"index":true}` {
		t.Errorf("got %s", got)
	}
	options.Pagination = nil
	if _, ok := ServiceProviderConfigDocument(options)["pagination"]; ok {
		t.Error("pagination is there")
	}
}

func TestETags(t *testing.T) {
	for _, c := range []struct {
		header, version string
		strong, weak    bool
	}{
		{`"7"`, `"7"`, true, true},
		{`"7"`, `"8"`, false, false},
		{`W/"7"`, `"7"`, false, true},
		{`"7"`, `W/"7"`, false, true},
		{`w/"7"`, `W/"7"`, false, true},
		{`*`, `"7"`, true, true},
		{`"1", W/"2" ,"7"`, `"7"`, true, true},
		{`"1","2"`, `"7"`, false, false},
		{`"a,b"`, `"a,b"`, true, true},
		{`"a,b"`, `"b"`, false, false},
		{`"*"`, `"7"`, false, false},
		{`7`, `"7"`, true, true},
		{`6, 7`, `"7"`, true, true},
		{`W/7`, `"7"`, false, true},
		{`"7`, `"7"`, false, false},
		{`"7" x`, `"7"`, true, true},
		{`""`, `"7"`, false, false},
		{`"7"`, ``, false, false},
	} {
		tags := ParseETags(c.header)
		if tags.MatchStrong(c.version) != c.strong || tags.MatchWeak(c.version) != c.weak {
			t.Errorf("%s against %s: %v %v", c.header, c.version, tags.MatchStrong(c.version), tags.MatchWeak(c.version))
		}
		if tags.IsZero() {
			t.Errorf("%s is no condition", c.header)
		}
	}
	for _, header := range []string{"", "  "} {
		if tags := ParseETags(header); !tags.IsZero() || tags.MatchStrong(`"7"`) || tags.MatchWeak(`"7"`) {
			t.Errorf("%q is a condition", header)
		}
	}
}

func TestGovernance(t *testing.T) {
	roles, entitlements := NewRoleSchemas(), NewEntitlementSchemas()
	types := ResourceTypeDocuments("https://x", testSchemas(t), groupSchemas(t), roles, entitlements)
	var names []string
	for _, document := range types {
		names = append(names, fmt.Sprint(document["id"], document["endpoint"], " ", document["schema"]))
	}
	want := "[User/Users " + UserSchema + " Group/Groups " + GroupSchema + " Role/Roles " + RoleSchema + " Entitlement/Entitlements " + EntitlementSchema + "]"
	if got := fmt.Sprint(names); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, c := range []struct {
		set  *SchemaSet
		kind string
		want string
	}{
		{roles, "", `{"schemas":["` + RoleSchema + `"],"id":"role-1","displayName":"First","description":"D","meta":{"resourceType":"Role"}}`},
		{entitlements, "License", `{"schemas":["` + EntitlementSchema + `"],"id":"role-1","displayName":"First","description":"D","type":"License","meta":{"resourceType":"Entitlement"}}`},
	} {
		body, err := c.set.Render(GovernanceResource("First", "D", c.kind), Meta{ID: "role-1"}, Projection{})
		if err != nil || string(body) != c.want {
			t.Errorf("got  %s\nwant %s", body, c.want)
		}
		if documents := c.set.SchemaDocuments("https://x"); len(documents) != 1 || documents[0]["id"] != c.set.core.ID {
			t.Errorf("schemas %v", documents)
		}
		f, err := mustParse(t, `displayName eq "first" and id eq "role-1"`).Bind(c.set)
		if err != nil {
			t.Fatal(err)
		}
		if lookups, _ := f.Lookups(); lookups != nil {
			t.Errorf("the directory has no index of roles: %v", lookups)
		}
		if !f.Matches(c.set.Complete(GovernanceResource("First", "", ""), Meta{ID: "role-1"})) {
			t.Error("no match")
		}
	}
	long := GovernanceResource("x", strings.Repeat("é", 1001), "").Attributes["description"].(string)
	if len(long) != 2000 || len(GovernanceResource("x", strings.Repeat("é", 1000), "").Attributes["description"].(string)) != 2000 {
		t.Errorf("the description has %d bytes", len(long))
	}
	documents := encoded(groupSchemas(t).SchemaDocuments("https://x")[0])
	for _, part := range []string{`"name":"displayName","required":true`, `"uniqueness":"server"`, `"name":"members"`, `"name":"$ref","referenceTypes":["User"]`, `"canonicalValues":["User"]`} {
		if !strings.Contains(documents, part) {
			t.Errorf("the Group schema lacks %s: %s", part, documents)
		}
	}
}
