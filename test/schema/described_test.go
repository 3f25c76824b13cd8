package schema_test

import (
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
)

// `kubectl explain` tells something of every field.
func TestEveryFieldIsDescribed(t *testing.T) {
	objects, err := localoperator.ReadObjects(config.FS, "crd/bases")
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	for _, object := range objects {
		var definition apiextensionsv1.CustomResourceDefinition
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &definition); err != nil {
			t.Fatal(err)
		}
		for _, version := range definition.Spec.Versions {
			fields += described(t, definition.Spec.Names.Kind, version.Schema.OpenAPIV3Schema)
		}
	}
	if fields < 250 {
		t.Errorf("only %d fields were found", fields)
	}
}

// described checks what a schema holds, and counts it. Integers have bounds, which describe them to the API server.
func described(t *testing.T, path string, schema *apiextensionsv1.JSONSchemaProps) (fields int) {
	t.Helper()
	for name, property := range schema.Properties {
		if property.Description == "" && path+"."+name != path+".metadata" {
			t.Errorf("%s.%s has no description", path, name)
		}
		if property.Format == "int32" && (property.Minimum == nil || property.Maximum == nil) {
			t.Errorf("%s.%s has no bounds, and API servers before Kubernetes 1.36 do not check int32", path, name)
		}
		fields += 1 + described(t, path+"."+name, &property)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		fields += described(t, path+"[]", schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		fields += described(t, path+"{}", schema.AdditionalProperties.Schema)
	}
	return fields
}
