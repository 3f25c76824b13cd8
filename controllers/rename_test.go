package controllers_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
)

func (w *world) named(subject string) bool {
	w.Helper()
	return slices.ContainsFunc(w.natives(), func(binding rbacv1.RoleBinding) bool {
		return slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Name == subject })
	})
}

// A user that an edit of the App left without a name keeps what is held under the former one. A user that is renamed
// meanwhile gave that name away: it may be another person's, and must not get what is held.
func TestHeldWithoutANameAndRenamed(t *testing.T) {
	w := newWorld(t, guarded(1, byGroups("Staff")))
	users, ids := w.staff(4)
	w.push("Staff", membership.InlineLimit, ids...)
	w.eventuallyRemovals(0, 0, 4)
	for _, user := range users {
		w.eventuallyGranted(user)
	}
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.Kubernetes.UsernameFrom = v1alpha1.IdentifierExternalID })
	w.eventuallyRemovals(1, 3, 3)
	w.eventually(func() string {
		return unless(len(w.heldOf(users)) == 3, "the status of 3 people tells that they are held")
	})
	held := w.heldOf(users)

	update(w, held[1], func(u *v1alpha1.User) { u.Spec.Title = "Dr" })
	w.eventuallyEvaluated(held[1])
	w.eventuallyCondition(held[1], v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTooManyRemovals)

	former := "okta:" + held[0].Spec.UserName
	w.renameUser(held[0], "married")
	w.eventuallyEvaluated(held[0])
	if w.named(former) || w.can(former, "delete", w.namespace) {
		t.Errorf("%s is bound though no user has that name", former)
	}
	w.eventuallyRemovals(1, 2, 2)
}

// While the former name of a renamed user cannot be removed from a binding, no status says that it was.
func TestRenameThatCannotBeDoneYet(t *testing.T) {
	w := newWorld(t, nil)
	user := w.provision(w.newUser("maiden", ""))
	w.eventuallyGranted(user)
	allow := w.refuseRemovals()
	w.renameUser(user, "married")
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(user), user); err != nil {
			t.Fatal(err)
		}
		if user.Status.ObservedGeneration == user.Generation {
			t.Fatalf("the status speaks of the new name: %+v; bound under the former one: %t", user.Status, w.named("okta:maiden"))
		}
		time.Sleep(20 * time.Millisecond) // not a wait for anything: the time that is looked at
	}
	allow()
	w.eventuallyGranted(user)
	if w.named("okta:maiden") || !w.named("okta:married") {
		t.Errorf("bindings = %+v", w.natives())
	}
}

// refuseRemovals has the API server refuse changes and deletions of the directory's bindings, until allow is called.
func (w *world) refuseRemovals() (allow func()) {
	w.Helper()
	native := w.natives()[0]
	return w.refuse(rbacv1.GroupName, "v1", "rolebindings", []admissionv1.OperationType{admissionv1.Update, admissionv1.Delete},
		fmt.Sprintf("oldObject.metadata.namespace == %q", w.namespace), func() error { return env.Client.Delete(w.ctx, native.DeepCopy(), client.DryRunAll) })
}

// refuse has the API server refuse what an expression matches, until allow is called. try does something that it matches.
func (w *world) refuse(group, version, resource string, operations []admissionv1.OperationType, matches string, try func() error) (allow func()) {
	w.Helper()
	name := "refuse-" + resource + "-" + w.namespace
	fail := admissionv1.Fail
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		FailurePolicy: &fail,
		MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: operations, Rule: admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource}},
		}}}},
		Validations: []admissionv1.Validation{{Expression: "!(" + matches + ")", Message: "not now"}},
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	w.create(policy)
	w.create(binding)
	w.Cleanup(func() {
		for _, object := range []client.Object{binding, policy} {
			_ = env.Client.Delete(context.WithoutCancel(w.ctx), object)
		}
	})
	w.eventually(func() string {
		err := try()
		return unless(err != nil && strings.Contains(err.Error(), "not now"), "the policy is in force")
	})
	return func() {
		if err := env.Client.Delete(w.ctx, binding); client.IgnoreNotFound(err) != nil {
			w.Fatal(err)
		}
	}
}

// adminOfEmptiedBinding has a user bound and then stops the controllers and empties the AppRoleBinding, so that native
// bindings only name the user.
func (w *world) adminOfEmptiedBinding() *v1alpha1.User {
	w.Helper()
	user := w.provision(w.newUser("jane", `{"role":"admin"}`))
	w.eventuallyGranted(user)
	w.stop()
	binding := &w.bindings()[0]
	update(w, binding, func(b *v1alpha1.AppRoleBinding) { b.Spec.Subjects = nil })
	return user
}

// An AppRoleBinding is emptied while no controller leads, and one of its users loses the role meanwhile: no status says so
// before the native bindings do.
func TestRoleLostWhileNobodyLed(t *testing.T) {
	w := newWorld(t, nil)
	user := w.adminOfEmptiedBinding()
	update(w, user, func(u *v1alpha1.User) { u.Spec.Attributes.Raw = []byte(`{"role":"viewer"}`) })
	w.start()
	w.eventually(func() string {
		return unless(w.userNow(user).Status.RoleNames == "viewer", "the status tells of the new role")
	})
	for _, native := range w.natives() {
		if native.Labels[v1alpha1.LabelRole] == "admin" {
			t.Errorf("%s still names %v", native.Name, native.Subjects)
		}
	}
}

// What people would have lost that they never had is neither held nor counted.
func TestWhatNobodyHadIsNotHeld(t *testing.T) {
	w := newWorld(t, guarded(1, byGroups("Staff")))
	users, ids := w.staff(4)
	for _, user := range users {
		w.eventuallyEvaluated(user)
	}
	asked := &v1alpha1.AppRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "asked"},
		Spec:       v1alpha1.AppRoleBindingSpec{App: "demo", RoleRef: v1alpha1.AppRoleRef{Name: "admin"}, Scope: "default", Mode: v1alpha1.ModeEnforce},
	}
	w.refuse(v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, "approlebindings", []admissionv1.OperationType{admissionv1.Create},
		fmt.Sprintf(`object.metadata.namespace == %q && object.spec.roleRef.name == "admin"`, w.namespace),
		func() error { return env.Client.Create(w.ctx, asked.DeepCopy(), client.DryRunAll) })
	g := w.push("Staff", membership.InlineLimit, ids...)
	for _, user := range users {
		w.eventuallyCondition(user, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonBindingFailed)
	}
	w.setMembers(g)
	for _, user := range users {
		w.eventually(func() string { return unless(len(w.userNow(user).Status.Roles) == 0, "no user holds a role") })
	}
	w.eventuallyRemovals(0, 0, 0)
}

// A held user stays held when the App names its users differently after a while without a leader.
func TestHeldThroughOtherNames(t *testing.T) {
	w := newWorld(t, guarded(1, byGroups("Staff")))
	users, ids := w.staff(4)
	for _, user := range users {
		update(w, user, func(u *v1alpha1.User) { u.Spec.ExternalID = "ext-" + u.Name })
	}
	g := w.push("Staff", membership.InlineLimit, ids...)
	w.eventuallyRemovals(0, 0, 4)
	w.setMembers(g)
	w.eventuallyRemovals(1, 3, 3)
	w.eventually(func() string {
		return unless(len(w.heldOf(users)) == 3, "the status of 3 people tells that they are held")
	})
	w.stop()
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.Kubernetes.UsernameFrom = v1alpha1.IdentifierExternalID })
	w.start()
	for _, user := range users {
		w.eventually(func() string {
			return unless(w.userNow(user).Status.KubernetesUsername == "okta:"+user.Spec.ExternalID, "the status tells of the other name")
		})
	}
	held := w.heldOf(users)
	if len(held) != 3 {
		t.Errorf("%d people are held", len(held))
	}
	for _, user := range held {
		w.eventuallyCan("okta:"+user.Spec.ExternalID, "delete", w.namespace, true)
		if former := "okta:" + user.Spec.UserName; w.named(former) {
			t.Errorf("%s is bound yet", former)
		}
	}
	w.eventuallyRemovals(1, 3, 3)
}

// A leader called people otherwise and died before any status told so, and the edit of the App that asked for it is undone: the
// name by which they are bound is theirs all the same, and the guard holds them.
func TestHeldThroughANameThatNoStatusTells(t *testing.T) {
	w := newWorld(t, guarded(1, byGroups("Staff")))
	users, ids := w.staff(40)
	names := map[string]string{}
	for _, user := range users {
		update(w, user, func(u *v1alpha1.User) { u.Spec.ExternalID = "ext-" + u.Name })
		names["okta:"+user.Spec.UserName] = "okta:" + user.Spec.ExternalID
	}
	g := w.push("Staff", membership.InlineLimit, ids...)
	w.eventuallyRemovals(0, 0, 40)
	for _, user := range users {
		w.eventuallyGranted(user)
	}
	w.stop()
	w.callBound(func(name string) string { return names[name] })
	w.setMembers(g)
	w.start()
	w.eventuallyRemovals(1, 39, 39)
	for _, user := range w.heldOf(users) {
		w.eventuallyCan("okta:"+user.Spec.UserName, "delete", w.namespace, true)
	}
	for _, name := range names {
		if w.named(name) {
			t.Errorf("%s is bound yet", name)
		}
	}
}

// An App that is wrong takes nothing from its users, also where it names them differently than before.
func TestInvalidAppWithOtherNames(t *testing.T) {
	w := newWorld(t, nil)
	user := w.newUser("jane", "")
	user.Spec.ExternalID = "00u1"
	w.provision(user)
	w.eventuallyGranted(user)
	update(w, w.app, func(a *v1alpha1.App) {
		a.Spec.Kubernetes.UsernameFrom = v1alpha1.IdentifierExternalID
		a.Spec.Roles[1].When = "user.nonsense("
	})
	w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotReady)
	if !w.can("okta:jane", "get", w.namespace) || w.can("okta:00u1", "get", w.namespace) {
		t.Errorf("an App that is wrong took or gave access: %+v", w.natives())
	}
	update(w, w.app, func(a *v1alpha1.App) { a.Spec.Roles[1].When = "" })
	w.eventuallyCan("okta:00u1", "get", w.namespace, true)
	w.eventuallyGranted(user)
	if w.can("okta:jane", "get", w.namespace) {
		t.Error("the former name is bound")
	}
}

// halfRenamed leaves an App that is wrong, no controllers, and one user in the state of a leader that died while it renamed
// subjects to the externalId: the role viewer is bound to okta:00u1, the role admin to okta:jane.
func (w *world) halfRenamed() *v1alpha1.User {
	w.Helper()
	user := w.newUser("jane", `{"roles":["admin","viewer"]}`)
	user.Spec.ExternalID = "00u1"
	w.provision(user)
	w.eventuallyGranted(user)
	w.stop()
	for _, binding := range w.bindings() {
		if binding.Spec.RoleRef.Name == "viewer" {
			update(w, &binding, func(b *v1alpha1.AppRoleBinding) { b.Spec.Subjects[0].Name = "okta:00u1" })
		}
	}
	for _, native := range w.natives() {
		if native.Labels[v1alpha1.LabelRole] == "viewer" {
			update(w, &native, func(b *rbacv1.RoleBinding) { b.Subjects[0].Name = "okta:00u1" })
		}
	}
	update(w, w.app, func(a *v1alpha1.App) {
		a.Spec.Kubernetes.UsernameFrom = v1alpha1.IdentifierExternalID
		a.Spec.Roles[1].When = "user.nonsense("
	})
	return user
}

// Nor does it take anything where a leader died in the midst of calling people by other names.
func TestInvalidAppWithHalfOfTheNames(t *testing.T) {
	w := newWorld(t, nil)
	user := w.halfRenamed()
	keeps := func() {
		t.Helper()
		w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotReady)
		if roles := w.userNow(user).Status.Roles; len(roles) != 2 {
			t.Errorf("the status lists %v", roles)
		}
		if !w.can("okta:jane", "delete", w.namespace) || !w.can("okta:00u1", "get", w.namespace) || w.can("okta:00u1", "delete", w.namespace) {
			t.Errorf("an App that is wrong took or gave access: %+v", w.natives())
		}
	}
	w.start()
	keeps()
	w.stop()
	w.start() // a leader that knows no more than the status
	w.eventually(func() string {
		var app v1alpha1.App
		err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), &app)
		return unless(err == nil && app.Status.ObservedGeneration == app.Generation, "the App was looked at")
	})
	update(w, user, func(u *v1alpha1.User) { u.Spec.Title = "Dr" })
	keeps()

	update(w, w.app, func(a *v1alpha1.App) { a.Spec.Roles[1].When = "" })
	w.eventuallyGranted(user)
	w.eventuallyCan("okta:00u1", "delete", w.namespace, true)
	if w.can("okta:jane", "get", w.namespace) {
		t.Error("the former name is bound")
	}
	update(w, user, func(u *v1alpha1.User) { u.Spec.Active = false })
	w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
}

// A user that leaves in the midst of that loses everything, by either name.
func TestLeaverWithHalfOfTheNames(t *testing.T) {
	w := newWorld(t, nil)
	user := w.halfRenamed()
	w.start()
	w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotReady)
	update(w, user, func(u *v1alpha1.User) { u.Spec.Active = false })
	w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	for _, name := range []string{"okta:jane", "okta:00u1"} {
		if w.named(name) {
			t.Errorf("a binding still names %s", name)
		}
	}
}

// A leader dies between the binding and the status, the AppRoleBinding is emptied by hand, and the user leaves, all while no
// controller leads: no status says that access was revoked before it was.
func TestLeaverOfWhomNothingTells(t *testing.T) {
	w := newWorld(t, nil)
	user := w.adminOfEmptiedBinding()
	user.Status = v1alpha1.UserStatus{}
	if err := env.Client.Status().Update(w.ctx, user); err != nil {
		t.Fatal(err)
	}
	update(w, user, func(u *v1alpha1.User) { u.Spec.Active = false })
	allow := w.refuseRemovals()
	w.start()
	w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionFalse, v1alpha1.ReasonBindingFailed)
	allow()
	w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	if w.named("okta:jane") {
		t.Error("a binding still names the person")
	}
}
