package access

import (
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/google/cel-go/common/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/attributes"
)

// expressionVariables returns what expressions look at. Values beyond the bounds of expressions are errors, and not absent:
// an absent value would make a negation or has() true of a user that was not looked at.
func expressionVariables(user *v1alpha1.UserSpec, groups []Group) map[string]any {
	variables := map[string]any{variableGroups: displayNames(groups)}
	if len(groups) > maxGroups {
		variables[variableGroups] = types.NewErr("the user is in %d groups, and expressions take %d", len(groups), maxGroups)
	}
	visible := expressionUser(user)
	variables[variableUser] = visible
	if len(visible) > maxItems {
		variables[variableUser] = types.NewErr("the user has %d attributes, and expressions take %d", len(visible), maxItems)
	}
	for name, value := range visible {
		if nodes := maxNodes; !withinBounds(value, &nodes) {
			visible[name] = types.NewErr("attribute %s of the user is larger than expressions take: texts of %d characters, lists of %d items, %d values in all",
				shorten(name), maxText, maxItems, maxNodes)
		}
	}
	return variables
}

// withinBounds says whether a JSON value is as small as expressions take it. nodes counts down to how many values it may
// still have.
func withinBounds(value any, nodes *int) bool {
	if *nodes--; *nodes < 0 {
		return false
	}
	switch v := value.(type) {
	case string:
		return len(v) <= maxText || utf8.RuneCountInString(v) <= maxText
	case []any:
		if len(v) > maxItems {
			return false
		}
		for _, item := range v {
			if !withinBounds(item, nodes) {
				return false
			}
		}
	case map[string]any:
		if len(v) > maxItems {
			return false
		}
		for key, item := range v {
			if !withinBounds(key, nodes) || !withinBounds(item, nodes) {
				return false
			}
		}
	}
	return true
}

// expressionUser is the user as expressions see it: SCIM attributes by name, custom attributes and those of the
// enterprise extension beside userName, every extension by its URN, too.
func expressionUser(user *v1alpha1.UserSpec) map[string]any {
	visible := v1alpha1.UserSpec{
		UserName: user.UserName, ExternalID: user.ExternalID, Active: user.Active, DisplayName: user.DisplayName,
		Name: user.Name, NickName: user.NickName, ProfileURL: user.ProfileURL, Title: user.Title,
		UserType: user.UserType, PreferredLanguage: user.PreferredLanguage, Locale: user.Locale,
		Timezone: user.Timezone, Emails: user.Emails, PhoneNumbers: user.PhoneNumbers, IMs: user.IMs,
		Photos: user.Photos, Addresses: user.Addresses, Entitlements: user.Entitlements, Roles: assignedRoles(user.Roles),
	}
	known := objectOf(visible)
	// The rest of UserSpec is this operator's own bookkeeping; fields without omitempty show up all the same.
	delete(known, "app")
	delete(known, "userNameKey")
	for name, value := range attributes.Object(user.Attributes) {
		if _, taken := known[name]; !taken {
			known[name] = value
		}
	}
	if user.Enterprise != nil {
		extension := objectOf(user.Enterprise)
		for name, value := range extension {
			if _, taken := known[name]; !taken {
				known[name] = value
			}
		}
		known[attributes.EnterpriseURN] = extension
	}
	for urn, extension := range attributes.Object(user.Extensions) {
		known[urn] = extension
	}
	return known
}

// assignedRoles returns roles with the role itself as value, where Entra wrote a whole assignment into it.
func assignedRoles(roles []v1alpha1.MultiValue) []v1alpha1.MultiValue {
	roles = slices.Clone(roles)
	for i := range roles {
		roles[i].Value = attributes.AssignedRole(roles[i].Value)
	}
	return roles
}

// objectOf gives a value the form that JSON gives it. API types always have one.
func objectOf(value any) map[string]any {
	encoded, err := json.Marshal(value)
	if err != nil {
		return map[string]any{}
	}
	var object map[string]any
	if err := json.Unmarshal(encoded, &object); err != nil {
		return map[string]any{}
	}
	return object
}
