package attributes

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func TestIsKnown(t *testing.T) {
	declared := []v1alpha1.CustomAttribute{
		{Name: "regions", Schema: "urn:ietf:params:scim:schemas:core:2.0:User"}, {Name: "team", Schema: "urn:x:teams"}, {Name: "plain"},
	}
	for name, want := range map[string]bool{
		"regions": true, "Regions": true, "region": false, "urn:ietf:params:scim:schemas:core:2.0:User:regions": true,
		"urn:ietf:params:scim:schemas:core:2.0:regions": true, "urn:x:teams:regions": false, "urn:x:teams:team": true, "team": true,
		"urn:x:other:team": false, "plain": true, "urn:ietf:params:scim:schemas:core:2.0:User:plain": true,
		"department": true, EnterpriseURN + ":department": true, "urn:ietf:params:scim:schemas:core:2.0:User:department": false,
		"roles": true, "phoneNumbers": false, "": false, "role": false,
	} {
		if got := IsKnown(declared, name); got != want {
			t.Errorf("IsKnown(%q) = %v", name, got)
		}
	}
}

func TestIsUnreadable(t *testing.T) {
	for value, want := range map[string]bool{
		`"us1"`: false, `""`: false, `"  "`: false, `null`: false, `[]`: false, `[""]`: false, `{}`: false, `[{"primary":true}]`: false,
		`[{"value":"us1"}]`: false, `[{"value":"","type":"x"}]`: false, `5`: false, `false`: false,
		`","`: true, `" , ,"`: true, `{"a":true}`: true, `{"us1":"yes"}`: true, `[{"display":"us1"}]`: true, `[["us1"]]`: true, `{"value":{"name":"us1"}}`: true,
	} {
		for container, user := range map[string]v1alpha1.UserSpec{
			"attributes": {Attributes: &runtime.RawExtension{Raw: []byte(`{"Regions":` + value + `}`)}},
			"extension":  {Extensions: &runtime.RawExtension{Raw: []byte(`{"urn:x":{"regions":` + value + `}}`)}},
		} {
			if got := IsUnreadable(&user, "regions"); got != want {
				t.Errorf("%s in %s: %v", value, container, got)
			}
		}
	}
	if !IsUnreadable(&v1alpha1.UserSpec{Roles: []v1alpha1.MultiValue{{Display: "us1"}}}, "roles") ||
		IsUnreadable(&v1alpha1.UserSpec{Roles: []v1alpha1.MultiValue{{Primary: true}}}, "roles") {
		t.Error("roles without a value")
	}
	for value, want := range map[string]bool{",": true, " , ": true, "": false, "  ": false, "us1": false, "us1,": false} {
		if got := IsUnreadable(&v1alpha1.UserSpec{UserType: value}, "userType"); got != want {
			t.Errorf("userType %q: %t", value, got)
		}
	}
}

func TestIsUnreadableInOneContainer(t *testing.T) {
	user := &v1alpha1.UserSpec{Extensions: &runtime.RawExtension{Raw: []byte(`{"urn:x":{"regions":","},"urn:y":{"regions":"us1"}}`)}}
	for name, want := range map[string]bool{"urn:x:regions": true, "URN:X:regions": true, "urn:y:regions": false, "urn:z:regions": false} {
		if got := IsUnreadable(user, name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestIsDeclaredTime(t *testing.T) {
	declared := []v1alpha1.CustomAttribute{
		{Name: "contractEnd", Type: "dateTime"}, {Name: "days", Type: "dateTime", MultiValued: true}, {Name: "text", Type: "string"}, {Name: "plain"},
		{Name: "both", Type: "dateTime", Schema: "urn:x"}, {Name: "both", Type: "string", Schema: "urn:y"}, {Name: "title", Type: "dateTime", Schema: "urn:x"},
	}
	for name, want := range map[string]bool{
		"contractEnd": true, "CONTRACTEND": true, coreURN + ":User:contractEnd": true, "urn:x:contractEnd": false,
		"days": false, "text": false, "plain": false, "other": false, "": false,
		"both": false, "urn:x:both": true, "urn:y:both": false, "title": false, "urn:x:title": true,
	} {
		if got := IsDeclaredTime(declared, name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestCheckDeclared(t *testing.T) {
	for name, test := range map[string]struct {
		declared []v1alpha1.CustomAttribute
		index    int
		reason   string
	}{
		"sound ones":           {[]v1alpha1.CustomAttribute{{Name: "role"}, {Name: "role", Schema: "urn:x:y"}, {Name: "title", Type: "string"}, {Name: "a-b_1"}}, 0, ""},
		"no name":              {[]v1alpha1.CustomAttribute{{Name: "role"}, {Name: "1st"}}, 1, "begins with a letter"},
		"a reserved name":      {[]v1alpha1.CustomAttribute{{Name: "Password"}}, 0, "reserved"},
		"no URN":               {[]v1alpha1.CustomAttribute{{Name: "role", Schema: "https://x"}}, 0, "is no URN"},
		"a complex one":        {[]v1alpha1.CustomAttribute{{Name: "emails"}}, 0, "complex"},
		"another type":         {[]v1alpha1.CustomAttribute{{Name: "title", Type: "integer"}}, 0, "with type string"},
		"several values":       {[]v1alpha1.CustomAttribute{{Name: "department", Schema: EnterpriseURN, MultiValued: true}}, 0, "one value"},
		"twice":                {[]v1alpha1.CustomAttribute{{Name: "role"}, {Name: "team"}, {Name: "ROLE", Schema: coreURN + ":User"}}, 2, "twice"},
		"refused, and another": {[]v1alpha1.CustomAttribute{{Name: "title", Type: "integer"}, {Name: "title"}}, 0, "with type string"},
	} {
		refused := CheckDeclared(test.declared)
		if test.reason == "" {
			if len(refused) > 0 {
				t.Errorf("%s: %+v", name, refused)
			}
		} else if len(refused) != 1 || refused[0].Index != test.index || !strings.Contains(refused[0].Reason, test.reason) {
			t.Errorf("%s: %+v, want %d: %s", name, refused, test.index, test.reason)
		}
	}
}
