package attributes

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/names"
)

const typeComplex = "complex"

// standard are the attributes that RFC 7643 gives a user, by container and by name in lower case. An App may declare one to make it
// required or to bound its values, with the RFC's type. The complex ones cannot be declared.
var standard = map[string]map[string]string{
	strings.ToLower(coreURN + ":User"): {
		"username": "string", "displayname": "string", "nickname": "string", "title": "string", "usertype": "string",
		"preferredlanguage": "string", "locale": "string", "timezone": "string", "profileurl": "reference", "active": "boolean",
		"name": typeComplex, "emails": typeComplex, "phonenumbers": typeComplex, "ims": typeComplex, "photos": typeComplex,
		"addresses": typeComplex, "entitlements": typeComplex, "roles": typeComplex, "x509certificates": typeComplex,
	},
	strings.ToLower(EnterpriseURN): {
		"employeenumber": "string", "costcenter": "string", "organization": "string", "division": "string", "department": "string",
		"manager": typeComplex,
	},
}

// Refused tells why an App cannot declare an attribute.
type Refused struct {
	// Index of the attribute in the list.
	Index int
	// Reason is for the author of the App.
	Reason string
}

// CheckDeclared returns which of the attributes that an App declares cannot be, and why. The server leaves out the same ones.
func CheckDeclared(declared []v1alpha1.CustomAttribute) []Refused {
	var refused []Refused
	seen := map[string]bool{}
	for i := range declared {
		container := containerOf(declared[i].Schema)
		reason := checkDeclared(container, &declared[i])
		key := container + " " + strings.ToLower(declared[i].Name)
		if reason == "" && seen[key] {
			reason = "it is declared twice in one schema"
		}
		if reason != "" {
			refused = append(refused, Refused{Index: i, Reason: reason})
			continue
		}
		seen[key] = true
	}
	return refused
}

func containerOf(schema string) string {
	if schema == "" || isCoreURN(schema) {
		schema = coreURN + ":User"
	}
	return strings.ToLower(schema)
}

func checkDeclared(container string, attribute *v1alpha1.CustomAttribute) string {
	name, kind := strings.ToLower(attribute.Name), cmp.Or(attribute.Type, "string")
	if !names.IsAttribute(attribute.Name) {
		return "a name has letters, digits, '-' and '_', and begins with a letter"
	}
	if names.IsReservedAttribute(name) {
		return "the name is reserved"
	}
	if !names.IsSchemaURN(container) {
		return fmt.Sprintf("schema %q is no URN", attribute.Schema)
	}
	switch of := standard[container][name]; {
	case of == typeComplex:
		return "RFC 7643 defines this attribute as complex: it cannot be declared otherwise"
	case of != "" && (of != kind || attribute.MultiValued):
		return fmt.Sprintf("RFC 7643 defines this attribute with type %s and one value: it cannot be declared otherwise", of)
	}
	return ""
}
