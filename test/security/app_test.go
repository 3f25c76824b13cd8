package security_test

import (
	"encoding/json"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	grantsPolicy   = "scim-operator-grants"
	appliedPolicy  = "scim-operator-applied-apps"
	keptPolicy     = "scim-operator-kept-apps"
	prefixesPolicy = "scim-operator-username-prefixes"
	secretsPolicy  = "scim-operator-token-secrets"
	writersPolicy  = "scim-operator-directory"
)

// newApp is an App that the tenant's administrator may write: it grants view in their own namespace.
func (n *tenant) newApp(name string) *v1alpha1.App {
	return &v1alpha1.App{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name},
		Spec: v1alpha1.AppSpec{
			Kubernetes:     v1alpha1.KubernetesMapping{UsernamePrefix: &n.prefix, GroupPrefix: &n.prefix},
			RoleAssignment: v1alpha1.RoleAssignment{FromAttributes: []string{"roles"}},
			Roles:          []v1alpha1.Role{{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: "view"}}}},
		},
	}
}

// rootApp is an App of the cluster's administrator in the tenant's namespace: its one role, root, is cluster-admin.
func (n *tenant) rootApp(t *testing.T, name string) *v1alpha1.App {
	t.Helper()
	app := n.newApp(name)
	app.Spec.Roles = []v1alpha1.Role{{Name: "root", Grants: []v1alpha1.Grant{{ClusterRole: "cluster-admin"}}}}
	app.Spec.Scopes.List = []v1alpha1.Scope{{Name: "cluster", ClusterWide: true}}
	must(t, n.admin.Create(t.Context(), app))
	return app
}

// Every way in which an App could give what its author may not bind, or name a user that its author may not name.
var widenings = []struct {
	name   string
	change func(*v1alpha1.AppSpec)
	policy string
	words  []string
}{
	{"a role beyond one's own", func(s *v1alpha1.AppSpec) { s.Roles[0].Grants[0].ClusterRole = "cluster-admin" },
		grantsPolicy, []string{`spec.roles: role "viewer"`, `"bind" on clusterroles.rbac.authorization.k8s.io "cluster-admin" in namespace`}},
	{"a second grant", func(s *v1alpha1.AppSpec) {
		s.Roles[0].Grants = append(s.Roles[0].Grants, v1alpha1.Grant{ClusterRole: "edit"})
	}, grantsPolicy, []string{"ClusterRole edit"}},
	{"a role after roles that grant nothing", func(s *v1alpha1.AppSpec) {
		s.Roles = append([]v1alpha1.Role{{Name: "none"}, {Name: "none-either"}}, s.Roles[0], v1alpha1.Role{Name: "nor-here"},
			v1alpha1.Role{Name: "root", Grants: []v1alpha1.Grant{{ClusterRole: "cluster-admin"}}})
	}, grantsPolicy, []string{`role "root" grants ClusterRole cluster-admin`}},
	{"a second role", func(s *v1alpha1.AppSpec) {
		s.Roles = append(s.Roles, v1alpha1.Role{Name: "root", Grants: []v1alpha1.Grant{{ClusterRole: "cluster-admin"}}})
	}, grantsPolicy, []string{`role "root" grants ClusterRole cluster-admin`}},
	{"a namespaced role", func(s *v1alpha1.AppSpec) { s.Roles[0].Grants[0] = v1alpha1.Grant{Role: "owner"} },
		grantsPolicy, []string{"Role owner", "roles.rbac.authorization.k8s.io"}},
	{"the whole cluster", func(s *v1alpha1.AppSpec) {
		s.Scopes.List = []v1alpha1.Scope{{Name: "all", ClusterWide: true}}
	}, grantsPolicy, []string{"ClusterRole view in the whole cluster"}},
	{"another namespace", func(s *v1alpha1.AppSpec) {
		s.Scopes.List = []v1alpha1.Scope{{Name: "others", Namespaces: []string{"kube-system"}}}
	}, grantsPolicy, []string{"ClusterRole view in namespace kube-system"}},
	{"whatever a selector finds", func(s *v1alpha1.AppSpec) {
		s.Scopes.List = []v1alpha1.Scope{{Name: "all", NamespaceSelector: &metav1.LabelSelector{}}}
	}, grantsPolicy, []string{"ClusterRole view in the whole cluster"}},
	{"a namespace that reads as a path", func(s *v1alpha1.AppSpec) {
		s.Scopes.List = []v1alpha1.Scope{{Name: "odd", Namespaces: []string{"a/b"}}}
	}, grantsPolicy, nil},
	{"names of others", func(s *v1alpha1.AppSpec) { s.Kubernetes.UsernamePrefix = ptr.To("okta:") },
		prefixesPolicy, []string{"spec.kubernetes.usernamePrefix", `"use" on usernameprefixes.scim-operator.io "okta:"`}},
	{"names of others, by default", func(s *v1alpha1.AppSpec) { s.Kubernetes = v1alpha1.KubernetesMapping{} },
		prefixesPolicy, []string{"spec.kubernetes.usernamePrefix", `"okta:"`}},
	{"every name", func(s *v1alpha1.AppSpec) { s.Kubernetes.UsernamePrefix = ptr.To("") },
		prefixesPolicy, []string{"spec.kubernetes.usernamePrefix", "on all usernameprefixes"}},
	{"groups of others", func(s *v1alpha1.AppSpec) {
		s.SubjectMode, s.Kubernetes.GroupPrefix = v1alpha1.SubjectModeGroup, ptr.To("okta:")
	}, prefixesPolicy, []string{"spec.kubernetes.groupPrefix", `"okta:"`}},
	{"the denial of requests", func(s *v1alpha1.AppSpec) { s.Deactivation.DenyRequests = true },
		prefixesPolicy, []string{"spec.deactivation.denyRequests", `"revoke" on usernameprefixes.scim-operator.io`}},
}

func TestNewAppGrantsNoMoreThanItsAuthorMayBind(t *testing.T) {
	n := newTenant(t)
	must(t, n.client.Create(t.Context(), n.newApp("own")))
	for _, w := range widenings {
		t.Run(w.name, func(t *testing.T) {
			app := n.newApp("wide")
			w.change(&app.Spec)
			err := n.client.Create(t.Context(), app)
			if w.name == "a namespace that reads as a path" {
				if err == nil {
					t.Error("let through")
				}
				return
			}
			refusedBy(t, err, w.policy, w.words...)
		})
	}
	n.reachesNothing(t)
}

func TestEditOfOwnAppWidensNothing(t *testing.T) {
	n := newTenant(t)
	for _, w := range widenings {
		t.Run(w.name, func(t *testing.T) {
			app := n.newApp("own")
			must(t, n.client.Create(t.Context(), app))
			defer func() { must(t, n.client.Delete(t.Context(), app)) }()
			before := app.DeepCopy()
			w.change(&app.Spec)
			err := n.client.Patch(t.Context(), app.DeepCopy(), client.MergeFrom(before))
			if len(w.words) == 0 {
				if err == nil {
					t.Error("let through")
				}
				return
			}
			refusedBy(t, err, w.policy, w.words...)
		})
	}
	n.reachesNothing(t)
}

// What an App of the cluster's administrator gives, no other author can turn to themselves.
func TestEditOfAnothersApp(t *testing.T) {
	n := newTenant(t)
	app := n.rootApp(t, "root")
	for name, patch := range map[string]string{
		"default":             `{"roleAssignment":{"default":["root"]}}`,
		"attributes of roles": `{"roleAssignment":{"fromAttributes":["title"]}}`,
		"groups":              `{"roles":[{"name":"root","grants":[{"clusterRole":"cluster-admin"}],"groups":["Everybody"]}]}`,
		"expression":          `{"roles":[{"name":"root","grants":[{"clusterRole":"cluster-admin"}],"when":"true"}]}`,
		"name of the role":    `{"roles":[{"name":"anybody","grants":[{"clusterRole":"cluster-admin"}]}]}`,
		"attribute of scopes": `{"scopes":{"fromAttribute":"region"}}`,
		"names of users":      `{"kubernetes":{"usernameFrom":"externalId"}}`,
		"identifier":          `{"identifier":"email"}`,
		"subjects":            `{"subjectMode":"Group"}`,
		"custom attributes":   `{"attributes":[{"name":"role"}]}`,
		"dropped attributes":  `{"provisioning":{"dropAttributes":["department"]}}`,
		"what holds removals": `{"safety":{"maxRemovals":1}}`,
		"a token":             `{"tokens":[{"name":"mine"}]}`,
		"a token, observing":  `{"mode":"Observe","tokens":[{"name":"mine"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			refusedBy(t, n.client.Patch(t.Context(), app.DeepCopy(), mergePatch(`{"spec":`+patch+`}`)), grantsPolicy, "cluster-admin")
		})
	}
	for name, patch := range map[string]string{
		"what it is called": `{"spec":{"displayName":"Root"}}`,
		"switches":          `{"spec":{"provisioning":{"pushGroups":false}}}`,
		"an annotation":     `{"metadata":{"annotations":{"example.com/note":"seen"}}}`,
		"a label":           `{"metadata":{"labels":{"team":"a"}}}`,
		"binding nothing":   `{"spec":{"mode":"Observe"}}`,
	} {
		t.Run(name+" may change", func(t *testing.T) {
			fresh := n.newApp("free")
			fresh.Spec = *app.Spec.DeepCopy()
			fresh.ResourceVersion = ""
			must(t, n.admin.Create(t.Context(), fresh))
			defer func() { must(t, n.admin.Delete(t.Context(), fresh)) }()
			enforced(t, fresh)
			must(t, n.client.Patch(t.Context(), fresh, mergePatch(patch)))
		})
	}
	t.Run("binding again", func(t *testing.T) {
		enforced(t, app)
		must(t, n.client.Patch(t.Context(), app.DeepCopy(), mergePatch(`{"spec":{"mode":"Observe"}}`)))
		refusedBy(t, n.client.Patch(t.Context(), app.DeepCopy(), mergePatch(`{"spec":{"mode":"Enforce"}}`)), grantsPolicy, "cluster-admin")
	})
	n.reachesNothing(t)
}

// A pipeline with few rights applies again what an author with more of them wrote.
func TestUnchangedAppIsAppliedByAnybody(t *testing.T) {
	n := newTenant(t)
	app := n.rootApp(t, "root")
	data, err := json.Marshal(map[string]any{
		"apiVersion": "scim-operator.io/v1alpha1", "kind": "App",
		"metadata": map[string]any{"namespace": app.Namespace, "name": app.Name}, "spec": app.Spec,
	})
	must(t, err)
	again := &unstructured.Unstructured{}
	must(t, json.Unmarshal(data, again))
	for range 2 {
		must(t, n.client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(again.DeepCopy()), client.FieldOwner("pipeline"), client.ForceOwnership))
	}
	must(t, unstructured.SetNestedStringSlice(again.Object, []string{"root"}, "spec", "roleAssignment", "default"))
	err = n.client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(again), client.FieldOwner("pipeline"), client.ForceOwnership)
	refusedBy(t, err, grantsPolicy, "cluster-admin")
}

// With the right, the same goes through: the right decides, not the author's name.
func TestAuthorWhoMayBindGrants(t *testing.T) {
	n := newTenant(t)
	app := n.newApp("own")
	app.Spec.Roles[0].Grants = append(app.Spec.Roles[0].Grants, v1alpha1.Grant{ClusterRole: "edit"}, v1alpha1.Grant{Role: "owner"})
	refusedBy(t, n.client.Create(t.Context(), app.DeepCopy()), grantsPolicy, "ClusterRole edit")
	n.allowBind(t, "edit")
	refusedBy(t, n.client.Create(t.Context(), app.DeepCopy()), grantsPolicy, "Role owner")
	n.allow(t, "bind-owner", bindRule("roles", "owner"))
	must(t, n.client.Create(t.Context(), app.DeepCopy()))

	other := newTenant(t)
	abroad := n.newApp("abroad")
	abroad.Spec.Scopes.List = []v1alpha1.Scope{{Name: "both", Namespaces: []string{n.namespace, other.namespace}}}
	refusedBy(t, n.client.Create(t.Context(), abroad.DeepCopy()), grantsPolicy, "in namespace "+other.namespace)
	n.allowEverywhere(t, bindRule("clusterroles", "view"))
	must(t, n.client.Create(t.Context(), abroad))
	revoking := n.newApp("revoking")
	revoking.Spec.Deactivation.DenyRequests = true
	n.allowPrefix(t, n.prefix, "revoke")
	must(t, n.client.Create(t.Context(), revoking))
}

// A role that its scopes restrict is asked for in those only.
func TestRoleIsAskedForWhereItHolds(t *testing.T) {
	n := newTenant(t)
	app := n.newApp("own")
	app.Spec.Scopes.List = []v1alpha1.Scope{{Name: "here", Namespaces: []string{n.namespace}}, {Name: "there", Namespaces: []string{"kube-system"}}}
	refusedBy(t, n.client.Create(t.Context(), app.DeepCopy()), grantsPolicy, "kube-system")
	app.Spec.Roles[0].Scopes = []string{"here"}
	must(t, n.client.Create(t.Context(), app))
}
