package security_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// most is how many pairs of role and namespace an App can hold if its author may not bind every role.
const most = 24

// manyRoles is an App that grants as many ClusterRoles in each of its scopes' namespaces.
func (n *tenant) manyRoles(name string, roles int, namespaces ...string) *v1alpha1.App {
	app := n.newApp(name)
	app.Spec.Roles = nil
	for i := range roles {
		app.Spec.Roles = append(app.Spec.Roles, v1alpha1.Role{
			Name: fmt.Sprintf("role-%d", i), Grants: []v1alpha1.Grant{{ClusterRole: fmt.Sprintf("security-many-%d", i)}},
		})
	}
	if len(namespaces) > 0 {
		app.Spec.Scopes.List = []v1alpha1.Scope{{Name: "all", Namespaces: namespaces}}
	}
	return app
}

// An API server bounds what one policy may ask of RBAC. Within the bound every pair is asked for; beyond it the message says
// what to do. An author with the right to bind everything has no bound.
func TestLimitOfPairs(t *testing.T) {
	n := newTenant(t)
	names := make([]string, 0, 128)
	for i := range 128 {
		names = append(names, fmt.Sprintf("security-many-%d", i))
	}
	n.allow(t, "bind-many", bindRule("clusterroles", names...))

	begun := time.Now()
	must(t, n.client.Create(t.Context(), n.manyRoles("at-the-limit", most)))
	t.Logf("%d pairs of role and namespace were asked for in %s, the write with it", most, time.Since(begun).Round(time.Millisecond))
	refusedBy(t, n.client.Create(t.Context(), n.manyRoles("one-more", most+1)), grantsPolicy, "25 grants in 1 places", "make several Apps of it")
	t.Run("the last pair is asked for", func(t *testing.T) {
		app := n.manyRoles("last", most)
		app.Spec.Roles[most-1].Grants[0].ClusterRole = "cluster-admin"
		refusedBy(t, n.client.Create(t.Context(), app), grantsPolicy, "cluster-admin")
	})
	t.Run("the same role many times is one pair", func(t *testing.T) {
		app := n.manyRoles("same", 100)
		for i := range app.Spec.Roles {
			app.Spec.Roles[i].Grants[0].ClusterRole = "view"
		}
		must(t, n.client.Create(t.Context(), app))
	})
	t.Run("a token for the limit", func(t *testing.T) {
		scimToken, _ := n.newToken(t, "at-the-limit", "limit")
		must(t, n.client.Create(t.Context(), scimToken))
	})
	namespaces := make([]string, 0, 100)
	for i := range 100 {
		namespaces = append(namespaces, fmt.Sprintf("security-%d", i))
	}
	t.Run("many namespaces ask for the whole cluster", func(t *testing.T) {
		refusedBy(t, n.client.Create(t.Context(), n.manyRoles("wide", 15, namespaces...)), grantsPolicy, "in the whole cluster")
		n.allowEverywhere(t, bindRule("clusterroles", names[:15]...))
		must(t, n.client.Create(t.Context(), n.manyRoles("wide", 15, namespaces...)))
		refusedBy(t, n.client.Create(t.Context(), n.manyRoles("wider", 16, namespaces...)), grantsPolicy, "security-many-15")
	})
	t.Run("the largest App of the cluster's administrator", func(t *testing.T) {
		app := n.manyRoles("largest", 128, namespaces...)
		for i := range app.Spec.Roles {
			for j := range 15 {
				app.Spec.Roles[i].Grants = append(app.Spec.Roles[i].Grants, v1alpha1.Grant{ClusterRole: fmt.Sprintf("security-other-%d", j)})
			}
		}
		for i := range 7 { // 1024 pairs of role and scope
			app.Spec.Scopes.List = append(app.Spec.Scopes.List, v1alpha1.Scope{Name: fmt.Sprint("scope-", i), Namespaces: namespaces[:20]})
		}
		app.Spec.Scopes.List[7] = v1alpha1.Scope{Name: "selected", NamespaceSelector: &metav1.LabelSelector{}}
		refusedBy(t, n.client.Create(t.Context(), app.DeepCopy()), grantsPolicy, "make several Apps of it")
		begun := time.Now()
		must(t, n.admin.Create(t.Context(), app))
		t.Logf("the largest App was written in %s", time.Since(begun).Round(time.Millisecond))
		// A change of its status or labels compares all of it, and passes.
		must(t, n.client.Patch(t.Context(), app, mergePatch(`{"metadata":{"labels":{"team":"a"}}}`)))
	})
}

// The policy takes lists of pairs out of each other by way of a string: a name must not be several pairs there.
func TestNamesThatAreSeveralPairs(t *testing.T) {
	n := newTenant(t)
	n.allowEverywhere(t, bindRule("clusterroles", "view"))
	for name, test := range map[string]struct {
		change func(*v1alpha1.AppSpec)
		says   string
	}{
		"a ClusterRole": {func(s *v1alpha1.AppSpec) { s.Roles[0].Grants[0].ClusterRole = "view///clusterroles//view" }, "spec.roles[].grants[]: must be names of roles"},
		"a Role":        {func(s *v1alpha1.AppSpec) { s.Roles[0].Grants[0] = v1alpha1.Grant{Role: "///"} }, "spec.roles[].grants[]: must be names of roles"},
		"a namespace": {func(s *v1alpha1.AppSpec) {
			s.Scopes.List = []v1alpha1.Scope{{Name: "here", Namespaces: []string{"x/view///clusterroles/x"}}}
		}, "spec.scopes.list[].namespaces: must be names of namespaces"},
	} {
		t.Run(name, func(t *testing.T) {
			app := n.newApp("several")
			test.change(&app.Spec)
			if err := n.client.Create(t.Context(), app); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the API server says %v, want %s", err, test.says)
			}
		})
	}
}
