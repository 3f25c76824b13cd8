package schema_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// What people look for with kubectl get --field-selector.
func TestFieldSelectors(t *testing.T) {
	namespace := env.Namespace(t, nil)
	for kind, specs := range map[string][]string{
		"User": {`{"app":"a","userName":"Jane@x","userNameKey":"jane@x","active":true}`,
			`{"app":"a","userName":"bob","userNameKey":"bob","active":true,"suspended":true}`},
		"NameClaim": {`{"app":"a","attribute":"userName","value":"a","holder":"jane-1"}`, `{"app":"a","attribute":"userName","value":"b","holder":"bob-1"}`},
	} {
		k := newKind(t, kind, namespace)
		for i, spec := range specs {
			if raw, err := k.write(t.Context(), "", "", k.object([]string{"first", "second"}[i], parse(t, spec)), false); err != nil {
				t.Fatalf("%v: %s", err, raw)
			}
		}
	}
	for _, test := range []struct{ kind, field, value, want string }{
		{"User", "spec.userName", "Jane@x", "first"}, {"User", "spec.suspended", "true", "second"}, {"NameClaim", "spec.holder", "bob-1", "second"},
	} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(test.kind + "List"))
		if err := env.Client.List(t.Context(), list, client.InNamespace(namespace), client.MatchingFields{test.field: test.value}); err != nil {
			t.Errorf("%s by %s: %v", test.kind, test.field, err)
		} else if len(list.Items) != 1 || list.Items[0].GetName() != test.want {
			t.Errorf("%s by %s=%s: %d, want %s", test.kind, test.field, test.value, len(list.Items), test.want)
		}
	}
}
