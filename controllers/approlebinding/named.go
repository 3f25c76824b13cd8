package approlebinding

import (
	"context"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/scim-operator/scim-operator/internal/earned"
)

// IsNamed says whether a native binding of a key names an RBAC user, or the group in the user's place where group is not empty. Native
// bindings are at least as new as this process's last write.
func (s *Syncer) IsNamed(ctx context.Context, key earned.RoleInScope, user, group string) (bool, error) {
	natives, err := s.reader().nativesOf(ctx, key)
	if err != nil {
		return false, err
	}
	wanted := rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}
	if group != "" {
		wanted = rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: group}
	}
	for _, native := range natives {
		if slices.Contains(native.subjects, wanted) {
			return true, nil
		}
	}
	return false, nil
}
