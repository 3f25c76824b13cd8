// Package security_test attacks the operator from inside the cluster: a namespace's administrator, with every right on
// scim-operator.io there, tries to reach roles that they may not bind, and to lock out other tenants. Both layers are
// held against them: the admission policies, and what RBAC lets the controller bind where there are no policies.
//
// It runs the whole operator by test/okta/harness, and kube-controller-manager beside it, so that ClusterRoles aggregate,
// owners' deletions spread and namespaces end.
package security_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/hack/controlplane"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	startTimeout = 5 * time.Minute
	// patience bounds every wait for a controller, on a busy machine too.
	patience = 60 * time.Second
)

var operator *harness.Harness

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	started, err := harness.Start(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := started.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if err := runOperator(ctx, started); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	operator = started
	return m.Run()
}

func runOperator(ctx context.Context, h *harness.Harness) error {
	binary, err := controlplane.EnsureControllerManager(ctx, os.Stderr)
	if err != nil {
		return err
	}
	if err := h.Env.ControlPlane.StartControllerManager(ctx, binary); err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		admin := &rbacv1.ClusterRole{}
		err := h.Env.Client.Get(ctx, client.ObjectKey{Name: "admin"}, admin)
		return len(admin.Rules) > 0, err
	})
	if err != nil {
		return fmt.Errorf("waiting for ClusterRole admin to aggregate: %w", err)
	}
	var errs [2]error
	h.Controller, errs[0] = h.RunController(ctx)
	h.Server, errs[1] = h.RunServer(ctx, "")
	return errors.Join(errs[:]...)
}

// tenant is a namespace and the credential of its administrator.
type tenant struct {
	namespace string
	// prefix of user names that the administrator may use, and user, which is one of them: an App of the tenant can name
	// its administrator.
	prefix, user string
	// client has the administrator's rights, admin those of the cluster's.
	client, admin client.Client
}

// newTenant makes a namespace with an administrator that has ClusterRole admin there, every verb on every resource of
// scim-operator.io, the right to bind view, and a prefix. That is all that a tenant could sensibly be given, and more.
func newTenant(t testing.TB) *tenant {
	t.Helper()
	admin := operator.Env.Client
	namespace := operator.Env.Namespace(t, nil)
	n := &tenant{namespace: namespace, prefix: namespace + ":", user: namespace + ":mallory", admin: admin}
	n.client = asUser(t, n.user)
	n.bind(t, "admin", rbacv1.RoleRef{Kind: "ClusterRole", Name: "admin"})
	n.holds(t, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}}, namespace)
	n.allow(t, "everything-of-scim", rbacv1.PolicyRule{APIGroups: []string{"scim-operator.io"}, Resources: []string{"*"}, Verbs: []string{"*"}})
	n.allowBind(t, "view")
	n.allowPrefix(t, n.prefix, "use")
	return n
}

// asUser returns a client with a client certificate of the user's.
func asUser(t testing.TB, user string, groups ...string) client.Client {
	t.Helper()
	config, err := operator.Env.ControlPlane.UserConfig(user, groups...)
	must(t, err)
	c, err := client.New(config, client.Options{Scheme: operator.Env.Scheme})
	must(t, err)
	return c
}

func (n *tenant) subjects() []rbacv1.Subject {
	return []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: n.user}}
}

// bind binds a role to the administrator in the tenant's namespace.
func (n *tenant) bind(t testing.TB, name string, role rbacv1.RoleRef) {
	t.Helper()
	role.APIGroup = rbacv1.GroupName
	must(t, n.admin.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name}, RoleRef: role, Subjects: n.subjects(),
	}))
}

// allow gives the administrator a rule in the tenant's namespace.
func (n *tenant) allow(t testing.TB, name string, rule rbacv1.PolicyRule) {
	t.Helper()
	must(t, n.admin.Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name}, Rules: []rbacv1.PolicyRule{rule}}))
	n.bind(t, name, rbacv1.RoleRef{Kind: "Role", Name: name})
	n.holds(t, rule, n.namespace)
}

// holds waits until the administrator has a rule's right, which follows its binding by milliseconds.
func (n *tenant) holds(t testing.TB, rule rbacv1.PolicyRule, namespace string) {
	t.Helper()
	attributes := &authorizationv1.ResourceAttributes{
		Namespace: namespace, Group: rule.APIGroups[0], Resource: rule.Resources[0], Verb: rule.Verbs[len(rule.Verbs)-1],
	}
	if len(rule.ResourceNames) > 0 {
		attributes.Name = rule.ResourceNames[0]
	}
	harness.Eventually(t, patience, "a right of "+n.user, func(ctx context.Context) error {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: n.user, ResourceAttributes: attributes}}
		if err := n.admin.Create(ctx, review); err != nil {
			return err
		}
		if !review.Status.Allowed {
			return fmt.Errorf("not allowed: %+v", attributes)
		}
		return nil
	})
}

// allowBind lets the administrator bind a ClusterRole in the tenant's namespace.
func (n *tenant) allowBind(t testing.TB, clusterRole string) {
	t.Helper()
	n.allow(t, "bind-"+clusterRole, bindRule("clusterroles", clusterRole))
}

func bindRule(resource string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{rbacv1.GroupName}, Resources: []string{resource}, ResourceNames: names, Verbs: []string{"bind"}}
}

// allowEverywhere gives the administrator a rule in the whole cluster.
func (n *tenant) allowEverywhere(t testing.TB, rule rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: "security-"}, Rules: []rbacv1.PolicyRule{rule}}
	must(t, n.admin.Create(t.Context(), role))
	must(t, n.admin.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   n.subjects(),
	}))
	n.holds(t, rule, "")
}

// allowPrefix lets the administrator use a prefix of user names, or revoke its people.
func (n *tenant) allowPrefix(t testing.TB, prefix string, verbs ...string) {
	t.Helper()
	n.allowEverywhere(t, rbacv1.PolicyRule{
		APIGroups: []string{"scim-operator.io"}, Resources: []string{"usernameprefixes"}, ResourceNames: []string{prefix}, Verbs: verbs,
	})
}

// reachesNothing fails the test where the administrator has what no tenant was given.
func (n *tenant) reachesNothing(t *testing.T) {
	t.Helper()
	for _, question := range []struct{ verb, resource, namespace string }{
		{"get", "secrets", "kube-system"}, {"list", "pods", "kube-system"}, {"create", "namespaces", ""}, {"delete", "nodes", ""},
	} {
		allowed, err := operator.CanI(t.Context(), n.user, question.verb, question.resource, question.namespace)
		must(t, err)
		if allowed {
			t.Errorf("%s can %s %s in %q", n.user, question.verb, question.resource, question.namespace)
		}
	}
}

// refusedBy fails the test unless a policy refused a request, with all the words in its message. What an update of an App takes to
// grant is asked by keptPolicy too, of the App as it was, and the API server names one policy of those that refuse: either is fine
// where grantsPolicy is wanted.
func refusedBy(t *testing.T, err error, policy string, words ...string) {
	t.Helper()
	if policy == grantsPolicy && err != nil && strings.Contains(err.Error(), "'"+keptPolicy+"'") {
		policy = keptPolicy
	}
	if err == nil {
		t.Errorf("the request was let through, want it refused by policy %s", policy)
		return
	}
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "'"+policy+"'") {
		t.Errorf("the API server says %v, want Forbidden by policy %s", err, policy)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the message lacks %q: %v", word, err)
		}
	}
}

// refusedSoon waits until a policy refuses a dry run: admission knows of an object that is a policy's parameter some
// milliseconds after it was created.
func (n *tenant) refusedSoon(t *testing.T, policy string, try func(context.Context) error) {
	t.Helper()
	harness.Eventually(t, patience, "a refusal by "+policy, func(ctx context.Context) error {
		err := try(ctx)
		if apierrors.IsForbidden(err) {
			return nil
		}
		return fmt.Errorf("not forbidden: %w", errors.Join(errors.New("the request went through or failed otherwise"), err))
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mergePatch is JSON merge patch (RFC 7386).
func mergePatch(text string) client.Patch {
	return client.RawPatch("application/merge-patch+json", []byte(text))
}

func configMap(namespace, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}
