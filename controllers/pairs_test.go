package controllers_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func appOfPairs(namespace string, roles, scopes int) *v1alpha1.App {
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "pairs-"}}
	for i := range roles {
		app.Spec.Roles = append(app.Spec.Roles, v1alpha1.Role{Name: fmt.Sprint("role-", i)})
	}
	for i := range scopes {
		app.Spec.Scopes.List = append(app.Spec.Scopes.List, v1alpha1.Scope{Name: fmt.Sprint("scope-", i), Namespaces: []string{"x"}})
	}
	return app
}

// The pairs of role and scope of an App are bounded, in whatever way they are made.
func TestPairsOfRoleAndScopeAreBounded(t *testing.T) {
	namespace := env.Namespace(t, nil)
	for name, test := range map[string]struct {
		app     *v1alpha1.App
		change  func(*v1alpha1.App)
		refused bool
	}{
		"128 roles in 8 scopes":    {app: appOfPairs(namespace, 128, 8)},
		"4 roles in 256 scopes":    {app: appOfPairs(namespace, 4, 256)},
		"128 roles without scopes": {app: appOfPairs(namespace, 128, 0)},
		"one more role":            {app: appOfPairs(namespace, 5, 256), refused: true},
		"one more scope":           {app: appOfPairs(namespace, 128, 9), refused: true},
		"everything":               {app: appOfPairs(namespace, 128, 256), refused: true},
		"many roles and scopes, few of them paired": {app: appOfPairs(namespace, 128, 256), change: func(app *v1alpha1.App) {
			for i := range app.Spec.Roles {
				app.Spec.Roles[i].Scopes = []string{"scope-1", "scope-2"}
			}
		}},
		"one role in all scopes beside restricted ones": {app: appOfPairs(namespace, 128, 256), refused: true, change: func(app *v1alpha1.App) {
			for i := range app.Spec.Roles[6:] {
				app.Spec.Roles[i].Scopes = []string{"scope-1", "scope-2"}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.change != nil {
				test.change(test.app)
			}
			err := env.Client.Create(t.Context(), test.app, client.DryRunAll)
			if (err != nil) != test.refused {
				t.Fatalf("create: %v", err)
			}
			if err != nil && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "more than 1024 pairs of role and scope, and each pair is bound apart")) {
				t.Errorf("create: %v", err)
			}
		})
	}
}

// An App from before there was a bound stays editable: it may get fewer pairs, and keep what it has, but not more. Shown on a
// copy of the definition, into which the bound comes after the App.
func TestAnAppBeyondTheBoundStaysEditable(t *testing.T) {
	text, err := os.ReadFile("../config/crd/bases/scim-operator.io_apps.yaml")
	if err != nil {
		t.Fatal(err)
	}
	copied := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(string(text), "scim-operator.io", "bound.test")), &copied.Object); err != nil {
		t.Fatal(err)
	}
	copied.SetAnnotations(map[string]string{"api-approved.kubernetes.io": "unapproved"})
	rules := takeSpecRules(t, copied)
	if err := env.Client.Create(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	defer env.Client.Delete(t.Context(), copied) //nolint:errcheck // the control plane ends with the tests
	k := &cluster{T: t, ctx: t.Context()}
	app := asCopy(t, appOfPairs(env.Namespace(t, nil), 128, 10))
	k.eventually(func() string {
		if err := env.Client.Create(t.Context(), app); err != nil {
			return err.Error()
		}
		return ""
	})
	update(k, copied, func(definition *unstructured.Unstructured) { setSpecRules(t, definition, rules) })
	k.eventually(func() string { // the API server takes a moment to use the new definition
		if err := env.Client.Create(t.Context(), asCopy(t, appOfPairs(app.GetNamespace(), 128, 10)), client.DryRunAll); err == nil {
			return "a new App beyond the bound is taken"
		}
		return ""
	})
	for _, step := range []struct {
		scopes  int
		mode    string
		refused bool
	}{{10, "Observe", false}, {11, "Observe", true}, {9, "Observe", false}, {10, "Observe", true}, {8, "Enforce", false}, {9, "Enforce", true}} {
		next := asCopy(t, appOfPairs(app.GetNamespace(), 128, step.scopes))
		spec := next.Object["spec"].(map[string]any)
		spec["mode"] = step.mode
		edited := app.DeepCopy()
		edited.Object["spec"] = spec
		if err := env.Client.Update(t.Context(), edited); (err != nil) != step.refused {
			t.Errorf("%+v: %v", step, err)
		} else if err == nil {
			app = edited
		}
	}
}

func asCopy(t *testing.T, app *v1alpha1.App) *unstructured.Unstructured {
	t.Helper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(app)
	if err != nil {
		t.Fatal(err)
	}
	delete(object, "status")
	copied := &unstructured.Unstructured{Object: object}
	copied.SetGroupVersionKind(schema.GroupVersionKind{Group: "bound.test", Version: "v1alpha1", Kind: "App"})
	return copied
}

func specSchema(t *testing.T, definition *unstructured.Unstructured) map[string]any {
	t.Helper()
	versions, _, err := unstructured.NestedSlice(definition.Object, "spec", "versions")
	if err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedSlice(definition.Object, versions, "spec", "versions"); err != nil {
		t.Fatal(err)
	}
	node := definition.Object["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)
	for _, key := range []string{"schema", "openAPIV3Schema", "properties", "spec"} {
		node = node[key].(map[string]any)
	}
	return node
}

func takeSpecRules(t *testing.T, definition *unstructured.Unstructured) any {
	t.Helper()
	node := specSchema(t, definition)
	rules := node["x-kubernetes-validations"]
	if rules == nil {
		t.Fatal("the specification has no rules")
	}
	delete(node, "x-kubernetes-validations")
	return rules
}

func setSpecRules(t *testing.T, definition *unstructured.Unstructured, rules any) {
	t.Helper()
	specSchema(t, definition)["x-kubernetes-validations"] = rules
}
