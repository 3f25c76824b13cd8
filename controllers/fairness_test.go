package controllers_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/access"
)

// withBystander returns a directory, and another one of another tenant, which the same controllers will serve.
func withBystander(t *testing.T, change func(*v1alpha1.AppSpec)) (attacker, bystander *world) {
	t.Helper()
	bystander = newStoppedWorld(t, nil)
	attacker = newStoppedWorld(t, change)
	attacker.others = []string{bystander.namespace}
	return attacker, bystander
}

// A tenant whose roles have expensive expressions keeps nobody of another tenant from access, nor from losing it, and
// neither its own people from leaving.
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
