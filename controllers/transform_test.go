package controllers

import (
	"strings"
	"testing"
	"unsafe"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Users share texts in the cache, and are the same Users.
func TestShareStrings(t *testing.T) {
	newUser := func() *v1alpha1.User {
		return &v1alpha1.User{
			ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "jane", Finalizers: []string{strings.Clone("some")}},
			Spec:       v1alpha1.UserSpec{App: strings.Clone("demo"), UserName: "jane"},
			Status: v1alpha1.UserStatus{
				Roles:      []v1alpha1.EarnedRole{{Role: strings.Clone("viewer"), Scope: "default", Reasons: []string{strings.Clone("default role of the App")}}},
				Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue, Message: strings.Clone("Every role held is bound.")}},
			},
		}
	}
	var cached [2]*v1alpha1.User
	for i := range cached {
		user := newUser()
		user.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "somebody"}}
		object, err := shareStrings(user)
		if err != nil {
			t.Fatal(err)
		}
		cached[i] = object.(*v1alpha1.User)
		if !apiequality.Semantic.DeepEqual(cached[i], newUser()) {
			t.Errorf("got %+v", cached[i])
		}
	}
	for name, text := range map[string]func(*v1alpha1.User) string{
		"app":     func(u *v1alpha1.User) string { return u.Spec.App },
		"reason":  func(u *v1alpha1.User) string { return u.Status.Roles[0].Reasons[0] },
		"message": func(u *v1alpha1.User) string { return u.Status.Conditions[0].Message },
	} {
		if unsafe.StringData(text(cached[0])) != unsafe.StringData(text(cached[1])) {
			t.Errorf("%s is there twice", name)
		}
	}
}
