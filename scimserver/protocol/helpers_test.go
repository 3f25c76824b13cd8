package protocol

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

const (
	lowerCoreURN = "urn:ietf:params:scim:schemas:core:2.0:user"
	shortCoreURN = "urn:ietf:params:scim:schemas:core:2.0"
	spaceURN     = "urn:ietf:params:scim:schemas:custom:Space"
)

// testSchemas has a custom attribute of every kind that the guides use.
func testSchemas(t testing.TB) *SchemaSet {
	t.Helper()
	s, err := NewUserSchemas([]CustomAttribute{
		{Attribute: Attribute{Name: "role", Required: true, CanonicalValues: []string{"RESELLER_ADMIN", "RESELLER_STAFF"}}, Schema: lowerCoreURN},
		{Attribute: Attribute{Name: "regions"}, Schema: shortCoreURN},
		{Attribute: Attribute{Name: "teams", MultiValued: true}},
		{Attribute: Attribute{Name: "level", Type: TypeInteger}, Schema: spaceURN},
		{Attribute: Attribute{Name: "score", Type: TypeDecimal}, Schema: spaceURN},
		{Attribute: Attribute{Name: "since", Type: TypeDateTime}, Schema: spaceURN},
		{Attribute: Attribute{Name: "contractor", Type: TypeBoolean}, Schema: spaceURN},
		{Attribute: Attribute{Name: "badge", Mutability: Immutable, CaseExact: true}, Schema: spaceURN},
		{Attribute: Attribute{Name: "computed", Mutability: ReadOnly}, Schema: spaceURN},
		{Attribute: Attribute{Name: "hidden", Returned: ReturnedNever}, Schema: spaceURN},
		{Attribute: Attribute{Name: "onRequest", Returned: ReturnedRequest}},
		{Attribute: Attribute{Name: "device", Type: TypeComplex, SubAttributes: []Attribute{{Name: "serial"}, {Name: "ports", Type: TypeInteger, MultiValued: true}}}, Schema: spaceURN},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func decode(t testing.TB, s *SchemaSet, body string) Resource {
	t.Helper()
	r, err := s.DecodeUser([]byte(body))
	if err != nil {
		t.Fatalf("DecodeUser(%s): %v", body, err)
	}
	return r
}

// encoded is a value as JSON with sorted keys.
func encoded(v any) string { return string(appendValue(nil, v)) }

// canonical re-encodes JSON text with sorted keys.
func canonical(t testing.TB, text string) string {
	t.Helper()
	v, err := parseJSON([]byte(text))
	if err != nil {
		t.Fatalf("test data %s: %v", text, err)
	}
	return encoded(v)
}

// wantError checks an *Error's status, scimType, and that the detail contains every part.
func wantError(t testing.TB, err error, status int, scimType string, parts ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want a %d %s", err, status, scimType)
	}
	if e.Status != status || e.ScimType != scimType {
		t.Fatalf("got %v, want %d %s", e, status, scimType)
	}
	for _, part := range parts {
		if !strings.Contains(e.Detail, part) {
			t.Errorf("detail %q does not contain %q", e.Detail, part)
		}
	}
}

var testMeta = Meta{
	ID: "jane-abc", Location: "https://scim.example.com/scim/v2/Users/jane-abc", Version: `W/"7"`,
	Created:      time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	LastModified: time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.FixedZone("", 3600)),
}

func render(t testing.TB, s *SchemaSet, r Resource, p Projection) string {
	t.Helper()
	body, err := s.Render(r, testMeta, p)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(body) {
		t.Fatalf("not JSON: %s", body)
	}
	return string(body)
}
