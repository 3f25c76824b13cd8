package protocol

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// stepsText writes steps as in "add a b; clear".
func stepsText(steps []MembershipStep) string {
	var texts []string
	for _, step := range steps {
		texts = append(texts, strings.Join(append([]string{string(step.Op)}, step.IDs...), " "))
	}
	return strings.Join(texts, "; ")
}

const patchedGroup = `{"displayName":"Old","externalId":"e","urn:x:Y":{"z":"1"}}`

func TestGroupPatch(t *testing.T) {
	const urn = GroupSchema
	unchanged := patchedGroup
	for _, c := range []struct{ name, operations, steps, attributes string }{
		{"Okta's rename", `{"op":"replace","value":{"id":"abf4","displayName":"New name"}}`, "", `{"displayName":"New name","externalId":"e","urn:x:Y":{"z":"1"}}`},
		{"Okta's membership update", `{"op":"remove","path":"members[value eq \"89bb\"]"},{"op":"remove","path":"members[value eq \"77aa\"]"},{"op":"add","path":"members","value":[{"value":"23a3","display":"test.user@okta.local"}]}`,
			"remove 89bb; remove 77aa; add 23a3", unchanged},
		{"Push Now", `{"op":"replace","path":"members","value":[{"value":"a","display":"x"},{"value":"b"}]}`, "replaceAll a b", unchanged},
		{"Push Now on an empty group", `{"op":"replace","path":"members","value":[]}`, "replaceAll", unchanged},
		{"path-less with all of it", `{"op":"replace","value":{"id":"g","displayName":"N","members":[{"value":"a"}]}}`, "replaceAll a", `{"displayName":"N","externalId":"e","urn:x:Y":{"z":"1"}}`},
		{"path-less add", `{"op":"add","value":{"members":["a"]}}`, "add a", unchanged},
		{"path-less, empty list", `{"op":"replace","value":{"members":[]}}`, "replaceAll", unchanged},
		{"path-less, null means nothing", `{"op":"replace","value":{"displayName":"Old","members":null}}`, "", unchanged},
		{"the path with null means none", `{"op":"replace","path":"members","value":null}`, "replaceAll", unchanged},
		{"adding no member", `{"op":"add","path":"members","value":[]},{"op":"add","path":"members","value":null}`, "", unchanged},
		{"Entra's removal", `{"op":"Remove","path":"members","value":[{"$ref":null,"value":"a"}]}`, "remove a", unchanged},
		{"Entra's addition", `{"op":"Add","path":"members","value":[{"$ref":null,"value":"a"}]}`, "add a", unchanged},
		{"removal of one without brackets", `{"op":"remove","path":"members","value":{"value":"a"}}`, "remove a", unchanged},
		{"removal of plain ids", `{"op":"remove","path":"members","value":["a","b","a"]}`, "remove a b", unchanged},
		{"removal of an empty list removes no member", `{"op":"remove","path":"members","value":[]}`, "", unchanged},
		{"removal of all members", `{"op":"remove","path":"members"}`, "clear", unchanged},
		{"removal of a group, which cannot be a member", `{"op":"remove","path":"members","value":[{"value":"g","type":"Group"},"a"]}`, "remove a", unchanged},
		{"members as plain strings, and twice", `{"op":"add","path":"members","value":["a",{"value":"b"},"a"]}`, "add a b", unchanged},
		{"one plain string", `{"op":"add","path":"members","value":"a"}`, "add a", unchanged},
		{"or-chain", `{"op":"remove","path":"members[value eq \"a\" or value eq \"b\" or (value eq \"c\")]"}`, "remove a b c", unchanged},
		{"what is known about all members", `{"op":"remove","path":"members[value eq \"a\" and type eq \"user\"]"},{"op":"remove","path":"members[value eq \"b\" and type eq \"Group\"]"}`, "remove a", unchanged},
		{"a filter on what only members know", `{"op":"remove","path":"members[display eq \"x\"]"}`, "removeWhere", unchanged},
		{"the same, among few", `{"op":"remove","path":"members[value eq \"a\" and display eq \"x\"]"}`, "removeWhere a", unchanged},
		{"an empty id", `{"op":"remove","path":"members[value eq \"\"]"},{"op":"remove","path":"members[value eq \"\" and display eq \"x\"]"}`, "", unchanged},
		{"ids are exact", `{"op":"remove","path":"members[value eq \"A\"]"}`, "remove A", unchanged},
		{"in the URN's notation", `{"op":"remove","path":"` + urn + `:members[value eq \"a\"]"},{"op":"add","path":"` + urn + `:members","value":["b"]}`, "remove a; add b", unchanged},
		{"the near miss, with a dot", `{"op":"add","path":"urn:ietf:params:scim:schemas:core:2.0.Members","value":["b"]}`, "add b", unchanged},
		{"the whole schema", `{"op":"replace","path":"` + urn + `","value":{"displayName":"N","members":["a"]}}`, "replaceAll a", `{"displayName":"N","externalId":"e","urn:x:Y":{"z":"1"}}`},
		{"containers in the value", `{"op":"replace","value":{"` + strings.ToLower(urn) + `":{"members":["a"]},"` + urn + `:members":["b"]}}`, "replaceAll a; replaceAll b", unchanged},
		{"the top level wins over containers", `{"op":"replace","value":{"` + strings.ToLower(urn) + `":{"members":["a"]},"members":["b"]}}`, "replaceAll b", unchanged},
		{"keys that are paths", `{"op":"add","value":{"members[value eq \"a\"]":{"display":"x"},"members.display":"y"}}`, "add a", unchanged},
		{"display follows from the id", `{"op":"replace","path":"members[value eq \"x\"].display","value":"Bob"},{"op":"remove","path":"members.display"},{"op":"add","path":"members[display eq \"y\"].type","value":"User"}`, "", unchanged},
		{"a member's own id", `{"op":"replace","path":"members[value eq \"a\"].value","value":"a"},{"op":"replace","path":"members[value eq \"a\"]","value":{"value":"a","display":"A"}}`, "", unchanged},
		{"replace by nothing", `{"op":"replace","path":"members[value eq \"a\"]","value":null}`, "remove a", unchanged},
		{"add what the filter names", `{"op":"add","path":"members[value eq \"a\"]","value":{"display":"A"}}`, "add a", unchanged},
		{"add to the values", `{"op":"add","path":"members.value","value":"a"}`, "add a", unchanged},
		{"attributes and members", `{"op":"add","path":"members","value":["a"]},{"op":"replace","path":"displayName","value":"N"},{"op":"remove","path":"externalId"},{"op":"add","path":"urn:x:Y:w","value":[1]},{"op":"remove","path":"members","value":["b"]}`,
			"add a; remove b", `{"displayName":"N","urn:x:Y":{"z":"1","w":[1]}}`},
		{"schemas are of no consequence", `{"op":"replace","path":"schemas","value":["x"]},{"op":"add","value":{"schemas":["y"],"meta":{"version":"1"}}}`, "", unchanged},
		{"an attribute that only looks like it", `{"op":"add","path":"membersOf","value":["a"]},{"op":"add","path":"urn:x:Y:members","value":"m"}`, "", `{"displayName":"Old","externalId":"e","membersOf":["a"],"urn:x:Y":{"members":"m","z":"1"}}`},
		{"passwords are dropped", `{"op":"add","path":"password","value":"x"},{"op":"add","value":{"password":"y","members":[{"value":"a","password":"z"}]}}`, "add a", unchanged},
		{"no operations", ``, "", unchanged},
		{"unknown members of an operation", `{"op":"add","PATH":"members","Value":["a"],"name":"addMember"}`, "add a", unchanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := groupSchemas(t)
			p, err := s.ParseGroupPatch([]byte(patchBody(c.operations)))
			if err != nil {
				t.Fatal(err)
			}
			if got := stepsText(p.Steps); got != c.steps {
				t.Errorf("steps %q, want %q", got, c.steps)
			}
			current := decodeGroup(t, s, patchedGroup).Attributes
			for range 2 { // as after a conflict
				next, changed, err := p.ApplyAttributes(current)
				if err != nil {
					t.Fatal(err)
				}
				if got := encoded(next.Attributes); got != canonical(t, c.attributes) {
					t.Errorf("attributes %s, want %s", got, c.attributes)
				}
				if changed != (c.attributes != patchedGroup) || changed && !p.HasAttributes() {
					t.Errorf("changed %v, has attributes %v", changed, p.HasAttributes())
				}
			}
		})
	}
}

func TestGroupPatchErrors(t *testing.T) {
	const remove = `{"op":"remove","path":"members[value eq \"a\"]"},`
	for _, c := range []struct {
		name, body string
		status     int
		scimType   string
		detail     string
	}{
		{"empty", ``, 400, "invalidSyntax", "empty"},
		{"no object", `[]`, 400, "invalidSyntax", "an array"},
		{"broken", `{"Operations":[}`, 400, "invalidSyntax", "byte"},
		{"no operations", `{}`, 400, "invalidSyntax", "Operations"},
		{"operations as an object", `{"Operations":{}}`, 400, "invalidSyntax", "Operations"},
		{"no op", patchBody(remove + `{"path":"members"}`), 400, "invalidSyntax", "Operations[1]: op is missing"},
		{"unknown op", patchBody(remove + `{"op":"move","path":"members"}`), 400, "invalidSyntax", "Operations[1]: op is none"},
		{"an operation that is no object", patchBody(remove + `1`), 400, "invalidSyntax", "Operations[1]"},
		{"too many", patchBody(strings.Repeat(remove, MaxPatchOperations) + remove + `1`), 413, "", "1000"},
		{"remove without a path", patchBody(`{"op":"remove","value":{"members":["a"]}}`), 400, "noTarget", "Operations[0]"},
		{"add without a value", patchBody(`{"op":"add","path":"members"}`), 400, "invalidValue", "add needs a value"},
		{"path-less without a value", patchBody(`{"op":"add"}`), 400, "invalidValue", "add needs a value"},
		{"path-less with a list", patchBody(`{"op":"add","value":["a"]}`), 400, "invalidValue", "an object as its value, received an array"},
		{"nested group", patchBody(remove + `{"op":"add","path":"members","value":["b",{"value":"g","type":"Group"}]}`), 400, "invalidValue", "Operations[1]: members[1]: nested groups are not supported"},
		{"nested group, path-less", patchBody(`{"op":"add","value":{"members":[{"value":"g","type":"Group"}]}}`), 400, "invalidValue", "nested groups"},
		{"nested group, by its type", patchBody(`{"op":"replace","path":"members[value eq \"g\"].type","value":"Group"}`), 400, "invalidValue", "nested groups"},
		{"a member without an id", patchBody(`{"op":"add","path":"members","value":{"display":"Bob"}}`), 400, "invalidValue", "members.value: is required"},
		{"a removal that names no member", patchBody(`{"op":"remove","path":"members","value":[{"value":"a"},{"value":null}]}`), 400, "invalidValue", "names no member"},
		{"a removal by display", patchBody(`{"op":"remove","path":"members","value":[{"display":"Bob"}]}`), 400, "invalidValue", "members.value: is required"},
		{"another id", patchBody(`{"op":"replace","path":"members[value eq \"a\"].value","value":"b"}`), 400, "mutability", "immutable"},
		{"another id, whole member", patchBody(`{"op":"replace","path":"members[value eq \"a\"]","value":{"value":"b"}}`), 400, "mutability", "immutable"},
		{"all ids", patchBody(`{"op":"replace","path":"members.value","value":"b"}`), 400, "mutability", "immutable"},
		{"no id", patchBody(`{"op":"remove","path":"members[value eq \"a\"].value"}`), 400, "mutability", "immutable"},
		{"add by display", patchBody(`{"op":"add","path":"members[display eq \"x\"]","value":{"display":"y"}}`), 400, "noTarget", "by value"},
		{"add an empty id", patchBody(`{"op":"add","path":"members[value eq \"\"]","value":{"display":"y"}}`), 400, "noTarget", "by value"},
		{"unknown sub-attribute", patchBody(`{"op":"replace","path":"members[value eq \"a\"].shoe","value":1}`), 400, "invalidPath", "shoe"},
		{"malformed filter", patchBody(`{"op":"remove","path":"members[value eq"}`), 400, "invalidPath", "Operations[0]: character"},
		{"malformed filter, path-less", patchBody(`{"op":"add","value":{"members[value":"a"}}`), 400, "invalidPath", "character"},
		{"too long a path", patchBody(`{"op":"remove","path":"members[value eq \"` + strings.Repeat("a", MaxPathLength) + `\"]"}`), 400, "invalidPath", "bytes"},
		{"too large", patchBody(`{"op":"replace","path":"displayName","value":"` + strings.Repeat("x", MaxGroupAttributes) + `"}`), 413, "", "bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := groupSchemas(t).ParseGroupPatch([]byte(c.body))
			wantError(t, err, c.status, c.scimType, c.detail)
			if p != nil {
				t.Error("an error, and something to apply")
			}
		})
	}
	for _, c := range []struct{ operation, scimType string }{
		{`{"op":"replace","path":"id","value":"x"}`, "mutability"},
		{`{"op":"remove","path":"displayName"}`, "mutability"},
		{`{"op":"replace","value":{"displayName":""}}`, "invalidValue"},
		{`{"op":"replace","path":"displayName[value eq 1]","value":""}`, "invalidPath"},
		{`{"op":"remove","path":"` + GroupSchema + `"}`, "mutability"},
	} {
		s := groupSchemas(t)
		p, err := s.ParseGroupPatch([]byte(patchBody(remove + c.operation)))
		if err != nil {
			t.Fatal(err)
		}
		current := decodeGroup(t, s, patchedGroup).Attributes
		next, changed, err := p.ApplyAttributes(current)
		wantError(t, err, 400, c.scimType, "Operations[1]")
		if changed || !sameResource(current, next) {
			t.Errorf("%s changed something", c.operation)
		}
	}
}

func TestMembershipDelta(t *testing.T) {
	add := func(ids ...string) MembershipStep { return MembershipStep{Op: AddMembers, IDs: ids} }
	remove := func(ids ...string) MembershipStep { return MembershipStep{Op: RemoveMembers, IDs: ids} }
	replace := func(ids ...string) MembershipStep { return MembershipStep{Op: ReplaceAllMembers, IDs: ids} }
	clearAll := MembershipStep{Op: ClearMembers}
	for _, c := range []struct {
		steps []MembershipStep
		want  string
	}{
		{nil, "[] []"},
		{[]MembershipStep{add("a"), remove("a")}, "[] [a]"},
		{[]MembershipStep{remove("a", "b"), add("b", "c")}, "[b c] [a]"},
		{[]MembershipStep{add("a"), clearAll}, "all []"},
		{[]MembershipStep{add("a"), replace("b", "c"), add("d"), remove("b")}, "all [c d]"},
		{[]MembershipStep{replace("a"), clearAll, add("b")}, "all [b]"},
	} {
		p := GroupPatch{Steps: c.steps}
		delta, ok := p.Normalise()
		got := fmt.Sprint(delta.Add, delta.Remove)
		if delta.ReplaceAll {
			got = fmt.Sprint("all ", delta.Add)
		}
		if !ok || got != c.want || delta.ReplaceAll && delta.Remove != nil {
			t.Errorf("%s: %s %v, want %s", stepsText(c.steps), got, ok, c.want)
		}
		if delta.IsZero() != (c.want == "[] []") {
			t.Errorf("%s: IsZero is %v", stepsText(c.steps), delta.IsZero())
		}
	}
}

// membershipModel is a group as a plain list of members: the simplest thing that PATCH could be applied to. A member that the
// group had before keeps its display name, as that follows from the id.
type membershipModel struct{ members, before map[string]Member }

// randomOperation writes an operation in one of its shapes, and applies it to the model without the package's code.
func (m membershipModel) randomOperation(g generator) string {
	ids := make([]string, g.IntN(4))
	for i := range ids {
		ids[i] = pick(g, "a", "b", "c", "d", "e", "f")
	}
	values := func() string {
		var elements []string
		for _, id := range ids {
			elements = append(elements, fmt.Sprintf(pick(g, `%q`, `{"value":%q}`, `{"display":"x","value":%q,"type":"User"}`, `{"$ref":null,"VALUE":%q}`, `{"$ref":"https://x/Users/%s"}`), id))
		}
		return "[" + strings.Join(elements, ",") + "]"
	}
	filter := func(id string) string {
		return fmt.Sprintf(pick(g, `members[value eq \"%s\"]`, `Members[ Value EQ \"%s\" ]`, GroupSchema+`:members[value eq \"%s\"]`, `members[value eq \"%s\" and type eq \"User\"]`), id)
	}
	path := pick(g, "members", "MEMBERS", GroupSchema+":members")
	switch g.IntN(8) {
	case 0:
		m.add(ids)
		return fmt.Sprintf(`{"op":"Add","path":%q,"value":%s}`, path, values())
	case 1:
		m.add(ids)
		return fmt.Sprintf(`{"op":"add","value":{%q:%s,"id":"x"}}`, path, values())
	case 2:
		clear(m.members)
		m.add(ids)
		return fmt.Sprintf(`{"op":"replace","path":%q,"value":%s}`, path, values())
	case 3:
		clear(m.members)
		m.add(ids)
		return fmt.Sprintf(`{"op":"Replace","value":{"displayName":"N",%q:%s}}`, path, values())
	case 4:
		text := fmt.Sprintf(`{"op":"remove","path":%q,"value":%s}`, path, values())
		m.remove(func(member Member) bool { return slices.Contains(ids, member.ID) })
		return text
	case 5:
		id := pick(g, "a", "b", "c", "d")
		m.remove(func(member Member) bool { return member.ID == id })
		return fmt.Sprintf(`{"op":"remove","path":"%s"}`, filter(id))
	case 6:
		m.remove(func(member Member) bool { return member.ID == "a" || member.ID == "b" })
		return `{"op":"remove","path":"members[value eq \"a\" or value eq \"b\"]"}`
	default:
		display := pick(g, "A@x", "b@X", "nobody")
		m.remove(func(member Member) bool { return strings.EqualFold(member.Display, display) })
		return fmt.Sprintf(`{"op":"remove","path":"members[display eq \"%s\"]"}`, display)
	}
}

func (m membershipModel) add(ids []string) {
	for _, id := range ids {
		m.members[id] = Member{ID: id, Display: m.before[id].Display}
	}
}

func (m membershipModel) remove(selected func(Member) bool) {
	maps.DeleteFunc(m.members, func(_ string, member Member) bool { return selected(member) })
}

func TestGroupPatchAgainstModel(t *testing.T) {
	s := groupSchemas(t)
	for seed := range uint64(3000) {
		g := generator{rand.New(rand.NewPCG(seed, 7))}
		current := map[string]Member{}
		for _, id := range []string{"a", "b", "c", "x", "y"} {
			if g.IntN(2) == 0 {
				current[id] = Member{ID: id, Display: id + "@x"}
			}
		}
		model := membershipModel{maps.Clone(current), current}
		var operations []string
		for range 1 + g.IntN(6) {
			operations = append(operations, model.randomOperation(g))
		}
		body := patchBody(operations...)
		p, err := s.ParseGroupPatch([]byte(body))
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, body)
		}
		deltas := []MembershipDelta{p.NormaliseOver(maps.Values(current), nil)}
		if delta, ok := p.Normalise(); ok != !strings.Contains(body, "display eq") {
			t.Fatalf("seed %d: Normalise is %v", seed, ok)
		} else if ok {
			deltas = append(deltas, delta)
		}
		for _, delta := range deltas {
			checkDelta(t, delta)
			got := applyDelta(slices.Collect(maps.Keys(current)), delta)
			if want := slices.Sorted(maps.Keys(model.members)); !slices.Equal(got, want) {
				t.Fatalf("seed %d: %v + %s gives %v, want %v", seed, slices.Sorted(maps.Keys(current)), body, got, want)
			}
		}
	}
}

func applyDelta(current []string, delta MembershipDelta) []string {
	if delta.ReplaceAll {
		current = nil
	}
	current = slices.DeleteFunc(current, func(id string) bool { return slices.Contains(delta.Remove, id) })
	current = append(current, delta.Add...)
	slices.Sort(current)
	return slices.Compact(current)
}

// checkDelta checks what holds for every delta: no id twice, none both ways.
func checkDelta(t *testing.T, delta MembershipDelta) {
	t.Helper()
	seen := map[string]bool{}
	for _, id := range append(slices.Clone(delta.Add), delta.Remove...) {
		if id == "" || seen[id] {
			t.Fatalf("%q is empty or twice in %+v", id, delta)
		}
		seen[id] = true
	}
	if delta.ReplaceAll && len(delta.Remove) > 0 {
		t.Fatalf("a removal from an exact set: %+v", delta)
	}
}
