package protocol

import (
	"fmt"
	"strings"
	"testing"
)

// filterUser has every kind of attribute, some of them in containers.
const filterUser = `{"userName":"Jane.Smith@Example.com","externalId":"00uAbC","displayName":"Jane \"JS\" Smith","title":"Straße","active":true,
	"name":{"givenName":"Jane","familyName":"Smith"},
	"emails":[{"type":"work","value":"Jane@Work.example","primary":true},{"type":"home","value":"jane@home.example"}],
	"roles":["admin","viewer"],"teams":["red","Blue"],"shoeSize":44,"vip":true,"pets":[{"value":"Rex"},{"value":"Tom","age":3}],
	"` + lowerCoreURN + `":{"role":"RESELLER_ADMIN"},
	"` + EnterpriseUserSchema + `":{"employeeNumber":"701984","department":"Sales","manager":{"value":"26118915","displayName":"Boss"}},
	"` + spaceURN + `":{"level":7,"score":1.5,"since":"2011-05-13T04:42:34Z","contractor":false,"badge":"bAdGe"},
	"urn:foo:1.0:Bar":{"Custom1":"x"}}`

func matches(t testing.TB, s *SchemaSet, complete map[string]any, text string) bool {
	t.Helper()
	parsed, err := ParseFilter(text)
	if err != nil {
		t.Fatalf("ParseFilter(%s): %v", text, err)
	}
	bound, err := parsed.Bind(s)
	if err != nil {
		t.Fatalf("Bind(%s): %v", text, err)
	}
	return bound.Matches(complete)
}

func TestFilterMatches(t *testing.T) {
	groups := map[string]struct{ yes, no []string }{
		"equality and names": {
			yes: []string{`userName eq "Jane.Smith@Example.com"`, `USERNAME EQ "jane.smith@example.COM"`, UserSchema + `:userName eq "jane.smith@example.com"`,
				strings.ToLower(UserSchema) + `:name.familyName eq "smith"`, shortCoreURN + `:title eq "STRASSE"`, `name.GIVENNAME eq "JANE"`, `shoesize eq 44`, `  userName   eq	"jane.smith@example.com"  `},
			no: []string{`userName eq "jane"`, `userName eq ""`, `name.givenName eq "Smith"`, `nobody eq "x"`, `name.nobody eq "x"`},
		},
		"caseExact": {
			yes: []string{`externalId eq "00uAbC"`, `id eq "jane-abc"`, `meta.version eq "W/\"7\""`, spaceURN + `:badge eq "bAdGe"`, `externalId sw "00uA"`},
			no:  []string{`externalId eq "00uabc"`, `id eq "Jane-abc"`, `meta.version eq "w/\"7\""`, spaceURN + `:badge eq "badge"`, `externalId sw "00ua"`},
		},
		"text operators": {
			yes: []string{`userName co "SMITH"`, `userName sw "JANE"`, `userName ew ".com"`, `displayName co "\"js\""`, `title sw "stra\u00dF"`, `userName gt "jane"`, `userName ge "jane.smith@example.com"`,
				`userName lt "k"`, `userName le "JANE.SMITH@EXAMPLE.COM"`, `title co "SS"`},
			no: []string{`userName co "xyz"`, `userName sw "smith"`, `userName ew "example"`, `userName gt "jane.smith@example.com"`, `userName lt "JANE"`},
		},
		"ne is the opposite of eq": {
			yes: []string{`userName ne "x"`, `nickName ne "x"`, `emails.value ne "x"`, `not (userName eq "x")`},
			no:  []string{`userName ne "jane.smith@example.com"`, `emails.value ne "jane@home.example"`, `roles ne "viewer"`},
		},
		"presence and null": {
			yes: []string{`title pr`, `name pr`, `emails pr`, `emails.type pr`, `not (nickName pr)`, `nickName eq null`, `title ne null`, `role pr`, EnterpriseUserSchema + `:manager pr`, `name ne null`, `addresses eq null`},
			no:  []string{`nickName pr`, `title eq null`, `nickName ne null`, `addresses pr`, `name eq null`, `emails.display pr`},
		},
		"logic": {
			yes: []string{`active eq true and title pr`, `nickName pr or title pr`, `nickName pr and title pr or active eq true`, `active eq true or nickName pr and nickName pr`, `not (nickName pr or active eq false)`,
				`NOT (nickName pr) AND (title pr OR nickName pr)`, `not(nickName pr)and(title pr)`, `((((active eq true))))`, `not (not (active eq true))`},
			no: []string{`active eq true and nickName pr`, `(nickName pr or title pr) and nickName pr`, `not (active eq true)`, `nickName pr and (nickName pr or title pr)`},
		},
		"types": {
			yes: []string{`active eq "True"`, `active eq True`, `active ne false`, spaceURN + `:level gt 6`, spaceURN + `:level ge "7"`, spaceURN + `:level lt 7.5`, spaceURN + `:score eq 1.50`, spaceURN + `:contractor eq false`,
				`shoeSize gt 43`, `vip eq true`, EnterpriseUserSchema + `:employeeNumber eq 701984`},
			no: []string{`active eq false`, spaceURN + `:level gt 7`, `shoeSize lt 44`, `vip eq false`, `shoeSize co "4x"`, `vip eq "yes"`},
		},
		"dates are chronological": {
			yes: []string{spaceURN + `:since eq "2011-05-13T06:42:34+02:00"`, spaceURN + `:since gt "2011-05-13T04:42:33.9Z"`, spaceURN + `:since lt 2011-05-14`, `meta.lastModified gt 2026-02-03T03:00:00Z`,
				`meta.lastModified lt "2026-02-03T05:00:00+01:00"`, `meta.created ge "2026-01-02T03:04:05Z"`, spaceURN + `:since sw "2011-05"`},
			no: []string{spaceURN + `:since gt "2011-05-13T06:42:34+02:00"`, `meta.lastModified gt "2026-02-03T05:00:00Z"`},
		},
		"e-mail in every form that Okta may send": {
			yes: []string{`email eq "jane@work.example"`, `emails eq "jane@WORK.example"`, `emails.value eq "jane@home.example"`, `emails[type eq "work"].value eq "jane@work.example"`, `emails[value eq "jane@work.example"]`,
				`emails[type eq "work" and value eq "jane@work.example"]`, `email eq "a@x" OR email eq "jane@home.example"`, `emails[type eq "work" and value co "@work.example"]`, `emails co "home"`, `emails[primary eq true].type eq "work"`,
				`emails[not (type eq "work")]`, `EMAILS[TYPE EQ "WORK"]`, UserSchema + `:emails[type eq "home"]`, `emails[type eq "work"].display ne "x"`},
			no: []string{`email eq "jane@elsewhere.example"`, `emails[type eq "home" and value eq "jane@work.example"]`, `emails[type eq "home"].value eq "jane@work.example"`, `emails[primary eq true and type eq "home"]`, `emails[type eq "other"]`},
		},
		"extensions": {
			yes: []string{EnterpriseUserSchema + `:department eq "sales"`, EnterpriseUserSchema + `.department eq "sales"`, `department eq "sales"`, `manager eq "26118915"`, `manager.value eq 26118915`, EnterpriseUserSchema + `:manager.displayName sw "b"`,
				strings.ToUpper(EnterpriseUserSchema) + `:department pr`, `urn:foo:1.0:Bar:Custom1 eq "X"`, `URN:FOO:1.0:BAR:custom1 eq "x"`, `level eq 7`},
			no: []string{EnterpriseUserSchema + `:division pr`, `division eq "x"`, `manager eq "boss"`, `urn:foo:2.0:Bar:Custom1 eq "x"`},
		},
		"containers": {
			yes: []string{`role eq "reseller_admin"`, UserSchema + `:role eq "RESELLER_ADMIN"`, lowerCoreURN + `:role sw "res"`, `ROLE pr`},
			no:  []string{`role eq "x"`, `role eq null`},
		},
		"plain and unknown lists": {
			yes: []string{`roles eq "admin"`, `roles.value eq "VIEWER"`, `roles[value eq "viewer"]`, `teams eq "blue"`, `teams[value sw "re"]`, `pets eq "rex"`, `pets.age gt 2`, `pets[value eq "Tom" and age eq 3]`, `schemas eq "` + UserSchema + `"`},
			no:  []string{`roles eq "x"`, `teams eq "green"`, `pets[value eq "Rex" and age eq 3]`},
		},
		"bare words as values": {
			yes: []string{`externalId eq 00uAbC`, `userName sw J`, `userName eq jane.smith@example.com`, `(externalId eq 00uAbC)`, `emails[type eq work]`, `externalId eq 00uAbC and active eq true`},
			no:  []string{`externalId eq jyoung`, `userName sw O`},
		},
	}
	s := testSchemas(t)
	complete := s.Complete(decode(t, s, filterUser), testMeta)
	for name, group := range groups {
		t.Run(name, func(t *testing.T) {
			for _, filter := range group.yes {
				if !matches(t, s, complete, filter) {
					t.Errorf("does not match: %s", filter)
				}
			}
			for _, filter := range group.no {
				if matches(t, s, complete, filter) {
					t.Errorf("matches: %s", filter)
				}
			}
		})
	}
}

func TestFilterCustomEmailAttribute(t *testing.T) {
	s, err := NewUserSchemas([]CustomAttribute{{Attribute: Attribute{Name: "email"}}})
	if err != nil {
		t.Fatal(err)
	}
	complete := s.Complete(decode(t, s, `{"email":"own@x","emails":["other@x"]}`), testMeta)
	if !matches(t, s, complete, `email eq "own@x"`) || matches(t, s, complete, `email eq "other@x"`) {
		t.Error("email is not the App's own attribute")
	}
	bound, _ := mustParse(t, `email eq "own@x"`).Bind(s)
	if lookups, _ := bound.Lookups(); lookups != nil {
		t.Errorf("lookups %v for an attribute that has no index", lookups)
	}
}

func mustParse(t testing.TB, text string) *Filter {
	t.Helper()
	f, err := ParseFilter(text)
	if err != nil {
		t.Fatalf("ParseFilter(%s): %v", text, err)
	}
	return f
}

func TestFilterErrors(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("(", n) + "title pr" + strings.Repeat(")", n) }
	tests := []struct {
		name, filter string
		parts        []string
	}{
		{"empty", ``, []string{"character 1 of the filter: expected an attribute name"}},
		{"spaces", `   `, []string{"character 4"}},
		{"no operator", `JANE@EXAMPLE.COM`, []string{"character 1"}},
		{"a name alone", `userName`, []string{"character 9", "an operator"}},
		{"an unknown operator", `userName is "x"`, []string{"character 10", "an operator"}},
		{"no value", `userName eq`, []string{"character 12", "a value"}},
		{"a keyword for a value", `userName eq and title pr`, []string{"character 13", "quotes"}},
		{"an open string", `userName eq "x`, []string{"character 13", "ends with"}},
		{"single quotes", `userName eq 'x'`, []string{"character 13", "double quotes"}},
		{"single quotes around words", `title eq 'a b'`, []string{"character 10", "double quotes"}},
		{"a bad escape", `userName eq "\x"`, []string{"character 13", "JSON string"}},
		{"something after a string", `userName eq "x"y`, []string{"character 16"}},
		{"a quote in a word", `userName eq x"y"`, []string{"character 13"}},
		{"something after the end", `title pr title pr`, []string{"character 10", "and, or"}},
		{"pr with a value", `title pr "x"`, []string{"character 10"}},
		{"a dangling and", `title pr and`, []string{"character 13", "an attribute name"}},
		{"an open parenthesis", `(title pr`, []string{"character 10", "')'"}},
		{"a closing parenthesis", `title pr)`, []string{"character 9"}},
		{"not without parentheses", `not title pr`, []string{"character 5", "'('"}},
		{"an open bracket", `emails[type eq "x"`, []string{"character 19", "']'"}},
		{"an empty value filter", `emails[]`, []string{"character 8"}},
		{"nested value filters", `emails[type[value eq "x"]]`, []string{"character 12", "another"}},
		{"a dot after a value filter", `emails[type pr]. eq "x"`, []string{"sub-attribute"}},
		{"a sub-attribute after a value filter without an operator", `emails[type pr].value`, []string{"an operator"}},
		{"a digit for a name", `123 eq 5`, []string{"character 1"}},
		{"two dots", `name.a.b eq 5`, []string{"character 1"}},
		{"positions count characters", `title eq "ä" or`, []string{"character 16"}},
		{"too long", strings.Repeat("a", MaxFilterLength+1), []string{"4096"}},
		{"too deep", nested(MaxFilterNesting + 1), []string{"nesting"}},
		{"booleans have no order", `active gt true`, []string{"active", "gt cannot compare booleans"}},
		{"booleans have no text", `active co "t"`, []string{"booleans"}},
		{"a word for a boolean", `active eq maybe`, []string{"true or false"}},
		{"an order with a boolean", `shoeSize gt true`, []string{"booleans"}},
		{"numbers have no text", spaceURN + `:level co 7`, []string{"numbers"}},
		{"a word for a number", spaceURN + `:level eq high`, []string{"a number"}},
		{"a word for a date", `meta.created gt yesterday`, []string{"date"}},
		{"null has no order", `title gt null`, []string{"null"}},
		{"a complex attribute", `name eq "x"`, []string{"complex"}},
		{"binary has no order", `x509Certificates.value gt "x"`, []string{"binary"}},
		{"passwords", `password eq "x"`, []string{"passwords"}},
		{"passwords with a URN", UserSchema + `:password sw "x"`, []string{"passwords"}},
		{"passwords in a value filter", `emails[password pr]`, []string{"passwords"}},
		{"a sub-attribute of plain text", `title.x eq "y"`, []string{"title has no sub-attributes"}},
		{"a path inside a value filter", `emails[emails.value eq "x"]`, []string{"sub-attribute"}},
		{"a name inside a plain list", `teams[type eq "x"]`, []string{"plain"}},
		{"a value filter after a sub-attribute", `emails.value[type pr]`, []string{"value filter"}},
	}
	s := testSchemas(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, err := ParseFilter(test.filter)
			if err == nil {
				_, err = f.Bind(s)
			}
			wantError(t, err, 400, "invalidFilter", test.parts...)
		})
	}
	if _, err := ParseFilter(nested(MaxFilterNesting)); err != nil {
		t.Errorf("the deepest nesting that is allowed: %v", err)
	}
}

func TestFilterLookups(t *testing.T) {
	tests := []struct {
		filter string
		want   string
		exact  bool
	}{
		{`userName eq "Jane"`, "[{userName Jane}]", true},
		{`USERNAME EQ jane`, "[{userName jane}]", true},
		{UserSchema + `:userName eq "Jane"`, "[{userName Jane}]", true},
		{`externalId eq 123`, "[{externalId 123}]", true},
		{`id eq "x"`, "[{id x}]", true},
		{`email eq "x"`, "[{emails.value x}]", true},
		{`emails eq "x"`, "[{emails.value x}]", true},
		{`emails.value eq "x"`, "[{emails.value x}]", true},
		{`emails[value eq "x"]`, "[{emails.value x}]", true},
		{`emails[value eq "x" or value eq "y"]`, "[{emails.value x} {emails.value y}]", true},
		{`email eq "x" OR email eq "y" or userName eq "z" or email eq "x"`, "[{emails.value x} {emails.value y} {userName z}]", true},
		{`emails[type eq "work"].value eq "x"`, "[{emails.value x}]", false},
		{`emails[type eq "work" and value eq "x"]`, "[{emails.value x}]", false},
		{`userName eq "x" or emails[type eq "work"].value eq "y"`, "[{userName x} {emails.value y}]", false},
		{`id eq "x" and manager eq "y"`, "[{id x}]", false},
		{`manager eq "y" and (userName eq "a" or userName eq "b") and id eq "c"`, "[{id c}]", false},
		{`userName eq "x" or title eq "y"`, "[]", false},
		{`not (userName eq "x")`, "[]", false},
		{`userName ne "x"`, "[]", false},
		{`userName eq null`, "[]", false},
		{`userName sw "x"`, "[]", false},
		{`emails[type eq "work"]`, "[]", false},
		{`emails[value eq "x" or type eq "work"]`, "[]", false},
		{`roles[value eq "x"]`, "[]", false},
		{`title eq "x"`, "[]", false},
		{spaceURN + `:userName eq "x"`, "[]", false},
	}
	s := testSchemas(t)
	for _, test := range tests {
		bound, err := mustParse(t, test.filter).Bind(s)
		if err != nil {
			t.Fatal(err)
		}
		lookups, exact := bound.Lookups()
		if got := fmt.Sprint(lookups); got != test.want || exact != test.exact {
			t.Errorf("%s: got %s %v, want %s %v", test.filter, got, exact, test.want, test.exact)
		}
	}
}

func TestFilterThatIsNotBound(t *testing.T) {
	f := mustParse(t, `userName eq "x"`)
	if lookups, exact := f.Lookups(); f.Matches(map[string]any{"userName": "x"}) || lookups != nil || exact {
		t.Error("an unbound filter gave an answer")
	}
}
