package okta_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// attempt is a request that a ServiceAccount must not, or must, get through.
type attempt struct {
	name  string
	allow bool
	try   func(context.Context, client.Client) error
}

// as returns a client with the credential of one of the two processes.
func as(t *testing.T, kubeconfig string) client.Client {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	must(t, err)
	config = rest.CopyConfig(config)
	c, err := client.New(config, client.Options{Scheme: operator.Env.Scheme})
	must(t, err)
	// Nothing that gets through may change anything.
	return client.NewDryRunClient(c)
}

func run(t *testing.T, kubeconfig string, attempts []attempt) {
	c := as(t, kubeconfig)
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			err := a.try(t.Context(), c)
			if a.allow && err != nil {
				t.Errorf("refused: %v", err)
			}
			if !a.allow && !apierrors.IsForbidden(err) {
				t.Errorf("the API server says %v, want Forbidden", err)
			}
		})
	}
}

func binding(namespace, clusterRole string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		// Named and labelled as the controller does it: what is refused is refused for the role.
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "scim-attempt" + strings.Repeat("a", 13), Labels: map[string]string{
			v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue, v1alpha1.LabelApp: "quickstart",
			v1alpha1.LabelAppNamespace: "directory", "scim-operator.io/binding": "quickstart-0",
		}},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: clusterRole},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "okta:somebody"}},
	}
}

func clusterBinding(clusterRole string) *rbacv1.ClusterRoleBinding {
	b := binding("", clusterRole)
	return &rbacv1.ClusterRoleBinding{ObjectMeta: b.ObjectMeta, RoleRef: b.RoleRef, Subjects: b.Subjects}
}

// A hole in the HTTP side must not be able to read a Secret or to give access.
func TestServerPrivileges(t *testing.T) {
	scim, app := ownApp(t, okta.AppWizard)
	id := create(t, scim, userJSON(newName(t, "privileges"), "")).Text("id")
	scimToken := operator.CreateToken(t, app, v1alpha1.ScimTokenSpec{Digest: token.Digest(newText(t))})
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: "any"}}
	must(t, operator.Env.Client.Create(t.Context(), secret))
	merge := func(text string) client.Patch { return client.RawPatch("application/merge-patch+json", []byte(text)) }

	run(t, operator.ServerKubeconfig, []attempt{
		{"read a user", true, func(ctx context.Context, c client.Client) error {
			return c.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: id}, &v1alpha1.User{})
		}},
		{"get a Secret", false, func(ctx context.Context, c client.Client) error {
			return c.Get(ctx, client.ObjectKeyFromObject(secret), &corev1.Secret{})
		}},
		{"list Secrets", false, func(ctx context.Context, c client.Client) error { return c.List(ctx, &corev1.SecretList{}) }},
		{"list Secrets of its own namespace", false, func(ctx context.Context, c client.Client) error {
			return c.List(ctx, &corev1.SecretList{}, client.InNamespace("scim-operator-system"))
		}},
		{"create a RoleBinding", false, func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, binding("team-a", "quickstart-viewer"))
		}},
		{"create a ClusterRoleBinding", false, func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, clusterBinding("quickstart-viewer"))
		}},
		{"list RoleBindings", false, func(ctx context.Context, c client.Client) error { return c.List(ctx, &rbacv1.RoleBindingList{}) }},
		{"create an AppRoleBinding", false, func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, &v1alpha1.AppRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, GenerateName: "attempt-"},
				Spec: v1alpha1.AppRoleBindingSpec{App: app.Name, RoleRef: v1alpha1.AppRoleRef{Name: "viewer"}, Scope: "us1",
					Subjects: []v1alpha1.AppRoleSubject{{User: id, Name: "okta:somebody"}}},
			})
		}},
		{"write a user's status", false, func(ctx context.Context, c client.Client) error {
			return c.Status().Patch(ctx, operator.User(t, app, id), merge(`{"status":{"kubernetesUsername":"okta:other"}}`))
		}},
		{"write an App", false, func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: app.Name}}, merge(`{"spec":{"mode":"Observe"}}`))
		}},
		{"create a ScimToken", false, func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, &v1alpha1.ScimToken{
				ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, GenerateName: "attempt-"},
				Spec:       v1alpha1.ScimTokenSpec{App: app.Name, Digest: token.Digest("x")},
			})
		}},
		{"change a ScimToken", false, func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, scimToken.DeepCopy(), merge(`{"spec":{"suspended":true}}`))
		}},
		{"write a ScimToken's status", false, func(ctx context.Context, c client.Client) error {
			return c.Status().Patch(ctx, scimToken.DeepCopy(), merge(`{"status":{"digest":"`+token.Digest("x")+`"}}`))
		}},
		{"make a ServiceAccount", false, func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, GenerateName: "attempt-"}})
		}},
	})
}

// The controller gives what its manifests list, and cannot give itself more.
func TestControllerPrivileges(t *testing.T) {
	role := func(name string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
		return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	}
	everything := rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}
	unlisted := role("unlisted", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"delete"}})
	must(t, operator.Env.Client.Create(t.Context(), unlisted))
	run(t, operator.ControllerKubeconfig, []attempt{
		{"bind a role on the list", true, func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, binding("team-a", "quickstart-viewer"))
		}},
		{"bind cluster-admin", false, func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, binding("team-a", "cluster-admin"))
		}},
		{"bind cluster-admin everywhere", false, func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, clusterBinding("cluster-admin"))
		}},
		{"bind a role that is on no list", false, func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, binding("team-a", unlisted.Name))
		}},
		{"make a role", false, func(ctx context.Context, c client.Client) error { return c.Create(ctx, role("attempt", everything)) }},
		{"widen a role that it may bind", false, func(ctx context.Context, c client.Client) error {
			return c.Update(ctx, role("quickstart-viewer", everything))
		}},
		{"lengthen the list", false, func(ctx context.Context, c client.Client) error {
			return c.Update(ctx, role("scim-operator-bindable", everything))
		}},
		{"change an App", false, func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "quickstart"}},
				client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"mode":"Observe"}}`)))
		}},
		{"change a Secret", false, func(ctx context.Context, c client.Client) error {
			return c.Update(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "any"}})
		}},
		{"make a Pod", false, func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "attempt"},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}})
		}},
	})
}

// An App that promises more than the controller's list of roles to bind grants the rest, and says what it could not. That
// the controller itself holds what a role allows, as it may read Secrets, is no reason to give it away.
func TestGrantBeyondTheList(t *testing.T) {
	reader := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "secret-reader"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}},
	}
	must(t, operator.Env.Client.Create(t.Context(), reader))
	for _, refused := range []string{"cluster-admin", "scim-operator-controller", reader.Name} {
		t.Run(refused, func(t *testing.T) {
			operator.ShowOnFailure(t)
			app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "ambitious", func(spec *v1alpha1.AppSpec) {
				spec.Attributes = slices.DeleteFunc(spec.Attributes, func(a v1alpha1.CustomAttribute) bool { return a.Name != "regions" })
				spec.Roles = append(spec.Roles, v1alpha1.Role{Name: "root", Grants: []v1alpha1.Grant{{ClusterRole: refused}}})
			})
			scim := operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
			profile := okta.NewProfile(newName(t, "ambitious"))
			profile.Custom = okta.ObjectOf("roles", []any{"root", harness.Developer})
			say(t)(scim.AssignUser(t.Context(), okta.Assign(profile)))
			subject := app.Subject(profile.UserName)
			operator.AccessSoon(t, subject, harness.Everywhere(harness.Developer))
			soon(t, "the refusal", func(ctx context.Context) error { return refusal(ctx, app, "root", refused) })
			for _, verb := range []string{"get", "delete"} {
				allowed, err := operator.CanI(t.Context(), subject, verb, "secrets", "team-a")
				must(t, err)
				if allowed {
					t.Errorf("%s can %s Secrets: %s was granted", subject, verb, refused)
				}
			}
		})
	}
}

// refusal returns nil where every AppRoleBinding of the role says that the ClusterRole is refused.
func refusal(ctx context.Context, app harness.App, role, clusterRole string) error {
	list := &v1alpha1.AppRoleBindingList{}
	if err := operator.Env.Client.List(ctx, list, client.InNamespace(app.Namespace)); err != nil {
		return err
	}
	refused := 0
	for _, binding := range list.Items {
		if binding.Spec.RoleRef.Name != role {
			continue
		}
		ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Status != metav1.ConditionFalse || ready.Reason != v1alpha1.ReasonForbidden || !strings.Contains(ready.Message, clusterRole) {
			return fmt.Errorf("AppRoleBinding %s of role %s has the condition %+v, want Ready False, reason Forbidden, a message that names %s", binding.Name, role, ready, clusterRole)
		}
		refused++
	}
	if refused == 0 {
		return fmt.Errorf("none of %d AppRoleBindings is of role %s", len(list.Items), role)
	}
	return nil
}
