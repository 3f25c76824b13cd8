package directory

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

func TestCheckScopes(t *testing.T) {
	spec := v1alpha1.AppSpec{
		RoleAssignment: v1alpha1.RoleAssignment{FromAttributes: []string{"role"}, Default: []string{"reader"}},
		Roles: []v1alpha1.Role{
			{Name: "reader"},
			{Name: "local", Scopes: []string{"us1"}},
			{Name: "earned by expression", When: "true", Scopes: []string{"emea2"}},
		},
		Scopes: v1alpha1.Scopes{FromAttribute: "regions", List: []v1alpha1.Scope{
			{Name: "us1"}, {Name: "emea2", DisplayName: "Default Business Unit, Europe"},
		}},
	}
	const gone = "no namespace has the labels region=emea2"
	for title, test := range map[string]struct {
		missing    []string
		attributes string
		want       string // part of the detail; "" for no error
		lenient    bool   // the App does not ask for all scopes
	}{
		"the App does not ask for all":             {[]string{"emea2"}, `{}`, "", true},
		"it does not ask, a role holds there":      {[]string{"us1"}, `{"role":"local"}`, "", true},
		"it does not ask, the missing one chosen":  {[]string{"emea2"}, `{"regions":"us1,emea2"}`, gone, true},
		"it does not ask, an unknown one is named": {nil, `{"regions":"mars"}`, "does not have", true},
		"all there":                          {nil, `{}`, "", false},
		"all there, one chosen":              {nil, `{"regions":"us1"}`, "", false},
		"unknown":                            {nil, `{"regions":"us1,mars"}`, "regions names a scope that the App own does not have. It has: us1, emea2.", false},
		"letters count":                      {nil, `{"regions":["US1"]}`, "does not have", false},
		"every scope, one missing":           {[]string{"emea2"}, `{}`, "the scope emea2 (Default Business Unit, Europe), which is missing from the cluster: " + gone, false},
		"the missing one chosen":             {[]string{"emea2"}, `{"regions":"emea2"}`, gone, false},
		"another one chosen":                 {[]string{"emea2"}, `{"regions":"us1"}`, "", false},
		"a role that does not hold there":    {[]string{"emea2"}, `{"role":"local"}`, "", false},
		"a role that holds there":            {[]string{"us1"}, `{"role":"local"}`, "the scope us1,", false},
		"an unknown role leaves the default": {[]string{"emea2"}, `{"role":"emperor"}`, gone, false},
		"a scope that the App lost since":    {[]string{"former"}, `{}`, "", false},
	} {
		app := &v1alpha1.App{Spec: spec}
		app.Name, app.Spec.Scopes.RequireAll = "own", !test.lenient
		for _, name := range test.missing {
			app.Status.MissingScopes = append(app.Status.MissingScopes, v1alpha1.MissingScope{Name: name, Message: gone + "."})
		}
		user := &v1alpha1.UserSpec{Attributes: &runtime.RawExtension{Raw: []byte(test.attributes)}}
		err := checkScopes(app, user)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", title, err)
			}
			continue
		}
		var problem *protocol.Error
		if !errors.As(err, &problem) || problem.Status != 400 || problem.ScimType != "invalidValue" || !strings.Contains(problem.Detail, test.want) {
			t.Errorf("%s: %v, want 400 invalidValue with %q", title, err, test.want)
			continue
		}
		if strings.Contains(test.attributes, "mars") && strings.Contains(problem.Detail, "mars") {
			t.Errorf("%s: the detail repeats a value of the request: %s", title, problem.Detail)
		}
	}
}

// A scope is not needed for default roles that no user gets. A user that earns a role by an attribute has no default roles.
func TestCheckScopesOfAnAppThatGrantsNothing(t *testing.T) {
	app := &v1alpha1.App{Spec: v1alpha1.AppSpec{Scopes: v1alpha1.Scopes{List: []v1alpha1.Scope{{Name: "us1"}}}}}
	app.Status.MissingScopes = []v1alpha1.MissingScope{{Name: "us1", Message: "gone"}}
	app.Spec.Scopes.RequireAll = true
	if err := checkScopes(app, &v1alpha1.UserSpec{}); err != nil {
		t.Error(err)
	}
}

// A record that comes back is no new user: the client keeps its link, whatever scope is missing.
func TestMissingScopeRefusesNobodyWhoComesBack(t *testing.T) {
	app := newApp(t)
	d := replica(t, app)
	user := mustCreate(t, d, app, person("jane@example.com", "externalId", "00u1"))
	if _, err := d.Users.Update(t.Context(), app, user.Name, setting("active", false)); err != nil {
		t.Fatal(err)
	}
	app = app.DeepCopy()
	app.Spec.Roles = []v1alpha1.Role{{Name: "reader"}}
	app.Spec.RoleAssignment.Default = []string{"reader"}
	app.Spec.Scopes = v1alpha1.Scopes{RequireAll: true, List: []v1alpha1.Scope{{Name: "us1"}}}
	app.Status.MissingScopes = []v1alpha1.MissingScope{{Name: "us1", Message: "gone"}}
	eventually(t, "the record is known to be inactive", func() bool {
		back, restored, err := d.Users.Create(t.Context(), app, person("jane@example.com", "externalId", "00u1"))
		return err == nil && restored && back.Name == user.Name
	})
	if _, _, err := d.Users.Create(t.Context(), app, person("joe@example.com", "externalId", "00u2")); err == nil {
		t.Error("a new user is created")
	}
}
