package controllers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// An App that is wrong grants nothing new; people keep what they hold, and can leave.
func TestInvalidApp(t *testing.T) {
	w := newWorld(t, nil)
	stays, leaves := w.provision(w.newUser("stays", "")), w.provision(w.newUser("leaves", `{"role":"admin"}`))
	w.eventuallyGranted(stays)
	w.eventuallyGranted(leaves)
	w.eventuallyCondition(w.app, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	update(w, w.app, func(a *v1alpha1.App) { a.Spec.Roles[1].When = "user.nonsense(" })
	c := w.eventuallyCondition(w.app, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec)
	if !strings.HasPrefix(c.Message, "spec.roles[1].when: 1:15: ") {
		t.Errorf("message = %q", c.Message)
	}
	newcomer := w.provision(w.newUser("newcomer", ""))
	for _, user := range []*v1alpha1.User{stays, newcomer} {
		c := w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotReady)
		if !strings.Contains(c.Message, "spec.roles[1].when") {
			t.Errorf("message = %q", c.Message)
		}
	}
	update(w, leaves, func(u *v1alpha1.User) { u.Spec.Active = false })
	w.eventuallyCondition(leaves, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	if !w.can("okta:stays", "get", w.namespace) || w.can("okta:newcomer", "get", w.namespace) || w.can("okta:leaves", "delete", w.namespace) {
		t.Error("stays lost, newcomer gained or leaves kept access")
	}
	if len(stays.Status.Roles) != 1 || len(newcomer.Status.Roles) != 0 {
		t.Errorf("roles: %v and %v", stays.Status.Roles, newcomer.Status.Roles)
	}

	update(w, w.app, func(a *v1alpha1.App) { a.Spec.Roles[1].When = "" })
	w.eventuallyGranted(newcomer)
	w.eventuallyGranted(stays)
	w.eventuallyCan("okta:newcomer", "get", w.namespace, true)
}

func TestAppChanges(t *testing.T) {
	w := newWorld(t, nil)
	user := w.provision(w.newUser("jane", `{"role":"admin"}`))
	w.eventuallyGranted(user)
	w.eventuallyCan("okta:jane", "delete", w.namespace, true)

	w.Run("a grant leaves the role", func(t *testing.T) {
		update(w, w.app, func(a *v1alpha1.App) { a.Spec.Roles[1].Grants = a.Spec.Roles[1].Grants[:1] })
		w.eventuallyCan("okta:jane", "delete", w.namespace, false)
		if !w.can("okta:jane", "get", w.namespace) {
			t.Error("the other grant is gone, too")
		}
	})
	w.Run("Observe binds nothing", func(t *testing.T) {
		update(w, w.app, func(a *v1alpha1.App) { a.Spec.Mode = v1alpha1.ModeObserve })
		w.eventuallyCan("okta:jane", "get", w.namespace, false)
		w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonObserved)
		w.eventuallyCondition(user, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonObserved)
		w.eventually(func() string {
			if n := len(w.natives()); n > 0 {
				return fmt.Sprintf("%d role bindings are left", n)
			}
			return ""
		})
		bindings := w.bindings()
		if len(bindings) != 1 || bindings[0].Spec.Mode != v1alpha1.ModeObserve || len(bindings[0].Spec.Subjects) != 1 {
			t.Errorf("bindings = %+v", bindings)
		}
		update(w, w.app, func(a *v1alpha1.App) { a.Spec.Mode = v1alpha1.ModeEnforce })
		w.eventuallyGranted(user)
		w.eventuallyCan("okta:jane", "get", w.namespace, true)
	})
	w.Run("the role goes", func(t *testing.T) {
		update(w, w.app, func(a *v1alpha1.App) { a.Spec.Roles = a.Spec.Roles[:1] })
		c := w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonUnknownRole)
		if !strings.Contains(c.Message, `"admin"`) || user.Status.RoleNames != "viewer" {
			t.Errorf("message = %q, roles %q", c.Message, user.Status.RoleNames)
		}
		w.eventually(func() string {
			if b := w.bindings(); len(b) != 1 || b[0].Spec.RoleRef.Name != "viewer" {
				return fmt.Sprintf("bindings = %+v", b)
			}
			return ""
		})
	})
	w.Run("the App goes and users stay", func(*testing.T) {
		w.delete(w.app)
		w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotFound)
		w.eventuallyCan("okta:jane", "get", w.namespace, false)
		w.eventually(func() string {
			if b, n := len(w.bindings()), len(w.natives()); b > 0 || n > 0 {
				return fmt.Sprintf("%d AppRoleBindings and %d RoleBindings are left", b, n)
			}
			return ""
		})
		w.app.ResourceVersion, w.app.UID = "", ""
		w.create(w.app)
		w.eventuallyGranted(user)
		w.eventuallyCan("okta:jane", "get", w.namespace, true)
	})
}

func TestAppCounts(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 3 {
		user := w.newUser(fmt.Sprint("user-", i), "")
		user.Spec.Active = i > 0
		w.provision(user)
	}
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
			return err.Error()
		}
		if s := w.app.Status; s.Users != 3 || s.ActiveUsers != 2 {
			return fmt.Sprintf("users %d, active %d", s.Users, s.ActiveUsers)
		}
		return ""
	})
}

// The controller binds what its manifests list. The App, the binding and the user tell what it may not bind. That is granted
// as soon as it may.
func TestForbiddenRole(t *testing.T) {
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.Roles = append(spec.Roles, v1alpha1.Role{Name: "root", Grants: []v1alpha1.Grant{{ClusterRole: "cluster-admin"}}})
	})
	user := w.provision(w.newUser("jane", `{"role":"root"}`))
	c := w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonForbidden)
	if !strings.Contains(c.Message, `not given the verb bind on ClusterRole "cluster-admin"`) {
		t.Errorf("message = %q", c.Message)
	}
	binding := &w.bindings()[0]
	w.eventuallyCondition(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonForbidden)
	if w.can("okta:jane", "create", w.namespace) {
		t.Error("granted")
	}
	before, begun := failedRuns(t), time.Now()
	time.Sleep(2 * time.Second) // not a wait for anything: the time that is counted over
	runs := failedRuns(t) - before
	if took := time.Since(begun); runs > 5*took.Seconds() {
		t.Errorf("a refused binding was tried %v times in %s", runs, took)
	}
	update(w, user, func(u *v1alpha1.User) { u.Spec.Active = false })
	w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
}

// failedRuns counts the failed reconciles of the rolebinding controller.
func failedRuns(t *testing.T) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_errors_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetValue() == "rolebinding" {
					return metric.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}

// Rights that the controller holds itself are not rights that it may hand on.
func TestOwnRightsAreNotHandedOn(t *testing.T) {
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.Roles = append(spec.Roles, v1alpha1.Role{Name: "root", Grants: []v1alpha1.Grant{{ClusterRole: "scim-operator-controller"}}})
	})
	user := w.provision(w.newUser("jane", `{"role":"root"}`))
	w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonForbidden)
	if natives := w.natives(); len(natives) > 0 {
		t.Errorf("%d native bindings of a role that is on no list", len(natives))
	}
}

// Where the right to bind a role is taken away a leaver must still leave: RBAC asks for it to change a binding.
func TestLeaverLeavesWhereBindingBecameForbidden(t *testing.T) {
	verb := "update"
	role := bindable(verb)
	w := newWorld(t, func(spec *v1alpha1.AppSpec) { spec.Roles[0].Grants = []v1alpha1.Grant{{ClusterRole: role}} })
	leaver, stays := w.provision(w.newUser("leaver", "")), w.provision(w.newUser("stays", ""))
	w.eventuallyGranted(leaver)
	w.eventuallyGranted(stays)
	right := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: role + "-bind"}}
	w.delete(right)
	w.eventually(func() string { // until the API server's authorizer knows
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "probe"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		}
		c, err := client.New(w.config, client.Options{Scheme: env.Scheme})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Create(w.ctx, binding, client.DryRunAll); !apierrors.IsForbidden(err) {
			return fmt.Sprintf("create: %v", err)
		}
		return ""
	})
	update(w, leaver, func(u *v1alpha1.User) { u.Spec.Active = false })
	w.eventuallyCondition(leaver, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	if w.can("okta:leaver", verb, w.namespace) {
		t.Error("the leaver is still bound")
	}
	w.eventuallyCondition(stays, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonForbidden)
	bindable(verb) // the right is given back
	w.eventuallyGranted(stays)
	w.eventuallyCan("okta:stays", verb, w.namespace, true)
}

func TestNamespacedRole(t *testing.T) {
	w := newStoppedWorld(t, func(spec *v1alpha1.AppSpec) { spec.Roles[0].Grants = []v1alpha1.Grant{{Role: "local"}} })
	w.create(&rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "local"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}}},
	})
	w.create(&rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "bind-local"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, ResourceNames: []string{"local"}, Verbs: []string{"bind"}}},
	})
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "bind-local"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "bind-local"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "scim-operator-system", Name: "scim-operator-controller"}},
	})
	w.start()
	user := w.provision(w.newUser("jane", ""))
	w.eventuallyGranted(user)
	w.eventuallyCan("okta:jane", "list", w.namespace, true)
}
