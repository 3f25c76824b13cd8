package attributes_test

import (
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/attributes"
)

func raw(text string) *runtime.RawExtension { return &runtime.RawExtension{Raw: []byte(text)} }

// Entra writes a whole app role assignment into the value, as JSON.
func TestRolesInAssignments(t *testing.T) {
	user := &v1alpha1.UserSpec{Roles: []v1alpha1.MultiValue{
		{Value: `{"id":"06b07648-ecfe-589f-9d2f-6325724a46ee","value":"developer","displayName":"Developer"}`},
		{Value: "viewer"}, {Value: `{"value":7}`}, {Value: `{"id":"x"}`}, {Value: "{broken"},
	}}
	want := []string{"developer", "viewer", `{"value":7}`, `{"id":"x"}`, "{broken"}
	if got, _ := attributes.Values(user, "roles"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestValuesInAnyContainer(t *testing.T) {
	user := &v1alpha1.UserSpec{
		UserName:   "jane@example.com",
		Emails:     []v1alpha1.MultiValue{{Value: "a@example.com"}, {Value: ""}, {Value: "b@example.com"}},
		Roles:      []v1alpha1.MultiValue{{Value: "admin", Type: "team"}},
		Enterprise: &v1alpha1.EnterpriseUser{Department: "Sales", Manager: &v1alpha1.Manager{Value: "m-1"}},
		Attributes: raw(`{"role":"viewer","level":3,"flag":true,"empty":"","list":["x",{"value":"y"},{"other":"z"}]}`),
		Extensions: raw(`{"urn:b":{"team":"second"},"urn:a":{"team":"first"},"urn:broken":7}`),
	}
	for name, want := range map[string]struct {
		values      []string
		multiValued bool
	}{
		"USERNAME":   {values: []string{"jane@example.com"}},
		"emails":     {values: []string{"a@example.com", "b@example.com"}, multiValued: true},
		"roles":      {values: []string{"admin"}, multiValued: true},
		"Role":       {values: []string{"viewer"}},
		"level":      {values: []string{"3"}},
		"flag":       {values: []string{"true"}},
		"empty":      {},
		"list":       {values: []string{"x", "y"}, multiValued: true},
		"department": {values: []string{"Sales"}},
		"manager":    {values: []string{"m-1"}},
		"team":       {values: []string{"first"}},
		"urn:B:team": {values: []string{"second"}},
		"absent":     {},
		"urn:ietf:params:scim:schemas:core:2.0:role":                                  {values: []string{"viewer"}},
		"urn:ietf:params:scim:schemas:core:2.0:user:role":                             {values: []string{"viewer"}},
		"urn:ietf:params:scim:schemas:core:2.0:User:department":                       {},
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department":       {values: []string{"Sales"}},
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:absentExtension:": {},
	} {
		values, multiValued := attributes.Values(user, name)
		if len(values)+len(want.values) > 0 && !reflect.DeepEqual(values, want.values) || multiValued != want.multiValued {
			t.Errorf("%s: %q, multi-valued %t, want %q, %t", name, values, multiValued, want.values, want.multiValued)
		}
	}
}

func TestListSplitsTrimsAndKeepsEachOnce(t *testing.T) {
	for text, want := range map[string][]string{
		`{"regions":"us1,emea2"}`:               {"us1", "emea2"},
		`{"regions":" us1 ,, emea2 ,us1,"}`:     {"us1", "emea2"},
		`{"regions":["us1","emea2, us1"]}`:      {"us1", "emea2"},
		`{"regions":"Default Business Unit"}`:   {"Default Business Unit"},
		`{"regions":"us1,US1"}`:                 {"us1", "US1"},
		`{"regions":""}`:                        nil,
		`{"regions":null}`:                      nil,
		`{}`:                                    nil,
		`["no", "object"]`:                      nil,
		`{"other":"us1"}`:                       nil,
		`{"regions":[{"value":"us1"},"emea2"]}`: {"us1", "emea2"},
	} {
		if got := attributes.List(&v1alpha1.UserSpec{Attributes: raw(text)}, "regions"); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
