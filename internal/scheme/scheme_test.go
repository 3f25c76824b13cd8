package scheme

import (
	"errors"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func TestNew(t *testing.T) {
	failure := errors.New("no such kind")
	added := schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Added"}
	scheme, err := New(func(s *runtime.Scheme) error {
		s.AddKnownTypeWithName(added, &rbacv1.Role{})
		return nil
	}, func(*runtime.Scheme) error { return failure })
	if !errors.Is(err, failure) {
		t.Errorf("error %v", err)
	}
	for _, kind := range []schema.GroupVersionKind{
		rbacv1.SchemeGroupVersion.WithKind("RoleBinding"), v1alpha1.SchemeGroupVersion.WithKind("AppRoleBinding"), added,
	} {
		if !scheme.Recognizes(kind) {
			t.Errorf("%v is not known", kind)
		}
	}
	if _, err := New(); err != nil {
		t.Error(err)
	}
}
