package okta_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// operatorOfOwn administers the guide's App and may bind nothing.
const operatorOfOwn = "operator-of-own"

// TestGuideOwnOperator shows which accounts change roles in the cluster. An author of the App must have the right to bind
// what it grants. Only the SCIM server and administrators of the cluster write a user's attributes. An account that
// administers users may end a person's access.
func TestGuideOwnOperator(t *testing.T) {
	g := follow(t, guide{
		name: "own", namespaces: []string{"own-us1", "own-emea2"},
		rungs: []rung{{readOnly, "list", "configmaps"}, {ownAdmin, "create", "pods"}},
	})
	o := &own{guide: g, app: g.open(t, "own", "own", "okta")}
	o.okta = g.client(o.app, "/scim/v2", okta.Template)
	person, subject := o.assign(t, "employee", "us1")
	o.has(t, subject, access{"own-us1": readOnly})

	bindOperator(t)
	kubeconfig := filepath.Join(t.TempDir(), "operator")
	must(t, operator.Env.ControlPlane.WriteKubeconfig(kubeconfig, operatorOfOwn))
	attempt := func(arguments string) (string, error) {
		output, err := g.command(t.Context(), "kubectl --kubeconfig "+kubeconfig+" -n own "+arguments).CombinedOutput()
		return string(output), err
	}
	const promote = `patch app own --type json -p '[{"op":"replace","path":"/spec/roles/1/when","value":"user.userName.startsWith(\"employee\")"}]'`
	choose := "patch users.scim-operator.io " + person.ID + ` --type merge -p '{"spec":{"roles":[{"value":"Administrator"}]}}'`
	for command, words := range map[string]string{
		promote: `you lack the verb "bind" on clusterroles.rbac.authorization.k8s.io "own-`,
		choose:  "change people in the identity provider",
	} {
		if output, err := attempt(command); err == nil || !strings.Contains(output, words) {
			t.Errorf("kubectl %s: %v\n%s\nwant it refused with %q", command, err, output, words)
		}
	}
	o.hasNow(t, subject, access{"own-us1": readOnly})

	grantOperator(t)
	patiently(t, "the change of the App by an author that may bind its roles", func(context.Context) error {
		_, err := attempt(promote)
		return err
	})
	o.has(t, subject, access{"own-us1": ownAdmin})
	if output, err := attempt(choose); err == nil {
		t.Errorf("the right to bind opens Users\n%s", output)
	}
	suspend := "patch users.scim-operator.io " + person.ID + ` --type merge -p '{"spec":{"suspended":true}}'`
	if output, err := attempt(suspend); err != nil {
		t.Errorf("kubectl %s: %v\n%s", suspend, err, output)
	}
	o.has(t, subject, access{})
}

// bindOperator gives the operator the role for administrators of Apps in namespace own.
func bindOperator(t *testing.T) {
	t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "own", Name: operatorOfOwn},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "scim-operator-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorOfOwn}},
	}
	must(t, operator.Env.Client.Create(t.Context(), binding))
	t.Cleanup(func() {
		if err := operator.Env.Client.Delete(context.Background(), binding); err != nil {
			t.Error(err)
		}
	})
}

// grantOperator lets the operator bind the roles of the guide's App, wherever its scopes reach.
func grantOperator(t *testing.T) {
	t.Helper()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: operatorOfOwn},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"},
			ResourceNames: []string{"own-read-only", "own-administrator"}, Verbs: []string{"bind"},
		}},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: operatorOfOwn},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: operatorOfOwn},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorOfOwn}},
	}
	must(t, operator.Env.Client.Create(t.Context(), role))
	must(t, operator.Env.Client.Create(t.Context(), binding))
	t.Cleanup(func() {
		if err := operator.Env.Client.Delete(context.Background(), binding); err != nil {
			t.Error(err)
		}
		if err := operator.Env.Client.Delete(context.Background(), role); err != nil {
			t.Error(err)
		}
	})
}
