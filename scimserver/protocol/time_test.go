package protocol

import (
	"errors"
	"strings"
	"testing"
)

const spaced = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"jane","role":"RESELLER_STAFF","active":false,"` + spaceURN + `":{"since":SINCE}}`

// A value that is no time is refused of a new user, and never keeps an update from happening: the same request may deactivate.
func TestDeclaredTimes(t *testing.T) {
	s := testSchemas(t)
	for text, want := range map[string]struct {
		stored  string
		created bool
	}{
		`"2027-01-31T18:00:00Z"`: {`"2027-01-31T18:00:00Z"`, true},
		`"2027-01-31"`:           {`"2027-01-31"`, true},
		`"next summer"`:          {`"next summer"`, false},
		`1798761600`:             {`"1798761600"`, false},
		`true`:                   {`"true"`, false},
		`" "`:                    {`" "`, false},
	} {
		r := decode(t, s, strings.Replace(spaced, "SINCE", text, 1))
		extension, _ := r.Attributes[spaceURN].(map[string]any)
		if got := encoded(extension["since"]); got != want.stored {
			t.Errorf("%s is stored as %s, want %s", text, got, want.stored)
		}
		if err := s.ValidateUpdate(Resource{}, r); err != nil {
			t.Errorf("an update with %s: %v", text, err)
		}
		var refused *Error
		if err := s.Validate(r); (err == nil) != want.created || err != nil && (!errors.As(err, &refused) || refused.Status != 400) {
			t.Errorf("a new user with %s: %v", text, err)
		}
	}
	if _, err := s.DecodeUser([]byte(strings.Replace(spaced, "SINCE", `{"year":2027}`, 1))); err == nil {
		t.Error("an object is taken for a time")
	}
}

// What was stored before an App declared its type stays, and its user can leave; a new value of a wrong type is refused.
func TestStoredValuesOfAnotherType(t *testing.T) {
	s := testSchemas(t)
	of := func(level any, active bool) Resource {
		return Resource{Attributes: map[string]any{"userName": "jane", "active": active, spaceURN: map[string]any{"level": level, "since": map[string]any{"year": "x"}}}}
	}
	if err := s.ValidateUpdate(of("high", true), of("high", false)); err != nil {
		t.Errorf("a leaver is kept by a stored value: %v", err)
	}
	if err := s.ValidateUpdate(of("high", true), of("higher", true)); err == nil {
		t.Error("a new value of a wrong type is taken")
	}
}
