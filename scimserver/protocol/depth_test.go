package protocol

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// deepJSON is n objects, or objects and arrays in turn, inside each other.
func deepJSON(n int, arrays bool) string {
	var open, shut []byte
	for i := range n {
		if arrays && i%2 == 1 {
			open, shut = append(open, '['), append(shut, ']')
		} else {
			open, shut = append(open, `{"a":`...), append(shut, '}')
		}
	}
	slices.Reverse(shut)
	return string(open) + "1" + string(shut)
}

// Every reader takes a value at the limit, and refuses one above, with its path.
func TestDepthIsBounded(t *testing.T) {
	s := testSchemas(t)
	groups, err := NewGroupSchemas()
	if err != nil {
		t.Fatal(err)
	}
	user := func(body string) error { _, err := s.DecodeUser([]byte(body)); return err }
	patch := func(operation string) error {
		_, _, err := s.ApplyPatch(decode(t, s, `{"userName":"a"}`), []byte(patchBody(operation)))
		return err
	}
	group := func(body string) error { _, err := groups.DecodeGroup(strings.NewReader(body)); return err }
	groupPatch := func(operation string) error {
		p, err := groups.ParseGroupPatch([]byte(patchBody(operation)))
		if err == nil {
			_, _, err = p.ApplyAttributes(Resource{Attributes: map[string]any{"displayName": "g"}})
		}
		return err
	}
	search := func(body string) error { _, err := DecodeSearchRequest([]byte(body)); return err }
	bulk := func(body string) error {
		request, err := DecodeBulk([]byte(body), BulkLimits{MaxOperations: 10, MaxPayloadSize: 1 << 20})
		if err == nil && request.Operations[0].Err != nil {
			err = request.Operations[0].Err
		}
		return err
	}
	for name, test := range map[string]struct {
		read   func(string) error
		body   string // %s: the value
		levels int    // around the value, as it is stored or read
		path   string
	}{
		"an attribute":               {user, `{"userName":"a","x":%s}`, 1, "x.a.a"},
		"an element":                 {user, `{"userName":"a","x":[1,%s]}`, 2, "x[1].a"},
		"an attribute in a complex":  {user, `{"userName":"a","name":{"x":%s}}`, 2, "name.x.a"},
		"an undeclared extension":    {user, `{"userName":"a","urn:x:y":%s}`, 1, "urn:x:y.a"},
		"a declared extension":       {user, `{"userName":"a","` + spaceURN + `":{"x":%s}}`, 2, spaceURN + ".x.a"},
		"a core container":           {user, `{"userName":"a","` + shortCoreURN + `":{"x":%s}}`, 2, shortCoreURN + ".x.a"},
		"a qualified name":           {user, `{"userName":"a","` + spaceURN + `:x.y":[%s]}`, 4, spaceURN + ".x.y[0].a"},
		"PATCH without a path":       {patch, `{"op":"add","value":{"x":%s}}`, 1, "Operations[0].value.x.a"},
		"PATCH of an attribute":      {patch, `{"op":"add","path":"x","value":%s}`, 1, "x.a.a"},
		"PATCH of a sub-attribute":   {patch, `{"op":"replace","path":"x.y","value":%s}`, 2, "x.y.a"},
		"PATCH of an element":        {patch, `{"op":"add","path":"emails[type eq \"work\"].x","value":%s}`, 3, "emails[0].x.a"},
		"PATCH of an extension":      {patch, `{"op":"add","path":"urn:x:y:z","value":[%s]}`, 3, "urn:x:y.z[0].a"},
		"PATCH: a field of no use":   {patch, `{"op":"add","path":"x","value":1,"junk":%s}`, 3 - patchLevels, "Operations[0].junk.a"},
		"a group's attribute":        {group, `{"displayName":"g","x":%s}`, 1, "x.a.a"},
		"a member's":                 {group, `{"displayName":"g","members":[{"value":"v","x":%s}]}`, 3, "members[0].x.a"},
		"PATCH of a group":           {groupPatch, `{"op":"add","value":{"x":%s}}`, 1, "x.a"},
		"PATCH of a group's members": {groupPatch, `{"op":"add","path":"members","value":[{"value":"v","x":%s}]}`, 3, "x.a"},
		"PATCH removing members":     {groupPatch, `{"op":"remove","path":"members","value":[{"value":"v","x":%s}]}`, 3, "x.a"},
		"PATCH of its attribute":     {groupPatch, `{"op":"add","path":"x","value":[%s]}`, 2, "x[0].a"},
		"search":                     {search, `{"filter":"a pr","x":%s}`, 1, "x.a.a"},
		"bulk":                       {bulk, `{"Operations":[{"method":"PATCH","path":"/Users/x","data":{"Operations":[{"op":"add","value":%s}]}}]}`, 3 - patchLevels, "data.Operations[0].value.a"},
	} {
		for _, arrays := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, arrays %v", name, arrays), func(t *testing.T) {
				within := deepJSON(MaxDepth-test.levels, arrays)
				if err := test.read(fmt.Sprintf(test.body, within)); err != nil {
					t.Errorf("at the limit: %v", err)
				}
				above := fmt.Sprintf(test.body, deepJSON(MaxDepth-test.levels+1, arrays))
				wantError(t, test.read(above), 400, "invalidValue", fmt.Sprint(MaxDepth))
				if !arrays {
					wantError(t, test.read(above), 400, "invalidValue", test.path)
				}
				for _, levels := range []int{9_000, 9_999, 100_000} {
					wantError(t, test.read(fmt.Sprintf(test.body, deepJSON(levels, arrays))), 400, "invalidValue", fmt.Sprint(MaxDepth))
				}
			})
		}
	}
}

// A value that a resource has already is no reason to refuse a change of something else: a deactivation above all.
func TestStoredDepthIsLetPass(t *testing.T) {
	s := testSchemas(t)
	deep, err := parseJSON([]byte(deepJSON(200, true)))
	if err != nil {
		t.Fatal(err)
	}
	stored := Resource{Attributes: map[string]any{"userName": "a", "active": true, "x": deep}}
	next, changed, err := s.ApplyPatch(stored, []byte(patchBody(`{"op":"replace","path":"active","value":false}`)))
	if err != nil || !changed || next.Attributes["active"] != false {
		t.Errorf("a deactivation: %v, %v", changed, err)
	}
	_, _, err = s.ApplyPatch(stored, []byte(patchBody(`{"op":"add","path":"x.b","value":1}`)))
	wantError(t, err, 400, "invalidValue", "x.a[0]")
	if _, _, err = s.ApplyPatch(stored, []byte(patchBody(`{"op":"remove","path":"x"}`))); err != nil {
		t.Errorf("its removal: %v", err)
	}
}

// Paths in errors are bounded: names are the client's.
func TestPathInErrorIsBounded(t *testing.T) {
	s := testSchemas(t)
	name := strings.Repeat("é", 5_000)
	_, err := s.DecodeUser([]byte(`{"userName":"a","` + name + `":` + deepJSON(MaxDepth, false) + `}`))
	wantError(t, err, 400, "invalidValue", "é…")
	if len(err.Error()) > 500 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
}
