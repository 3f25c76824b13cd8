package security_test

import (
	"context"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// stolen returns a client with a ServiceAccount's own token, which writes nothing: what is let through is a dry run.
func stolen(t *testing.T, kubeconfig string) client.Client {
	t.Helper()
	restConfig, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	must(t, err)
	c, err := client.New(restConfig, client.Options{Scheme: operator.Env.Scheme})
	must(t, err)
	return client.NewDryRunClient(c)
}

// attempt is a request that must be refused.
type attempt struct {
	name string
	try  func(context.Context, client.Client) error
}

func refuseAll(t *testing.T, c client.Client, attempts []attempt) {
	t.Helper()
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			if err := a.try(t.Context(), c); !apierrors.IsForbidden(err) {
				t.Errorf("the API server says %v, want a refusal", err)
			}
		})
	}
}

func creating(name string, object client.Object) attempt {
	return attempt{"create " + name, func(ctx context.Context, c client.Client) error { return c.Create(ctx, copyOf(object)) }}
}

func deleting(name string, object client.Object) attempt {
	return attempt{"delete " + name, func(ctx context.Context, c client.Client) error { return c.Delete(ctx, copyOf(object)) }}
}

const bindingName = "scim-aaaaaaaaaaaaaaaaaaaa"

// ownBinding is a binding as the controller makes them, for the stolen credential to turn to its purpose.
func ownBinding(namespace string, role string, subjects ...rbacv1.Subject) (*rbacv1.RoleBinding, *rbacv1.ClusterRoleBinding) {
	of := metav1.ObjectMeta{Namespace: namespace, Name: bindingName, Labels: map[string]string{
		v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue, v1alpha1.LabelApp: "own", v1alpha1.LabelAppNamespace: namespace,
		v1alpha1.LabelBinding: "own-0",
	}}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}
	wide := of.DeepCopy()
	wide.Namespace = ""
	return &rbacv1.RoleBinding{ObjectMeta: of, RoleRef: ref, Subjects: subjects},
		&rbacv1.ClusterRoleBinding{ObjectMeta: *wide, RoleRef: ref, Subjects: subjects}
}

// With the controller's own credential: what its manifests list by name can be bound to users, and nothing else is done to
// bindings, roles and Secrets.
func TestStolenController(t *testing.T) {
	n := newTenant(t)
	must(t, n.admin.Create(t.Context(), n.newApp("own")))
	c := stolen(t, operator.ControllerKubeconfig)
	mallory := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "mallory"}
	account := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: n.namespace, Name: "default"}
	group := func(name string) rbacv1.Subject {
		return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name}
	}
	// What remains, so that the refusals are for their reasons.
	view, viewEverywhere := ownBinding(n.namespace, "view", mallory)
	must(t, c.Create(t.Context(), copyOf(view)))
	must(t, c.Create(t.Context(), copyOf(viewEverywhere)))

	attempts := []attempt{}
	for _, role := range []string{"cluster-admin", "admin", localoperator.ControllerAccount, "scim-operator-bindable", "system:node"} {
		here, everywhere := ownBinding(n.namespace, role, mallory)
		attempts = append(attempts, creating("a RoleBinding to "+role, here), creating("a ClusterRoleBinding to "+role, everywhere))
	}
	for name, subject := range map[string]rbacv1.Subject{
		"a ServiceAccount": account, "system:authenticated": group("system:authenticated"), "its name with a blank before it": group(" system:authenticated"),
		"all ServiceAccounts": group("system:serviceaccounts"),
	} {
		here, everywhere := ownBinding(n.namespace, "view", subject)
		attempts = append(attempts, creating("a RoleBinding for "+name, here), creating("a ClusterRoleBinding for "+name, everywhere))
	}
	for name, change := range map[string]func(*metav1.ObjectMeta){
		"under another name": func(o *metav1.ObjectMeta) { o.Name = "view" },
		"under a long name":  func(o *metav1.ObjectMeta) { o.Name = bindingName + "a" },
		"without labels":     func(o *metav1.ObjectMeta) { o.Labels = nil },
		"of another manager": func(o *metav1.ObjectMeta) { o.Labels[v1alpha1.LabelManagedBy] = "helm" },
	} {
		here, everywhere := ownBinding(n.namespace, "view", mallory)
		change(&here.ObjectMeta)
		change(&everywhere.ObjectMeta)
		attempts = append(attempts, creating("a RoleBinding "+name, here), creating("a ClusterRoleBinding "+name, everywhere))
	}
	bound := &rbacv1.RoleBinding{}
	must(t, n.admin.Get(t.Context(), keyOf(n.namespace, "admin"), bound))
	admins := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "cluster-admin"}}
	attempts = append(attempts,
		deleting("ClusterRoleBinding cluster-admin", admins),
		deleting("a RoleBinding of the tenant", bound),
		attempt{"add itself to ClusterRoleBinding cluster-admin", func(ctx context.Context, c client.Client) error {
			object := copyOf(admins).(*rbacv1.ClusterRoleBinding)
			if err := c.Get(ctx, client.ObjectKeyFromObject(admins), object); err != nil {
				return err
			}
			object.Subjects = append(object.Subjects, mallory)
			return c.Update(ctx, object)
		}},
		attempt{"take a RoleBinding over", func(ctx context.Context, c client.Client) error {
			object := copyOf(bound).(*rbacv1.RoleBinding)
			object.Subjects = []rbacv1.Subject{mallory}
			return c.Update(ctx, object)
		}},
		creating("a ClusterRole", &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: bindingName}}),
		attempt{"widen the list of roles", func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "scim-operator-bindable"}}, mergePatch(`{"rules":[]}`))
		}},
	)
	attempts = append(attempts, stolenSecrets(t, n)...)
	attempts = append(attempts,
		creating("a Pod", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "p"}}),
		creating("a User", n.directory("own", "viewer")[0]),
		creating("an App", n.newApp("another")),
		creating("a ScimToken", &v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "t"}}),
		attempt{"have a token accepted", func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, n.newApp("own"), mergePatch(`{"spec":{"tokens":[{"name":"mine"}]}}`))
		}},
		attempt{"update an App", func(ctx context.Context, c client.Client) error { return c.Update(ctx, n.newApp("own")) }},
	)
	refuseAll(t, c, attempts)

	// Real bindings of the operator can be taken away.
	own := copyOf(view)
	must(t, n.admin.Create(t.Context(), own))
	harness.Eventually(t, patience, "the right to delete an own binding", func(ctx context.Context) error {
		return client.IgnoreNotFound(c.Delete(ctx, own))
	})
}

// stolenSecrets are the Secrets that the controller must not make, change or delete.
func stolenSecrets(t *testing.T, n *tenant) []attempt {
	secret := func(change func(*corev1.Secret)) *corev1.Secret {
		object := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: n.namespace, Name: "stolen",
			Labels: map[string]string{"scim-operator.io/token": "true", v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "ScimToken", Name: "stolen", UID: "00000000-0000-0000-0000-000000000000",
			}},
		}, Data: map[string][]byte{"token": []byte("stolen")}}
		change(object)
		return object
	}
	brought, plain := secret(func(s *corev1.Secret) { s.Name, s.OwnerReferences = "brought", nil }), configSecret(n.namespace, "plain")
	forged := secret(func(s *corev1.Secret) {
		s.Name, s.OwnerReferences, s.Type = "forged", nil, "example.com/other"
		s.Annotations = map[string]string{v1alpha1.AnnotationGeneratedFor: "stolen"}
	})
	for _, object := range []*corev1.Secret{brought, plain, forged} {
		must(t, n.admin.Create(t.Context(), object))
	}
	return []attempt{
		deleting("a Secret of another", plain), deleting("a Secret that a ScimToken refers to", brought),
		deleting("a Secret of another type", forged),
		creating("a ServiceAccount's token", secret(func(s *corev1.Secret) {
			s.Type, s.Data = corev1.SecretTypeServiceAccountToken, nil
			s.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
		})),
		creating("a ServiceAccount's token in kube-system", secret(func(s *corev1.Secret) {
			s.Namespace, s.Type, s.Data = "kube-system", corev1.SecretTypeServiceAccountToken, nil
			s.Annotations = map[string]string{corev1.ServiceAccountNameKey: "clusterrole-aggregation-controller"}
		})),
		creating("a bootstrap token", secret(func(s *corev1.Secret) { s.Namespace, s.Type = "kube-system", "bootstrap.kubernetes.io/token" })),
		creating("a Secret in kube-system", secret(func(s *corev1.Secret) { s.Namespace = "kube-system" })),
		creating("a Secret beside its own", secret(func(s *corev1.Secret) { s.Namespace = localoperator.Namespace })),
		creating("a Secret without the label", secret(func(s *corev1.Secret) { s.Labels = nil })),
		creating("a Secret without a ScimToken", secret(func(s *corev1.Secret) { s.OwnerReferences = nil })),
		creating("a Secret with other keys", secret(func(s *corev1.Secret) { s.Data["tls.key"] = []byte("x") })),
	}
}

// With the server's own credential: the directory can be written, and nothing that decides what a role is, which tokens are
// accepted, or what the controller has said.
func TestStolenServer(t *testing.T) {
	n := newTenant(t)
	must(t, n.admin.Create(t.Context(), n.newApp("own")))
	scimToken, _ := n.newToken(t, "own", "waiting")
	must(t, n.admin.Create(t.Context(), scimToken))
	secret := configSecret(n.namespace, "secret")
	must(t, n.admin.Create(t.Context(), secret))
	c := stolen(t, operator.ServerKubeconfig)
	objects := n.directory("own", "viewer")
	here, everywhere := ownBinding(n.namespace, "view", rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "mallory"})
	list := listOf(n.namespace, "own")
	refuseAll(t, c, []attempt{
		creating("an AppRoleBinding", objects[4]), creating("a RoleBinding", here), creating("a ClusterRoleBinding", everywhere),
		creating("a RevocationList", list), deleting("the RevocationList", list),
		creating("an App", n.newApp("another")), creating("a ScimToken", scimToken), creating("a Secret", secret),
		creating("a Pod", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "p"}}),
		creating("the controller's Lease", &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: localoperator.Namespace, Name: "scim-operator-controller"}}),
		{"read a Secret", func(ctx context.Context, c client.Client) error {
			return c.Get(ctx, keyOf(n.namespace, "secret"), &corev1.Secret{})
		}},
		{"list Secrets", func(ctx context.Context, c client.Client) error { return c.List(ctx, &corev1.SecretList{}) }},
		{"have a token accepted", func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, n.newApp("own"), mergePatch(`{"spec":{"tokens":[{"name":"waiting"}]}}`))
		}},
		{"change a token", func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, copyOf(scimToken), mergePatch(`{"spec":{"suspended":true}}`))
		}},
		{"publish a token", func(ctx context.Context, c client.Client) error {
			return c.Status().Patch(ctx, copyOf(scimToken), mergePatch(`{"status":{"digest":"`+scimToken.Spec.Digest+`"}}`))
		}},
		{"write an App's status", func(ctx context.Context, c client.Client) error {
			return c.Status().Patch(ctx, n.newApp("own"), mergePatch(`{"status":{"users":1}}`))
		}},
	})
}
