package controllers_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/testenv"
)

// A leaver that a binding by another hand still lets write is refused its writes within a second. Its reads pass: admission
// sees none, which the authorizer is for.
func TestRevokedWrites(t *testing.T) {
	w := newWorld(t, denying("writes:"))
	user := w.provision(w.newUser("jane", ""))
	w.eventuallyGranted(user)
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "by-hand"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"}},
	}}
	w.create(role)
	binding := w.byHand("by-hand", userNamed("writes:jane"), userNamed("writes:john"))
	binding.RoleRef.Kind, binding.RoleRef.Name = "Role", role.Name
	w.create(binding)
	as := func(name string) client.Client {
		credentials, err := env.ControlPlane.UserConfig(name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.New(credentials, client.Options{Scheme: env.Scheme})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	jane, john := as("writes:jane"), as("writes:john")
	write := func(c client.Client) error {
		return c.Create(w.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "write-"}})
	}
	w.eventually(func() string {
		if err := write(jane); err != nil {
			return err.Error()
		}
		return ""
	})
	testenv.MostlyWithin(t, "from a deactivation to a refused write", time.Second, 3, func() time.Duration {
		begin := time.Now()
		update(w, user, deactivate)
		var refusal error
		w.eventually(func() string {
			if refusal = write(jane); refusal == nil {
				return "they write"
			}
			return ""
		})
		took := time.Since(begin)
		if !apierrors.IsForbidden(refusal) || !strings.Contains(refusal.Error(), "was revoked") {
			t.Errorf("refused with %v", refusal)
		}
		w.eventuallyRevoked(user)
		if err := jane.List(w.ctx, &corev1.ConfigMapList{}, client.InNamespace(w.namespace)); err != nil {
			t.Errorf("a read: %v", err)
		}
		if err := write(john); err != nil {
			t.Errorf("another user: %v", err)
		}
		w.eventuallyResidual(user, "by-hand User/writes:jane")
		update(w, user, reactivate)
		w.eventually(func() string {
			if err := write(jane); err != nil {
				return err.Error()
			}
			return ""
		})
		return took
	})
	w.eventuallyCondition(user, v1alpha1.ConditionAccessGranted, metav1.ConditionTrue, v1alpha1.ReasonGranted)
}
