package overlay

import (
	"cmp"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Kinds of objects.
const (
	KindAppRoleBinding     = "AppRoleBinding"
	KindRoleBinding        = "RoleBinding"
	KindClusterRoleBinding = "ClusterRoleBinding"
)

// ID names one object of those kinds. Namespace is empty for a ClusterRoleBinding.
type ID struct {
	Kind, Namespace, Name string
}

// IDOf returns the ID of an object. It panics for one of another kind.
func IDOf(object client.Object) ID {
	id := ID{Namespace: object.GetNamespace(), Name: object.GetName()}
	switch object.(type) {
	case *v1alpha1.AppRoleBinding:
		id.Kind = KindAppRoleBinding
	case *rbacv1.RoleBinding:
		id.Kind = KindRoleBinding
	case *rbacv1.ClusterRoleBinding:
		id.Kind = KindClusterRoleBinding
	default:
		panic(fmt.Sprintf("no binding: %T", object))
	}
	return id
}

// Compare orders by kind, namespace and name.
func Compare(a, b ID) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
