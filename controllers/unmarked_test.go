package controllers_test

import (
	"fmt"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// A native binding without its marks, or with changed ones, is in no informer under its key. It must not outlive what it was
// for: neither where no controller led when that happened, nor where nothing could be put right at the time; and whatever
// the status of its AppRoleBinding tells, which may be late, and lists no more than a hundred.
func TestUnmarkedBindingsAreFound(t *testing.T) {
	wrong := func(spec *v1alpha1.AppSpec) { spec.RoleAssignment.Default = []string{"nobody"} }
	strip := func(b *rbacv1.RoleBinding) { b.Labels, b.Annotations = nil, nil }
	grantGoes := func(w *world) {
		update(w, w.app, func(a *v1alpha1.App) { a.Spec.Roles[1].Grants = a.Spec.Roles[1].Grants[:1] })
	}
	for title, test := range map[string]struct {
		// ends is what takes the grant of the verb delete away.
		ends   func(*world)
		unmark func(*rbacv1.RoleBinding)
		// live says that controllers run meanwhile, with an App that is wrong.
		live bool
	}{
		"the grant goes without a leader": {ends: grantGoes, unmark: strip},
		"the role goes without a leader": {unmark: strip, ends: func(w *world) {
			update(w, w.app, func(a *v1alpha1.App) { a.Spec.Roles = a.Spec.Roles[:1] })
		}},
		"the mode changes without a leader": {unmark: strip, ends: func(w *world) {
			update(w, w.app, func(a *v1alpha1.App) { a.Spec.Mode = v1alpha1.ModeObserve })
		}},
		"the App goes without a leader": {unmark: strip, ends: func(w *world) {
			if err := env.Client.Delete(w.ctx, w.app); err != nil {
				w.Fatal(err)
			}
		}},
		"only the labels are gone": {ends: grantGoes, unmark: func(b *rbacv1.RoleBinding) { b.Labels = nil }},
		"only the annotations":     {ends: grantGoes, unmark: func(b *rbacv1.RoleBinding) { b.Annotations = nil }},
		"they name another App":    {ends: grantGoes, unmark: func(b *rbacv1.RoleBinding) { b.Labels[v1alpha1.LabelApp] = "other" }},
		"they name another role":   {ends: grantGoes, unmark: func(b *rbacv1.RoleBinding) { b.Annotations[v1alpha1.LabelRole] = "other" }},
		"the grant goes after the App was wrong": {live: true, unmark: strip, ends: func(w *world) {
			update(w, w.app, func(a *v1alpha1.App) {
				a.Spec.RoleAssignment.Default, a.Spec.Roles[1].Grants = []string{"viewer"}, a.Spec.Roles[1].Grants[:1]
			})
		}},
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t, nil)
			jane := w.provision(w.newUser("jane", `{"role":"admin"}`))
			w.eventuallyGranted(jane)
			w.eventuallyCan("okta:jane", "delete", w.namespace, true)
			if test.live {
				update(w, w.app, func(a *v1alpha1.App) { wrong(&a.Spec) })
				w.eventuallyCondition(w.app, v1alpha1.ConditionReady, "False", v1alpha1.ReasonInvalidSpec)
			} else {
				w.stop()
			}
			unmarked := 0
			for _, native := range w.natives() {
				if native.RoleRef.Name == bindable("delete") {
					update(w, &native, test.unmark)
					unmarked++
				}
			}
			if unmarked != 1 {
				t.Fatalf("%d bindings without their marks", unmarked)
			}
			for _, binding := range w.bindings() {
				binding.Status = v1alpha1.AppRoleBindingStatus{}
				if err := env.Client.Status().Update(w.ctx, &binding); err != nil && !test.live {
					t.Fatal(err)
				}
			}
			test.ends(w)
			if !test.live {
				w.start()
			}
			w.eventuallyCan("okta:jane", "delete", w.namespace, false)
			w.eventually(func() string {
				var list rbacv1.RoleBindingList
				if err := env.Client.List(w.ctx, &list, client.InNamespace(w.namespace)); err != nil {
					return err.Error()
				}
				for _, binding := range list.Items {
					if binding.RoleRef.Name == bindable("delete") {
						return "there is still " + binding.Name
					}
				}
				return ""
			})
		})
	}
}

// Where it is needed it is marked again, and an event says so; one by other hands that is named like it is left alone.
func TestUnmarkedBindingsAreMarkedAgain(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.provision(w.newUser("jane", ""))
	w.eventuallyGranted(jane)
	w.stop()
	native := w.natives()[0]
	update(w, &native, func(b *rbacv1.RoleBinding) { b.Labels, b.Annotations = nil, nil })
	alike := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "scim-" + strings.Repeat("a", 20)},
		RoleRef:    native.RoleRef,
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "somebody"}},
	}
	w.create(alike)
	w.start()
	w.eventually(func() string {
		if natives := w.natives(); len(natives) != 1 || natives[0].Name != native.Name || natives[0].UID != native.UID {
			return fmt.Sprintf("marked are %v", natives)
		}
		return ""
	})
	w.eventually(func() string {
		var events eventsv1.EventList
		if err := env.Client.List(w.ctx, &events, client.InNamespace(w.namespace)); err != nil {
			return err.Error()
		}
		for _, event := range events.Items {
			if event.Reason == "BindingChanged" && strings.Contains(event.Note, native.Name) && strings.Contains(event.Note, "labels or annotations") {
				return ""
			}
		}
		return "no event tells of it"
	})
	if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(alike), alike); err != nil || len(alike.Subjects) != 1 || len(alike.Labels) > 0 {
		t.Errorf("the one by other hands: %v, %v", alike, err)
	}
}
