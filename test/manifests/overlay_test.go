package manifests_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// An overlay that says where and under what name is all that another place takes: the operator's writes pass every policy
// there, and no other account's do.
func TestOverlayWithNamespaceAndNames(t *testing.T) {
	binary, err := localoperator.BuildOperator(t.Context())
	must(t, err)
	for name, text := range map[string]string{
		"default":   "resources: [CONFIG/default]\n",
		"elsewhere": "resources: [CONFIG/default]\nnamespace: identity\nnamePrefix: acme-\nnameSuffix: -eu\n",
	} {
		t.Run(name, func(t *testing.T) {
			o := &operator{cluster: startCluster(t), namespace: localoperator.Namespace, server: localoperator.ServerAccount, controller: localoperator.ControllerAccount}
			if name == "elsewhere" {
				o.namespace, o.server, o.controller = "identity", "acme-scim-operator-server-eu", "acme-scim-operator-controller-eu"
			}
			o.apply(t, overlay(t, text))
			o.run(t, binary)
			o.provisions(t, o.openApp(t))
			o.refusesOthers(t)
			o.bindsItsOwnAccounts(t)
		})
	}
}

// refusesOthers has users with every right that RBAC can give on the operator's kinds write what only the operator may.
func (o *operator) refusesOthers(t *testing.T) {
	t.Helper()
	users := []string{
		"administrator-of-the-kinds",
		"system:serviceaccount:" + appNamespace + ":" + o.controller,
		"system:serviceaccount:" + appNamespace + ":" + o.server,
		o.account("default"),
		o.account(o.controller + "-2"),
	}
	if o.namespace != localoperator.Namespace {
		users = append(users, "system:serviceaccount:"+localoperator.Namespace+":"+localoperator.ControllerAccount,
			"system:serviceaccount:"+localoperator.Namespace+":"+localoperator.ServerAccount, o.account(localoperator.ControllerAccount), o.account(localoperator.ServerAccount))
	}
	o.allowAll(t, users...)
	for _, user := range users {
		for _, object := range directoryObjects() {
			err := client.NewDryRunClient(o.as(t, user)).Create(t.Context(), object)
			if err == nil || !strings.Contains(err.Error(), "scim-operator-directory") {
				t.Errorf("%s creates %T: error %v, want a refusal by scim-operator-directory", user, object, err)
			}
		}
	}
}

// bindsItsOwnAccounts: the server writes no status and no AppRoleBinding even where RBAC lets it, the controller no spec.
func (o *operator) bindsItsOwnAccounts(t *testing.T) {
	t.Helper()
	server, controller := o.as(t, o.account(o.server)), o.as(t, o.account(o.controller))
	o.allowAll(t, o.account(o.server), o.account(o.controller))
	objects := directoryObjects()
	must(t, client.NewDryRunClient(server).Create(t.Context(), objects[0]))
	err := client.NewDryRunClient(server).Create(t.Context(), objects[1])
	if err == nil || !strings.Contains(err.Error(), "scim-operator-directory") {
		t.Errorf("the server creates an AppRoleBinding: error %v", err)
	}
	must(t, client.NewDryRunClient(controller).Create(t.Context(), objects[1].DeepCopyObject().(client.Object)))
	app := &v1alpha1.App{}
	must(t, controller.Get(t.Context(), client.ObjectKey{Namespace: appNamespace, Name: appName}, app))
	app.Spec.DisplayName = "changed"
	if err := client.NewDryRunClient(controller).Update(t.Context(), app); err == nil || !strings.Contains(err.Error(), "never their spec") {
		t.Errorf("the controller changes an App's spec: error %v", err)
	}
}

// allowAll gives users every right on the operator's kinds and waits until RBAC knows.
func (c *cluster) allowAll(t *testing.T, users ...string) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: "all-"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"*"}},
	}}
	must(t, c.admin.Create(t.Context(), role))
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "all-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
	}
	for _, user := range users {
		binding.Subjects = append(binding.Subjects, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user})
	}
	must(t, c.admin.Create(t.Context(), binding))
	for _, user := range users {
		as := c.as(t, user)
		harness.Eventually(t, patience, "the rights of "+user, func(ctx context.Context) error {
			if err := as.List(ctx, &v1alpha1.NameClaimList{}, client.InNamespace(appNamespace)); err != nil {
				return fmt.Errorf("list: %w", err)
			}
			return nil
		})
	}
}

// directoryObjects are one that the server writes, and one that the controller writes.
func directoryObjects() []client.Object {
	return []client.Object{
		&v1alpha1.User{
			ObjectMeta: metav1.ObjectMeta{Namespace: appNamespace, Name: "forged-aaaaaaaaaa"},
			Spec:       v1alpha1.UserSpec{App: appName, UserName: "forged@example.com", UserNameKey: "forged@example.com"},
		},
		&v1alpha1.AppRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: appNamespace, Name: "forged"},
			Spec: v1alpha1.AppRoleBindingSpec{
				App: appName, RoleRef: v1alpha1.AppRoleRef{Name: "developer"}, Scope: v1alpha1.DefaultScope,
			},
		},
	}
}
