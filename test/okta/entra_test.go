package okta_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// entra sends what Microsoft Entra ID sends: its own media types and operations, and with the flag of the newer
// behaviour in the tenant URL, an unknown parameter in every query.
type entra struct {
	*okta.Client
	flag bool
}

func (e entra) do(t *testing.T, method, target, body string) *okta.Exchange {
	t.Helper()
	if e.flag {
		separator := "?"
		if strings.Contains(target, "?") {
			separator = "&"
		}
		target += separator + "aadOptscim062020"
	}
	return do(t, e.Client, method, target, body,
		okta.WithHeader("User-Agent", ""), okta.WithHeader("Accept-Charset", ""), okta.WithHeader("Accept", "application/json, application/scim+json"))
}

// patch changes a user and returns it.
func (e entra) patch(t *testing.T, id string, operations ...string) *okta.Exchange {
	t.Helper()
	answer := e.do(t, http.MethodPatch, "/Users/"+id, patchOf(operations...))
	must(t, answer.ExpectUser())
	return answer
}

// eachEntra runs a test with the flag and without.
func eachEntra(t *testing.T, test func(*testing.T, entra)) {
	for _, flag := range []bool{false, true} {
		t.Run(fmt.Sprintf("flag %t", flag), func(t *testing.T) {
			client, _ := ownApp(t, okta.Template)
			test(t, entra{Client: client, flag: flag})
		})
	}
}

// entraUser is the POST of a user as Entra's manual has it: null for what has no value, and meta from the client.
func entraUser(userName, externalID string) string {
	return `{"schemas":["` + okta.SchemaUser + `","` + okta.SchemaEnterprise + `"],"externalId":"` + externalID + `","userName":"` + userName + `",` +
		`"active":true,"addresses":null,"displayName":"Joy Young","title":null,"nickName":null,` +
		`"meta":{"resourceType":"User","created":"2001-01-01T00:00:00Z"},` +
		`"emails":[{"primary":true,"type":"work","value":"` + userName + `"}],` +
		`"phoneNumbers":[{"type":"work","value":"+1 (425) 555-0100"},{"type":"mobile","value":" 425.555.0101"}],` +
		`"name":{"formatted":"Joy  Young","familyName":"Young","givenName":"Joy"},"roles":[],` +
		`"` + okta.SchemaEnterprise + `":{"employeeNumber":"0042","department":null,"manager":null}}`
}

// Entra's way with a user: look up, create, change, disable, restore, delete.
func TestEntraUser(t *testing.T) {
	eachEntra(t, func(t *testing.T, client entra) {
		// The connection test asks for a user that cannot be there.
		nobody := client.do(t, http.MethodGet, "/Users?filter="+okta.Escape(okta.Equals("userName", "0c7b2a9e-5d5a-4b60-9d3c-bb9e4a8d2f11")), "")
		must(t, nobody.ExpectUsers())
		if nobody.Number("totalResults") != 0 {
			t.Errorf("a user is found\n%s", nobody)
		}
		name := newName(t, "Joy.Young")
		created := client.do(t, http.MethodPost, "/Users", entraUser(name, "jyoung"))
		must(t, created.ExpectUser(http.StatusCreated))
		id := created.Text("id")
		for _, attribute := range []string{"addresses", "title", "nickName", "roles"} {
			if got := created.At(attribute); got != nil {
				t.Errorf("%s is %v, want none\n%s", attribute, got, created)
			}
		}
		if created.Text("meta", "created") == "2001-01-01T00:00:00Z" {
			t.Error("meta.created is the client's")
		}
		// Values come back as they were sent.
		for _, expected := range []struct {
			path []any
			want any
		}{
			{[]any{"name", "formatted"}, "Joy  Young"},
			{[]any{"phoneNumbers", 0, "value"}, "+1 (425) 555-0100"},
			{[]any{"phoneNumbers", 1, "value"}, " 425.555.0101"},
			{[]any{okta.SchemaEnterprise, "employeeNumber"}, "0042"},
			{[]any{"externalId"}, "jyoung"},
		} {
			if got := created.At(expected.path...); got != expected.want {
				t.Errorf("%v is %v, want %v", expected.path, got, expected.want)
			}
		}
		for _, filter := range []string{
			okta.Equals("userName", name), okta.Equals("externalId", "jyoung"), "externalId eq jyoung",
			`emails[type eq "work"].value eq "` + name + `"`, `userName eq "` + name + `" and active eq true`,
		} {
			list := client.do(t, http.MethodGet, "/Users?filter="+okta.Escape(filter), "")
			must(t, list.ExpectUsers())
			if !slices.Equal(idsOf(list), []string{id}) {
				t.Errorf("%s finds %q, want %q", filter, idsOf(list), id)
			}
		}
		must(t, client.do(t, http.MethodGet, "/Users/"+id, "").ExpectUser())
		client.disables(t, id)
		must(t, client.do(t, http.MethodDelete, "/Users/"+id, "").ExpectStatus(http.StatusNoContent))
		must(t, client.do(t, http.MethodGet, "/Users/"+id, "").ExpectError(http.StatusNotFound, ""))
	})
}

// disables plays the soft delete, with the booleans of either behaviour. A disabled user is still found.
func (e entra) disables(t *testing.T, id string) {
	t.Helper()
	off, on := `"False"`, `"True"`
	if e.flag {
		off, on = "false", "true"
	}
	if answer := e.patch(t, id, `{"op":"Replace","path":"active","value":`+off+`}`); answer.At("active") != false {
		t.Errorf("active is not false\n%s", answer)
	}
	list := e.do(t, http.MethodGet, "/Users?filter="+okta.Escape(okta.Equals("externalId", "jyoung")), "")
	must(t, list.ExpectUsers())
	if !slices.Equal(idsOf(list), []string{id}) {
		t.Errorf("the disabled user is not found: %q", idsOf(list))
	}
	if answer := e.patch(t, id, `{"op":"Replace","path":"active","value":`+on+`}`); answer.At("active") != true {
		t.Errorf("active is not true\n%s", answer)
	}
	e.patch(t, id, `{"op":"Replace","path":"active","value":`+off+`}`)
}

// The paths of Entra's PATCH requests, one operation each or all keys in one.
func TestEntraPatch(t *testing.T) {
	eachEntra(t, func(t *testing.T, client entra) {
		created := client.do(t, http.MethodPost, "/Users", entraUser(newName(t, "patched"), "patched"))
		must(t, created.ExpectUser(http.StatusCreated))
		id := created.Text("id")
		other := create(t, client.Client, userJSON(newName(t, "manager"), "")).Text("id")
		enterprise := okta.SchemaEnterprise
		for _, test := range []struct {
			operation string
			path      []any
			want      any
		}{
			{`{"op":"Replace","path":"displayName","value":"Pvlo"}`, []any{"displayName"}, "Pvlo"},
			{`{"op":"Add","path":"nickName","value":"Babs"}`, []any{"nickName"}, "Babs"},
			{`{"op":"Replace","path":"emails[type eq \"work\"].value","value":"updated@example.com"}`, []any{"emails", 0, "value"}, "updated@example.com"},
			{`{"op":"Replace","path":"name.familyName","value":"updatedFamilyName"}`, []any{"name", "familyName"}, "updatedFamilyName"},
			{`{"op":"Replace","path":"phoneNumbers[type eq \"mobile\"].value","value":"5"}`, []any{"phoneNumbers", 1, "value"}, "5"},
			{`{"op":"Add","path":"phoneNumbers[type eq \"fax\"].value","value":"6"}`, []any{"phoneNumbers", 2, "value"}, "6"},
			{`{"op":"Add","path":"addresses[type eq \"work\"].streetAddress","value":"Street 1"}`, []any{"addresses", 0, "streetAddress"}, "Street 1"},
			{`{"op":"Add","path":"addresses[type eq \"work\"].country","value":"US"}`, []any{"addresses", 0, "streetAddress"}, "Street 1"},
			{`{"op":"Replace","path":"addresses[type eq \"home\"].country","value":"DE"}`, []any{"addresses", 1, "type"}, "home"},
			{`{"op":"Add","path":"roles[primary eq \"True\"].value","value":"viewer"}`, []any{"roles", 0, "value"}, "viewer"},
			{`{"op":"Replace","path":"roles[primary eq \"True\"].value","value":"developer"}`, []any{"roles", 0, "value"}, "developer"},
			{`{"op":"Replace","path":"roles[primary eq \"True\"].value","value":"developer"}`, []any{"roles", 0, "primary"}, true},
			{`{"op":"Add","path":"` + enterprise + `:department","value":"HR"}`, []any{enterprise, "department"}, "HR"},
			{`{"op":"Replace","path":"` + enterprise + `.department","value":"Sales"}`, []any{enterprise, "department"}, "Sales"},
			{`{"op":"Add","path":"manager","value":[{"$ref":"http://host/scim/Users/` + other + `","value":"` + other + `"}]}`, []any{enterprise, "manager", "value"}, other},
			{`{"op":"Replace","path":"` + enterprise + `:manager","value":"123456"}`, []any{enterprise, "manager", "value"}, "123456"},
			{`{"op":"Add","path":"` + enterprise + `:manager","value":"` + other + `"}`, []any{enterprise, "manager", "value"}, other},
			{`{"op":"Replace","value":{"displayName":"All at once","name.givenName":"Dotted","` + enterprise + `:employeeNumber":"7",` +
				`"emails[type eq \"work\"].value":"keyed@example.com","active":true}}`, []any{"name", "givenName"}, "Dotted"},
			{`{"op":"Replace","value":{"` + enterprise + `:costCenter":"cc"}}`, []any{enterprise, "costCenter"}, "cc"},
			{`{"op":"Remove","path":"` + enterprise + `:manager"}`, []any{enterprise, "manager"}, nil},
			{`{"op":"Remove","path":"phoneNumbers[type eq \"fax\"]"}`, []any{"phoneNumbers", 2}, nil},
			{`{"op":"Remove","path":"nickName"}`, []any{"nickName"}, nil},
		} {
			t.Run(test.operation, func(t *testing.T) {
				answer := client.patch(t, id, test.operation)
				if got := answer.At(test.path...); got != test.want {
					t.Errorf("%v is %v, want %v\n%s", test.path, got, test.want, answer)
				}
			})
		}
		final := get(t, client.Client, id)
		for _, expected := range []struct {
			path []any
			want any
		}{
			{[]any{"displayName"}, "All at once"}, {[]any{"emails", 0, "value"}, "keyed@example.com"}, {[]any{enterprise, "employeeNumber"}, "7"},
			{[]any{enterprise, "department"}, "Sales"}, {[]any{"addresses", 0, "country"}, "US"}, {[]any{"addresses", 1, "country"}, "DE"},
		} {
			if got := final.At(expected.path...); got != expected.want {
				t.Errorf("%v is %v, want %v\n%s", expected.path, got, expected.want, final)
			}
		}
		if answer := client.patch(t, id); answer.Text("meta", "version") != final.Text("meta", "version") {
			t.Errorf("no operations made another version\n%s", answer)
		}
	})
}

// Entra asks whether a reference is there before it writes one.
func TestEntraReferences(t *testing.T) {
	eachEntra(t, func(t *testing.T, client entra) {
		manager := create(t, client.Client, userJSON(newName(t, "manager"), "")).Text("id")
		id := create(t, client.Client, userJSON(newName(t, "managed"), `,"manager":"`+manager+`"`)).Text("id")
		group := createGroup(t, client.Client, newName(t, "Referring"), id)
		for _, test := range []struct {
			target, filter string
			found          bool
		}{
			{"/Users", `id eq "` + id + `" and manager eq "` + manager + `"`, true},
			{"/Users", `manager eq "` + manager + `" and id eq "` + id + `"`, true},
			{"/Users", `id eq "` + id + `" and manager eq "` + id + `"`, false},
			{"/Users", `id eq "` + id + `" and ` + okta.SchemaEnterprise + `:manager eq "` + manager + `"`, true},
			{"/Groups", `id eq "` + group + `" and members eq "` + id + `"`, true},
			{"/Groups", `members eq "` + id + `" and id eq "` + group + `"`, true},
			{"/Groups", `id eq "` + group + `" and members eq "` + manager + `"`, false},
		} {
			t.Run(test.target+" "+test.filter, func(t *testing.T) {
				list := client.do(t, http.MethodGet, test.target+"?filter="+okta.Escape(test.filter)+"&attributes=id", "")
				must(t, list.ExpectList())
				if got := len(list.Resources()); (got == 1) != test.found || got > 1 {
					t.Fatalf("found %d\n%s", got, list)
				}
				for _, resource := range list.Resources() {
					if resource, _ := resource.(map[string]any); resource["id"] == nil || len(resource) > 2 {
						t.Errorf("want id alone, beside schemas\n%s", list)
					}
				}
			})
		}
	})
}

// Entra's way with a group: created without members, read without them, changed by one PATCH a member.
func TestEntraGroup(t *testing.T) {
	eachEntra(t, func(t *testing.T, client entra) {
		people := manyMore(t, client.Client, 4)
		name := newName(t, "displayName of a group")
		search := "/Groups?excludedAttributes=members&filter=" + okta.Escape(okta.Equals("displayName", name))
		list := client.do(t, http.MethodGet, search, "")
		must(t, list.ExpectGroups())
		if list.Number("totalResults") != 0 {
			t.Fatalf("want no group\n%s", list)
		}
		created := client.do(t, http.MethodPost, "/Groups", `{"schemas":["`+okta.SchemaGroup+`","http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],`+
			`"externalId":"8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159","displayName":"`+name+`","meta":{"resourceType":"Group"}}`)
		must(t, created.ExpectGroup(http.StatusCreated))
		id := created.Text("id")
		if got := created.Text("externalId"); got != "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159" {
			t.Errorf("externalId is %q", got)
		}
		add := func(person string) string {
			return `{"op":"Add","path":"members","value":[{"$ref":null,"value":"` + person + `"}]}`
		}
		remove := func(person string) string {
			if client.flag {
				return `{"op":"remove","path":"members[value eq \"` + person + `\"]"}`
			}
			return `{"op":"Remove","path":"members","value":[{"$ref":null,"value":"` + person + `"}]}`
		}
		change := func(operation string) {
			t.Helper()
			answer := client.do(t, http.MethodPatch, "/Groups/"+id, patchOf(operation))
			must(t, answer.ExpectStatus(http.StatusNoContent))
		}
		for _, person := range people {
			change(add(person))
		}
		hasMembers(t, client.Client, id, people...)
		change(remove(people[0]))
		change(remove(people[0]))
		hasMembers(t, client.Client, id, people[1:]...)
		change(`{"op":"Replace","path":"displayName","value":"` + name + ` renamed"}`)
		change(`{"op":"Replace","path":"externalId","value":"other"}`)
		hasMembers(t, client.Client, id, people[1:]...)
		group := client.do(t, http.MethodGet, "/Groups/"+id+"?excludedAttributes=members", "")
		must(t, group.ExpectGroup())
		if group.At("members") != nil || group.Text("displayName") != name+" renamed" || group.Text("externalId") != "other" {
			t.Errorf("want the renamed group without members\n%s", group)
		}
		must(t, client.do(t, http.MethodPost, "/Groups", groupJSON(strings.ToUpper(name)+" RENAMED", "")).ExpectError(409, "uniqueness"))
		must(t, client.do(t, http.MethodDelete, "/Groups/"+id, "").ExpectStatus(http.StatusNoContent))
		must(t, client.do(t, http.MethodGet, "/Groups/"+id, "").ExpectError(http.StatusNotFound, ""))
	})
}

// Entra's gallery apps read the schemas: a list, in camel case, without null.
func TestEntraSchemas(t *testing.T) {
	client, _ := quickstart(t, okta.Template)
	list := do(t, client, http.MethodGet, "/Schemas?aadOptscim062020", "")
	must(t, list.ExpectList())
	if ids := idsOf(list); !slices.Contains(ids, okta.SchemaUser) || !slices.Contains(ids, okta.SchemaGroup) || !slices.Contains(ids, okta.SchemaEnterprise) {
		t.Errorf("the schemas are %q", ids)
	}
	var look func(path string, document any)
	look = func(path string, document any) {
		switch document := document.(type) {
		case nil:
			t.Errorf("%s is null", path)
		case []any:
			for i, element := range document {
				look(fmt.Sprintf("%s[%d]", path, i), element)
			}
		case map[string]any:
			for name, value := range document {
				if name != "Resources" && strings.ToLower(name[:1]) != name[:1] {
					t.Errorf("%s.%s is no camel case", path, name)
				}
				look(path+"."+name, value)
			}
		case string, bool, json.Number:
		}
	}
	look("", list.Document)
}

// Entra disables a leaver: the access is gone when the answer comes, with the string as with the boolean.
func TestEntraDisableTakesAccess(t *testing.T) {
	client, app := quickstart(t, okta.Template)
	for _, value := range []string{`"False"`, `false`} {
		name := newName(t, "leaver")
		id := create(t, client, userJSON(name, "")).Text("id")
		operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Viewer))
		patch(t, client, id, `{"op":"Replace","path":"active","value":`+value+`}`)
		operator.AccessNow(t, app.Subject(name), harness.Nowhere())
	}
}
