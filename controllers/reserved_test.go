package controllers_test

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// The schema of AppRoleBindings admits every name but those that read as if they began with system:, from every client.
func TestReservedNamesInAppRoleBindings(t *testing.T) {
	w := newStoppedWorld(t, nil)
	for name, admitted := range map[string]bool{
		"system:admin": false, "system:": false, "system:\nadmin": false, "System:admin": false, "\nsystem:": false,
		"s": true, "sys": true, "system": true, "systems:x": true, "okta:system:admin": true, "é": true,
	} {
		for _, subject := range []v1alpha1.AppRoleSubject{{User: "u", Name: name}, {User: "u", Name: "n", Group: name}} {
			binding := &v1alpha1.AppRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "some"},
				Spec: v1alpha1.AppRoleBindingSpec{
					App: "demo", RoleRef: v1alpha1.AppRoleRef{Name: "viewer"}, Scope: "default", Subjects: []v1alpha1.AppRoleSubject{subject},
				},
			}
			err := env.Client.Create(w.ctx, binding, client.DryRunAll)
			if admitted && err != nil || !admitted && !apierrors.IsInvalid(err) {
				t.Errorf("%+q: %v", subject, err)
			}
		}
	}
}
