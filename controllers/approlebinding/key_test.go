package approlebinding

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/scim-operator/scim-operator/internal/earned"
)

// Roles and scopes may have any name; objects, labels and indexes must hold it.
func TestNamesAreValidAndDistinct(t *testing.T) {
	long := strings.Repeat("x", 128)
	keys := []earned.RoleInScope{
		inScope("ns", "app", "viewer", "default"),
		inScope("ns", "app", "viewer", "us1"),
		inScope("ns", "app", "viewerus1", ""),
		inScope("ns", "app", `a" scope "b`, "c"),
		inScope("ns", "app", "a", `b" scope "c`),
		inScope("ns", "app", "Control Account Admin", "emea 2"),
		inScope("ns", "app", long, long),
		inScope("ns", strings.Repeat("a", 63), "rôle/ü", "*"),
		inScope("other", "app", "viewer", "default"),
	}
	ref := rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"}
	natives, texts, bindings := map[string]earned.RoleInScope{}, map[string]earned.RoleInScope{}, map[string]earned.RoleInScope{}
	for _, key := range keys {
		for index := range int32(3) {
			native := nativeName(key, index, ref)
			if other, taken := natives[native]; taken {
				t.Errorf("%v and %v share the name %s", key, other, native)
			}
			natives[native] = key
			for _, name := range []string{native, bindingName(key, index)} {
				if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
					t.Errorf("%q: %v", name, problems)
				}
			}
			for label, value := range nativeLabels(key, index) {
				if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
					t.Errorf("%v: label %s = %q: %v", key, label, value, problems)
				}
			}
		}
		if other, taken := texts[key.String()]; taken {
			t.Errorf("%#v and %#v are indexed under the same text", key, other)
		}
		texts[key.String()] = key
		name := key.Namespace + "/" + bindingName(key, 0)
		if other, taken := bindings[name]; taken {
			t.Errorf("%#v and %#v share an AppRoleBinding", key, other)
		}
		bindings[name] = key
	}
	if a, b := nativeName(keys[0], 0, ref), nativeName(keys[0], 0, rbacv1.RoleRef{Kind: "Role", Name: "view"}); a == b {
		t.Error("the name does not depend on the role, which cannot be changed in place")
	}
}

func TestKeyOfNative(t *testing.T) {
	key := inScope("ns", "app", "Control Account Admin", strings.Repeat("x", 128))
	object := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Labels: nativeLabels(key, 0), Annotations: nativeAnnotations(key)}}
	if got, found := keyOfNative(object); !found || got != key {
		t.Errorf("key = %v, %v", got, found)
	}
	delete(object.Annotations, annotationScope)
	if _, found := keyOfNative(object); found {
		t.Error("a key was read out of half the marks")
	}
}

func inScope(namespace, app, role, scope string) earned.RoleInScope {
	return earned.RoleInScope{Namespace: namespace, App: app, Role: role, Scope: scope}
}
