package attributes

import (
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
}
