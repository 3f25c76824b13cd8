package policycheck

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// maxDifferences of a definition are named.
const maxDifferences = 5

// definitionFrom returns a definition with numbers as the API server's answers have them.
func definitionFrom(raw *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	data, err := json.Marshal(raw.Object)
	if err != nil {
		return nil, err
	}
	definition := &unstructured.Unstructured{}
	return definition, definition.UnmarshalJSON(data)
}

// definitionDifferences returns the fields in which a definition differs: of its names, its scope, and of what each version of
// this operator admits and stores. Descriptions, what the API server fills in, and further versions count for nothing.
func definitionDifferences(want, have *unstructured.Unstructured) ([]string, error) {
	var fields []string
	for _, field := range []string{"group", "scope", "names"} {
		wanted, _, err := unstructured.NestedFieldNoCopy(want.Object, "spec", field)
		if err != nil {
			return nil, err
		}
		found, _, err := unstructured.NestedFieldNoCopy(have.Object, "spec", field)
		if err != nil {
			return nil, err
		}
		fields = compareValues(fields, "spec."+field, wanted, found)
	}
	wanted, err := versionsOf(want)
	if err != nil {
		return nil, err
	}
	found, err := versionsOf(have)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		fields = compareValues(fields, "spec.versions."+name, wanted[name], found[name])
	}
	if more := len(fields) - maxDifferences; more > 0 {
		fields = append(fields[:maxDifferences], fmt.Sprintf("and %d more", more))
	}
	return fields, nil
}

// versionsOf returns the versions of a definition by their names.
func versionsOf(definition *unstructured.Unstructured) (map[string]any, error) {
	list, _, err := unstructured.NestedSlice(definition.Object, "spec", "versions")
	if err != nil {
		return nil, err
	}
	versions := map[string]any{}
	for _, version := range list {
		if version, ok := version.(map[string]any); ok {
			versions[fmt.Sprint(version["name"])] = version
		}
	}
	return versions, nil
}

// compareValues adds the paths at which two values differ. Maps are compared by their keys, all else as a whole.
func compareValues(fields []string, path string, want, have any) []string {
	wanted, isMap := want.(map[string]any)
	found, too := have.(map[string]any)
	if !isMap || !too {
		if !apiequality.Semantic.DeepEqual(oneLine(want), oneLine(have)) {
			fields = append(fields, path)
		}
		return fields
	}
	keys := map[string]bool{}
	for key := range wanted {
		keys[key] = true
	}
	for key := range found {
		keys[key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if isDescription(key, wanted[key]) && isDescription(key, found[key]) {
			continue
		}
		fields = compareValues(fields, path+"."+key, wanted[key], found[key])
	}
	return fields
}

// isDescription says whether a value tells people something, or is absent; a property of this name is a schema.
func isDescription(key string, value any) bool {
	_, text := value.(string)
	return key == "description" && (text || value == nil)
}
