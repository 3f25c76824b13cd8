package controllers

import (
	"reflect"
	"strings"
	"testing"
	"unsafe"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Users share texts and labels in the cache, have no room for more, and are the same Users.
func TestCompact(t *testing.T) {
	newUser := func() *v1alpha1.User {
		return &v1alpha1.User{
			ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "jane", Finalizers: []string{strings.Clone("some")}, Labels: map[string]string{v1alpha1.LabelApp: "demo"}},
			Spec: v1alpha1.UserSpec{
				App: strings.Clone("demo"), UserName: strings.Clone("jane"), UserNameKey: strings.Clone("jane"),
				DisplayName: strings.Clone("Jane Roe"), Name: &v1alpha1.Name{Formatted: strings.Clone("Jane Roe"), GivenName: "Jane"},
				Emails: append(make([]v1alpha1.MultiValue, 0, 4), v1alpha1.MultiValue{Value: strings.Clone("jane"), Type: strings.Clone("work")}),
			},
			Status: v1alpha1.UserStatus{
				KubernetesUsername: strings.Clone("okta:jane"), ReservedKey: strings.Clone("jane"),
				Roles:      []v1alpha1.EarnedRole{{Role: strings.Clone("viewer"), Scope: "default", Reasons: []string{strings.Clone("default role of the App")}}},
				Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue, Message: strings.Clone("Every role held is bound.")}},
			},
		}
	}
	var cached [2]*v1alpha1.User
	for i := range cached {
		user := newUser()
		user.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "somebody"}}
		object, err := compact(user)
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
	end := unsafe.Pointer(unsafe.StringData(cached[0].Status.KubernetesUsername[len("okta:"):]))
	for name, text := range map[string]string{
		"userName": cached[0].Spec.UserName, "userNameKey": cached[0].Spec.UserNameKey,
		"reservedKey": cached[0].Status.ReservedKey, "address": cached[0].Spec.Emails[0].Value,
	} {
		if unsafe.Pointer(unsafe.StringData(text)) != end {
			t.Errorf("%s is no part of the Kubernetes user name", name)
		}
	}
	if reflect.ValueOf(cached[0].Labels).Pointer() != reflect.ValueOf(cached[1].Labels).Pointer() {
		t.Error("the labels are there twice")
	}
	if emails := cached[0].Spec.Emails; cap(emails) != len(emails) {
		t.Errorf("room for %d addresses, not 1", cap(emails))
	}
}
