package attributes

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
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

var (
	reserved = []string{"password", "id", "schemas", "meta", "externalid", "groups"}
	// attributeName is ATTRNAME of RFC 7643 section 2.1.
	attributeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
)

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
	if !attributeName.MatchString(attribute.Name) {
		return "a name has letters, digits, '-' and '_', and begins with a letter"
	}
	if slices.Contains(reserved, name) {
		return "the name is reserved"
	}
	if len(container) < len("urn:x:") || !strings.HasPrefix(container, "urn:") || strings.ContainsAny(container, " \t\r\n\"[]()") {
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
