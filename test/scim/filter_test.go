package scim_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// RFC 7644 section 3.4.2.2, on every kind of attribute.
func TestFilterGrammar(t *testing.T) {
	s := newClient(t, nil)
	enterprise := okta.SchemaEnterprise
	people := map[string]string{}
	for name, extra := range map[string]string{
		"ann": `,"name":{"familyName":"O'Neil","givenName":"Ann"},"title":"Boss","emails":[{"value":"ann@work.example","type":"work","primary":true},{"value":"ann@home.example","type":"home"}],` +
			`"` + enterprise + `":{"department":"Sales: \"West\"","employeeNumber":"0042","manager":{"value":"m-1"}},"externalId":"Ext-Ann"`,
		"bob": `,"name":{"familyName":"de la Cruz","givenName":"Bob"},"emails":[{"value":"bob@work.example","type":"work"}],` +
			`"phoneNumbers":[{"value":"+1 555 0100","type":"mobile"}],"` + enterprise + `":{"department":"Sales"},"shoeSize":43`,
		"cyd": `,"name":{"familyName":"Ünal","givenName":"Cyd"},"nickName":"C\\D","roles":["viewer","developer"],"shoeSize":9.5,` +
			`"urn:example:custom":{"hired":"2021-03-04T05:06:07Z","level":7,"flag":true}`,
		"dee": `,"title":"boss + co","userType":"a (b) [c]"`,
	} {
		people[name] = s.user(name+"@filter.example.com", extra)
	}
	s.must(s.do(http.MethodPatch, "/Users/"+people["dee"], patchJSON(`{"op":"replace","value":{"active":false}}`)).ExpectStatus(http.StatusOK))
	s.listed("/Users", 4)
	s.soon("dee's deactivation", func() error {
		if len(s.list("/Users"+query("filter", "active eq false")).Resources()) != 1 {
			return fmt.Errorf("no user is inactive in lists")
		}
		return nil
	})
	const all = "ann bob cyd dee"
	for _, test := range []struct{ filter, want string }{
		{`userName eq "ANN@filter.example.com"`, "ann"},
		{`userName ne "ann@filter.example.com"`, "bob cyd dee"},
		{`userName sw "ANN"`, "ann"}, {`userName ew "Example.COM"`, all}, {`userName co "@FILTER."`, all},
		{`userName gt "bob@filter.example.com"`, "cyd dee"}, {`userName ge "bob@filter.example.com"`, "bob cyd dee"},
		{`userName lt "bob@filter.example.com"`, "ann"}, {`userName le "bob@filter.example.com"`, "ann bob"},
		{`title pr`, "ann dee"}, {`not (title pr)`, "bob cyd"}, {`title eq "boss"`, "ann"}, {`title ne "boss"`, "bob cyd dee"},
		{`title eq "BOSS + CO"`, "dee"}, {`userType eq "a (b) [c]"`, "dee"}, {`nickName eq "c\\d"`, "cyd"}, {`nickName pr`, "cyd"},
		{`externalId eq "Ext-Ann"`, "ann"}, {`externalId eq "ext-ann"`, ""},
		{`name.familyName eq "o'neil"`, "ann"}, {`name.familyName co "LA C"`, "bob"}, {`name.familyName eq "ÜNAL"`, "cyd"}, {`name.familyName eq "\u00fcnal"`, "cyd"},
		{`NAME.GIVENNAME Eq "Ann"`, "ann"}, {`name pr`, "ann bob cyd"}, {`active eq true`, "ann bob cyd"}, {`active eq false`, "dee"}, {`active ne true`, "dee"}, {`active eq "False"`, "dee"},
		{`emails.value co "@home."`, "ann"}, {`emails co "work"`, "ann bob"}, {`emails pr`, "ann bob"},
		{`emails[type eq "work" and value co "ann"]`, "ann"}, {`emails[type eq "home" and value co "@work."]`, ""},
		{`emails[type eq "work"].value eq "bob@work.example"`, "bob"}, {`emails[primary eq true]`, "ann"}, {`emails[not (primary eq true)]`, "ann bob"},
		{`emails[type eq "home" or (type eq "work" and value sw "bob")]`, "ann bob"}, {`emails[type pr]`, "ann bob"},
		{`phoneNumbers.value eq "+1 555 0100"`, "bob"}, {`roles eq "viewer"`, "cyd"}, {`roles[value eq "developer"]`, "cyd"}, {`roles.value sw "dev"`, "cyd"},
		{enterprise + `:department eq "sales"`, "bob"}, {enterprise + `:department eq "Sales: \"West\""`, "ann"},
		{strings.ToLower(enterprise) + `:employeeNumber eq "0042"`, "ann"}, {enterprise + `:manager.value eq "m-1"`, "ann"}, {enterprise + `:manager eq "m-1"`, "ann"}, {enterprise + `:department pr`, "ann bob"},
		{okta.SchemaUser + `:userName sw "bob"`, "bob"}, {okta.SchemaUser + `:name.givenName eq "Cyd"`, "cyd"},
		{`shoeSize eq 43`, "bob"}, {`shoeSize eq 43.0`, "bob"}, {`shoeSize gt 9.4`, "bob cyd"}, {`shoeSize lt 4e1`, "cyd"},
		{`urn:example:custom:level ge 7`, "cyd"}, {`urn:example:custom:flag eq true`, "cyd"}, {`URN:EXAMPLE:CUSTOM:hired gt "2021-01-01T00:00:00Z"`, "cyd"},
		{`meta.created gt "2001-01-01T00:00:00Z"`, all}, {`meta.created gt "2001-01-01T00:00:00.123+02:00"`, all}, {`meta.lastModified lt "2001-01-01T00:00:00Z"`, ""},
		{`meta.resourceType eq "User"`, all}, {`meta.created pr`, all}, {`id pr`, all}, {`id ne "x"`, all},
		{`title pr and active eq true`, "ann"}, {`title pr or nickName pr and active eq true`, "ann cyd dee"}, {`(title pr or nickName pr) and active eq true`, "ann cyd"},
		{`title pr AND NOT (active eq true)`, "dee"}, {`not (title pr) and not (nickName pr)`, "bob"}, {`not (not (title pr))`, "ann dee"}, {`((((title pr))))`, "ann dee"},
		{`  title   pr  `, "ann dee"}, {`unknown eq "x"`, ""}, {`not (unknown pr)`, all}, {`title eq null`, "bob cyd"},
		{`id eq "ID-ANN"`, ""}, {`id eq "<ann>" or id eq "<bob>"`, "ann bob"}, {`id eq "<ann>" and title eq "nothing"`, ""}, {`(id eq "<ann>" or userName sw "dee") and title pr`, "ann dee"},
		{`emails.value eq "ANN@work.example" and emails.value eq "ann@home.example"`, "ann"},
	} {
		t.Run(test.filter, func(t *testing.T) {
			s := s.on(t)
			filter, want := test.filter, []string{}
			for name, id := range people {
				filter = strings.ReplaceAll(filter, "<"+name+">", id)
			}
			for name := range strings.FieldsSeq(test.want) {
				want = append(want, people[name])
			}
			for _, encoded := range []string{okta.Escape(filter), strings.ReplaceAll(okta.Escape(filter), "%20", "+")} {
				list := s.list("/Users?filter=" + encoded)
				if got := idsOf(list); !sameSet(got, want) || list.Number("totalResults") != len(want) {
					t.Errorf("found %q, want %q", got, want)
				}
			}
		})
	}
}

// What a user is in can be asked for like any other attribute.
func TestFilterByGroups(t *testing.T) {
	s := newClient(t, nil)
	ann, bob, cyd := s.user(newName("ann"), `,"title":"T"`), s.user(newName("bob"), ""), s.user(newName("cyd"), "")
	red, blue := s.group("Red", ann, bob), s.group("Blue", bob)
	for _, test := range []struct {
		filter string
		want   []string
	}{
		{`groups.value eq "` + red + `"`, []string{ann, bob}},
		{`groups eq "` + blue + `"`, []string{bob}},
		{`groups[value eq "` + red + `"]`, []string{ann, bob}},
		{`groups.display eq "BLUE"`, []string{bob}},
		{`groups[display sw "r" and type eq "direct"]`, []string{ann, bob}},
		{`groups pr`, []string{ann, bob}},
		{`not (groups pr)`, []string{cyd}},
		{`groups.value eq "` + red + `" and not (groups.value eq "` + blue + `")`, []string{ann}},
		{`groups.value eq "` + red + `" and title pr`, []string{ann}},
		{`groups.value eq "nothing"`, nil},
	} {
		t.Run(test.filter, func(t *testing.T) {
			s := s.on(t)
			s.soon(test.filter, func() error {
				if got := idsOf(s.list("/Users" + query("filter", test.filter))); !sameSet(got, test.want) {
					return fmt.Errorf("found %q, want %q", got, test.want)
				}
				return nil
			})
		})
	}
	s.soon("groups in lists", func() error {
		list := s.list("/Users?attributes=groups")
		for i, id := range idsOf(list) {
			groups, _ := list.At("Resources", i, "groups").([]any)
			if want := map[string]int{ann: 1, bob: 2, cyd: 0}[id]; len(groups) != want {
				return fmt.Errorf("%s is in %d groups, want %d", id, len(groups), want)
			}
		}
		return nil
	})
	if list := s.list("/Users?excludedAttributes=groups"); strings.Contains(string(list.Body), `"groups"`) {
		t.Errorf("excluded groups are there\n%s", list)
	}
}

var saysWhere = regexp.MustCompile(`character \d+`)

// What is no filter is refused, with the place where it went wrong, on every endpoint that takes one.
func TestInvalidFilters(t *testing.T) {
	s := newClient(t, nil)
	for filter, where := range map[string]string{
		`RUNSCOPE`: "character 9", `userName`: "character 9", `userName eq`: "character 12", `userName is "x"`: "character 10", `userName eq "x`: "character 13",
		`userName eq "x" and`: "character 20", `userName eq "x" userName eq "y"`: "character 17", `(userName eq "x"`: "character 17", `userName eq "x")`: "character 16",
		`not userName eq "x"`: "character 5", `emails[type eq "work"`: "character 22", `emails[]`: "character 8", `emails[type eq "x"]]`: "character 20",
		`"userName" eq "x"`: "character 1", `userName eq "\x"`: "character 13", `ü eq "x"`: "character 1", `title eq "ü" ä`: "character 14",
		`active gt true`: "character 1", `active eq "perhaps"`: "character 1", `meta.created gt "yesterday"`: "character 1", `userName..x pr`: "character 1",
		`emails[emails[type pr]]`: "character 14", `title pr or`: "character 12", `and`: "character 4", `title eq eq "x"`: "",
	} {
		t.Run(filter, func(t *testing.T) {
			s := s.on(t)
			for _, answer := range []*okta.Exchange{
				s.refused(http.StatusBadRequest, "invalidFilter", http.MethodGet, "/Users?filter="+okta.Escape(filter), ""),
				s.refused(http.StatusBadRequest, "invalidFilter", http.MethodPost, "/Users/.search", string(okta.ObjectOf("filter", filter).Encode())),
			} {
				if detail := answer.Text("detail"); !saysWhere.MatchString(detail) || !strings.Contains(detail, where) {
					t.Errorf("the detail %q does not tell %q", detail, where)
				}
			}
		})
	}
	for _, endpoint := range []string{"/Users", "/Groups", "/Roles", "/Entitlements"} {
		s.refused(http.StatusBadRequest, "invalidFilter", http.MethodGet, endpoint+"?filter=x%20is%20y", "")
	}
}

// Limits of a filter and of other parameters. What is long but allowed is answered.
func TestQueryLimits(t *testing.T) {
	s := newClient(t, nil)
	long := func(length int) string {
		const around = `title eq ""`
		return `title eq "` + strings.Repeat("x", length-len(around)) + `"`
	}
	nested := func(depth int) string { return strings.Repeat("(", depth) + "title pr" + strings.Repeat(")", depth) }
	for _, accepted := range []string{long(4096), nested(32)} {
		s.list("/Users" + query("filter", accepted))
	}
	for _, refused := range []string{long(4097), nested(33), strings.Repeat("not (", 5000), strings.Repeat("title pr or ", 400) + "title pr"} {
		answer := s.refused(http.StatusBadRequest, "invalidFilter", http.MethodGet, "/Users"+query("filter", refused), "")
		if len(answer.Body) > 1000 {
			t.Errorf("the error repeats the filter\n%s", answer)
		}
	}
	s.refused(http.StatusBadRequest, "invalidValue", http.MethodGet, "/Users?attributes="+strings.Repeat("a,", 3000), "")
	s.refused(http.StatusBadRequest, "invalidPath", http.MethodGet, "/Users?sortBy="+strings.Repeat("a", 5000), "")
	for _, parameter := range []string{"count", "startIndex"} {
		for _, value := range []string{"many", "1.5", "99999999999999999999"} {
			s.refused(http.StatusBadRequest, "invalidValue", http.MethodGet, "/Users?"+parameter+"="+value, "")
		}
	}
	most := s.get("/ServiceProviderConfig").Number("filter", "maxResults")
	page := s.list(fmt.Sprintf("/Users?count=%d", most+1))
	if page.Number("totalResults") != 0 || most < 200 {
		t.Errorf("maxResults is %d\n%s", most, page)
	}
}

// Limits of bodies, each answered 413 before anything is done.
func TestBodyLimits(t *testing.T) {
	s := newClient(t, nil)
	id, group := s.user(newName("sized"), ""), s.group("Sized")
	padding := strings.Repeat("x", 1<<20)
	title := `,"title":"` + padding + `"`
	for _, test := range []struct{ method, target, body string }{
		{http.MethodPost, "/Users", userJSON(newName("large"), title)},
		{http.MethodPut, "/Users/" + id, userJSON(newName("large"), title)},
		{http.MethodPatch, "/Users/" + id, patchJSON(`{"op":"replace","value":{"title":"` + padding + `"}}`)},
		{http.MethodPatch, "/Users/" + id, patchJSON(strings.Repeat(`{"op":"remove","path":"title"},`, 1000) + `{"op":"remove","path":"title"}`)},
		{http.MethodPost, "/Groups", `{"displayName":"Large","description":"` + padding + `"}`},
		{http.MethodPut, "/Groups/" + group, `{"displayName":"Large","description":"` + padding + `"}`},
		{http.MethodPatch, "/Groups/" + group, patchJSON(`{"op":"add","value":{"description":"` + padding + `"}}`)},
		{http.MethodPatch, "/Groups/" + group, patchJSON(strings.Repeat(`{"op":"remove","path":"members"},`, 1000) + `{"op":"remove","path":"members"}`)},
		{http.MethodPatch, "/Groups/" + group, patchJSON(`{"op":"add","path":"members","value":[{"value":"` + strings.Repeat("x", 17<<20) + `"}]}`)},
	} {
		s.refused(http.StatusRequestEntityTooLarge, "", test.method, test.target, test.body)
	}
	deep := strings.Repeat(`[`, 20000) + strings.Repeat(`]`, 20000)
	for _, target := range []string{"/Users", "/Groups", "/.search", "/Bulk"} {
		answer := s.do(http.MethodPost, target, `{"userName":"deep@example.com","displayName":"deep","x":`+deep+`}`)
		s.must(answer.ExpectStatus(http.StatusBadRequest, http.StatusOK, http.StatusRequestEntityTooLarge))
	}
	if s.get("/Users/"+id).At("title") != nil || s.get("/Groups/"+group).Text("displayName") != "Sized" {
		t.Error("a refused body has changed something")
	}
}
