package protocol

import (
	"strings"
	"testing"
)

func TestPutDeactivates(t *testing.T) {
	s := testSchemas(t)
	for _, test := range []struct {
		name, body string
		want       bool
	}{
		{"alone", `{"active":false}`, true},
		{"a text", `{"active":" False "}`, true},
		{"an array of one", `{"active":[false]}`, true},
		{"wrapped as Entra does", `{"active":{"$ref":null,"value":false}}`, true},
		{"in another letter case", `{"ACTIVE":false}`, true},
		{"by its URN", `{"` + UserSchema + `:active":false}`, true},
		{"by its URN and a dot", `{"` + lowerCoreURN + `.Active":false}`, true},
		{"in a container", `{"` + shortCoreURN + `":{"active":false}}`, true},
		{"in a container in one", `{"` + shortCoreURN + `":{"` + UserSchema + `":{"active":false}}}`, true},
		{"true beside it", `{"active":true,"` + lowerCoreURN + `":{"active":false}}`, true},
		{"what is no boolean beside it", `{"active":"maybe","` + lowerCoreURN + `":{"active":false}}`, true},
		{"a wrong integer beside it", `{"active":false,"` + spaceURN + `":{"level":"many"}}`, true},
		{"too deep a value beside it", `{"active":false,"x":` + deepJSON(9_000, false) + `}`, true},
		{"too many members beside it", `{"active":false,"x":{` + membersJSON("a", MaxMembers+1) + `}}`, true},
		{"too many members around it", `{"active":false,` + membersJSON("a", MaxMembers+1) + `}`, true},

		{"not said", `{"userName":"a"}`, false},
		{"true", `{"active":true}`, false},
		{"cleared", `{"active":null}`, false},
		{"no boolean", `{"active":"maybe"}`, false},
		{"a number", `{"active":0}`, false},
		{"another attribute's", `{"x":{"active":false}}`, false},
		{"another schema's", `{"` + EnterpriseUserSchema + `":{"active":false}}`, false},
		{"another schema's, by its URN", `{"urn:x:active":false}`, false},
		{"a longer name", `{"` + UserSchema + `:active.x":false}`, false},
		{"a container that is none", `{"` + UserSchema + `":false}`, false},
		{"an array", `[{"active":false}]`, false},
		{"cut off", `{"active":false,"x":`, false},
		{"no body", ``, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := s.PutDeactivates([]byte(test.body)); got != test.want {
				t.Errorf("PutDeactivates is %v, want %v", got, test.want)
			}
		})
	}
}

func TestPatchDeactivates(t *testing.T) {
	s := testSchemas(t)
	const off, bad = `{"op":"replace","value":{"active":false}}`, `{"op":"replace","path":"` + spaceURN + `:level","value":"many"}`
	for _, test := range []struct {
		name       string
		operations []string
		want       bool
	}{
		{"without a path", []string{off}, true},
		{"add", []string{`{"op":"Add","value":{"Active":"False"}}`}, true},
		{"by path", []string{`{"op":"replace","path":"active","value":"false"}`}, true},
		{"by a path with a URN", []string{`{"op":"replace","path":"` + UserSchema + `:active","value":false}`}, true},
		{"a schema's path", []string{`{"op":"replace","path":"` + lowerCoreURN + `","value":{"active":false}}`}, true},
		{"in a container", []string{`{"op":"replace","value":{"` + lowerCoreURN + `":{"active":false},"active":true}}`}, true},
		{"before an operation that is refused", []string{off, bad}, true},
		{"after one", []string{bad, off}, true},
		{"with a wrong value in the same operation", []string{`{"op":"replace","value":{"active":false,"` + spaceURN + `":{"level":"many"}}}`}, true},
		{"beside a path that is none", []string{`{"op":"replace","path":"emails[","value":1}`, off}, true},
		{"beside what is no operation", []string{`7`, `{"op":"move","path":"title"}`, off, `{"op":"remove"}`, `{"op":"add"}`}, true},
		{"beside a read-only attribute", []string{`{"op":"replace","path":"id","value":"x"}`, off}, true},
		{"beside too deep a value", []string{`{"op":"add","path":"x","value":` + deepJSON(9_000, true) + `}`, off}, true},
		{"among too many operations", append(strings.Split(strings.Repeat(bad+"\n", MaxPatchOperations), "\n")[:MaxPatchOperations], off), true},
		{"an operation without a value after it", []string{off, `{"op":"replace","path":"active"}`}, true},
		{"what is no boolean after it", []string{off, `{"op":"replace","path":"active","value":"maybe"}`}, true},
		{"after true", []string{`{"op":"replace","path":"active","value":true}`, off}, true},

		{"before true", []string{off, `{"op":"replace","path":"active","value":true}`}, false},
		{"before true without a path", []string{off, `{"op":"add","value":{"active":"True"}}`}, false},
		{"taken back", []string{off, `{"op":"remove","path":"active"}`}, false},
		{"cleared", []string{off, `{"op":"replace","value":{"active":null}}`}, false},
		{"removed only", []string{`{"op":"remove","path":"active","value":false}`}, false},
		{"removed without a path", []string{`{"op":"remove","value":{"active":false}}`}, false},
		{"a filter", []string{`{"op":"replace","path":"active[value eq true]","value":false}`}, false},
		{"another attribute", []string{`{"op":"replace","path":"x","value":{"active":false}}`}, false},
		{"nothing", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := s.PatchDeactivates([]byte(patchBody(test.operations...))); got != test.want {
				t.Errorf("PatchDeactivates is %v, want %v", got, test.want)
			}
		})
	}
	for _, body := range []string{``, `[]`, `{}`, `{"Operations":7}`, `{"active":false}`, `{"Operations":[` + off} {
		if s.PatchDeactivates([]byte(body)) {
			t.Errorf("%s deactivates", body)
		}
	}
	if !s.PatchDeactivates([]byte(`{"operations":[` + off + `]}`)) {
		t.Error("Operations in another letter case are not read")
	}
}

// checkDeactivates: a message that is taken deactivates exactly where PutDeactivates and PatchDeactivates say so.
func checkDeactivates(t *testing.T, what string, says bool, result Resource) {
	t.Helper()
	if does := result.Attributes["active"] == false; does != says {
		t.Fatalf("%s: deactivates is %v, and the result says %v", what, says, result.Attributes["active"])
	}
}

// The messages of the other tests, in all pairs of statements about active.
func TestDeactivatesAsTheMessageDoes(t *testing.T) {
	s := testSchemas(t)
	values := []string{`true`, `false`, `null`, `"False"`, `"TRUE"`, `""`, `[]`, `[false]`, `{"$ref":null,"value":false}`}
	keys := []string{"active", "Active", UserSchema + ":active", lowerCoreURN + ".active"}
	var statements, operations []string
	for _, value := range values {
		for _, key := range keys {
			statements = append(statements, `"`+key+`":`+value)
			operations = append(operations, `{"op":"replace","path":"`+key+`","value":`+value+`}`)
		}
		statements = append(statements, `"`+UserSchema+`":{"active":`+value+`}`, `"`+shortCoreURN+`":{"ACTIVE":`+value+`}`)
	}
	operations = append(operations, `{"op":"remove","path":"active"}`, `{"op":"add","path":"title","value":"x"}`)
	for _, statement := range statements {
		operations = append(operations, `{"op":"replace","value":{`+statement+`}}`)
	}
	for _, first := range statements {
		for _, second := range statements {
			body := `{"userName":"a",` + first + `,` + second + `}`
			checkDeactivates(t, body, s.PutDeactivates([]byte(body)), decode(t, s, body))
			operations = append(operations, `{"op":"add","value":{`+first+`,`+second+`}}`)
		}
	}
	current := decode(t, s, `{"userName":"a","active":true}`)
	for i, first := range operations {
		second := operations[(i*7+3)%len(operations)]
		for _, body := range []string{patchBody(first), patchBody(first, second), patchBody(second, first)} {
			next, _, err := s.ApplyPatch(current, []byte(body))
			if err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			checkDeactivates(t, body, s.PatchDeactivates([]byte(body)), next)
		}
	}
}
