package protocol

import (
	"fmt"
	"strings"
	"testing"
)

func TestDecodeUser(t *testing.T) {
	tests := []struct {
		name       string
		body       string
		want       string // attributes
		containers map[string]string
	}{
		// Names
		{name: "names match in any letter case", body: `{"USERNAME":"a","Name":{"GivenName":"G"},"eMails":[{"Value":"x","TYPE":"work"}]}`,
			want: `{"userName":"a","name":{"givenName":"G"},"emails":[{"value":"x","type":"work"}]}`},
		{name: "another spelling wins over the schema's, which may be our own answer", body: `{"userName":"old","username":"new"}`,
			want: `{"userName":"new"}`},
		{name: "the same in sub-attributes", body: `{"name":{"givenName":"old","GIVENNAME":"new"}}`, want: `{"name":{"givenName":"new"}}`},
		{name: "unknown top-level attributes are kept as written", body: `{"userName":"a","favouriteColour":"red","Nested":{"A":[1,true]}}`,
			want: `{"userName":"a","favouriteColour":"red","Nested":{"A":[1,true]}}`},
		{name: "unknown sub-attributes are kept as written", body: `{"name":{"Initials":"J.S."}}`, want: `{"name":{"Initials":"J.S."}}`},

		// What is dropped
		{name: "password", body: `{"userName":"a","password":"hunter2"}`, want: `{"userName":"a"}`},
		{name: "password in any letter case and depth", want: `{"userName":"a","urn:x:y":{"b":{"c":1}}}`,
			body: `{"userName":"a","PassWord":"hunter2","urn:x:y":{"password":"hunter2","b":{"PASSWORD":{"x":"hunter2"},"c":1}},"list":[{"password":"hunter2"}]}`},
		{name: "password under the core schema's URN", body: `{"userName":"a","` + UserSchema + `":{"password":"hunter2"},"` + UserSchema + `:password":"hunter2"}`,
			want: `{"userName":"a"}`},
		{name: "read-only attributes are ignored, not refused", body: `{"userName":"a","id":"1","meta":{"version":"1"},"groups":[{"value":"g"}],"schemas":["x"],"ID":5}`,
			want: `{"userName":"a"}`},
		{name: "read-only custom attributes are ignored", body: `{"` + spaceURN + `":{"computed":"x","level":1}}`, want: `{"` + spaceURN + `":{"level":1}}`},
		{name: "null, empty string and empty array mean absent", body: `{"userName":"a","title":null,"nickName":"","emails":[],"roles":null,"x":"","y":[],"z":{}}`,
			want: `{"userName":"a"}`},
		{name: "an object of empty values is absent", body: `{"userName":"a","name":{"givenName":"","familyName":null},"` + EnterpriseUserSchema + `":{"department":""}}`,
			want: `{"userName":"a"}`},
		{name: "empty strings in lists are dropped", body: `{"roles":["","a",""],"teams":["","x"],"free":["",null,"y"]}`,
			want: `{"roles":[{"value":"a"}],"teams":["x"],"free":["y"]}`},
		{name: "an element with an empty value is absent", body: `{"roles":[{"type":"x","value":"","primary":true},{"value":"a"}]}`,
			want: `{"roles":[{"value":"a"}]}`},
		{name: "an element of type and primary only is absent", body: `{"addresses":[{"type":"work","primary":true,"locality":""}]}`, want: `{}`},

		// Types
		{name: "numbers and booleans for strings", body: `{"userName":123,"title":true,"` + EnterpriseUserSchema + `":{"employeeNumber":701984}}`,
			want: `{"userName":"123","title":"true","` + EnterpriseUserSchema + `":{"employeeNumber":"701984"}}`},
		{name: "a long number keeps its digits", body: `{"title":12345678901234567890}`, want: `{"title":"12345678901234567890"}`},
		{name: "active as a string", body: `{"active":"False"}`, want: `{"active":false}`},
		{name: "active as a string in capitals", body: `{"active":"TRUE"}`, want: `{"active":true}`},
		{name: "primary as a string", body: `{"emails":[{"value":"x","primary":"True"}]}`, want: `{"emails":[{"value":"x","primary":true}]}`},
		{name: "strings for numbers", body: `{"` + spaceURN + `":{"level":" 7 ","score":"1.50","contractor":"true"}}`,
			want: `{"` + spaceURN + `":{"level":7,"score":1.50,"contractor":true}}`},
		{name: "an integer with an exponent", body: `{"` + spaceURN + `":{"level":1e3}}`, want: `{"` + spaceURN + `":{"level":1000}}`},
		{name: "dates are kept as written", body: `{"` + spaceURN + `":{"since":"2011-05-13T04:42:34+02:00"}}`,
			want: `{"` + spaceURN + `":{"since":"2011-05-13T04:42:34+02:00"}}`},
		{name: "an array of one for a single value", body: `{"title":["x"],"name":[{"givenName":"G"}]}`, want: `{"title":"x","name":{"givenName":"G"}}`},
		{name: "a string for the name", body: `{"name":"Jane Smith"}`, want: `{"name":{"formatted":"Jane Smith"}}`},

		// Multi-valued
		{name: "plain strings in roles, entitlements and emails", body: `{"roles":["a","b"],"entitlements":["e"],"emails":["x"]}`,
			want: `{"roles":[{"value":"a"},{"value":"b"}],"entitlements":[{"value":"e"}],"emails":[{"value":"x"}]}`},
		{name: "a single object or string for an array", body: `{"emails":{"value":"x"},"roles":"a","teams":"t"}`,
			want: `{"emails":[{"value":"x"}],"roles":[{"value":"a"}],"teams":["t"]}`},
		{name: "the last primary stays", body: `{"emails":[{"value":"a","primary":true},{"value":"b","primary":true},{"value":"c"}]}`,
			want: `{"emails":[{"value":"a","primary":false},{"value":"b","primary":true},{"value":"c"}]}`},
		{name: "duplicates of (type, value) merge", body: `{"emails":[{"type":"work","value":"a","primary":true},{"type":"home","value":"a"},{"type":"Work","value":"a","display":"A"}]}`,
			want: `{"emails":[{"type":"Work","value":"a","primary":true,"display":"A"},{"type":"home","value":"a"}]}`},
		{name: "a duplicate that unsets primary", body: `{"emails":[{"value":"a","primary":true},{"value":"a","primary":false}]}`,
			want: `{"emails":[{"value":"a","primary":false}]}`},
		{name: "values that differ in case are two", body: `{"roles":["Admin","admin"]}`, want: `{"roles":[{"value":"Admin"},{"value":"admin"}]}`},
		{name: "equal addresses are one", body: `{"addresses":[{"locality":"X"},{"locality":"X"},{"locality":"Y"}]}`,
			want: `{"addresses":[{"locality":"X"},{"locality":"Y"}]}`},
		{name: "type, value, primary and display stay", body: `{"roles":[{"type":"t","value":"v","primary":true,"display":"d"}]}`,
			want: `{"roles":[{"type":"t","value":"v","primary":true,"display":"d"}]}`},

		// Core containers
		{name: "the lower-case near miss of the core URN", body: `{"userName":"a","` + lowerCoreURN + `":{"role":"RESELLER_ADMIN"}}`,
			want: `{"userName":"a","role":"RESELLER_ADMIN"}`, containers: map[string]string{"role": lowerCoreURN}},
		{name: "the near miss without :User", body: `{"` + shortCoreURN + `":{"regions":"us1,emea2"}}`,
			want: `{"regions":"us1,emea2"}`, containers: map[string]string{"regions": shortCoreURN}},
		{name: "the proper core URN", body: `{"` + UserSchema + `":{"roles":["a"],"userName":"u"}}`,
			want: `{"roles":[{"value":"a"}],"userName":"u"}`},
		{name: "of RFC 7643's attributes the top level wins", body: `{"title":"top","name":{"givenName":"T"},"` + UserSchema + `":{"TITLE":"c","name":{"givenName":"C"},"nickName":"n"},"` + shortCoreURN + `":{"title":"d"}}`,
			want: `{"title":"top","name":{"givenName":"T"},"nickName":"n"}`},
		{name: "also where it is empty", body: `{"title":null,"` + UserSchema + `":{"title":"c"}}`, want: `{}`},
		{name: "of containers inside each other the outer one wins", body: `{"` + UserSchema + `":{"title":"o","` + shortCoreURN + `":{"title":"i","nickName":"n"}}}`,
			want: `{"title":"o","nickName":"n"}`},
		{name: "active false at top level and true in a container", body: `{"active":false,"` + UserSchema + `":{"active":true}}`, want: `{"active":false}`},
		{name: "active true at top level and false in a container", body: `{"active":true,"` + lowerCoreURN + `":{"Active":"False"}}`, want: `{"active":false}`},
		{name: "active false in one container and true in others", body: `{"` + UserSchema + `":{"active":false},"` + lowerCoreURN + `":{"active":true},"` + shortCoreURN + `":{"active":true}}`, want: `{"active":false}`},
		{name: "active in two spellings", body: `{"active":false,"ACTIVE":true}`, want: `{"active":false}`},
		{name: "active by its full name", body: `{"active":true,"` + UserSchema + `:active":false}`, want: `{"active":false}`},
		{name: "active true by its full name", body: `{"active":false,"` + UserSchema + `:active":true}`, want: `{"active":false}`},
		{name: "active in a container alone", body: `{"` + UserSchema + `":{"active":true}}`, want: `{"active":true}`},
		{name: "an undeclared attribute in a container is answered at top level", body: `{"` + lowerCoreURN + `":{"shoe":"7"}}`, want: `{"shoe":"7"}`},
		{name: "a container in capitals", body: `{"` + strings.ToUpper(UserSchema) + `":{"ROLE":"x"}}`,
			want: `{"role":"x"}`, containers: map[string]string{"role": strings.ToUpper(UserSchema)}},
		{name: "two containers, each remembered", body: `{"` + lowerCoreURN + `":{"role":"x"},"` + shortCoreURN + `":{"regions":"us1"}}`,
			want: `{"role":"x","regions":"us1"}`, containers: map[string]string{"role": lowerCoreURN, "regions": shortCoreURN}},
		{name: "the container wins over a top-level copy", body: `{"role":"stale","` + lowerCoreURN + `":{"role":"fresh"}}`,
			want: `{"role":"fresh"}`, containers: map[string]string{"role": lowerCoreURN}},
		{name: "an empty value in the container clears the top-level copy", body: `{"role":"stale","` + lowerCoreURN + `":{"role":""}}`, want: `{}`},
		{name: "read-only attributes in a container", body: `{"` + lowerCoreURN + `":{"id":"1","groups":[1],"title":"t"}}`,
			want: `{"title":"t"}`},
		{name: "an empty container", body: `{"userName":"a","` + lowerCoreURN + `":{},"` + shortCoreURN + `":null}`, want: `{"userName":"a"}`},
		{name: "a role at top level", body: `{"role":"RESELLER_ADMIN"}`, want: `{"role":"RESELLER_ADMIN"}`},
		{name: "a core attribute by its full name", body: `{"` + UserSchema + `:title":"t","` + UserSchema + `:name.givenName":"G"}`,
			want: `{"title":"t","name":{"givenName":"G"}}`},

		// Extensions
		{name: "the enterprise extension in any letter case, remembered", body: `{"` + strings.ToLower(EnterpriseUserSchema) + `":{"DEPARTMENT":"Sales"}}`,
			want: `{"` + EnterpriseUserSchema + `":{"department":"Sales"}}`, containers: map[string]string{EnterpriseUserSchema: strings.ToLower(EnterpriseUserSchema)}},
		{name: "another spelling of an extension wins attribute by attribute",
			body: `{"` + EnterpriseUserSchema + `":{"department":"stale","division":"D"},"` + strings.ToLower(EnterpriseUserSchema) + `":{"department":"fresh"}}`,
			want: `{"` + EnterpriseUserSchema + `":{"department":"fresh","division":"D"}}`, containers: map[string]string{EnterpriseUserSchema: strings.ToLower(EnterpriseUserSchema)}},
		{name: "another spelling wins wherever it sorts",
			body: `{"` + EnterpriseUserSchema + `":{"department":"stale"},"` + strings.ToUpper(EnterpriseUserSchema) + `":{"department":"fresh"}}`,
			want: `{"` + EnterpriseUserSchema + `":{"department":"fresh"}}`, containers: map[string]string{EnterpriseUserSchema: strings.ToUpper(EnterpriseUserSchema)}},
		{name: "an unknown extension is kept as written", body: `{"urn:Foo:Bar:1.0":{"Custom1":"x","n":1.0,"deep":{"a":[{"b":null,"c":2}]}}}`,
			want: `{"urn:Foo:Bar:1.0":{"Custom1":"x","n":1.0,"deep":{"a":[{"c":2}]}}}`},
		{name: "an http URL as an extension", body: `{"http://schemas.microsoft.com/2006/11/ADSCIM/2.0/Group":{"x":"y"}}`,
			want: `{"http://schemas.microsoft.com/2006/11/ADSCIM/2.0/Group":{"x":"y"}}`},
		{name: "an extension attribute by its full name", body: `{"` + EnterpriseUserSchema + `:department":"Sales","` + EnterpriseUserSchema + `:manager.displayName":"M"}`,
			want: `{"` + EnterpriseUserSchema + `":{"department":"Sales","manager":{"displayName":"M"}}}`},
		{name: "a longer URN than a known one is another extension", body: `{"` + EnterpriseUserSchema + `:Extra":{"a":"b"}}`,
			want: `{"` + EnterpriseUserSchema + `:Extra":{"a":"b"}}`},
		{name: "an unqualified enterprise attribute stays where it came", body: `{"department":"Sales"}`, want: `{"department":"Sales"}`},

		// Manager
		{name: "manager as an object", body: `{"` + EnterpriseUserSchema + `":{"manager":{"value":"1","displayName":"m@example.com","$ref":"../Users/1"}}}`,
			want: `{"` + EnterpriseUserSchema + `":{"manager":{"value":"1","displayName":"m@example.com","$ref":"../Users/1"}}}`},
		{name: "manager as a string", body: `{"` + EnterpriseUserSchema + `":{"manager":"123456"}}`, want: `{"` + EnterpriseUserSchema + `":{"manager":{"value":"123456"}}}`},
		{name: "manager as an array of one", body: `{"` + EnterpriseUserSchema + `":{"manager":[{"$ref":"x","value":"1"}]}}`,
			want: `{"` + EnterpriseUserSchema + `":{"manager":{"$ref":"x","value":"1"}}}`},
		{name: "manager without a URN", body: `{"Manager":"5"}`, want: `{"` + EnterpriseUserSchema + `":{"manager":{"value":"5"}}}`},
	}
	s := testSchemas(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := decode(t, s, test.body)
			if got, want := encoded(r.Attributes), canonical(t, test.want); got != want {
				t.Errorf("attributes\n got %s\nwant %s", got, want)
			}
			if fmt.Sprint(r.Containers) != fmt.Sprint(test.containers) {
				t.Errorf("containers\n got %v\nwant %v", r.Containers, test.containers)
			}
		})
	}
}

func TestDecodeUserErrors(t *testing.T) {
	tests := []struct {
		name, body string
		scimType   string
		parts      []string
	}{
		{"an empty body", ``, "invalidSyntax", []string{"empty"}},
		{"not JSON", `{"userName":`, "invalidSyntax", nil},
		{"a syntax error says where", `{"userName" "x"}`, "invalidSyntax", []string{"byte 13"}},
		{"two values", `{} {}`, "invalidSyntax", nil},
		{"an array", `[]`, "invalidSyntax", []string{"an array"}},
		{"an object for a string", `{"userName":{"a":"secretvalue"}}`, "invalidValue", []string{"userName: expected a string, received an object"}},
		{"a list for a string", `{"userName":["a","b"]}`, "invalidValue", []string{"userName: expected one value, received an array of 2"}},
		{"a word for a boolean", `{"active":"maybe"}`, "invalidValue", []string{"active: expected a boolean, received a string"}},
		{"a number for a boolean", `{"active":1}`, "invalidValue", []string{"received a number"}},
		{"the path of a sub-attribute", `{"name":{"givenName":["a","b"]}}`, "invalidValue", []string{"name.givenName: "}},
		{"the path of an element", `{"emails":[{"value":"x"},{"value":{"a":1}}]}`, "invalidValue", []string{"emails[1].value: expected a string, received an object"}},
		{"an array in an array", `{"emails":[["x"]]}`, "invalidValue", []string{"emails[0]: expected one value, received an array"}},
		{"a fraction for an integer", `{"` + spaceURN + `":{"level":1.5}}`, "invalidValue", []string{spaceURN + ".level: expected an integer, received a number"}},
		{"a word for an integer", `{"` + spaceURN + `":{"level":"many"}}`, "invalidValue", []string{"received a string"}},
		{"a word for a decimal", `{"` + spaceURN + `":{"score":"1,5"}}`, "invalidValue", []string{"decimal"}},
		{"a string for an extension", `{"` + EnterpriseUserSchema + `":"x"}`, "invalidValue", []string{"expected an object, received a string"}},
		{"a string for the core container", `{"` + lowerCoreURN + `":"x"}`, "invalidValue", []string{lowerCoreURN + ": expected an object"}},
		{"a number out of range", `{"x":1e999}`, "invalidValue", []string{"x: the number is out of range"}},
		{"a string for a complex value without a plain form", `{"` + spaceURN + `":{"device":"x"}}`, "invalidValue", []string{"device: expected an object"}},
	}
	s := testSchemas(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := s.DecodeUser([]byte(test.body))
			wantError(t, err, 400, test.scimType, test.parts...)
			if strings.Contains(err.Error(), "secretvalue") || strings.Contains(err.Error(), "maybe") {
				t.Errorf("the detail repeats a value: %v", err)
			}
		})
	}
}

func TestDecodeUserIsDeterministic(t *testing.T) {
	s := testSchemas(t)
	body := `{"foo":"1","FOO":"2","userName":"a","USERNAME":"b","Username":"c","emails":[{"value":"x","VALUE":"y","Value":"z"}],"manager":"1",
		"` + EnterpriseUserSchema + `":{"manager":"2","Manager":"3"},"` + lowerCoreURN + `":{"title":"1"},"` + shortCoreURN + `":{"title":"2"}}`
	want := render(t, s, decode(t, s, body), Projection{})
	for range 50 {
		if got := render(t, s, decode(t, s, body), Projection{}); got != want {
			t.Fatalf("two decodings differ:\n%s\n%s", got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	s := testSchemas(t)
	tests := []struct {
		name, body  string
		post, other string // part of the error; empty: none
	}{
		{"complete", `{"userName":"a","role":"RESELLER_ADMIN"}`, "", ""},
		{"userName is missing", `{"role":"RESELLER_ADMIN"}`, "userName is required", "userName is required"},
		{"userName is blank", `{"userName":" \t","role":"RESELLER_ADMIN"}`, "userName is required", "userName is required"},
		{"a required custom attribute is missing", `{"userName":"a"}`, "role is required", ""},
		{"a value that is not allowed", `{"userName":"a","role":"KING"}`, "RESELLER_ADMIN, RESELLER_STAFF", ""},
		{"allowed values follow caseExact", `{"userName":"a","role":"reseller_admin"}`, "", ""},
		{"canonical values of RFC 7643 are advice", `{"userName":"a","role":"RESELLER_ADMIN","emails":[{"type":"pigeon","value":"x"}]}`, "", ""},
	}
	check := func(t *testing.T, err error, want string) {
		t.Helper()
		if want == "" {
			if err != nil {
				t.Error(err)
			}
			return
		}
		wantError(t, err, 400, "invalidValue", want)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := decode(t, s, test.body)
			check(t, s.Validate(r), test.post)
			check(t, s.ValidateUpdate(Resource{}, r), test.other)
		})
	}
	t.Run("types of what did not come from a decoder", func(t *testing.T) {
		r := Resource{Attributes: map[string]any{"userName": "a", "active": "maybe"}}
		wantError(t, s.ValidateUpdate(Resource{}, r), 400, "invalidValue", "active")
		r = Resource{Attributes: map[string]any{"userName": "a", spaceURN: map[string]any{"level": "x"}}}
		wantError(t, s.ValidateUpdate(Resource{}, r), 400, "invalidValue", "level")
	})
}
