package controllers

import (
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// shareStrings is the transform of Users on their way into the cache. It drops managed fields, and lets Users share the
// texts that most of them have in common: a decoder makes a new string of each, which is a sixth of what a User
// takes in memory. Nothing else is dropped: what the cache holds can be written back.
func shareStrings(object any) (any, error) {
	object, err := cache.TransformStripManagedFields()(object)
	user, isUser := object.(*v1alpha1.User)
	if err != nil || !isUser {
		return object, err
	}
	share(&user.Kind, &user.APIVersion, &user.Namespace, &user.Spec.App, &user.Status.RoleNames)
	shareAll(user.Finalizers)
	for i := range user.Status.Roles {
		role := &user.Status.Roles[i]
		share(&role.Role, &role.Scope)
		shareAll(role.Reasons)
	}
	for i := range user.Status.Conditions {
		condition := &user.Status.Conditions[i]
		share(&condition.Type, &condition.Reason, &condition.Message)
		condition.Status = metav1.ConditionStatus(shared(string(condition.Status)))
	}
	return user, nil
}

func share(texts ...*string) {
	for _, text := range texts {
		*text = shared(*text)
	}
}

func shareAll(texts []string) {
	for i := range texts {
		texts[i] = shared(texts[i])
	}
}

// shared returns the one copy of a text. It is let go when no User has it any more.
func shared(text string) string {
	if text == "" {
		return text
	}
	return unique.Make(text).Value()
}
