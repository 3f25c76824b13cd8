package access

import (
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Expressions see the role that Entra wrote into a whole assignment, as fromAttributes does; the user keeps the assignment.
func TestExpressionsSeeAssignedRoles(t *testing.T) {
	const assignment = `{"id":"06b07648-ecfe-589f-9d2f-6325724a46ee","value":"developer","displayName":"Developer"}`
	user := &v1alpha1.UserSpec{UserName: "a", Active: true, Roles: []v1alpha1.MultiValue{{Value: assignment, Type: "WindowsAzureActiveDirectoryRole"}, {Value: "viewer"}}}
	policy, fieldErrors := Compile(&v1alpha1.App{Spec: v1alpha1.AppSpec{
		Roles: []v1alpha1.Role{
			{Name: "by-value", When: `user.roles.exists(r, r.value == "developer")`},
			{Name: "by-type", When: `user.roles.exists(r, r.value == "developer" && r.type == "WindowsAzureActiveDirectoryRole")`},
			{Name: "plain", When: `user.roles.exists(r, r.value == "viewer")`},
			{Name: "none", When: `user.roles.exists(r, r.value == "admin")`},
		},
		Scopes: v1alpha1.Scopes{List: []v1alpha1.Scope{{Name: "s", ClusterWide: true}}},
	}})
	if len(fieldErrors) > 0 {
		t.Fatal(fieldErrors)
	}
	decision, err := policy.Evaluate(t.Context(), user, nil, noon)
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]bool{}
	for _, role := range decision.Roles {
		held[role.Role] = true
	}
	if !held["by-value"] || !held["by-type"] || !held["plain"] || held["none"] {
		t.Errorf("the user holds %v", held)
	}
	if user.Roles[0].Value != assignment {
		t.Errorf("the user's role became %q", user.Roles[0].Value)
	}
}
