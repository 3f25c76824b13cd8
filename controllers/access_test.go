package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func TestRolesAreGranted(t *testing.T) {
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.Roles = append(spec.Roles, v1alpha1.Role{
			Name: "editor", When: `user.department == "Platform"`, Grants: []v1alpha1.Grant{{ClusterRole: bindable("patch")}},
		})
	})
	for name, test := range map[string]struct {
		change func(*v1alpha1.User)
		verbs  []string
		roles  string
		reason string
	}{
		"default":    {verbs: []string{"get"}, roles: "viewer", reason: "default role of the App"},
		"attribute":  {change: func(u *v1alpha1.User) { u.Spec.Attributes = w.newUser("x", `{"role":"admin"}`).Spec.Attributes }, verbs: []string{"get", "delete"}, roles: "admin", reason: `attribute role is "admin"`},
		"array":      {change: func(u *v1alpha1.User) { u.Spec.Roles = []v1alpha1.MultiValue{{Value: "viewer"}, {Value: "admin"}} }, verbs: []string{"get", "delete"}, roles: "admin,viewer", reason: `attribute roles has "admin"`},
		"expression": {change: func(u *v1alpha1.User) { u.Spec.Enterprise = &v1alpha1.EnterpriseUser{Department: "Platform"} }, verbs: []string{"patch"}, roles: "editor", reason: "expression of role editor"},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.with(t)
			user := w.newUser(name+"@Example.com", "")
			if test.change != nil {
				test.change(user)
			}
			w.provision(user)
			subject := "okta:" + name + "@Example.com"
			for _, verb := range test.verbs {
				w.eventuallyCan(subject, verb, w.namespace, true)
			}
			w.eventuallyGranted(user)
			for _, verb := range []string{"get", "delete", "patch"} {
				if want := slices.Contains(test.verbs, verb); w.can(subject, verb, w.namespace) != want {
					t.Errorf("%s: want %v", verb, want)
				}
			}
			if w.can(strings.ToLower(subject), "get", w.namespace) {
				t.Error("the subject is granted in another case, too")
			}
			status := user.Status
			if status.RoleNames != test.roles || status.KubernetesUsername != subject || status.ReservedKey != user.Spec.UserNameKey ||
				status.ObservedGeneration != user.Generation || status.Roles[0].Reasons[0] != test.reason {
				t.Errorf("status = %+v", status)
			}
			w.eventuallyReserved(user)
			w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			if len(user.Status.Conditions) != 2 {
				t.Errorf("conditions say nothing new: %+v", user.Status.Conditions)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	region := fmt.Sprintf("r-%d", userCount.Add(1))
	emea := env.Namespace(t, map[string]string{"region": region})
	us := env.Namespace(t, nil)
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.Attributes = []v1alpha1.CustomAttribute{{Name: "regions"}}
		spec.Scopes = v1alpha1.Scopes{FromAttribute: "regions", List: []v1alpha1.Scope{
			{Name: "us1", Namespaces: []string{us, "not-yet-" + us}},
			{Name: "emea2", NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"region": region}}},
			{Name: "all", ClusterWide: true},
		}}
	})
	both := w.provision(w.newUser("both", `{"role":"viewer","regions":"us1, emea2"}`))
	one := w.provision(w.newUser("one", `{"role":"viewer","regions":["us1"]}`))
	every := w.provision(w.newUser("every", `{"role":"viewer"}`))
	lost := w.provision(w.newUser("lost", `{"role":"viewer","regions":"mars"}`))
	for _, user := range []*v1alpha1.User{both, one, every} {
		w.eventuallyGranted(user)
	}
	c := w.eventuallyCondition(lost, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonMissingScope)
	if !strings.Contains(c.Message, `"mars"`) || len(lost.Status.Roles) > 0 {
		t.Errorf("message = %q, roles %v", c.Message, lost.Status.Roles)
	}
	for _, test := range []struct {
		user, namespace string
		want            bool
	}{
		{"both", us, true}, {"both", emea, true}, {"both", w.namespace, false},
		{"one", us, true}, {"one", emea, false}, {"every", w.namespace, true}, {"lost", us, false},
	} {
		if got := w.can("okta:"+test.user, "get", test.namespace); got != test.want {
			t.Errorf("%s in %s = %v", test.user, test.namespace, got)
		}
	}
	w.Run("a namespace that appears", func(t *testing.T) {
		namespace := env.Namespace(t, map[string]string{"region": region})
		w.eventuallyCan("okta:both", "get", namespace, true)
	})
	w.Run("a namespace that is relabelled", func(*testing.T) {
		object := w.namespaceObject(emea)
		update(w, object, func(o *corev1.Namespace) { o.Labels["region"] = "elsewhere" })
		w.eventuallyCan("okta:both", "get", emea, false)
		update(w, object, func(o *corev1.Namespace) { o.Labels["region"] = region })
		w.eventuallyCan("okta:both", "get", emea, true)
	})
	w.Run("a missing namespace heals", func(t *testing.T) {
		i := slices.IndexFunc(w.bindings(), func(b v1alpha1.AppRoleBinding) bool { return b.Spec.Scope == "us1" })
		binding := &w.bindings()[i]
		c := w.eventuallyCondition(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonMissingScope)
		if !strings.Contains(c.Message, "not-yet-"+us) {
			t.Errorf("message = %q", c.Message)
		}
		w.createNamespace("not-yet-" + us)
		w.eventuallyCan("okta:one", "get", "not-yet-"+us, true)
		w.eventuallyCondition(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	})
	w.Run("the whole cluster is let go", func(t *testing.T) {
		update(w, every, func(u *v1alpha1.User) { u.Spec.Active = false })
		w.eventuallyCondition(every, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
		if w.can("okta:every", "get", w.namespace) {
			t.Error("still allowed")
		}
		var list rbacv1.ClusterRoleBindingList
		if err := env.Client.List(w.ctx, &list, matchingApp(w)); err != nil || len(list.Items) > 0 {
			t.Errorf("cluster role bindings = %d, %v", len(list.Items), err)
		}
	})
}
