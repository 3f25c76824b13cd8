package directory

import (
	"slices"
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/attributes"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// shownScopes bounds how many names of scopes an error lists.
const shownScopes = 20

// checkScopes refuses a new user with 400 if a scope that the user needs is missing. Needed are the scopes that the user's
// attribute names and, where the App sets requireAll, every scope in which the user would get a role. Missing is a scope
// that the App does not have, or one that, by the App's status, no namespace is in. The client's administrator reads why and
// tries again later.
//
// It is called for new users only, not for a user that comes back: a refused update would cost the client its link to the
// person, and with that the deactivation.
func checkScopes(app *v1alpha1.App, user *v1alpha1.UserSpec) error {
	scopes := &app.Spec.Scopes
	named := namedScopes(scopes, user)
	for _, name := range named {
		if scopeOf(scopes, name) == nil {
			return protocol.InvalidValue("%s names a scope that the App %s does not have. It has: %s. Letters and case count.",
				scopes.FromAttribute, app.Name, scopeNames(scopes))
		}
	}
	for _, missing := range app.Status.MissingScopes {
		scope := scopeOf(scopes, missing.Name)
		if scope == nil || !isNeeded(app, user, scope.Name) {
			continue
		}
		if isNamed := slices.Contains(named, scope.Name); !isNamed && (len(named) > 0 || !scopes.RequireAll) {
			continue
		}
		return protocol.InvalidValue("The person would get access in %s, which is missing from the cluster: %s. "+
			"A person that needs it cannot be created until the App %s has it again.",
			describe(scope), strings.TrimSuffix(missing.Message, "."), app.Name)
	}
	return nil
}

// namedScopes are those that the user's attribute chooses; none means every scope.
func namedScopes(scopes *v1alpha1.Scopes, user *v1alpha1.UserSpec) []string {
	if scopes.FromAttribute == "" {
		return nil
	}
	return attributes.List(user, scopes.FromAttribute)
}

// isNeeded says whether a role that the user certainly earns holds in the scope: a role that an attribute names, or else a
// default one. What groups and expressions will add is not known here; the controller tells it in the User's conditions.
func isNeeded(app *v1alpha1.App, user *v1alpha1.UserSpec, scope string) bool {
	var earned []string
	for _, attribute := range app.Spec.RoleAssignment.FromAttributes {
		values, _ := attributes.Values(user, attribute)
		earned = append(earned, values...)
	}
	hasRole := func(role v1alpha1.Role) bool { return slices.Contains(earned, role.Name) }
	if !slices.ContainsFunc(app.Spec.Roles, hasRole) {
		earned = app.Spec.RoleAssignment.Default
	}
	return slices.ContainsFunc(app.Spec.Roles, func(role v1alpha1.Role) bool {
		return hasRole(role) && (len(role.Scopes) == 0 || slices.Contains(role.Scopes, scope))
	})
}

func scopeOf(scopes *v1alpha1.Scopes, name string) *v1alpha1.Scope {
	for i := range scopes.List {
		if scopes.List[i].Name == name {
			return &scopes.List[i]
		}
	}
	return nil
}

func scopeNames(scopes *v1alpha1.Scopes) string {
	if len(scopes.List) == 0 {
		return "none"
	}
	var names []string
	for i := range scopes.List {
		if i == shownScopes {
			names = append(names, "…")
			break
		}
		names = append(names, scopes.List[i].Name)
	}
	return strings.Join(names, ", ")
}

func describe(scope *v1alpha1.Scope) string {
	if scope.DisplayName == "" {
		return "the scope " + scope.Name
	}
	return "the scope " + scope.Name + " (" + scope.DisplayName + ")"
}
