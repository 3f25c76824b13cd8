package plugin

import (
	"reflect"
	"testing"
)

func termsOf(names ...string) *terms {
	t := &terms{parts: map[string]bool{}, wholes: map[string]bool{}, manager: map[string]bool{}}
	t.add(names...)
	return t
}

func TestTextsThatNameThePerson(t *testing.T) {
	person := termsOf("Jane@Example.com", "jane-q7fhp337mm", "x1", "")
	for text, want := range map[string]bool{
		"jane@example.com": true, "JANE@EXAMPLE.COM": true, "okta:jane@example.com": true,
		"the user jane@example.com.": true, "jane@example.com, bob": true, `{"name":"jane@example.com"}`: true,
		"2026-11-30T10:00:00Z\tokta:jane@example.com\n":       true,
		"mary.jane@example.com":                               false,
		"jane@example.com.au":                                 false,
		"jane@example.community":                              false,
		"xjane@example.com jane@example.comx jane@example.co": false,
		"xjane@example.com and jane@example.com":              true,
		"directory/jane-q7fhp337mm":                           true,
		"jane-q7fhp337mmx":                                    false,
		"x1":                                                  true,
		"X1":                                                  true,
		"x1 y":                                                false,
		"":                                                    false,
	} {
		if got := person.in(text); got != want {
			t.Errorf("%q names the person: %v", text, got)
		}
	}
}

func TestPlacesInAnObject(t *testing.T) {
	person := termsOf("jane@example.com")
	person.addManager("Jane Doe")
	object := map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{"example.com/by": "jane@example.com", "jane@example.com": "a key"}},
		"spec": map[string]any{
			"displayName": "Jane Doe", "count": int64(3),
			"enterprise": map[string]any{"manager": map[string]any{"displayName": "jane doe"}},
			"subjects":   []any{map[string]any{"name": "bob"}, map[string]any{"name": "okta:jane@example.com"}},
		},
	}
	want := []place{
		{"metadata.annotations.example.com/by", "jane@example.com"}, {"metadata.annotations.jane@example.com", "a key"},
		{"spec.enterprise.manager.displayName", "jane doe"}, {"spec.subjects[1].name", "okta:jane@example.com"},
	}
	if got := placesIn(person, "", object); !reflect.DeepEqual(got, want) {
		t.Errorf("the places are %v", got)
	}
}
