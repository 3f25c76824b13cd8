package names

import (
	"slices"
	"strings"
)

// reservedAttributes, in lower case, belong to every resource, are the server's own, or are never stored.
var reservedAttributes = []string{"password", "id", "schemas", "meta", "externalid", "groups"}

// IsAttribute reports whether a text is an ATTRNAME of RFC 7643 section 2.1: letters, digits, '-' and '_', the first a letter.
func IsAttribute(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && (c == '-' || c == '_' || '0' <= c && c <= '9'):
		default:
			return false
		}
	}
	return name != ""
}

// IsReservedAttribute reports whether no App can declare an attribute of this name, in any letter case.
func IsReservedAttribute(name string) bool {
	return slices.Contains(reservedAttributes, strings.ToLower(name))
}

// IsSchemaURN reports whether a text can be the URN of a schema.
func IsSchemaURN(urn string) bool {
	return len(urn) >= len("urn:x:") && strings.EqualFold(urn[:4], "urn:") && !strings.ContainsAny(urn, " \t\r\n\"[]()")
}
