package plugin

import (
	"maps"
	"slices"
	"strings"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// unknownAttributes lists attributes of records that no schema of the App has, as columns are named, in order. The server keeps them, and
// nothing reads them: a misspelt active would deactivate no user.
func unknownAttributes(records []record, schemas *protocol.SchemaSet) []string {
	known := map[string]map[string]bool{}
	for i, document := range schemas.SchemaDocuments("") {
		urn, _ := document["id"].(string)
		names := attributeNames(document["attributes"])
		if i == 0 {
			for _, common := range []string{"schemas", "id", "externalId", "meta"} {
				names[strings.ToLower(common)] = true
			}
			known[""] = names
		}
		known[strings.ToLower(urn)] = names
	}
	unknown := map[string]bool{}
	for _, r := range records {
		for name, value := range r.attributes {
			inner, isObject := value.(map[string]any)
			switch {
			case !strings.Contains(name, ":"):
				if !known[""][strings.ToLower(name)] {
					unknown[name] = true
				}
			case !isObject || known[strings.ToLower(name)] == nil:
				unknown[name] = true
			default:
				for each := range inner {
					if !known[strings.ToLower(name)][strings.ToLower(each)] {
						unknown[name+":"+each] = true
					}
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(unknown))
}

// attributeNames returns the names of a schema's attributes, in lower case.
func attributeNames(attributes any) map[string]bool {
	names := map[string]bool{}
	list, _ := attributes.([]any)
	for _, each := range list {
		if attribute, isObject := each.(map[string]any); isObject {
			if name, isText := attribute["name"].(string); isText {
				names[strings.ToLower(name)] = true
			}
		}
	}
	return names
}
