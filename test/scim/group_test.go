package scim_test

import (
	"net/http"
	"testing"
)

// OpenID IPSIE asks for 50 operations on members in one PATCH; each has its effect here.
func TestManyOperationsOnMembers(t *testing.T) {
	s := newClient(t, nil)
	ids := s.people(60)
	target := "/Groups/" + s.group("Many operations")
	var operations []string
	for _, id := range ids {
		operations = append(operations, `{"op":"add","path":"members","value":[{"value":"`+id+`"}]}`)
	}
	for _, id := range ids[:25] {
		operations = append(operations, `{"op":"remove","path":"members[value eq \"`+id+`\"]"}`)
	}
	s.must(s.do(http.MethodPatch, target, patchJSON(operations...)).ExpectStatus(http.StatusNoContent))
	if members := s.get(target).Members(); !sameSet(members, ids[25:]) {
		t.Errorf("%d operations left %d members, want %d", len(operations), len(members), len(ids)-25)
	}
}

// Operations take effect one after the other: each sees what those before it have made (RFC 7644 section 3.5.2).
func TestMembersInOrderOfOperations(t *testing.T) {
	s := newClient(t, nil)
	names := []string{newName("order"), newName("order")}
	ids := []string{s.user(names[0], ""), s.user(names[1], "")}
	add := func(id string) string { return `{"op":"add","path":"members","value":[{"value":"` + id + `"}]}` }
	remove := func(name string) string { return `{"op":"remove","path":"members[display eq \"` + name + `\"]"}` }
	replace := func(id string) string { return `{"op":"replace","path":"members","value":[{"value":"` + id + `"}]}` }
	for what, test := range map[string]struct {
		operations []string
		want       []string
	}{
		"added, then removed by name":             {[]string{add(ids[0]), remove(names[0])}, nil},
		"removed by name, then added":             {[]string{remove(names[0]), add(ids[0])}, ids[:1]},
		"one of two that were added":              {[]string{add(ids[0]), add(ids[1]), remove(names[0])}, ids[1:]},
		"put in place of all, then removed":       {[]string{add(ids[1]), replace(ids[0]), remove(names[0])}, nil},
		"removed by name, added, removed again":   {[]string{add(ids[0]), remove(names[0]), add(ids[0]), remove(names[0])}, nil},
		"by an unknown name":                      {[]string{add(ids[0]), remove("nobody")}, ids[:1]},
		"by what all have, then another is added": {[]string{add(ids[0]), `{"op":"remove","path":"members[display pr]"}`, add(ids[1])}, ids[1:]},
	} {
		target := "/Groups/" + s.group("Order: "+what)
		s.must(s.do(http.MethodPatch, target, patchJSON(test.operations...)).ExpectStatus(http.StatusNoContent))
		if members := s.get(target).Members(); !sameSet(members, test.want) {
			t.Errorf("%s: the group has the members %q, want %q", what, members, test.want)
		}
	}
}
