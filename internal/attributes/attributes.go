// Package attributes reads attributes of a User by name, whatever container the client put them into. The controller
// evaluates roles and scopes by it, and the server checks by it what a new user would need, so that both agree.
//
// It is pure, stands beside the API's kinds and imports api/v1alpha1 only.
package attributes

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const coreURN = "urn:ietf:params:scim:schemas:core:2.0"

// EnterpriseURN names the enterprise extension (RFC 7643 section 4.3).
const EnterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

// Values returns the values of an attribute as text, and whether it holds an array. The name is compared without
// regard to case (RFC 7643 section 2.1). Which container a client put an attribute into does not matter: core and
// custom attributes are looked at first, then the enterprise extension, then every other extension; a name that begins
// with a URN (urn:…:attribute) is looked for there alone. Empty values count as absent, as Okta sends them for what is
// not set.
func Values(user *v1alpha1.UserSpec, name string) (values []string, multiValued bool) {
	container, name := split(name)
	core := container == "" || isCoreURN(container)
	if core {
		if values, multiValued, found := coreValues(user, name); found {
			return values, multiValued
		}
		if value, found := lookUp(Object(user.Attributes), name); found {
			return textsOf(value)
		}
	}
	if container == "" || strings.EqualFold(container, EnterpriseURN) {
		if value := enterpriseValue(user.Enterprise, name); value != "" {
			return []string{value}, false
		}
	}
	if core && container != "" {
		return nil, false
	}
	return extensionValues(user, container, name)
}

// List returns the names that an attribute lists: the elements of an array, or a string's, which commas separate; without
// blanks around them, without empty ones and each once, compared exactly.
func List(user *v1alpha1.UserSpec, name string) []string {
	var names []string
	values, _ := Values(user, name)
	for _, value := range values {
		for element := range strings.SplitSeq(value, ",") {
			if element = strings.TrimSpace(element); element != "" && !slices.Contains(names, element) {
				names = append(names, element)
			}
		}
	}
	return names
}

// split takes the URN off a name.
func split(name string) (container, attribute string) {
	if strings.HasPrefix(strings.ToLower(name), "urn:") {
		if colon := strings.LastIndex(name, ":"); colon > 0 {
			return name[:colon], name[colon+1:]
		}
	}
	return "", name
}

func isCoreURN(urn string) bool {
	return strings.EqualFold(urn, coreURN) || strings.EqualFold(urn, coreURN+":User")
}

func coreValues(user *v1alpha1.UserSpec, name string) (values []string, multiValued, found bool) {
	single := func(value string) ([]string, bool, bool) { return nonEmpty(value), false, value != "" }
	multiple := func(list []v1alpha1.MultiValue) ([]string, bool, bool) {
		for i := range list {
			values = append(values, nonEmpty(list[i].Value)...)
		}
		return values, true, len(values) > 0
	}
	switch strings.ToLower(name) {
	case "username":
		return single(user.UserName)
	case "externalid":
		return single(user.ExternalID)
	case "displayname":
		return single(user.DisplayName)
	case "nickname":
		return single(user.NickName)
	case "title":
		return single(user.Title)
	case "usertype":
		return single(user.UserType)
	case "preferredlanguage":
		return single(user.PreferredLanguage)
	case "locale":
		return single(user.Locale)
	case "timezone":
		return single(user.Timezone)
	case "roles":
		values, multiValued, found = multiple(user.Roles)
		for i := range values {
			values[i] = AssignedRole(values[i])
		}
		return values, multiValued, found
	case "entitlements":
		return multiple(user.Entitlements)
	case "emails":
		return multiple(user.Emails)
	}
	return nil, false, false
}

// AssignedRole returns the role that a value of roles stands for: the value itself, or the one inside it where Entra's
// AppRoleAssignmentsComplex wrote the whole assignment into it as JSON: {"id":"…","value":"developer","displayName":"…"}.
func AssignedRole(value string) string {
	if !strings.HasPrefix(value, "{") {
		return value
	}
	var assignment struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal([]byte(value), &assignment); err != nil || assignment.Value == "" {
		return value
	}
	return assignment.Value
}

func enterpriseValue(extension *v1alpha1.EnterpriseUser, name string) string {
	if extension == nil {
		return ""
	}
	switch strings.ToLower(name) {
	case "employeenumber":
		return extension.EmployeeNumber
	case "costcenter":
		return extension.CostCenter
	case "organization":
		return extension.Organization
	case "division":
		return extension.Division
	case "department":
		return extension.Department
	case "manager":
		if extension.Manager != nil {
			return extension.Manager.Value
		}
	}
	return ""
}

func extensionValues(user *v1alpha1.UserSpec, container, name string) ([]string, bool) {
	extensions := Object(user.Extensions)
	for _, urn := range slices.Sorted(maps.Keys(extensions)) {
		if container != "" && !strings.EqualFold(container, urn) {
			continue
		}
		attributes, isObject := extensions[urn].(map[string]any)
		if !isObject {
			continue
		}
		if value, found := lookUp(attributes, name); found {
			return textsOf(value)
		}
	}
	return nil, false
}

// Object reads a JSON object that a client sent; what is no object has no attributes.
func Object(raw *runtime.RawExtension) map[string]any {
	if raw == nil || len(raw.Raw) == 0 {
		return nil
	}
	var object map[string]any
	if err := json.Unmarshal(raw.Raw, &object); err != nil {
		return nil
	}
	return object
}

func lookUp(attributes map[string]any, name string) (any, bool) {
	if value, found := attributes[name]; found {
		return value, true
	}
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		if strings.EqualFold(key, name) {
			return attributes[key], true
		}
	}
	return nil, false
}

// textsOf reads a value, an array of values, or the value sub-attribute of complex ones (RFC 7643 section 2.4).
func textsOf(value any) (texts []string, multiValued bool) {
	elements, multiValued := value.([]any)
	if !multiValued {
		elements = []any{value}
	}
	for _, element := range elements {
		if complexValue, isComplex := element.(map[string]any); isComplex {
			element, _ = lookUp(complexValue, "value")
		}
		switch scalar := element.(type) {
		case string:
			texts = append(texts, nonEmpty(scalar)...)
		case bool:
			texts = append(texts, strconv.FormatBool(scalar))
		case float64:
			texts = append(texts, strconv.FormatFloat(scalar, 'f', -1, 64))
		}
	}
	return texts, multiValued
}

func nonEmpty(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}
