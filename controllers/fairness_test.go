package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
)

// withBystander returns a directory, and another one of another tenant, which the same controllers will serve.
func withBystander(t *testing.T, change func(*v1alpha1.AppSpec)) (attacker, bystander *world) {
	t.Helper()
	bystander = newStoppedWorld(t, nil)
	attacker = newStoppedWorld(t, change)
	attacker.others = []string{bystander.namespace}
	return attacker, bystander
}

// A tenant with expensive expressions keeps no person of another tenant from access, nor from losing it, nor its own people
// from leaving.
func TestExpensiveExpressionsCostOnlyTheirApp(t *testing.T) {
	w, bystander := withBystander(t, func(spec *v1alpha1.AppSpec) {
		spec.Roles = append(spec.Roles, v1alpha1.Role{Name: "own", Grants: []v1alpha1.Grant{{ClusterRole: bindable("get")}}})
		for i := range 120 {
			spec.Roles = append(spec.Roles, v1alpha1.Role{Name: fmt.Sprintf("role-%d", i), When: `user.list.all(a, user.list.all(b, a == 1 && b == 1))`})
		}
	})
	jane, joan := bystander.provision(bystander.newUser("jane", "")), bystander.provision(bystander.newUser("joan", ""))
	list := strings.Repeat("1,", 249) + "1"
	leaver := w.provision(w.newUser("leaver", `{"role":"own"}`))
	w.start()
	bystander.eventuallyGranted(jane)
	w.eventuallyGranted(leaver)

	var people []*v1alpha1.User
	for i := range 160 {
		people = append(people, w.provision(w.newUser(fmt.Sprint("person", i), `{"role":"own","list":[`+list+`]}`)))
	}
	update(bystander, jane, func(user *v1alpha1.User) { user.Spec.Active = false })
	bystander.eventuallyCondition(jane, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	bystander.eventuallyGranted(joan)
	bystander.eventuallyGranted(bystander.provision(bystander.newUser("john", "")))
	update(w, leaver, func(user *v1alpha1.User) { user.Spec.Active = false })
	w.eventuallyCondition(leaver, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)

	// What exceeds the budget earns nothing, and says so; what is earned otherwise is held.
	for _, user := range people[:3] {
		problem := w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, access.ReasonExpressionTooExpensive)
		if !strings.Contains(problem.Message, "xpression of role role-") {
			t.Errorf("the User says %q", problem.Message)
		}
		if user.Status.RoleNames != "own" && !strings.HasPrefix(user.Status.RoleNames, "own,role-") {
			t.Errorf("%s holds %s", user.Name, user.Status.RoleNames)
		}
	}
	w.eventuallyCondition(w.app, v1alpha1.ConditionExpressionsEvaluated, metav1.ConditionFalse, access.ReasonExpressionTooExpensive)
	update(w, w.app, func(app *v1alpha1.App) {
		for i := range app.Spec.Roles {
			app.Spec.Roles[i].When = ""
		}
		app.Spec.Roles[2].When = `user.list.size() == 250`
	})
	w.eventuallyCondition(w.app, v1alpha1.ConditionExpressionsEvaluated, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.eventuallyCondition(people[0], v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// An expression that could cost too much is refused with the figure and the limit, and what was held stays.
func TestAnExpressionThatCouldCostTooMuchIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.provision(w.newUser("jane", ""))
	w.eventuallyGranted(jane)
	update(w, w.app, func(app *v1alpha1.App) {
		app.Spec.Roles[1].When = `groups.all(a, groups.all(b, groups.all(c, a + b != c)))`
	})
	refused := w.eventuallyCondition(w.app, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec)
	for _, part := range []string{"spec.roles[1].when: costs up to ", " 2000000 is the limit"} {
		if !strings.Contains(refused.Message, part) {
			t.Errorf("the App says %q, without %q", refused.Message, part)
		}
	}
	w.eventuallyCondition(jane, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotReady)
	w.eventuallyCan("okta:jane", "get", w.namespace, true)
	update(w, jane, func(user *v1alpha1.User) { user.Spec.Active = false })
	w.eventuallyCondition(jane, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
}

// pairs makes an App of one role in so many scopes.
func pairs(t *testing.T, count int) func(*v1alpha1.AppSpec) {
	t.Helper()
	namespace := env.Namespace(t, nil)
	return func(spec *v1alpha1.AppSpec) {
		spec.Roles = nil
		for i := range 4 {
			spec.Roles = append(spec.Roles, v1alpha1.Role{Name: fmt.Sprint("role-", i), Grants: []v1alpha1.Grant{{ClusterRole: bindable("get")}}})
		}
		spec.RoleAssignment.Default = nil
		for i := range count / 4 {
			spec.Scopes.List = append(spec.Scopes.List, v1alpha1.Scope{Name: fmt.Sprint("scope-", i), Namespaces: []string{namespace}})
		}
	}
}

// The grants of one App do not wait behind those of another that has very many pairs of role and scope, and neither do its
// removals.
func TestManyBindingsCostOnlyTheirApp(t *testing.T) {
	const count = 1000
	w, bystander := withBystander(t, pairs(t, count))
	w.start()
	leaver := bystander.provision(bystander.newUser("leaver", ""))
	bystander.eventuallyGranted(leaver)
	for i := range 2 {
		w.provision(w.newUser(fmt.Sprint("person", i), `{"roles":["role-0","role-1","role-2","role-3"]}`))
	}
	w.eventually(func() string {
		if bound := len(w.bindings()); bound < 20 {
			return fmt.Sprintf("%d bindings of the other App", bound)
		}
		return ""
	})
	jane := bystander.newUser("jane", "")
	bystander.eventuallyGranted(bystander.provision(jane))
	if bound := len(w.bindings()); bound > count*3/4 {
		t.Errorf("the grant waited until %d of %d bindings of another App were written", bound, count)
	}
	update(bystander, leaver, func(user *v1alpha1.User) { user.Spec.Active = false })
	bystander.eventuallyCondition(leaver, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	if bound := len(w.bindings()); bound > count*9/10 {
		t.Errorf("the removal waited until %d of %d bindings of another App were written", bound, count)
	}
}

// While the users of one App lose very many pairs of role and scope by an edit of that App, a leaver of that App and one of another are out
// soon, and new users of another App are granted. Most of all this took minutes when each pair that a user lost had all bindings of that
// user looked at; the leaver of the App itself waited for all pairs of all users.
func TestManyRemovalsCostOnlyTheirApp(t *testing.T) {
	const count, people, limit = 400, 100, 40 * time.Second
	many := pairs(t, count)
	w, bystander := withBystander(t, func(spec *v1alpha1.AppSpec) {
		many(spec)
		spec.Roles = append(spec.Roles, v1alpha1.Role{Name: "own", Scopes: []string{"scope-0"}, Grants: spec.Roles[0].Grants})
	})
	for i := range people {
		w.provision(w.newUser(fmt.Sprint("person", i), `{"roles":["role-0","role-1","role-2","role-3"]}`))
	}
	own := w.provision(w.newUser("own", `{"role":"own"}`))
	leaver := bystander.provision(bystander.newUser("leaver", ""))
	w.start()
	bystander.eventuallyGranted(leaver)
	bound := func() (all int) {
		for _, binding := range w.bindings() {
			all += len(binding.Spec.Subjects)
		}
		return all
	}
	for part := 1; part <= 4; part++ { // a busy machine needs more than a minute for all
		w.eventually(func() string { return unless(bound() >= (count*people+1)*part/4, "so many pairs are bound") })
	}
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.Scopes.List = app.Spec.Scopes.List[:1] })
	w.eventually(func() string { return unless(bound() < count*people, "a user has lost a pair") })
	begun := time.Now()
	within := func(what string, event func()) {
		asked := time.Now()
		event()
		took := time.Since(asked)
		t.Logf("%s: %s after %s, %d pairs are bound", time.Since(begun).Round(time.Millisecond), what, took.Round(time.Millisecond), bound())
		if took > limit {
			t.Errorf("%s only after %s", what, took)
		}
	}
	leave := func(d *world, user *v1alpha1.User) func() {
		return func() {
			update(d, user, func(user *v1alpha1.User) { user.Spec.Active = false })
			d.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
		}
	}
	within("a leaver of another App is out", leave(bystander, leaver))
	within("a leaver of the App is out", leave(w, own))
	for i := 0; i < 3 || bound() > people*4; i++ {
		jane := bystander.provision(bystander.newUser(fmt.Sprint("jane", i), ""))
		within("a user of another App is granted", func() { bystander.eventuallyGranted(jane) })
	}
}

// A user of one App is granted, and another one leaves, while 1500 users of another App join groups that give them roles.
func TestAnImportCostsOnlyItsApp(t *testing.T) {
	const groups, members = 3, 500
	w, bystander := withBystander(t, func(spec *v1alpha1.AppSpec) { spec.Roles[1].Groups = []string{"group-0", "group-1", "group-2"} })
	leaver := bystander.provision(bystander.newUser("leaver", ""))
	names := make([][]string, groups)
	for i := range groups {
		for j := range members {
			names[i] = append(names[i], w.provision(w.newUser(fmt.Sprintf("person-%d-%d", i, j), "")).Name)
		}
	}
	w.start()
	bystander.eventuallyGranted(leaver)
	w.eventually(func() string {
		if done := w.countRoles("viewer"); done != groups*members {
			return fmt.Sprintf("%d hold the default role", done)
		}
		return ""
	})
	for i := range groups {
		w.push(fmt.Sprint("group-", i), members, names[i]...)
	}
	w.eventually(func() string {
		if w.countRoles("admin") == 0 {
			return "no user holds a role by a group"
		}
		return ""
	})
	update(bystander, leaver, func(user *v1alpha1.User) { user.Spec.Active = false })
	bystander.eventuallyCondition(leaver, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	bystander.eventuallyGranted(bystander.provision(bystander.newUser("jane", "")))
	if done := w.countRoles("admin"); done > groups*members*3/4 {
		t.Errorf("the bystander waited until %d of %d users of another App were evaluated", done, groups*members)
	}
}

// countRoles counts the users of the directory that hold exactly a role.
func (w *world) countRoles(role string) int {
	w.Helper()
	var list v1alpha1.UserList
	if err := env.Client.List(w.ctx, &list, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	count := 0
	for i := range list.Items {
		if list.Items[i].Status.RoleNames == role {
			count++
		}
	}
	return count
}

// An undeclared attribute as spec.scopes.fromAttribute would give all users every scope: such an App is not ready, and
// grants nothing. Neither does an attribute widen what cannot be read.
func TestAScopeAttributeNeverFailsOpen(t *testing.T) {
	a, b := env.Namespace(t, nil), env.Namespace(t, nil)
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.Attributes = []v1alpha1.CustomAttribute{{Name: "regions"}}
		spec.Scopes = v1alpha1.Scopes{FromAttribute: "region", List: []v1alpha1.Scope{{Name: "a", Namespaces: []string{a}}, {Name: "b", Namespaces: []string{b}}}}
	})
	jane, joan := w.provision(w.newUser("jane", `{"regions":"a"}`)), w.provision(w.newUser("joan", `{"regions":{"a":true}}`))
	invalid := w.eventuallyCondition(w.app, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec)
	if !strings.Contains(invalid.Message, `spec.scopes.fromAttribute: no attribute "region" is declared`) {
		t.Errorf("the App says %q", invalid.Message)
	}
	w.eventuallyCondition(jane, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotReady)
	if w.can("okta:jane", "get", a) || w.can("okta:jane", "get", b) {
		t.Error("a user has access by an App that is not ready")
	}
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.Scopes.FromAttribute = "regions" })
	w.eventuallyCan("okta:jane", "get", a, true)
	w.eventuallyCondition(joan, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonMissingScope)
	for _, denied := range [][2]string{{"okta:jane", b}, {"okta:joan", a}, {"okta:joan", b}} {
		if w.can(denied[0], "get", denied[1]) {
			t.Errorf("%s has access to %s", denied[0], denied[1])
		}
	}
}

// A user that loses roles for a few others has access at every moment. Where very many come in their place, what is lost goes first, and the
// many are written as those of any App, not as urgently as removals.
func TestManyGainsWaitForWhatIsLost(t *testing.T) {
	for scopes, gap := range map[int]bool{8: false, 40: true} {
		w := newWorld(t, pairs(t, 4*scopes))
		user := w.provision(w.newUser("jane", `{"roles":["role-0"]}`))
		w.eventuallyGranted(user)
		if bound := len(w.bindings()); bound != scopes {
			t.Fatalf("%d AppRoleBindings of %d scopes", bound, scopes)
		}
		var mutex sync.Mutex
		named := map[string]bool{}
		least := scopes
		stop := w.watchNatives(func(kind watch.EventType, binding *rbacv1.RoleBinding) {
			mutex.Lock()
			defer mutex.Unlock()
			if kind != watch.Deleted && slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Name == "okta:jane" }) {
				named[binding.Name] = true
				return
			}
			delete(named, binding.Name)
			least = min(least, len(named))
		})
		update(w, user, setAttributes(`{"roles":["role-1"]}`))
		w.eventually(func() string {
			if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(user), user); err != nil {
				return err.Error()
			}
			return unless(user.Status.RoleNames == "role-1" && len(w.bindings()) == scopes, "the role has changed")
		})
		w.eventuallyGranted(user)
		stop()
		if least < scopes != gap || gap && least > 0 {
			t.Errorf("%d scopes: the user was in %d bindings at one moment", scopes, least)
		}
	}
}
