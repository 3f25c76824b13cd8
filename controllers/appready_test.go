package controllers_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// eventuallyNotReady waits for an App that is not Ready, for this reason and with these words in its one line of a message.
func (d *directory) eventuallyNotReady(reason string, words ...string) {
	d.Helper()
	d.eventually(func() string {
		c := d.eventuallyCondition(d.app, v1alpha1.ConditionReady, metav1.ConditionFalse, reason)
		for _, word := range words {
			if !strings.Contains(c.Message, word) || strings.Contains(c.Message, "\n") {
				return fmt.Sprintf("message %q lacks %q", c.Message, word)
			}
		}
		return ""
	})
}

func (d *directory) eventuallyReady() {
	d.Helper()
	d.eventuallyCondition(d.app, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// appMetric returns the value of a metric about the world's App.
func (d *directory) appMetric(name string) float64 {
	d.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		d.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if family.GetName() == name && label.GetName() == "namespace" && label.GetValue() == d.namespace {
					return metric.GetGauge().GetValue()
				}
			}
		}
	}
	d.Fatalf("no metric %s of this App", name)
	return 0
}

func newClusterRole(name string) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}},
	}}
}

// mayBind gives the controller the right to bind a role, in one namespace or, where that is "", everywhere.
func (k *cluster) mayBind(resource, name, namespace string) {
	k.Helper()
	rules := []rbacv1.PolicyRule{{APIGroups: []string{rbacv1.GroupName}, Resources: []string{resource}, ResourceNames: []string{name}, Verbs: []string{"bind"}}}
	meta := metav1.ObjectMeta{Name: "bind-" + name, Namespace: namespace}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "scim-operator-system", Name: "scim-operator-controller"}}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}
	if namespace == "" {
		ref.Kind = "ClusterRole"
		k.create(&rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules})
		k.create(&rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects})
		return
	}
	k.create(&rbacv1.Role{ObjectMeta: meta, Rules: rules})
	k.create(&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects})
}

// An App with a ClusterRole that does not exist, or not any more, says so, and is well again as soon as it does.
func TestAppWithoutItsClusterRole(t *testing.T) {
	role := fmt.Sprintf("test-absent-%d", userCount.Add(1))
	w := newWorld(t, func(spec *v1alpha1.AppSpec) { spec.Roles[0].Grants = []v1alpha1.Grant{{ClusterRole: role}} })
	w.mayBind("clusterroles", role, "")
	user := w.provision(w.newUser("jane", ""))

	w.eventuallyNotReady(v1alpha1.ReasonRoleNotFound, fmt.Sprintf("ClusterRole %q", role), `role "viewer"`, "does not exist")
	w.eventuallyEvent(w.app, v1alpha1.ReasonRoleNotFound, role)
	w.eventually(func() string { return unless(w.appMetric("scim_operator_app_ready") == 0, "the metric says ready") })

	w.create(newClusterRole(role))
	w.eventuallyReady()
	w.eventuallyEvent(w.app, v1alpha1.ReasonReady, "")
	w.eventuallyGranted(user)
	w.eventuallyCan("okta:jane", "get", w.namespace, true)
	w.eventually(func() string { return unless(w.appMetric("scim_operator_app_ready") == 1, "the metric says not ready") })

	w.delete(newClusterRole(role))
	w.eventuallyNotReady(v1alpha1.ReasonRoleNotFound, role)
	w.create(newClusterRole(role))
	w.eventuallyReady()
	w.eventuallyCan("okta:jane", "get", w.namespace, true)
	w.delete(newClusterRole(role))
}

// The users that hold a ClusterRole which vanished are told, and no others; they are well again as soon as it is back.
func TestUsersOfAClusterRoleThatVanished(t *testing.T) {
	gone, other := fmt.Sprintf("test-gone-%d", userCount.Add(1)), fmt.Sprintf("test-stays-%d", userCount.Add(1))
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.Roles = []v1alpha1.Role{
			{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: gone}}},
			{Name: "editor", Grants: []v1alpha1.Grant{{ClusterRole: other}}},
		}
		spec.RoleAssignment = v1alpha1.RoleAssignment{FromAttributes: []string{"roles"}}
	})
	for _, role := range []string{gone, other} {
		w.mayBind("clusterroles", role, "")
		w.create(newClusterRole(role))
	}
	holds := func(name, role string) *v1alpha1.User {
		user := w.newUser(name, "")
		user.Spec.Roles = []v1alpha1.MultiValue{{Value: role}}
		return w.provision(user)
	}
	jane, john := holds("jane", "viewer"), holds("john", "editor")
	w.eventuallyGranted(jane)
	w.eventuallyGranted(john)

	w.delete(newClusterRole(gone))
	for _, kind := range []string{v1alpha1.ConditionAccessGranted, v1alpha1.ConditionReady} {
		c := w.eventuallyCondition(jane, kind, metav1.ConditionFalse, v1alpha1.ReasonRoleNotFound)
		if !strings.Contains(c.Message, gone) || !strings.Contains(c.Message, `role "viewer"`) {
			t.Errorf("%s says %q", kind, c.Message)
		}
	}
	w.eventuallyCondition(john, v1alpha1.ConditionAccessGranted, metav1.ConditionTrue, v1alpha1.ReasonGranted)
	late := holds("late", "viewer")
	w.eventuallyCondition(late, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonRoleNotFound)

	w.create(newClusterRole(gone))
	w.eventuallyGranted(jane)
	w.eventuallyGranted(late)
	w.eventuallyCan("okta:jane", "get", w.namespace, true)
	w.delete(newClusterRole(gone))
	w.delete(newClusterRole(other))
}

// A Role has to exist in each namespace of the scope. The others are bound meanwhile.
func TestAppWithoutItsRoleInANamespace(t *testing.T) {
	other := env.Namespace(t, nil)
	w := newStoppedWorld(t, func(spec *v1alpha1.AppSpec) { spec.Roles[0].Grants = []v1alpha1.Grant{{Role: "local"}} })
	update(w, w.app, func(app *v1alpha1.App) {
		app.Spec.Scopes.List = []v1alpha1.Scope{{Name: "both", Namespaces: []string{w.namespace, other}}}
	})
	rules := newClusterRole("").Rules
	w.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "local"}, Rules: rules})
	w.mayBind("roles", "local", w.namespace)
	w.mayBind("roles", "local", other)
	w.start()
	w.provision(w.newUser("jane", ""))
	w.eventuallyNotReady(v1alpha1.ReasonRoleNotFound, `Role "local"`, "in namespace "+other)
	w.eventuallyCan("okta:jane", "get", w.namespace, true)
	w.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: other, Name: "local"}, Rules: rules})
	w.eventuallyReady()
	w.eventuallyCan("okta:jane", "get", other, true)
}

// An App that grants what the controller was not given to bind is not Ready until it is.
func TestAppWithoutTheRightToBind(t *testing.T) {
	role := fmt.Sprintf("test-unbindable-%d", userCount.Add(1))
	w := newStoppedWorld(t, func(spec *v1alpha1.AppSpec) { spec.Roles[0].Grants = []v1alpha1.Grant{{ClusterRole: role}} })
	w.create(newClusterRole(role))
	w.start()
	w.eventuallyNotReady(v1alpha1.ReasonForbidden, "not given the verb bind", role, "in namespace "+w.namespace)
	w.eventuallyEvent(w.app, v1alpha1.ReasonForbidden, role)
	w.mayBind("clusterroles", role, w.namespace)
	w.eventuallyReady()
}

// A selector binds nothing in kube-system unless it names it: an account that writes into that namespace has the cluster.
func TestProtectedNamespace(t *testing.T) {
	key := fmt.Sprintf("test-team-%d", userCount.Add(1))
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem}}
	w := newStoppedWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.Scopes.List = []v1alpha1.Scope{{Name: "team", NamespaceSelector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: metav1.LabelSelectorOpExists}},
		}}}
	})
	label := func(namespace string) {
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"labels":{%q:"a"}}}`, key))
		if err := env.Client.Patch(w.ctx, w.namespaceObject(namespace), patch); err != nil {
			t.Fatal(err)
		}
	}
	label(w.namespace)
	w.start()
	w.provision(w.newUser("jane", ""))
	w.eventuallyReady()
	w.eventuallyCan("okta:jane", "get", w.namespace, true)

	label(system.Name)
	t.Cleanup(func() {
		_ = env.Client.Patch(t.Context(), w.namespaceObject(system.Name), client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"labels":{%q:null}}}`, key)))
	})
	w.eventuallyNotReady(v1alpha1.ReasonProtectedNamespace, `scope "team"`, "kube-system", "kubernetes.io/metadata.name")
	late := w.provision(w.newUser("late", ""))
	w.eventuallyGranted(late)
	w.eventuallyCan("okta:late", "get", w.namespace, true)
	for _, user := range []string{"okta:jane", "okta:late"} {
		if w.can(user, "get", system.Name) {
			t.Errorf("%s has access in kube-system", user)
		}
	}

	update(w, w.app, func(app *v1alpha1.App) {
		selector := app.Spec.Scopes.List[0].NamespaceSelector
		selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: []string{w.namespace, system.Name},
		})
	})
	w.eventuallyReady()
	w.eventuallyCan("okta:late", "get", system.Name, true)
	update(w, w.app, func(app *v1alpha1.App) {
		app.Spec.Scopes.List[0].NamespaceSelector.MatchExpressions[1].Values = []string{w.namespace}
	})
	w.eventuallyReady()
	w.eventuallyCan("okta:late", "get", system.Name, false)
}

// ScopesFound tells of one scope of several without a namespace; an App can grant nothing if none of its scopes has one.
func TestAppWithoutAnyNamespace(t *testing.T) {
	later := fmt.Sprintf("later-%d", userCount.Add(1))
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.Scopes.List = []v1alpha1.Scope{{Name: "later", Namespaces: []string{later}}, {Name: "never", Namespaces: []string{"never-" + later}}}
	})
	w.eventuallyNotReady(v1alpha1.ReasonMissingScope, "No namespace is in any scope")
	w.eventuallyEvent(w.app, v1alpha1.ReasonMissingScope, `"never"`)
	w.createNamespace(later)
	w.eventuallyReady()
	w.eventuallyCondition(w.app, v1alpha1.ConditionScopesFound, metav1.ConditionFalse, v1alpha1.ReasonMissingScope)
	w.eventually(func() string {
		return unless(w.appMetric("scim_operator_app_missing_scopes") == 1, "the metric counts one missing scope")
	})
}

// What status.evaluation counts is no other number than that of the users beside it.
func TestEvaluationCountsTheUsers(t *testing.T) {
	w := newWorld(t, nil)
	w.eventuallyCondition(w.app, v1alpha1.ConditionReconciling, metav1.ConditionFalse, v1alpha1.ReasonReady)
	for i := range 4 {
		w.provision(w.newUser(fmt.Sprint("user-", i), ""))
	}
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
			return err.Error()
		}
		s := w.app.Status
		return unless(s.Users == 4 && s.Evaluation != nil && s.Evaluation.Users == 4 && s.Evaluation.Done == 4, fmt.Sprintf("users %d, evaluation %+v", s.Users, s.Evaluation))
	})
}

// A declared attribute that RFC 7643 defines otherwise is refused: by the API server where a rule can tell, else by the status.
func TestRedefinedAttribute(t *testing.T) {
	w := newWorld(t, nil)
	w.eventuallyReady()
	const enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	for _, test := range []struct {
		attribute v1alpha1.CustomAttribute
		refused   bool
	}{
		{v1alpha1.CustomAttribute{Name: "userName", Type: "boolean"}, true},
		{v1alpha1.CustomAttribute{Name: "USERNAME", Type: "integer"}, true},
		{v1alpha1.CustomAttribute{Name: "title", MultiValued: true}, true},
		{v1alpha1.CustomAttribute{Name: "active", Type: "string"}, true},
		{v1alpha1.CustomAttribute{Name: "roles", MultiValued: true}, true},
		{v1alpha1.CustomAttribute{Name: "emails", Schema: "urn:ietf:params:scim:schemas:core:2.0"}, true},
		{v1alpha1.CustomAttribute{Name: "department", Type: "integer", Schema: enterprise}, true},
		{v1alpha1.CustomAttribute{Name: "manager", Schema: enterprise}, true},
		{v1alpha1.CustomAttribute{Name: "Password"}, true},
		{v1alpha1.CustomAttribute{Name: "id", Schema: "urn:example:own"}, true},
		{v1alpha1.CustomAttribute{Name: "title", Required: true}, false},
		{v1alpha1.CustomAttribute{Name: "active", Type: "boolean"}, false},
		{v1alpha1.CustomAttribute{Name: "department", Schema: enterprise, CanonicalValues: []string{"Sales"}}, false},
		{v1alpha1.CustomAttribute{Name: "department", Type: "integer"}, false},
		{v1alpha1.CustomAttribute{Name: "userName", Type: "boolean", Schema: "urn:example:own"}, false},
	} {
		app := &v1alpha1.App{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "other"},
			Spec:       v1alpha1.AppSpec{Attributes: []v1alpha1.CustomAttribute{test.attribute}},
		}
		err := env.Client.Create(w.ctx, app, client.DryRunAll)
		if refused := apierrors.IsInvalid(err); refused != test.refused || err != nil && !strings.Contains(err.Error(), "spec.attributes[0]") {
			t.Errorf("%+v: %v", test.attribute, err)
		}
	}
	update(w, w.app, func(app *v1alpha1.App) {
		app.Spec.Attributes = []v1alpha1.CustomAttribute{{Name: "level"}, {Name: "Level"}}
	})
	w.eventuallyNotReady(v1alpha1.ReasonInvalidSpec, `spec.attributes[1]: "Level"`, "declared twice")
}
