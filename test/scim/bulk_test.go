package scim_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

const (
	bulkRequest  = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
	bulkResponse = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
)

// bulk sends operations, and returns the answer with one result an operation, unless want says how many.
func (s *scim) bulk(extra string, operations ...string) *okta.Exchange {
	s.t.Helper()
	answer := s.do(http.MethodPost, "/Bulk", `{"schemas":["`+bulkRequest+`"]`+extra+`,"Operations":[`+strings.Join(operations, ",")+`]}`)
	s.must(answer.ExpectStatus(http.StatusOK))
	if schemas, _ := answer.At("schemas").([]any); !slices.Contains(schemas, any(bulkResponse)) {
		s.t.Fatalf("schemas has no %s\n%s", bulkResponse, answer)
	}
	for i, result := range resultsOf(answer) {
		status, _ := okta.At(result, "status").(string)
		response := okta.At(result, "response")
		if failed := status >= "400"; status == "" || failed != (response != nil) {
			s.t.Errorf("Operations[%d]: want a status as a string, and a response where it is an error\n%s", i, answer)
		} else if failed && (okta.At(response, "status") != status || okta.At(response, "detail") == nil || okta.At(response, "schemas", 0) != okta.SchemaError) {
			s.t.Errorf("Operations[%d]: the response is no SCIM error\n%s", i, answer)
		}
	}
	return answer
}

func resultsOf(answer *okta.Exchange) []any {
	results, _ := answer.At("Operations").([]any)
	return results
}

// statuses of the results, separated by spaces.
func statuses(answer *okta.Exchange) string {
	var list []string
	for _, result := range resultsOf(answer) {
		status, _ := okta.At(result, "status").(string)
		list = append(list, status)
	}
	return strings.Join(list, " ")
}

// created returns the id at the end of a result's location.
func (s *scim) created(answer *okta.Exchange, index int) string {
	s.t.Helper()
	location := answer.Text("Operations", index, "location")
	_, path, _ := strings.Cut(location, "/scim/v2/")
	_, id, found := strings.Cut(path, "/")
	if !found || id == "" {
		s.t.Fatalf("Operations[%d] has the location %q\n%s", index, location, answer)
	}
	return id
}

func postUser(bulkID, userName, extra string) string {
	return `{"method":"POST","path":"/Users","bulkId":"` + bulkID + `","data":` + userJSON(userName, extra) + `}`
}

func postGroup(bulkID, displayName string, members ...string) string {
	return `{"method":"POST","path":"/Groups","bulkId":"` + bulkID + `","data":` + groupJSON(displayName, members) + `}`
}

// RFC 7644 section 3.7.
func TestBulk(t *testing.T) {
	s := newClient(t, nil)
	for _, part := range []struct {
		name string
		play func(*testing.T, *scim)
	}{
		{"every method", bulkEveryMethod},
		{"a group before its members", bulkGroupBeforeItsMembers},
		{"a circle", bulkCircle},
		{"errors one by one", bulkErrors},
		{"failOnErrors", bulkFailOnErrors},
		{"failOnErrors counts what cannot even be tried, in its place", bulkFailOnErrorsCountsWhatCannotBeTried},
		{"failOnErrors among many", bulkFailOnErrorsAmongMany},
		{"names that change hands", bulkNamesThatChangeHands},
		{"a person that joins and leaves", bulkPersonThatJoinsAndLeaves},
		{"nothing", bulkNothing},
	} {
		t.Run(part.name, func(t *testing.T) { part.play(t, s.on(t)) })
	}
}

func bulkEveryMethod(t *testing.T, s *scim) {
	replaced, patched, deleted := s.user(newName("replaced"), ""), s.user(newName("patched"), ""), s.user(newName("deleted"), "")
	member, name := s.user(newName("member"), ""), newName("bulk")
	answer := s.bulk("",
		postUser("one", name, ""),
		`{"method":"put","path":"/Users/`+replaced+`","data":`+userJSON(newName("renamed"), `,"title":"R"`)+`}`,
		`{"method":"PATCH","path":"/Users/`+patched+`","version":"`+strings.ReplaceAll(s.version("/Users/"+patched), `"`, `\"`)+`","data":`+patchJSON(`{"op":"replace","path":"title","value":"P"}`)+`}`,
		`{"method":"DELETE","path":"/Users/`+deleted+`"}`,
		postGroup("two", "Bulk group", member))
	if got := statuses(answer); got != "201 200 200 204 201" {
		t.Fatalf("the statuses are %s\n%s", got, answer)
	}
	for i, want := range []map[string]string{
		{"method": "POST", "bulkId": "one", "location": "/Users/" + s.created(answer, 0)},
		{"location": "/Users/" + replaced, "version": s.version("/Users/" + replaced)},
		{"method": "PATCH", "location": "/Users/" + patched, "version": s.version("/Users/" + patched)},
		{"method": "DELETE", "location": "/Users/" + deleted},
		{"bulkId": "two", "version": s.version("/Groups/" + s.created(answer, 4))},
	} {
		for name, suffix := range want {
			if got := answer.Text("Operations", i, name); !strings.HasSuffix(got, suffix) {
				t.Errorf("Operations[%d].%s is %q, want %q", i, name, got, suffix)
			}
		}
	}
	if got := s.get("/Users/" + s.created(answer, 0)).Text("userName"); got != name {
		t.Errorf("the created user is named %q", got)
	}
	for id, title := range map[string]string{replaced: "R", patched: "P"} {
		if got := s.get("/Users/" + id).Text("title"); got != title {
			t.Errorf("%s has the title %q, want %q", id, got, title)
		}
	}
	s.refused(http.StatusNotFound, "", http.MethodGet, "/Users/"+deleted, "")
	if got := s.get("/Groups/" + s.created(answer, 4)).Members(); !slices.Equal(got, []string{member}) {
		t.Errorf("the group has the members %q", got)
	}
}

func bulkGroupBeforeItsMembers(t *testing.T, s *scim) {
	answer := s.bulk("",
		postGroup("group", "Forward", "bulkId:first", "bulkId:second"),
		`{"method":"PATCH","path":"/Groups/bulkId:group","data":`+patchJSON(`{"op":"remove","path":"members[value eq \"bulkId:second\"]"}`, `{"op":"add","path":"members","value":[{"value":"bulkId:third"}]}`)+`}`,
		postUser("first", newName("first"), ""), postUser("second", newName("second"), ""),
		postUser("third", newName("third"), `,"`+okta.SchemaEnterprise+`":{"manager":{"value":"bulkId:first"}}`))
	if got := statuses(answer); got != "201 204 201 201 201" {
		t.Fatalf("the statuses are %s\n%s", got, answer)
	}
	first, third := s.created(answer, 2), s.created(answer, 4)
	if got := s.get("/Groups/" + s.created(answer, 0)).Members(); !sameSet(got, []string{first, third}) {
		t.Errorf("the group has the members %q, want %q and %q", got, first, third)
	}
	if got := s.get("/Users/"+third).At(okta.SchemaEnterprise, "manager", "value"); got != first {
		t.Errorf("the manager is %v, want %s", got, first)
	}
}

func bulkCircle(t *testing.T, s *scim) {
	manager := func(of string) string {
		return `,"` + okta.SchemaEnterprise + `":{"manager":{"value":"bulkId:` + of + `"}}`
	}
	answer := s.bulk("", postUser("a", newName("circle"), manager("b")), postUser("b", newName("circle"), manager("c")), postUser("c", newName("circle"), manager("a")))
	if got := statuses(answer); got != "201 201 201" {
		t.Fatalf("the statuses are %s\n%s", got, answer)
	}
	for i := range 3 {
		user := s.get("/Users/" + s.created(answer, i))
		if got, want := user.At(okta.SchemaEnterprise, "manager", "value"), s.created(answer, (i+1)%3); got != want {
			t.Errorf("user %d has the manager %v, want %s", i, got, want)
		}
		if answer.Text("Operations", i, "version") != user.Text("meta", "version") {
			t.Errorf("Operations[%d].version is not the user's\n%s", i, answer)
		}
	}
}

func bulkErrors(t *testing.T, s *scim) {
	taken := newName("taken")
	id := s.user(taken, "")
	answer := s.bulk("",
		postUser("dup", strings.ToUpper(taken), ""),
		postUser("fine", newName("fine"), ""),
		postUser("unnamed", "", ""),
		postGroup("orphan", "Orphan", "bulkId:dup"),
		postGroup("lost", "Lost", "bulkId:nowhere"),
		`{"method":"PATCH","path":"/Users/unknown","data":`+patchJSON(`{"op":"replace","path":"title","value":"x"}`)+`}`,
		`{"method":"PATCH","path":"/Users/`+id+`","version":"\"stale\"","data":`+patchJSON(`{"op":"replace","path":"title","value":"x"}`)+`}`,
		`{"method":"DELETE","path":"/Users/`+id+`","version":"\"stale\""}`,
		`{"method":"GET","path":"/Users/`+id+`"}`,
		`{"method":"POST","path":"/Bulk","bulkId":"inner","data":{}}`,
		`{"method":"POST","path":"/Users/.search","bulkId":"s","data":{}}`,
		`{"method":"POST","path":"/ServiceProviderConfig","bulkId":"c","data":{}}`,
		`{"method":"PUT","path":"/Users/`+id+`"}`,
		`{"method":"DELETE","path":"/Users"}`,
		`7`)
	if got, want := statuses(answer), "409 201 400 409 400 404 412 412 400 404 400 404 400 400 400"; got != want {
		t.Errorf("the statuses are %s, want %s\n%s", got, want, answer)
	}
	if got := answer.At("Operations", 0, "response", "scimType"); got != "uniqueness" {
		t.Errorf("scimType of a taken name is %v", got)
	}
	if answer.At("Operations", 0, "location") != nil {
		t.Errorf("a POST that failed has a location\n%s", answer)
	}
	if user := s.get("/Users/" + id); user.At("title") != nil {
		t.Errorf("the refused operations changed the user\n%s", user)
	}
}

func bulkFailOnErrors(t *testing.T, s *scim) {
	one, two, three := newName("fail"), newName("fail"), newName("fail")
	operations := []string{postUser("1", one, ""), postUser("2", "", ""), postUser("3", two, ""), postUser("4", "", ""), postUser("5", three, "")}
	if got := statuses(s.bulk(`,"failOnErrors":2`, operations...)); got != "201 400 201 400" {
		t.Errorf("the statuses are %q", got)
	}
	if list := s.list("/Users" + query("filter", okta.Equals("userName", three))); len(list.Resources()) != 0 {
		t.Errorf("an operation beyond failOnErrors was done\n%s", list)
	}
	if got := statuses(s.bulk("", operations...)); got != "409 400 409 400 201" {
		t.Errorf("without failOnErrors the statuses are %q", got)
	}
}

func bulkFailOnErrorsCountsWhatCannotBeTried(t *testing.T, s *scim) {
	operations := []string{postUser("1", newName("fail"), ""), `{"method":"GET","path":"/Users/x"}`, postUser("3", newName("fail"), "")}
	if got := statuses(s.bulk(`,"failOnErrors":1`, operations...)); got != "201 400" {
		t.Errorf("the statuses are %q", got)
	}
}

func bulkFailOnErrorsAmongMany(t *testing.T, s *scim) {
	var operations, want []string
	failed := 0
	for i := range 60 {
		name := newName("many")
		if i%6 == 5 {
			name = ""
		}
		operations = append(operations, postUser(fmt.Sprint(i), name, ""))
		if failed < 4 && name == "" {
			failed++
			want = append(want, "400")
		} else if failed < 4 {
			want = append(want, "201")
		}
	}
	answer := s.bulk(`,"failOnErrors":4`, operations...)
	if got := statuses(answer); got != strings.Join(want, " ") {
		t.Errorf("the statuses are %q, want %q", got, want)
	}
	for i := range resultsOf(answer) {
		if got := answer.Text("Operations", i, "bulkId"); got != fmt.Sprint(i) {
			t.Errorf("Operations[%d] has the bulkId %q", i, got)
		}
	}
}

func bulkNamesThatChangeHands(t *testing.T, s *scim) {
	one, two, team := newName("one"), newName("two"), "Change of hands"
	first, second, group := s.user(one, ""), s.user(two, `,"externalId":"`+two+`"`), s.group(team)
	rename := func(name string) string {
		return patchJSON(`{"op":"replace","path":"userName","value":"` + name + `"}`)
	}
	answer := s.bulk("",
		postUser("a", one, ""), // taken
		`{"method":"DELETE","path":"/Users/`+first+`"}`,
		postUser("b", strings.ToUpper(one), ""),                                // free
		`{"method":"PATCH","path":"/Users/`+second+`","data":`+rename(one)+`}`, // taken by b
		`{"method":"PATCH","path":"/Users/bulkId:b","data":`+rename(newName("three"))+`}`,
		`{"method":"PATCH","path":"/Users/`+second+`","data":`+rename(one)+`}`, // free again
		postUser("c", two, ""),                                                 // free
		`{"method":"DELETE","path":"/Groups/`+group+`"}`,
		postGroup("d", team, second),
		postGroup("e", strings.ToUpper(team)))
	if got, want := statuses(answer), "409 204 201 409 200 200 201 204 201 409"; got != want {
		t.Fatalf("the statuses are %s, want %s\n%s", got, want, answer)
	}
	if got := s.get("/Users/" + second).Text("userName"); got != one {
		t.Errorf("the user that took the name is called %q", got)
	}
}

func bulkPersonThatJoinsAndLeaves(t *testing.T, s *scim) {
	id, group := s.user(newName("short"), ""), s.group("Short stay")
	change := func(op string) string {
		return `{"method":"PATCH","path":"/Groups/` + group + `","data":` + patchJSON(`{"op":"`+op+`","path":"members","value":[{"value":"`+id+`"}]}`) + `}`
	}
	answer := s.bulk("", change("add"), change("remove"), change("add"), change("remove"), change("add"), `{"method":"DELETE","path":"/Users/`+id+`"}`)
	if got := statuses(answer); got != "204 204 204 204 204 204" {
		t.Errorf("the statuses are %s\n%s", got, answer)
	}
	if members := s.get("/Groups/" + group).Members(); len(members) != 0 {
		t.Errorf("the group has the members %q", members)
	}
}

func bulkNothing(t *testing.T, s *scim) {
	if answer := s.bulk(""); len(resultsOf(answer)) != 0 {
		t.Errorf("no operations have results\n%s", answer)
	}
}

// Limits are those that ServiceProviderConfig names, and 413 beyond them. Nothing of such a request is done.
func TestBulkLimits(t *testing.T) {
	s := newClient(t, nil)
	config := s.get("/ServiceProviderConfig")
	operations, size := config.Number("bulk", "maxOperations"), config.Number("bulk", "maxPayloadSize")
	if operations < 100 || size < 100_000 {
		t.Fatalf("maxOperations is %d, maxPayloadSize %d", operations, size)
	}
	first := newName("limited")
	list := []string{postUser("first", first, "")}
	for range operations {
		list = append(list, `{"method":"DELETE","path":"/Users/nobody"}`)
	}
	body := `{"schemas":["` + bulkRequest + `"],"Operations":[` + strings.Join(list, ",") + `]}`
	s.refused(http.StatusRequestEntityTooLarge, "", http.MethodPost, "/Bulk", body)
	large := `{"schemas":["` + bulkRequest + `"],"Operations":[` + postUser("first", first, "") + `],"x":"` + strings.Repeat("x", size) + `"}`
	s.refused(http.StatusRequestEntityTooLarge, "", http.MethodPost, "/Bulk", large)
	if found := s.list("/Users" + query("filter", okta.Equals("userName", first))); len(found.Resources()) != 0 {
		t.Errorf("a refused bulk request created a user\n%s", found)
	}
	padded := `{"schemas":["` + bulkRequest + `"],"Operations":[` + postUser("first", first, "") + `]}`
	padded += strings.Repeat(" ", size-len(padded))
	answer := s.do(http.MethodPost, "/Bulk", padded)
	s.must(answer.ExpectStatus(http.StatusOK))
	if got := statuses(answer); got != "201" {
		t.Errorf("a request of exactly maxPayloadSize has the statuses %q", got)
	}
	for body, scimType := range map[string]string{
		`{`: "invalidSyntax", `{"Operations":7}`: "invalidSyntax", `{"failOnErrors":-1,"Operations":[]}`: "invalidValue",
		`{"Operations":[` + postUser("same", newName("same"), "") + `,` + postUser("same", newName("same"), "") + `]}`: "invalidValue",
	} {
		s.refused(http.StatusBadRequest, scimType, http.MethodPost, "/Bulk", body)
	}
}
