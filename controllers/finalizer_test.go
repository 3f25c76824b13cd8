package controllers_test

import (
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const foreignFinalizer = "example.com/hold"

var goneOwner = metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "gone", UID: "00000000-0000-0000-0000-000000000000"}

// A finalizer of others on a binding must not keep the access of a user that leaves, however it got there; and neither may it
// keep the next user of the role waiting.
func TestForeignFinalizerKeepsNoAccess(t *testing.T) {
	hold := func(w *world) *rbacv1.RoleBinding {
		native := w.natives()[0]
		update(w, &native, func(b *rbacv1.RoleBinding) { b.Finalizers = []string{foreignFinalizer} })
		return &native
	}
	for title, test := range map[string]struct {
		// before is done to the native binding of the only holder right before that one leaves.
		before func(w *world)
		// away says that no controller runs meanwhile.
		away bool
	}{
		"added at the same moment":                {before: func(w *world) { hold(w) }},
		"added and deleted at the same moment":    {before: func(w *world) { w.delete(hold(w)) }},
		"added while no controller runs":          {away: true, before: func(w *world) { hold(w) }},
		"added and deleted with no controller":    {away: true, before: func(w *world) { w.delete(hold(w)) }},
		"on a binding without its marks":          {away: true, before: func(w *world) { unmark(w, hold(w)) }},
		"deleted, on a binding without its marks": {away: true, before: func(w *world) { native := hold(w); unmark(w, native); w.delete(native) }},
		"on the AppRoleBinding": {before: func(w *world) {
			update(w, &w.bindings()[0], func(b *v1alpha1.AppRoleBinding) { b.Finalizers = append(b.Finalizers, foreignFinalizer) })
		}},
		"on the AppRoleBinding, deleted": {away: true, before: func(w *world) {
			binding := &w.bindings()[0]
			update(w, binding, func(b *v1alpha1.AppRoleBinding) { b.Finalizers = append(b.Finalizers, foreignFinalizer) })
			w.delete(binding)
		}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			jane := w.provision(w.newUser("jane", ""))
			w.eventuallyGranted(jane)
			w.eventuallyCan("okta:jane", "get", w.namespace, true)
			if test.away {
				w.stop()
			}
			test.before(w)
			update(w, jane, deactivate)
			if test.away {
				w.start()
			}
			w.eventuallyCondition(jane, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
			if w.can("okta:jane", "get", w.namespace) {
				t.Error("AccessRevoked is True, and the access is there")
			}
			joe := w.provision(w.newUser("joe", ""))
			w.eventuallyGranted(joe)
			w.eventuallyCan("okta:joe", "get", w.namespace, true)
			if w.can("okta:jane", "get", w.namespace) {
				t.Error("the leaver's access is there again")
			}
			w.eventually(func() string {
				for _, native := range w.natives() {
					if len(native.Finalizers) > 0 || !native.DeletionTimestamp.IsZero() || names(&native, "okta:jane") {
						return fmt.Sprintf("there is %+v", native)
					}
				}
				return ""
			})
		})
	}
}

func unmark(w *world, native *rbacv1.RoleBinding) {
	update(w, native, func(b *rbacv1.RoleBinding) { b.Labels, b.Annotations = nil, nil })
}

// Where the controller lost the right to bind the role it cannot write subjects any more, and removes the binding all the same.
func TestForeignFinalizerWithoutTheRightToBind(t *testing.T) {
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.Roles[0].Grants = []v1alpha1.Grant{{ClusterRole: bindable("watch")}}
	})
	jane := w.provision(w.newUser("jane", ""))
	w.eventuallyGranted(jane)
	w.stop()
	native := w.natives()[0]
	update(w, &native, func(b *rbacv1.RoleBinding) { b.Finalizers = []string{foreignFinalizer} })
	w.delete(&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: bindable("watch") + "-bind"}})
	w.eventually(func() string { // the authorizer learns of it by a watch
		err := w.asController().Update(w.ctx, native.DeepCopy())
		if err == nil || !strings.Contains(err.Error(), "forbidden") {
			changed := native.DeepCopy()
			changed.Subjects = append(changed.Subjects, userNamed("x"))
			if err := w.asController().Update(w.ctx, changed, client.DryRunAll); err == nil {
				return "the controller may bind yet"
			}
		}
		return ""
	})
	update(w, jane, deactivate)
	w.start()
	w.eventuallyCondition(jane, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	if w.can("okta:jane", "watch", w.namespace) || len(w.natives()) > 0 {
		t.Errorf("there is %v", w.natives())
	}
}

func (w *world) asController() client.Client {
	w.Helper()
	c, err := client.New(w.config, client.Options{Scheme: env.Scheme})
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// Users of two Apps with one Kubernetes name: that one of them left is true, that the name has no access is not, and the status says
// what is so, by the App's name. It follows when the other one goes, and comes.
func TestRevokedWithASharedKubernetesName(t *testing.T) {
	w := newWorld(t, func(spec *v1alpha1.AppSpec) { spec.Kubernetes.UsernameFrom = v1alpha1.IdentifierEmail })
	second := w.app.DeepCopy()
	second.ObjectMeta = metav1.ObjectMeta{Namespace: w.namespace, Name: "second"}
	w.create(second)
	provision := func(name, app string) *v1alpha1.User {
		user := w.newUser(name, "")
		user.Spec.App, user.Spec.Emails = app, []v1alpha1.MultiValue{{Value: "j@example.com", Primary: true}}
		w.eventuallyGranted(w.provision(user))
		return user
	}
	jane, june := provision("jane", "demo"), provision("june", "second")
	update(w, jane, deactivate)
	told := w.eventuallyCondition(jane, v1alpha1.ConditionAccessRevoked, metav1.ConditionFalse, v1alpha1.ReasonBoundByOther)
	if app := w.namespace + "/second"; !strings.Contains(told.Message, "App "+app+" names User/okta:j@example.com") {
		t.Errorf("told %q", told.Message)
	}
	if c := meta.FindStatusCondition(jane.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Status != metav1.ConditionFalse {
		t.Errorf("Ready %+v", c)
	}
	if c := meta.FindStatusCondition(jane.Status.Conditions, v1alpha1.ConditionResidualAccess); c == nil || strings.Contains(c.Message, "hands") {
		t.Errorf("ResidualAccess %+v", c)
	}
	if !w.can("okta:j@example.com", "get", w.namespace) {
		t.Error("the other one lost the access")
	}
	update(w, june, deactivate)
	for _, user := range []*v1alpha1.User{jane, june} {
		w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	}
	update(w, june, reactivate)
	w.eventuallyCondition(jane, v1alpha1.ConditionAccessRevoked, metav1.ConditionFalse, v1alpha1.ReasonBoundByOther)
}
