package user

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/attributes"
)

// missingScopes tells of scopes that the user's attribute names and that no namespace is in. A user with every scope,
// because the attribute names none, is not told: the App is.
func (e *evaluation) missingScopes(roles []v1alpha1.EarnedRole) []access.Problem {
	attribute := e.app.Spec.Scopes.FromAttribute
	if attribute == "" || len(e.app.Status.MissingScopes) == 0 || len(attributes.List(&e.user.Spec, attribute)) == 0 {
		return nil
	}
	var problems []access.Problem
	for _, scope := range scopesOf(roles) {
		if message, missing := missing(e.app, scope); missing {
			problems = append(problems, access.Problem{
				Reason:  v1alpha1.ReasonMissingScope,
				Message: fmt.Sprintf("attribute %s names %q: %s", attribute, scope, strings.TrimSuffix(message, ".")),
			})
		}
	}
	return problems
}

// missing says whether no namespace is in a scope, as the App's status tells.
func missing(app *v1alpha1.App, scope string) (message string, found bool) {
	i := slices.IndexFunc(app.Status.MissingScopes, func(m v1alpha1.MissingScope) bool { return m.Name == scope })
	if i < 0 {
		return "", false
	}
	return app.Status.MissingScopes[i].Message, true
}

func scopesOf(roles []v1alpha1.EarnedRole) []string {
	var scopes []string
	for _, role := range roles {
		if !slices.Contains(scopes, role.Scope) {
			scopes = append(scopes, role.Scope)
		}
	}
	return scopes
}

// setNoNamespaces corrects a verdict that every role is bound, where none of their scopes has a namespace.
func (v *verdict) setNoNamespaces(app *v1alpha1.App, roles []v1alpha1.EarnedRole) {
	if len(roles) == 0 || v.granted.Reason != v1alpha1.ReasonGranted {
		return
	}
	var messages []string
	for _, scope := range scopesOf(roles) {
		message, missing := missing(app, scope)
		if !missing {
			return
		}
		messages = append(messages, message)
	}
	text := "The roles are held, and bound nowhere yet: " + strings.Join(messages[:min(len(messages), maxProblems)], " ")
	v.granted = condition(v1alpha1.ConditionAccessGranted, false, v1alpha1.ReasonMissingScope, text)
	v.ready = condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonMissingScope, text)
}
