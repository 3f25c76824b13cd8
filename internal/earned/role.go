package earned

import (
	"cmp"
	"fmt"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// RoleInScope is one role of one App in one scope, the unit in which access is bound.
type RoleInScope struct {
	Namespace string
	App       string
	Role      string
	Scope     string
}

// String serves logs and the informers' index of bindings. Two different values never share one text.
func (k RoleInScope) String() string {
	return fmt.Sprintf("%s/%s role %q scope %q", k.Namespace, k.App, k.Role, k.Scope)
}

// RoleInScopeOf returns the role and scope that an AppRoleBinding belongs to.
func RoleInScopeOf(binding *v1alpha1.AppRoleBinding) RoleInScope {
	return RoleInScope{
		Namespace: binding.Namespace,
		App:       binding.Spec.App,
		Role:      binding.Spec.RoleRef.Name,
		Scope:     binding.Spec.Scope,
	}
}

// Compare orders by namespace, App, role and scope.
func Compare(a, b RoleInScope) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.App, b.App), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Scope, b.Scope))
}
