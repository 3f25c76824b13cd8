package oracle

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// bookkeeping are fields of a User's specification that are no SCIM attributes of the core schema.
var bookkeeping = []string{
	"app", "userNameKey", "pendingKey", "active", "suspended", "enterprise", "attributes", "extensions", "containers",
	"createdAt", "lastModified",
}

// values lists what an attribute of a user holds, as text, whichever container the client put it into: the core schema,
// custom attributes beside it, the enterprise extension, another extension. The first that has the attribute counts.
func values(user *v1alpha1.UserSpec, attribute string) []string {
	whole := decode(encode(user))
	custom, enterprise, extensions := object(whole["attributes"]), object(whole["enterprise"]), object(whole["extensions"])
	for _, name := range bookkeeping {
		delete(whole, name)
	}
	containers := []map[string]any{whole, custom, enterprise}
	for _, urn := range slices.Sorted(maps.Keys(extensions)) {
		containers = append(containers, object(extensions[urn]))
	}
	for _, container := range containers {
		for name, value := range container {
			if strings.EqualFold(name, attribute) {
				if texts := textsOf(value); len(texts) > 0 {
					return texts
				}
			}
		}
	}
	return nil
}

// textsOf reads a value, the elements of an array, and what complex values call their value.
func textsOf(value any) []string {
	switch value := value.(type) {
	case nil:
		return nil
	case []any:
		var texts []string
		for _, element := range value {
			texts = append(texts, textsOf(element)...)
		}
		return texts
	case map[string]any:
		return textsOf(value["value"])
	default:
		if text := fmt.Sprint(value); text != "" {
			return []string{text}
		}
		return nil
	}
}

// names splits what an attribute holds at commas.
func names(user *v1alpha1.UserSpec, attribute string) []string {
	var list []string
	for _, value := range values(user, attribute) {
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.TrimSpace(name); name != "" {
				list = append(list, name)
			}
		}
	}
	return list
}

func encode(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("an object of the API cannot be encoded: %v", err))
	}
	return data
}

func decode(data []byte) map[string]any {
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		panic(fmt.Sprintf("an object of the API is no JSON object: %v", err))
	}
	return object
}

func object(value any) map[string]any {
	object, _ := value.(map[string]any)
	return object
}
