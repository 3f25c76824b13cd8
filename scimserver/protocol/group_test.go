package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func groupSchemas(t testing.TB) *SchemaSet {
	t.Helper()
	s, err := NewGroupSchemas()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func decodeGroup(t testing.TB, s *SchemaSet, body string) GroupResource {
	t.Helper()
	group, err := s.DecodeGroup(strings.NewReader(body))
	if err != nil {
		t.Fatalf("DecodeGroup(%s): %v", body, err)
	}
	return group
}

// absent stands for a body that says nothing about members.
const absent = "absent"

func TestDecodeGroup(t *testing.T) {
	const urn = GroupSchema
	s := groupSchemas(t)
	for _, c := range []struct{ name, body, attributes, members string }{
		{"Okta's first push", `{"schemas":["` + urn + `"],"displayName":"Droids","members":[{"value":"cc25","display":"bb-8@x"}]}`, `{"displayName":"Droids"}`, "cc25"},
		{"a PUT with id and meta", `{"id":"g","meta":{"version":"1"},"displayName":"D","members":[]}`, `{"displayName":"D"}`, ""},
		{"Entra: another schema, externalId, no members", `{"schemas":["` + urn + `","http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],"externalId":"8aa1","displayName":"D"}`, `{"displayName":"D","externalId":"8aa1"}`, absent},
		{"null says nothing", `{"displayName":"D","members":null}`, `{"displayName":"D"}`, absent},
		{"an empty string says nothing", `{"displayName":"D","members":""}`, `{"displayName":"D"}`, absent},
		{"ids alone, and twice", `{"members":["a",{"value":"b","type":"User","$ref":"https://x/Users/b"},"a",{"VALUE":"b"}]}`, `{}`, "a b"},
		{"a number is a name, too", `{"members":[7,{"value":8}]}`, `{}`, "7 8"},
		{"elements without a value in them", `{"members":[null,"",{},{"value":""},{"value":null},"a"]}`, `{}`, "a"},
		{"one member without brackets", `{"members":{"display":"x","value":"a"}}`, `{}`, "a"},
		{"one id without brackets", `{"members":"a\u0062"}`, `{}`, "ab"},
		{"$ref alone", `{"members":[{"$ref":"https://x/scim/v2/Users/a"},{"$ref":"Users/b"},{"$ref":"../Users/c/"}]}`, `{}`, "a b c"},
		{"Entra: $ref null", `{"members":[{"$ref":null,"value":"a"}]}`, `{}`, "a"},
		{"any letter case", `{"DISPLAYNAME":"D","Members":["a"]}`, `{"displayName":"D"}`, "a"},
		{"another spelling is what the client was told to write", `{"Members":["a"],"members":["b"]}`, `{}`, "a"},
		{"the last of two", `{"members":["a"],"members":["b"]}`, `{}`, "b"},
		{"a null does not take back", `{"members":["a"],"members":null}`, `{}`, "a"},
		{"core container", `{"` + urn + `":{"displayName":"D","members":["a"]},"members":["b"]}`, `{"displayName":"D"}`, "b"},
		{"core container, near miss", `{"urn:ietf:params:scim:schemas:core:2.0":{"members":["a"]}}`, `{}`, "a"},
		{"core container, lower case", `{"` + strings.ToLower(urn) + `":{"members":["a"],"externalId":"e"}}`, `{"externalId":"e"}`, "a"},
		{"container in a container", `{"` + urn + `":{"` + shortCoreURN + `":{"members":["a"]},"members":["b"]}}`, `{}`, "b"},
		{"empty containers", `{"` + urn + `":null,"` + shortCoreURN + `":[],"` + strings.ToLower(urn) + `":""}`, `{}`, absent},
		{"qualified", `{"` + urn + `:members":["a"],"` + urn + `:displayName":"D"}`, `{"displayName":"D"}`, "a"},
		{"qualified sub-attribute: members are ids", `{"` + urn + `:members.value":"a","displayName":"D"}`, `{"displayName":"D"}`, absent},
		{"unknown attributes are kept", `{"shoe":{"size":1.50},"urn:x:Y":{"a":[1],"members":["z"]}}`, `{"shoe":{"size":1.50},"urn:x:Y":{"a":[1],"members":["z"]}}`, absent},
		{"the User's schema is an unknown one", `{"` + UserSchema + `":{"members":["z"]}}`, `{"` + UserSchema + `":{"members":["z"]}}`, absent},
		{"no password", `{"password":"x","a":{"password":"y","b":1}}`, `{"a":{"b":1}}`, absent},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, body := range []io.Reader{strings.NewReader(c.body), iotest.OneByteReader(strings.NewReader(c.body))} {
				group, err := s.DecodeGroup(body)
				if err != nil {
					t.Fatal(err)
				}
				if got := encoded(group.Attributes.Attributes); got != canonical(t, c.attributes) {
					t.Errorf("attributes %s, want %s", got, c.attributes)
				}
				members := absent
				if group.MembersSet {
					members = strings.Join(group.Members, " ")
				}
				if members != c.members {
					t.Errorf("members %q, want %q", members, c.members)
				}
				if group.MembersSet != (group.Members != nil) || group.Membership().ReplaceAll != group.MembersSet {
					t.Errorf("MembersSet is %v, Members %v, Membership %v", group.MembersSet, group.Members, group.Membership())
				}
			}
		})
	}
}

func TestDecodeGroupContainers(t *testing.T) {
	s := groupSchemas(t)
	group := decodeGroup(t, s, `{"urn:ietf:params:scim:schemas:core:2.0":{"displayName":"D","members":["a"]}}`)
	var b bytes.Buffer
	if err := s.RenderGroup(&b, group.Attributes, Meta{ID: "g"}, nil, Projection{}); err != nil {
		t.Fatal(err)
	}
	if want := `{"schemas":["` + GroupSchema + `"],"id":"g","displayName":"D","meta":{"resourceType":"Group"}}`; b.String() != want {
		t.Errorf("got  %s\nwant %s", b.String(), want)
	}
}

func TestDecodeGroupErrors(t *testing.T) {
	s := groupSchemas(t)
	deep := strings.Repeat(`{"`+shortCoreURN+`":`, 20) + "{}" + strings.Repeat("}", 20)
	var many strings.Builder
	for i := range MaxMembers + 2 {
		many.WriteString(`,"a` + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + `":1`)
	}
	for _, c := range []struct {
		name, body string
		status     int
		scimType   string
		detail     string
	}{
		{"empty", "  ", 400, "invalidSyntax", "empty"},
		{"no object", `[1]`, 400, "invalidSyntax", "an array"},
		{"null", `null`, 400, "invalidSyntax", "null"},
		{"cut off", `{"members":[{"value":"a"`, 400, "invalidSyntax", ""},
		{"cut off after the members", `{"members":["a"]`, 400, "invalidSyntax", ""},
		{"two values", `{} {}`, 400, "invalidSyntax", "single"},
		{"a comma too many", `{"members":["a",]}`, 400, "invalidSyntax", "byte"},
		{"no comma", `{"members":["a" "b"]}`, 400, "invalidSyntax", "byte"},
		{"no colon", `{"members" ["a"]}`, 400, "invalidSyntax", "byte"},
		{"nested group", `{"members":["a",{"value":"b","type":"group"}]}`, 400, "invalidValue", "members[1]: nested groups are not supported"},
		{"nested group by $ref", `{"members":[{"value":"b","$ref":"https://x/Groups/b"}]}`, 400, "invalidValue", "members[0]: nested groups"},
		{"no value", `{"members":["a",{"display":"Bob"}]}`, 400, "invalidValue", "members[1].value: is required"},
		{"an array as member", `{"members":[["a"]]}`, 400, "invalidValue", "members[0]: expected an object or a string"},
		{"a boolean as member", `{"members":[true]}`, 400, "invalidValue", "members[0]: expected a string, received a boolean"},
		{"a boolean as members", `{"members":true}`, 400, "invalidValue", "members[0]: expected a string, received a boolean"},
		{"an object as value", `{"members":[{"value":{"x":1}}]}`, 400, "invalidValue", "members[0].value: expected a string, received an object"},
		{"an object as type", `{"members":[{"value":"a","type":{}}]}`, 400, "invalidValue", "members[0].type"},
		{"too long a number", `{"members":[` + strings.Repeat("1", 65) + `]}`, 400, "invalidValue", "members[0]"},
		{"displayName is an object", `{"displayName":{"a":"b"}}`, 400, "invalidValue", "displayName: expected a string"},
		{"container is a number", `{"` + GroupSchema + `":5}`, 400, "invalidValue", "expected an object, received a number"},
		{"container is an array", `{"` + GroupSchema + `":[1]}`, 400, "invalidValue", "expected an object, received an array"},
		{"containers without end", deep, 400, "invalidSyntax", "inside each other"},
		{"too many attributes", `{"x":1` + many.String() + `}`, 400, "invalidValue", "at most"},
		{"too large", `{"x":"` + strings.Repeat("x", MaxGroupAttributes) + `"}`, 413, "", "bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.DecodeGroup(strings.NewReader(c.body))
			wantError(t, err, c.status, c.scimType, c.detail)
		})
	}
	broken := errors.New("the connection is gone")
	if _, err := s.DecodeGroup(io.MultiReader(strings.NewReader(`{"members":["a"`), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a reader's error came back as %v", err)
	}
}

func TestValidateGroup(t *testing.T) {
	s := groupSchemas(t)
	for body, valid := range map[string]bool{`{"displayName":"D"}`: true, `{"externalId":"e"}`: false, `{"displayName":"  "}`: false} {
		err := s.Validate(decodeGroup(t, s, body).Attributes)
		if valid != (err == nil) {
			t.Errorf("%s: %v", body, err)
		}
		if !valid {
			wantError(t, err, 400, "invalidValue", "displayName is required")
		}
	}
}

// memberMap is a MemberSet over a map, which counts what it is asked.
type memberMap struct {
	members map[string]Member
	visited *int
}

func (m memberMap) Member(id string) (Member, bool) { member, ok := m.members[id]; return member, ok }

func (m memberMap) All() iter.Seq[Member] {
	return func(yield func(Member) bool) {
		ids := make([]string, 0, len(m.members))
		for id := range m.members {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			*m.visited++
			if !yield(m.members[id]) {
				return
			}
		}
	}
}

func TestGroupFilters(t *testing.T) {
	s := groupSchemas(t)
	visited := 0
	set := memberMap{map[string]Member{"a": {ID: "a", Display: "ada@x"}, "B": {ID: "B", Display: "bob@x"}}, &visited}
	group := decodeGroup(t, s, `{"displayName":"Platform Admins","externalId":"Ext","urn:x:Y":{"z":"1"}}`)
	complete := s.CompleteGroup(group.Attributes, Meta{ID: "g-1", Created: testMeta.Created, LastModified: testMeta.LastModified}, set)
	for _, c := range []struct {
		filter  string
		matches bool
		lookups []Lookup
		exact   bool
		visits  bool // goes through the members
	}{
		{`displayName eq "platform ADMINS"`, true, []Lookup{{"displayName", "platform ADMINS"}}, true, false},
		{`displayName sw "plat"`, true, nil, false, false},
		{`externalId eq "Ext"`, true, []Lookup{{"externalId", "Ext"}}, true, false},
		{`externalId eq "ext"`, false, []Lookup{{"externalId", "ext"}}, true, false},
		{`id eq "g-1"`, true, []Lookup{{"id", "g-1"}}, true, false},
		{`members eq "a"`, true, []Lookup{{"members.value", "a"}}, true, false},
		{`members eq "A"`, false, []Lookup{{"members.value", "A"}}, true, false},
		{`members.value eq "B"`, true, []Lookup{{"members.value", "B"}}, true, false},
		{GroupSchema + `:members.value eq "B"`, true, []Lookup{{"members.value", "B"}}, true, false},
		{`members[value eq "a"]`, true, []Lookup{{"members.value", "a"}}, true, false},
		{`members[value eq "x" or value eq "B"]`, true, []Lookup{{"members.value", "x"}, {"members.value", "B"}}, true, false},
		{`members[value eq "a" and display eq "BOB@x"]`, false, []Lookup{{"members.value", "a"}}, false, false},
		{`members[value eq "a" and type eq "user"]`, true, []Lookup{{"members.value", "a"}}, false, false},
		{`members ne "a"`, false, nil, false, false},
		{`members ne "c"`, true, nil, false, false},
		{`members.display eq "BOB@X"`, true, nil, false, true},
		{`members[display eq "cid@x"]`, false, nil, false, true},
		{`members.type eq "User"`, true, nil, false, true},
		{`members pr`, true, nil, false, true},
		{`members.value sw "B"`, true, nil, false, true},
		{`id eq "g-1" and members eq "a"`, true, []Lookup{{"id", "g-1"}}, false, false},
		{`members eq "c" and id eq "g-1"`, false, []Lookup{{"members.value", "c"}}, false, false},
		{`meta.lastModified gt "2026-01-01T00:00:00Z" and not (members eq "c")`, true, nil, false, false},
		{`urn:x:Y:z eq 1`, true, nil, false, false},
	} {
		t.Run(c.filter, func(t *testing.T) {
			f, err := mustParse(t, c.filter).Bind(s)
			if err != nil {
				t.Fatal(err)
			}
			visited = 0
			if f.Matches(complete) != c.matches {
				t.Errorf("matches is %v", !c.matches)
			}
			if c.visits != (visited > 0) {
				t.Errorf("visited %d members", visited)
			}
			lookups, exact := f.Lookups()
			if !slices.Equal(lookups, c.lookups) || exact != c.exact {
				t.Errorf("lookups %v %v", lookups, exact)
			}
			if f.Mentions("members") != strings.Contains(c.filter, "members") {
				t.Errorf("mentions members: %v", f.Mentions("members"))
			}
		})
	}
	empty := s.CompleteGroup(group.Attributes, Meta{ID: "g-1"}, nil)
	for filter, matches := range map[string]bool{`members pr`: false, `members eq "a"`: false, `members ne "a"`: true, `members[value eq "a"]`: false} {
		f, err := mustParse(t, filter).Bind(s)
		if err != nil {
			t.Fatal(err)
		}
		if f.Matches(empty) != matches {
			t.Errorf("without members, %s is %v", filter, !matches)
		}
	}
}

func TestUserGroups(t *testing.T) {
	s := testSchemas(t)
	meta := Meta{ID: "u", Location: "https://x/scim/v2/Users/u", Groups: []GroupReference{{ID: "g1", Display: "One"}, {ID: "G2", Ref: "https://y/G2"}}}
	r := Resource{Attributes: map[string]any{"userName": "jane"}}
	complete := s.Complete(r, meta)
	want := canonical(t, `[{"value":"g1","display":"One","type":"direct","$ref":"https://x/scim/v2/Groups/g1"},{"value":"G2","type":"direct","$ref":"https://y/G2"}]`)
	if got := encoded(complete["groups"]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for filter, matches := range map[string]bool{
		`groups eq "g1"`: true, `groups eq "G1"`: false, `groups.value eq "G2"`: true, `groups.display eq "ONE"`: true, `groups[value eq "g1" and display eq "x"]`: false, `groups.type eq "direct"`: true,
	} {
		f, err := mustParse(t, filter).Bind(s)
		if err != nil {
			t.Fatal(err)
		}
		if f.Matches(complete) != matches {
			t.Errorf("%s is %v", filter, !matches)
		}
		lookups, _ := f.Lookups()
		if indexed := strings.Contains(filter, "groups eq") || strings.Contains(filter, "value"); indexed != (len(lookups) == 1 && lookups[0].Attribute == "groups.value") {
			t.Errorf("%s: lookups %v", filter, lookups)
		}
		if !f.Mentions("groups") || f.Mentions("emails") {
			t.Errorf("%s: Mentions is wrong", filter)
		}
	}
	for attributes, want := range map[string]string{"groups.value": `[{"value":"g1"},{"value":"G2"}]`, "userName": "null", "groups": want} {
		p, err := ParseProjection(attributes, "")
		if err != nil {
			t.Fatal(err)
		}
		var rendered map[string]any
		body, err := s.Render(r, meta, p)
		if err != nil || json.Unmarshal(body, &rendered) != nil {
			t.Fatal(err)
		}
		if got := encoded(rendered["groups"]); got != want {
			t.Errorf("attributes=%s: %s", attributes, got)
		}
	}
	// A user cannot put itself into a group.
	if r := decode(t, s, `{"userName":"a","groups":[{"value":"g1"}]}`); r.Attributes["groups"] != nil {
		t.Errorf("groups were taken from the body")
	}
}

func TestRenderGroup(t *testing.T) {
	s := groupSchemas(t)
	r := Resource{Attributes: map[string]any{"displayName": "D", "externalId": "e"}}
	meta := Meta{ID: "g", Location: "https://x/Groups/g", Version: `"1"`}
	members := slices.Values([]Member{{ID: "a", Display: `A "a"`}, {ID: "b", Ref: "https://y/b"}})
	const head = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"id":"g"`
	const whole = head + `,"externalId":"e","displayName":"D","meta":{"location":"https://x/Groups/g","resourceType":"Group","version":"\"1\""}`
	for _, c := range []struct {
		name, attributes, excluded string
		members                    iter.Seq[Member]
		want                       string
	}{
		{"everything", "", "", members, whole + `,"members":[{"value":"a","$ref":"https://x/Users/a","display":"A \"a\"","type":"User"},{"value":"b","$ref":"https://y/b","type":"User"}]}`},
		{"no members", "", "", slices.Values([]Member(nil)), whole + `,"members":[]}`},
		{"not loaded", "", "", nil, whole + `}`},
		{"excluded", "", "members", members, whole + `}`},
		{"excluded, qualified", "", GroupSchema + ":Members", members, whole + `}`},
		{"not asked for", "displayName", "", members, head + `,"displayName":"D"}`},
		{"value only", "members.value", "", members, head + `,"members":[{"value":"a"},{"value":"b"}]}`},
		{"two of them", "members.display,members.$ref", "", members, head + `,"members":[{"$ref":"https://x/Users/a","display":"A \"a\""},{"$ref":"https://y/b"}]}`},
		{"all but one", "members", "members.$ref", members, head + `,"members":[{"value":"a","display":"A \"a\"","type":"User"},{"value":"b","type":"User"}]}`},
		{"none is left", "members.value", "members.value", members, head + `}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ParseProjection(c.attributes, c.excluded)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := s.RenderGroup(&b, r, meta, c.members, p); err != nil {
				t.Fatal(err)
			}
			if b.String() != c.want {
				t.Errorf("got  %s\nwant %s", b.String(), c.want)
			}
		})
	}
	var b bytes.Buffer
	if err := s.RenderGroup(&b, r, Meta{ID: "g"}, members, Projection{}); err != nil || strings.Contains(b.String(), "Users/a") {
		t.Errorf("without a location: %s, %v", b.String(), err)
	}
}

func TestProjectionIncludes(t *testing.T) {
	for _, c := range []struct {
		attributes, excluded string
		want                 bool
	}{
		{"", "", true}, {"members", "", true}, {"members.value", "", true}, {"displayName", "", false}, {"", "members", false},
		{"", "members.value", true}, {"", "displayName", true}, {"members", "members", false}, {GroupSchema, "", true}, {GroupSchema + ":members", "", true}, {"MEMBERS", "", true},
	} {
		p, err := ParseProjection(c.attributes, c.excluded)
		if err != nil {
			t.Fatal(err)
		}
		if p.Includes("members") != c.want {
			t.Errorf("attributes=%s excludedAttributes=%s: %v", c.attributes, c.excluded, !c.want)
		}
	}
}

// A large group is written in pieces, and each member once.
func TestRenderGroupStreams(t *testing.T) {
	s := groupSchemas(t)
	w := &pieces{}
	if err := s.RenderGroup(w, Resource{Attributes: map[string]any{"displayName": "D"}}, Meta{ID: "g", Location: "https://x/Groups/g"}, manyMembers(5000), Projection{}); err != nil {
		t.Fatal(err)
	}
	if w.largest > 2*renderChunk || w.count < 5 {
		t.Errorf("%d pieces, the largest of %d bytes", w.count, w.largest)
	}
	group := decodeGroup(t, s, w.String())
	if len(group.Members) != 5000 {
		t.Errorf("%d members", len(group.Members))
	}
	broken := errors.New("gone")
	if err := s.RenderGroup(&pieces{err: broken}, Resource{}, Meta{}, manyMembers(5000), Projection{}); !errors.Is(err, broken) {
		t.Errorf("the writer's error came back as %v", err)
	}
}

type pieces struct {
	bytes.Buffer
	count, largest int
	err            error
}

func (p *pieces) Write(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	p.count++
	p.largest = max(p.largest, len(b))
	return p.Buffer.Write(b)
}

func manyMembers(n int) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		for i := range n {
			if id := memberID(i); !yield(Member{ID: id, Display: id + "@example.com"}) {
				return
			}
		}
	}
}

// memberID is as long as the ids of users are.
func memberID(i int) string {
	const letters = "abcdefghij"
	digits := []byte("user-name-0000000000")
	for at := len(digits) - 1; i > 0; at-- {
		digits[at] = letters[i%10]
		i /= 10
	}
	return string(digits)
}
