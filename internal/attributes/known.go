package attributes

import (
	"maps"
	"slices"
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// readable are the attributes of RFC 7643 that Values reads, in lower case, by whether the enterprise extension has them.
var readable = map[string]bool{
	"username": false, "externalid": false, "displayname": false, "nickname": false, "title": false, "usertype": false,
	"preferredlanguage": false, "locale": false, "timezone": false, "roles": false, "entitlements": false, "emails": false,
	"employeenumber": true, "costcenter": true, "organization": true, "division": true, "department": true, "manager": true,
}

// IsKnown says whether an attribute, with or without its URN, is one of RFC 7643 that Values reads, or is declared.
func IsKnown(declared []v1alpha1.CustomAttribute, name string) bool {
	container, attribute := split(name)
	enterprise, known := readable[strings.ToLower(attribute)]
	if known && (container == "" || enterprise && strings.EqualFold(container, EnterpriseURN) || !enterprise && isCoreURN(container)) {
		return true
	}
	return slices.ContainsFunc(declared, func(custom v1alpha1.CustomAttribute) bool { return isNamed(custom, container, attribute) })
}

// isNamed says whether a declared attribute goes by a name, in a container or, where that is "", in any.
func isNamed(custom v1alpha1.CustomAttribute, container, attribute string) bool {
	sameContainer := container == "" || strings.EqualFold(container, custom.Schema) ||
		isCoreURN(container) && (custom.Schema == "" || isCoreURN(custom.Schema))
	return sameContainer && strings.EqualFold(attribute, custom.Name)
}

// typeDateTime is the type of attributes that hold a time.
const typeDateTime = "dateTime"

// IsDeclaredTime says whether an attribute, with or without its URN, is declared, and with type dateTime and one value wherever
// it is. Without its URN, Values would read an attribute of RFC 7643 before it.
func IsDeclaredTime(declared []v1alpha1.CustomAttribute, name string) bool {
	container, attribute := split(name)
	if _, standard := readable[strings.ToLower(attribute)]; standard && container == "" {
		return false
	}
	found := false
	for _, custom := range declared {
		if !isNamed(custom, container, attribute) {
			continue
		}
		if custom.Type != typeDateTime || custom.MultiValued {
			return false
		}
		found = true
	}
	return found
}

// IsUnreadable says that the user has an attribute that is not empty, and that List reads no name from it: an object without
// a value, an array of such, or separators only, as "," is. That is not the same as having none.
func IsUnreadable(user *v1alpha1.UserSpec, name string) bool {
	if len(List(user, name)) > 0 {
		return false
	}
	container, attribute := split(name)
	if container == "" || isCoreURN(container) {
		if isCoreUnreadable(user, attribute) {
			return true
		}
		if value, found := lookUp(Object(user.Attributes), attribute); found && !isEmpty(value) {
			return true
		}
	}
	extensions := Object(user.Extensions)
	for _, urn := range slices.Sorted(maps.Keys(extensions)) {
		values, isObject := extensions[urn].(map[string]any)
		if !isObject || container != "" && !strings.EqualFold(container, urn) {
			continue
		}
		if value, found := lookUp(values, attribute); found && !isEmpty(value) {
			return true
		}
	}
	return false
}

func isCoreUnreadable(user *v1alpha1.UserSpec, name string) bool {
	var list []v1alpha1.MultiValue
	switch strings.ToLower(name) {
	case "roles":
		list = user.Roles
	case "entitlements":
		list = user.Entitlements
	case "emails":
		list = user.Emails
	default:
		values, _, _ := coreValues(user, name)
		return slices.ContainsFunc(values, func(value string) bool { return strings.TrimSpace(value) != "" })
	}
	return slices.ContainsFunc(list, func(value v1alpha1.MultiValue) bool { return value.Value != "" || value.Display != "" })
}

// isEmpty says of a JSON value that clients send it for an attribute that is not set (RFC 7643 section 2.5): null, blanks, no
// elements, or nothing but the marks primary and type.
func isEmpty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return strings.TrimSpace(v) == ""
	case []any:
		return !slices.ContainsFunc(v, func(element any) bool { return !isEmpty(element) })
	case map[string]any:
		for key, element := range v {
			if !strings.EqualFold(key, "primary") && !strings.EqualFold(key, "type") && !isEmpty(element) {
				return false
			}
		}
		return true
	}
	return false
}
