package controllers

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// compactBinding is the transform of AppRoleBindings and native bindings, which name each user with a role once for each of its
// scopes and once for each of their namespaces. It drops managed fields alone, as compact does.
func compactBinding(object any) (any, error) {
	object, err := cache.TransformStripManagedFields()(object)
	if err != nil {
		return object, err
	}
	switch binding := object.(type) {
	case *v1alpha1.AppRoleBinding:
		subjects := exact(binding.Spec.Subjects)
		texts := make([]*string, 0, 2*len(subjects))
		for i := range subjects {
			share(&subjects[i].Group)
			texts = append(texts, &subjects[i].User, &subjects[i].Name)
		}
		join(texts)
		binding.Spec.Subjects = subjects
	case *rbacv1.RoleBinding:
		binding.Subjects = compactSubjects(binding.Subjects)
	case *rbacv1.ClusterRoleBinding:
		binding.Subjects = compactSubjects(binding.Subjects)
	}
	return object, nil
}

func compactSubjects(subjects []rbacv1.Subject) []rbacv1.Subject {
	subjects = exact(subjects)
	texts := make([]*string, len(subjects))
	for i := range subjects {
		share(&subjects[i].Kind, &subjects[i].APIGroup, &subjects[i].Namespace)
		texts[i] = &subjects[i].Name
	}
	join(texts)
	return subjects
}
