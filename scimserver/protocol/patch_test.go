package protocol

import (
	"fmt"
	"strings"
	"testing"
)

// patchBody wraps operations, given as JSON objects, into a PatchOp message.
func patchBody(operations ...string) string {
	return `{"schemas":["` + PatchOpSchema + `"],"Operations":[` + strings.Join(operations, ",") + `]}`
}

func TestApplyPatch(t *testing.T) {
	const ent = EnterpriseUserSchema
	tests := []struct {
		name       string
		current    string // body to decode
		operations []string
		want       string // attributes; empty: unchanged
		containers map[string]string
	}{
		// What Okta and Entra send
		{"Okta deactivates", `{"userName":"a","active":true}`,
			[]string{`{"op":"replace","value":{"active":false}}`}, `{"userName":"a","active":false}`, nil},
		{"Okta's path-less replace carries id, schemas, meta and groups", `{"userName":"a"}`,
			[]string{`{"op":"replace","value":{"id":"x","schemas":["y"],"meta":{"version":"1"},"groups":[],"displayName":"D"}}`}, `{"userName":"a","displayName":"D"}`, nil},
		{"Okta's password sync changes nothing", `{"userName":"a"}`,
			[]string{`{"op":"replace","value":{"password":"hunter2"}}`}, ``, nil},
		{"Entra disables by path and string", `{"userName":"a","active":true}`,
			[]string{`{"op":"Replace","path":"active","value":"False"}`}, `{"userName":"a","active":false}`, nil},
		{"Entra's dotted and URN keys", `{"userName":"a","name":{"familyName":"F"}}`,
			[]string{`{"op":"Replace","value":{"name.givenName":"G","` + ent + `:employeeNumber":"7","` + ent + `:manager.displayName":"M"}}`},
			`{"userName":"a","name":{"familyName":"F","givenName":"G"},"` + ent + `":{"employeeNumber":"7","manager":{"displayName":"M"}}}`, nil},
		{"Entra adds a work e-mail that is not there", `{"userName":"a"}`,
			[]string{`{"op":"Add","path":"emails[type eq \"work\"].value","value":"w@x"}`}, `{"userName":"a","emails":[{"type":"work","value":"w@x"}]}`, nil},
		{"Entra replaces a work e-mail that is there", `{"userName":"a","emails":[{"type":"work","value":"old","primary":true},{"type":"home","value":"h"}]}`,
			[]string{`{"op":"Replace","path":"emails[type eq \"work\"].value","value":"new"}`},
			`{"userName":"a","emails":[{"type":"work","value":"new","primary":true},{"type":"home","value":"h"}]}`, nil},
		{"Entra's primary role as a string boolean, found", `{"userName":"a","roles":[{"primary":true,"value":"x"}]}`,
			[]string{`{"op":"Replace","path":"roles[primary eq \"True\"].value","value":"y"}`}, `{"userName":"a","roles":[{"primary":true,"value":"y"}]}`, nil},
		{"Entra's primary role as a string boolean, made", `{"userName":"a"}`,
			[]string{`{"op":"Add","path":"roles[primary eq \"True\"].value","value":"y"}`}, `{"userName":"a","roles":[{"primary":true,"value":"y"}]}`, nil},
		{"Entra's manager without URN, in an array", `{"userName":"a"}`,
			[]string{`{"op":"Add","path":"manager","value":[{"$ref":"http://x/1","value":"1"}]}`}, `{"userName":"a","` + ent + `":{"manager":{"$ref":"http://x/1","value":"1"}}}`, nil},
		{"Entra's manager as a string", `{"userName":"a"}`,
			[]string{`{"op":"Add","path":"` + ent + `:manager","value":"1"}`}, `{"userName":"a","` + ent + `":{"manager":{"value":"1"}}}`, nil},
		{"Entra's old URN with a dot", `{"userName":"a"}`,
			[]string{`{"op":"Add","path":"` + ent + `.department","value":"Sales"}`}, `{"userName":"a","` + ent + `":{"department":"Sales"}}`, nil},
		{"Entra's work address", `{"userName":"a"}`,
			[]string{`{"op":"Add","path":"addresses[type eq \"work\"].streetAddress","value":"S"}`, `{"op":"Add","path":"addresses[type eq \"work\"].locality","value":"L"}`},
			`{"userName":"a","addresses":[{"type":"work","streetAddress":"S","locality":"L"}]}`, nil},
		{"Entra's validator sends no operations", `{"userName":"a"}`, nil, ``, nil},

		// Operations
		{"op and keys in any letter case", `{"userName":"a"}`, []string{`{"OP":" REPLACE ","Path":"TITLE","Value":"t"}`}, `{"userName":"a","title":"t"}`, nil},
		{"operations apply in order", `{"userName":"a"}`,
			[]string{`{"op":"add","path":"title","value":"1"}`, `{"op":"replace","path":"title","value":"2"}`, `{"op":"add","path":"nickName","value":"n"}`, `{"op":"remove","path":"nickName"}`},
			`{"userName":"a","title":"2"}`, nil},
		{"a null path is no path", `{"userName":"a"}`, []string{`{"op":"add","path":null,"value":{"title":"t"}}`}, `{"userName":"a","title":"t"}`, nil},

		// Single values
		{"replace with null clears", `{"userName":"a","title":"t"}`, []string{`{"op":"replace","path":"title","value":null}`}, `{"userName":"a"}`, nil},
		{"replace with the empty string clears", `{"userName":"a","title":"t"}`, []string{`{"op":"replace","value":{"title":""}}`}, `{"userName":"a"}`, nil},
		{"remove", `{"userName":"a","title":"t"}`, []string{`{"op":"remove","path":"title"}`}, `{"userName":"a"}`, nil},
		{"remove of what is absent", `{"userName":"a"}`, []string{`{"op":"remove","path":"title"}`, `{"op":"remove","path":"name.givenName"}`, `{"op":"remove","path":"emails"}`, `{"op":"remove","path":"nobodyKnows.this"}`}, ``, nil},
		{"values are coerced", `{"userName":"a"}`, []string{`{"op":"add","value":{"title":5,"` + spaceURN + `":{"level":"7"}}}`}, `{"userName":"a","title":"5","` + spaceURN + `":{"level":7}}`, nil},
		{"unknown attributes", `{"userName":"a"}`, []string{`{"op":"add","path":"shoeSize","value":44}`}, `{"userName":"a","shoeSize":44}`, nil},
		{"an unknown attribute that is there, in any letter case", `{"userName":"a","shoeSize":44}`, []string{`{"op":"replace","path":"SHOESIZE","value":45}`}, `{"userName":"a","shoeSize":45}`, nil},
		{"an unknown name that is no path", `{"userName":"a"}`, []string{`{"op":"replace","value":{"shoe size":44}}`}, `{"userName":"a","shoe size":44}`, nil},
		{"an unknown dotted name that is there as it is", `{"userName":"a","shoe.size":44}`, []string{`{"op":"replace","value":{"shoe.size":45}}`}, `{"userName":"a","shoe.size":45}`, nil},
		{"the same value again", `{"userName":"a","title":"t","emails":[{"value":"x"}]}`, []string{`{"op":"replace","value":{"title":"t"}}`, `{"op":"add","path":"emails","value":["x"]}`}, ``, nil},

		// Complex values
		{"replace of an object leaves other sub-attributes", `{"userName":"a","name":{"givenName":"G","familyName":"F"}}`,
			[]string{`{"op":"replace","path":"name","value":{"GivenName":"H"}}`}, `{"userName":"a","name":{"givenName":"H","familyName":"F"}}`, nil},
		{"a null sub-attribute clears it", `{"userName":"a","name":{"givenName":"G","familyName":"F"}}`,
			[]string{`{"op":"replace","value":{"name":{"givenName":null}}}`}, `{"userName":"a","name":{"familyName":"F"}}`, nil},
		{"null for the object clears it", `{"userName":"a","name":{"givenName":"G"}}`, []string{`{"op":"replace","path":"name","value":null}`}, `{"userName":"a"}`, nil},
		{"the last sub-attribute takes the object with it", `{"userName":"a","name":{"givenName":"G"}}`, []string{`{"op":"remove","path":"name.givenName"}`}, `{"userName":"a"}`, nil},
		{"another manager loses the former one's name", `{"userName":"a","` + ent + `":{"manager":{"value":"1","displayName":"Old","$ref":"/1"}}}`,
			[]string{`{"op":"replace","path":"` + ent + `:manager","value":{"value":"2"}}`}, `{"userName":"a","` + ent + `":{"manager":{"value":"2"}}}`, nil},
		{"the same manager keeps the name", `{"userName":"a","` + ent + `":{"manager":{"value":"1","displayName":"Old"}}}`,
			[]string{`{"op":"replace","value":{"` + ent + `":{"manager":{"value":1,"$ref":"/1"}}}}`}, `{"userName":"a","` + ent + `":{"manager":{"value":"1","displayName":"Old","$ref":"/1"}}}`, nil},
		{"whole name then one part, in one value", `{"userName":"a"}`, []string{`{"op":"replace","value":{"name.givenName":"H","name":{"givenName":"G","familyName":"F"}}}`},
			`{"userName":"a","name":{"givenName":"H","familyName":"F"}}`, nil},
		{"multi-valued sub-attributes", `{"userName":"a"}`, []string{`{"op":"add","path":"` + spaceURN + `:device.ports","value":["80",443]}`}, `{"userName":"a","` + spaceURN + `":{"device":{"ports":[80,443]}}}`, nil},

		// Multi-valued
		{"add appends without duplicates", `{"userName":"a","emails":[{"type":"work","value":"x"}]}`,
			[]string{`{"op":"add","path":"emails","value":[{"type":"work","value":"x"},{"type":"home","value":"y"},{"type":"home","value":"y"}]}`},
			`{"userName":"a","emails":[{"type":"work","value":"x"},{"type":"home","value":"y"}]}`, nil},
		{"add without a path appends", `{"userName":"a","roles":["x"]}`, []string{`{"op":"add","value":{"roles":["y"]}}`}, `{"userName":"a","roles":[{"value":"x"},{"value":"y"}]}`, nil},
		{"add of nothing", `{"userName":"a","roles":["x"]}`, []string{`{"op":"add","path":"roles","value":[]}`, `{"op":"add","path":"roles","value":null}`}, ``, nil},
		{"replace sets", `{"userName":"a","roles":["x","y"]}`, []string{`{"op":"replace","path":"roles","value":[{"value":"z"}]}`}, `{"userName":"a","roles":[{"value":"z"}]}`, nil},
		{"replace with an empty array clears", `{"userName":"a","roles":["x","y"]}`, []string{`{"op":"replace","path":"roles","value":[]}`}, `{"userName":"a"}`, nil},
		{"replace without the attribute leaves it", `{"userName":"a","roles":["x"]}`, []string{`{"op":"replace","value":{"title":"t"}}`}, `{"userName":"a","roles":[{"value":"x"}],"title":"t"}`, nil},
		{"an added primary is the only one", `{"userName":"a","emails":[{"value":"x","primary":true}]}`, []string{`{"op":"add","path":"emails","value":{"value":"y","primary":true}}`},
			`{"userName":"a","emails":[{"value":"x","primary":false},{"value":"y","primary":true}]}`, nil},
		{"a duplicate that becomes primary, before the former one", `{"userName":"a","emails":[{"value":"x"},{"value":"y","primary":true}]}`, []string{`{"op":"add","path":"emails","value":{"value":"x","primary":true}}`},
			`{"userName":"a","emails":[{"value":"x","primary":true},{"value":"y","primary":false}]}`, nil},
		{"primary set by path, before the former one", `{"userName":"a","emails":[{"type":"home","value":"x"},{"type":"work","value":"y","primary":true}]}`,
			[]string{`{"op":"replace","path":"emails[type eq \"home\"].primary","value":"true"}`},
			`{"userName":"a","emails":[{"type":"home","value":"x","primary":true},{"type":"work","value":"y","primary":false}]}`, nil},
		{"plain custom values", `{"userName":"a","teams":["x"]}`, []string{`{"op":"add","path":"teams","value":"y"}`, `{"op":"add","path":"teams","value":["x","z"]}`, `{"op":"remove","path":"teams[value eq \"Z\"]"}`},
			`{"userName":"a","teams":["x","y"]}`, nil},
		{"an unknown list", `{"userName":"a","tags":["x"]}`, []string{`{"op":"add","path":"tags","value":["y","x"]}`, `{"op":"remove","path":"tags","value":["x"]}`}, `{"userName":"a","tags":["y"]}`, nil},
		{"a sub-attribute of all elements", `{"userName":"a","emails":[{"type":"work","value":"x"},{"type":"home","value":"y"}]}`, []string{`{"op":"replace","path":"emails.display","value":"D"}`},
			`{"userName":"a","emails":[{"type":"work","value":"x","display":"D"},{"type":"home","value":"y","display":"D"}]}`, nil},
		{"a sub-attribute where there is no element", `{"userName":"a"}`, []string{`{"op":"replace","path":"emails.value","value":"x"}`}, `{"userName":"a","emails":[{"value":"x"}]}`, nil},

		// Filters
		{"remove by filter", `{"userName":"a","emails":[{"type":"work","value":"x"},{"type":"home","value":"y"}]}`, []string{`{"op":"remove","path":"emails[type eq \"work\"]"}`},
			`{"userName":"a","emails":[{"type":"home","value":"y"}]}`, nil},
		{"remove by filter of the last one", `{"userName":"a","emails":[{"type":"work","value":"x"}]}`, []string{`{"op":"remove","path":"emails[value eq \"X\"]"}`}, `{"userName":"a"}`, nil},
		{"remove by filter without a match", `{"userName":"a","emails":[{"type":"work","value":"x"}]}`, []string{`{"op":"remove","path":"emails[value eq \"y\"]"}`, `{"op":"remove","path":"roles[value eq \"y\"].display"}`}, ``, nil},
		{"remove of a sub-attribute by filter", `{"userName":"a","emails":[{"type":"work","value":"x","display":"D"}]}`, []string{`{"op":"remove","path":"emails[type eq \"work\"].display"}`},
			`{"userName":"a","emails":[{"type":"work","value":"x"}]}`, nil},
		{"remove of the value takes the element with it", `{"userName":"a","emails":[{"type":"work","value":"x","primary":true}]}`, []string{`{"op":"remove","path":"emails[type eq \"work\"].value"}`}, `{"userName":"a"}`, nil},
		{"replace of the value with nothing takes the element with it", `{"userName":"a","emails":[{"type":"work","value":"x"}]}`, []string{`{"op":"replace","path":"emails[type eq \"work\"].value","value":""}`}, `{"userName":"a"}`, nil},
		{"replace with nothing where nothing matches", `{"userName":"a"}`, []string{`{"op":"replace","path":"emails[type eq \"work\"].value","value":null}`}, ``, nil},
		{"an element made from an and of equalities", `{"userName":"a"}`, []string{`{"op":"add","path":"emails[type eq \"work\" and primary eq true].value","value":"x"}`},
			`{"userName":"a","emails":[{"type":"work","primary":true,"value":"x"}]}`, nil},
		{"a made element that is primary is the only one", `{"userName":"a","roles":[{"type":"t","value":"x","primary":true}]}`, []string{`{"op":"add","path":"roles[type eq \"u\" and primary eq true].value","value":"y"}`},
			`{"userName":"a","roles":[{"type":"t","value":"x","primary":false},{"type":"u","primary":true,"value":"y"}]}`, nil},
		{"replace of a whole element merges", `{"userName":"a","emails":[{"type":"work","value":"x","display":"D"}]}`, []string{`{"op":"replace","path":"emails[type eq \"work\"]","value":{"value":"y"}}`},
			`{"userName":"a","emails":[{"type":"work","value":"y","display":"D"}]}`, nil},
		{"a whole element is made where nothing matches", `{"userName":"a"}`, []string{`{"op":"replace","path":"emails[type eq \"work\"]","value":[{"value":"y"}]}`}, `{"userName":"a","emails":[{"type":"work","value":"y"}]}`, nil},
		{"values with dots, colons and brackets", `{"userName":"a","emails":[{"value":"a@b.c"},{"value":"x:y]z"}]}`, []string{`{"op":"remove","path":"emails[value eq \"a@b.c\"]"}`, `{"op":"remove","path":"emails[value eq \"x:y]z\"]"}`}, `{"userName":"a"}`, nil},
		{"a filter in a key", `{"userName":"a"}`, []string{`{"op":"replace","value":{"emails[type eq \"work\"].value":"x"}}`}, `{"userName":"a","emails":[{"type":"work","value":"x"}]}`, nil},
		{"a filter on an attribute with a URN", `{"userName":"a","roles":["x","y"]}`, []string{`{"op":"remove","path":"` + UserSchema + `:roles[value eq \"x\"]"}`}, `{"userName":"a","roles":[{"value":"y"}]}`, nil},
		{"one value for many elements is not shared", `{"userName":"a","list":[{"k":1},{"k":1,"b":2}]}`, []string{`{"op":"replace","path":"list[k eq 1].v","value":{"x":1}}`, `{"op":"remove","path":"list[b eq 2].v"}`},
			`{"userName":"a","list":[{"k":1,"v":{"x":1}},{"k":1,"b":2}]}`, nil},

		// remove with a value
		{"remove of listed values only", `{"userName":"a","roles":["x","y","z"]}`, []string{`{"op":"Remove","path":"roles","value":[{"$ref":null,"value":"X"},"z"]}`}, `{"userName":"a","roles":[{"value":"y"}]}`, nil},
		{"remove of a listed value with its type", `{"userName":"a","emails":[{"type":"work","value":"x"},{"type":"home","value":"x"}]}`, []string{`{"op":"remove","path":"emails","value":[{"type":"HOME","value":"x"}]}`},
			`{"userName":"a","emails":[{"type":"work","value":"x"}]}`, nil},
		{"remove of a listed value of any type", `{"userName":"a","emails":[{"type":"work","value":"x"},{"type":"home","value":"y"}]}`, []string{`{"op":"remove","path":"emails","value":[{"value":"x"}]}`},
			`{"userName":"a","emails":[{"type":"home","value":"y"}]}`, nil},
		{"remove of a listed value with another type", `{"userName":"a","emails":[{"type":"work","value":"x"}]}`, []string{`{"op":"remove","path":"emails","value":[{"value":"x","type":"home"}]}`}, ``, nil},
		{"remove of strangers", `{"userName":"a","roles":["x"]}`, []string{`{"op":"remove","path":"roles","value":["y"]}`, `{"op":"remove","path":"roles","value":[]}`, `{"op":"remove","path":"roles","value":{"display":"x"}}`}, ``, nil},
		{"remove of a listed object without a value", `{"userName":"a","addresses":[{"locality":"X","region":"R"},{"locality":"Y"}]}`, []string{`{"op":"remove","path":"addresses","value":[{"locality":"X"}]}`},
			`{"userName":"a","addresses":[{"locality":"Y"}]}`, nil},
		{"remove without a value clears", `{"userName":"a","roles":["x","y"]}`, []string{`{"op":"remove","path":"roles"}`}, `{"userName":"a"}`, nil},

		// Extensions
		{"an extension in a path-less value merges", `{"userName":"a","` + ent + `":{"department":"D","division":"V"}}`, []string{`{"op":"replace","value":{"` + strings.ToLower(ent) + `":{"department":"E","costCenter":""}}}`},
			`{"userName":"a","` + ent + `":{"department":"E","division":"V"}}`, map[string]string{ent: strings.ToLower(ent)}},
		{"a bare URN replaces the whole extension", `{"userName":"a","` + ent + `":{"department":"D","division":"V"}}`, []string{`{"op":"replace","path":"` + ent + `","value":{"department":"E"}}`}, `{"userName":"a","` + ent + `":{"department":"E"}}`, nil},
		{"a bare URN adds to the extension", `{"userName":"a","` + ent + `":{"division":"V"}}`, []string{`{"op":"add","path":"` + ent + `","value":{"department":"E"}}`}, `{"userName":"a","` + ent + `":{"department":"E","division":"V"}}`, nil},
		{"a bare URN removes the extension", `{"userName":"a","` + ent + `":{"division":"V"}}`, []string{`{"op":"remove","path":"` + strings.ToUpper(ent) + `"}`}, `{"userName":"a"}`, nil},
		{"the last attribute takes the extension with it", `{"userName":"a","` + ent + `":{"division":"V"}}`, []string{`{"op":"remove","path":"` + ent + `:division"}`}, `{"userName":"a"}`, nil},
		{"an undeclared extension", `{"userName":"a"}`, []string{`{"op":"add","value":{"urn:foo:1.0:Bar":{"Custom1":"x"}}}`, `{"op":"replace","path":"urn:FOO:1.0:bar:custom1","value":"y"}`, `{"op":"add","path":"urn:foo:1.0:Bar.custom2","value":"z"}`},
			`{"userName":"a","urn:foo:1.0:Bar":{"Custom1":"y","custom2":"z"}}`, nil},
		{"an attribute of an undeclared extension that is not there", `{"userName":"a"}`, []string{`{"op":"add","path":"urn:foo:2.0:Bar:custom1","value":"x"}`}, `{"userName":"a","urn:foo:2.0:Bar":{"custom1":"x"}}`, nil},
		{"an undeclared extension removed", `{"userName":"a","urn:foo:1.0:Bar":{"x":"y"}}`, []string{`{"op":"remove","path":"urn:foo:1.0:bar"}`}, `{"userName":"a"}`, nil},
		{"an undeclared extension that is not there", `{"userName":"a"}`, []string{`{"op":"remove","path":"urn:foo:1.0:bar"}`}, ``, nil},
		{"a null extension", `{"userName":"a","` + ent + `":{"division":"V"}}`, []string{`{"op":"replace","value":{"` + ent + `":null}}`}, `{"userName":"a"}`, nil},

		// Core containers
		{"a core container is remembered", `{"userName":"a","role":"x"}`, []string{`{"op":"replace","value":{"` + lowerCoreURN + `":{"role":"y"}}}`}, `{"userName":"a","role":"y"}`, map[string]string{"role": lowerCoreURN}},
		{"a change by path leaves the container", `{"userName":"a","` + lowerCoreURN + `":{"role":"x"}}`, []string{`{"op":"replace","path":"role","value":"y"}`}, `{"userName":"a","role":"y"}`, map[string]string{"role": lowerCoreURN}},
		{"a path with a near-miss URN", `{"userName":"a","` + lowerCoreURN + `":{"role":"x"}}`, []string{`{"op":"replace","path":"` + shortCoreURN + `:role","value":"y"}`}, `{"userName":"a","role":"y"}`, map[string]string{"role": lowerCoreURN}},
		{"a removed attribute's container is forgotten", `{"userName":"a","` + lowerCoreURN + `":{"role":"x"}}`, []string{`{"op":"remove","path":"role"}`}, `{"userName":"a"}`, nil},
		{"the container wins over a top-level copy in one value", `{"userName":"a"}`, []string{`{"op":"replace","value":{"` + lowerCoreURN + `":{"role":"fresh"},"role":"stale"}}`}, `{"userName":"a","role":"fresh"}`, map[string]string{"role": lowerCoreURN}},
		{"of RFC 7643's attributes the top level wins", `{"userName":"a"}`, []string{`{"op":"replace","value":{"` + lowerCoreURN + `":{"title":"c","nickName":"n"},"title":"t"}}`}, `{"userName":"a","title":"t","nickName":"n"}`, nil},
		{"active false at top level and true in a container", `{"userName":"a","active":true}`, []string{`{"op":"replace","value":{"active":false,"` + UserSchema + `":{"active":true},"` + UserSchema + `:active":true}}`}, `{"userName":"a","active":false}`, nil},
		{"active true at top level and false in a container", `{"userName":"a","active":true}`, []string{`{"op":"replace","value":{"active":true,"` + UserSchema + `":{"active":"false"},"` + lowerCoreURN + `":{"active":true}}}`}, `{"userName":"a","active":false}`, nil},
		{"a later operation activates", `{"userName":"a","active":true}`, []string{`{"op":"replace","value":{"active":false}}`, `{"op":"replace","value":{"active":true,"title":"t"}}`}, `{"userName":"a","active":true,"title":"t"}`, nil},
		{"a simple value wrapped in an array with $ref", `{"userName":"a","active":true}`, []string{`{"op":"replace","path":"active","value":[{"$ref":null,"value":"False"}]}`, `{"op":"replace","path":"title","value":[{"$ref":null,"value":"T"}]}`}, `{"userName":"a","active":false,"title":"T"}`, nil},
		{"the core URN as a path", `{"userName":"a"}`, []string{`{"op":"add","path":"` + UserSchema + `","value":{"title":"t"}}`}, `{"userName":"a","title":"t"}`, nil},

		// Passwords and read-only attributes
		{"password by path", `{"userName":"a"}`, []string{`{"op":"replace","path":"Password","value":"hunter2"}`, `{"op":"add","path":"` + UserSchema + `:password","value":"hunter2"}`, `{"op":"add","path":"password[value eq \"x\"].value","value":"hunter2"}`, `{"op":"remove","path":"password"}`, `{"op":"replace","path":"password"}`}, ``, nil},
		{"what stands below a password", `{"userName":"a"}`, []string{`{"op":"add","path":"urn:x:password:first","value":"hunter2"}`, `{"op":"add","path":"password.value","value":"hunter2"}`, `{"op":"add","value":{"password.value":"hunter2"}}`}, ``, nil},
		{"read-only custom attributes in a path-less value", `{"userName":"a"}`, []string{`{"op":"replace","value":{"` + spaceURN + `":{"computed":"x"}}}`}, ``, nil},
		{"schemas by path is ignored", `{"userName":"a"}`, []string{`{"op":"add","path":"schemas","value":["urn:x"]}`}, ``, nil},
		{"an immutable attribute may be set once, and again to the same", `{"userName":"a"}`, []string{`{"op":"add","path":"` + spaceURN + `:badge","value":"B"}`, `{"op":"replace","path":"` + spaceURN + `:badge","value":"B"}`}, `{"userName":"a","` + spaceURN + `":{"badge":"B"}}`, nil},
	}
	s := testSchemas(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			current := decode(t, s, test.current)
			before := current.DeepCopy()
			next, changed, err := s.ApplyPatch(current, []byte(patchBody(test.operations...)))
			if err != nil {
				t.Fatal(err)
			}
			if !sameResource(current, before) {
				t.Errorf("the current resource was changed")
			}
			want := encoded(before.Attributes)
			if test.want != "" {
				want = canonical(t, test.want)
			}
			if got := encoded(next.Attributes); got != want {
				t.Errorf("attributes\n got %s\nwant %s", got, want)
			}
			if test.want != "" && fmt.Sprint(next.Containers) != fmt.Sprint(test.containers) {
				t.Errorf("containers\n got %v\nwant %v", next.Containers, test.containers)
			}
			if changed != (test.want != "") {
				t.Errorf("changed is %v", changed)
			}
		})
	}
}

func TestApplyPatchErrors(t *testing.T) {
	const current = `{"userName":"a","title":"t","emails":[{"type":"work","value":"x"}],"` + spaceURN + `":{"badge":"B"}}`
	manyOperations := strings.Repeat(`{"op":"remove","path":"title"},`, MaxPatchOperations) + `{"op":"remove","path":"title"}`
	tests := []struct {
		name, body string
		status     int
		scimType   string
		parts      []string
	}{
		{"an empty body", ``, 400, "invalidSyntax", nil},
		{"Operations missing", `{"schemas":[]}`, 400, "invalidSyntax", []string{"Operations"}},
		{"Operations not an array", `{"Operations":{}}`, 400, "invalidSyntax", []string{"Operations"}},
		{"an operation that is not an object", `{"Operations":["x"]}`, 400, "invalidSyntax", []string{"Operations[0]: expected an object"}},
		{"op missing", patchBody(`{"path":"title","value":"x"}`), 400, "invalidSyntax", []string{"op is missing"}},
		{"an unknown op", patchBody(`{"op":"move","path":"title"}`), 400, "invalidSyntax", []string{"op is none of"}},
		{"too many operations", `{"Operations":[` + manyOperations + `]}`, 413, "", []string{"1000"}},
		{"a path that is not a string", patchBody(`{"op":"remove","path":5}`), 400, "invalidPath", nil},
		{"a path that is too long", patchBody(`{"op":"remove","path":"` + strings.Repeat("a", MaxPathLength+1) + `"}`), 400, "invalidPath", []string{"4096"}},
		{"add without a value", patchBody(`{"op":"add","path":"title"}`), 400, "invalidValue", []string{"needs a value"}},
		{"a path-less add of a string", patchBody(`{"op":"add","value":"x"}`), 400, "invalidValue", []string{"an object", "a string"}},
		{"a path-less replace without a value", patchBody(`{"op":"replace"}`), 400, "invalidValue", nil},
		{"a path-less remove", patchBody(`{"op":"remove"}`), 400, "noTarget", nil},
		{"the index of the operation", patchBody(`{"op":"remove","path":"title"}`, `{"op":"remove"}`), 400, "noTarget", []string{"Operations[1]"}},
		{"remove of userName", patchBody(`{"op":"remove","path":"userName"}`), 400, "mutability", []string{"userName is required"}},
		{"userName replaced with nothing", patchBody(`{"op":"replace","value":{"userName":""}}`), 400, "invalidValue", []string{"userName is required"}},
		{"id by path", patchBody(`{"op":"replace","path":"id","value":"x"}`), 400, "mutability", []string{"id is read-only"}},
		{"meta by path", patchBody(`{"op":"replace","path":"meta.version","value":"x"}`), 400, "mutability", []string{"meta.version"}},
		{"groups by path", patchBody(`{"op":"add","path":"groups","value":[{"value":"g"}]}`), 400, "mutability", []string{"groups"}},
		{"groups by filter", patchBody(`{"op":"remove","path":"groups[value eq \"g\"]"}`), 400, "mutability", nil},
		{"a read-only custom attribute by path", patchBody(`{"op":"add","path":"` + spaceURN + `:computed","value":"x"}`), 400, "mutability", nil},
		{"an immutable attribute", patchBody(`{"op":"replace","path":"` + spaceURN + `:badge","value":"C"}`), 400, "mutability", []string{"badge is immutable"}},
		{"an immutable attribute removed", patchBody(`{"op":"remove","path":"` + spaceURN + `"}`), 400, "mutability", []string{"badge"}},
		{"a wrong type", patchBody(`{"op":"replace","path":"active","value":"perhaps"}`), 400, "invalidValue", []string{"active: expected a boolean, received a string"}},
		{"a wrong type in a path-less value", patchBody(`{"op":"replace","value":{"name":{"givenName":{"x":1}}}}`), 400, "invalidValue", []string{"name.givenName: expected a string, received an object"}},
		{"a wrong type below a filter", patchBody(`{"op":"replace","path":"emails[type eq \"work\"].primary","value":"x"}`), 400, "invalidValue", []string{"primary"}},
		{"no match, and the filter describes nothing", patchBody(`{"op":"replace","path":"emails[type ne \"work\"].value","value":"x"}`), 400, "noTarget", nil},
		{"no match, and the filter has an or", patchBody(`{"op":"add","path":"emails[type eq \"home\" or type eq \"other\"].value","value":"x"}`), 400, "noTarget", nil},
		{"no match, and the filter contradicts itself", patchBody(`{"op":"add","path":"emails[type eq \"home\" and type eq \"other\"].value","value":"x"}`), 400, "noTarget", nil},
		{"a sub-attribute of a plain value", patchBody(`{"op":"add","path":"title.x","value":"x"}`), 400, "invalidPath", []string{"title has no sub-attributes"}},
		{"a filter on a single value", patchBody(`{"op":"remove","path":"name[givenName eq \"x\"]"}`), 400, "invalidPath", []string{"not multi-valued"}},
		{"a sub-attribute of a sub-attribute", patchBody(`{"op":"add","path":"name.givenName.x","value":"x"}`), 400, "invalidPath", []string{"character 6"}},
		{"an attribute's name in place of a URN", patchBody(`{"op":"replace","path":"emails:x","value":"y"}`), 400, "invalidPath", []string{"URN"}},
		{"a path of spaces inside", patchBody(`{"op":"remove","path":"na me"}`), 400, "invalidPath", []string{"character 1"}},
		{"an open bracket", patchBody(`{"op":"remove","path":"emails[type eq \"work\""}`), 400, "invalidPath", []string{"character 22", "']'"}},
		{"an empty filter", patchBody(`{"op":"remove","path":"emails[]"}`), 400, "invalidPath", []string{"character 8"}},
		{"something after the filter", patchBody(`{"op":"remove","path":"emails[type eq \"work\"]value"}`), 400, "invalidPath", []string{"character 23"}},
		{"a filter in a filter", patchBody(`{"op":"remove","path":"emails[type[value eq 1]]"}`), 400, "invalidPath", nil},
		{"an order of booleans", patchBody(`{"op":"remove","path":"emails[primary gt true]"}`), 400, "invalidPath", []string{"booleans"}},
		{"the core schema removed", patchBody(`{"op":"remove","path":"` + UserSchema + `"}`), 400, "mutability", nil},
		{"a string for the core container", patchBody(`{"op":"add","value":{"` + lowerCoreURN + `":"x"}}`), 400, "invalidValue", nil},
		{"a string for an extension", patchBody(`{"op":"add","path":"` + EnterpriseUserSchema + `","value":"x"}`), 400, "invalidValue", nil},
	}
	s := testSchemas(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := decode(t, s, current)
			before := r.DeepCopy()
			next, changed, err := s.ApplyPatch(r, []byte(test.body))
			wantError(t, err, test.status, test.scimType, test.parts...)
			if changed || !sameResource(next, before) || !sameResource(r, before) {
				t.Errorf("a refused PATCH changed the resource")
			}
		})
	}
}

func TestApplyPatchIsAtomic(t *testing.T) {
	s := testSchemas(t)
	current := decode(t, s, `{"userName":"a","emails":[{"type":"work","value":"x"}],"name":{"givenName":"G"}}`)
	before := encoded(current.Attributes)
	_, _, err := s.ApplyPatch(current, []byte(patchBody(
		`{"op":"replace","path":"emails[type eq \"work\"].value","value":"y"}`, `{"op":"remove","path":"name.givenName"}`, `{"op":"replace","path":"id","value":"z"}`)))
	wantError(t, err, 400, "mutability", "Operations[2]")
	if after := encoded(current.Attributes); after != before {
		t.Errorf("got %s, want %s", after, before)
	}
}

func TestApplyPatchToAnEmptyResource(t *testing.T) {
	s := testSchemas(t)
	next, changed, err := s.ApplyPatch(Resource{}, []byte(patchBody(`{"op":"add","path":"title","value":"t"}`)))
	if err != nil || !changed || encoded(next.Attributes) != `{"title":"t"}` {
		t.Errorf("got %v, %v, %v", next, changed, err)
	}
}
