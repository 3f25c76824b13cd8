package policycheck

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Whatever an API server would store or show in another way is found; what people read, and what it fills in, is not.
func TestDefinitionDifferences(t *testing.T) {
	type object = map[string]any
	schema := func(d object, path ...string) object {
		version := d["spec"].(object)["versions"].([]any)[0].(object)
		at := version["schema"].(object)["openAPIV3Schema"].(object)
		for _, name := range path {
			at = at["properties"].(object)[name].(object)
		}
		return at
	}
	version := func(d object) object { return d["spec"].(object)["versions"].([]any)[0].(object) }
	const root = "spec.versions.v1alpha1.schema.openAPIV3Schema.properties."
	for name, test := range map[string]struct {
		change func(object)
		want   string
	}{
		"nothing": {func(object) {}, ""},
		"what the API server fills in": {func(d object) {
			d["spec"].(object)["conversion"] = object{"strategy": "None"}
			d["status"] = object{"storedVersions": []any{"v1alpha1"}}
			d["metadata"].(object)["generation"] = int64(7)
		}, ""},
		"descriptions": {func(d object) {
			delete(schema(d, "spec"), "description")
			schema(d, "status")["description"] = "another"
		}, ""},
		"a field is missing":  {func(d object) { delete(schema(d, "status")["properties"].(object), "uid") }, root + "status.properties.uid"},
		"a field more":        {func(d object) { schema(d, "status")["properties"].(object)["more"] = object{"type": "string"} }, root + "status.properties.more"},
		"a field description": {func(d object) { schema(d, "spec")["properties"].(object)["description"] = object{"type": "string"} }, root + "spec.properties.description"},
		"a looser bound":      {func(d object) { schema(d, "spec", "app")["maxLength"] = int64(64) }, root + "spec.properties.app.maxLength"},
		"no rules":            {func(d object) { delete(schema(d, "spec", "app"), "x-kubernetes-validations") }, root + "spec.properties.app.x-kubernetes-validations"},
		"no status":           {func(d object) { delete(version(d), "subresources") }, "spec.versions.v1alpha1.subresources"},
		"not stored":          {func(d object) { version(d)["storage"] = false }, "spec.versions.v1alpha1.storage"},
		"another version":     {func(d object) { version(d)["name"] = "v1" }, "spec.versions.v1alpha1"},
		"a further version": {func(d object) {
			d["spec"].(object)["versions"] = append(d["spec"].(object)["versions"].([]any), object{"name": "v1", "served": true})
		}, ""},
		"another scope": {func(d object) { d["spec"].(object)["scope"] = "Cluster" }, "spec.scope"},
	} {
		for _, want := range expectedDefinitions(t) {
			if want.GetName() != "users.scim-operator.io" {
				continue
			}
			// As an answer of the API server comes.
			data, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			have := &unstructured.Unstructured{}
			if err := have.UnmarshalJSON(data); err != nil {
				t.Fatal(err)
			}
			test.change(have.Object)
			fields, err := differences(want, have)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(fields, ", "); got != test.want {
				t.Errorf("%s: %s, want %s", name, got, test.want)
			}
		}
	}
	if found := len(expectedDefinitions(t)); found != 9 {
		t.Errorf("%d definitions", found)
	}
}
