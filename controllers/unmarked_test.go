package controllers_test

import (
	"fmt"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// A native binding whose marks somebody took away is in no informer. It must not outlive what it was for: neither where
// nobody led when that happened, nor where nothing could be put right at the time.
func TestUnmarkedBindingsAreFound(t *testing.T) {
	wrong := func(spec *v1alpha1.AppSpec) { spec.RoleAssignment.Default = []string{"nobody"} }
	for title, test := range map[string]struct {
		// ends is what takes the grant of the verb delete away.
		ends func(*v1alpha1.AppSpec)
		// live says that controllers run meanwhile, with an App that is wrong.
		live bool
	}{
		"the grant goes while nobody leads":   {ends: func(spec *v1alpha1.AppSpec) { spec.Roles[1].Grants = spec.Roles[1].Grants[:1] }},
		"the role goes while nobody leads":    {ends: func(spec *v1alpha1.AppSpec) { spec.Roles = spec.Roles[:1] }},
		"the mode changes while nobody leads": {ends: func(spec *v1alpha1.AppSpec) { spec.Mode = v1alpha1.ModeObserve }},
		"the grant goes after the App was wrong": {live: true, ends: func(spec *v1alpha1.AppSpec) {
			spec.RoleAssignment.Default, spec.Roles[1].Grants = []string{"viewer"}, spec.Roles[1].Grants[:1]
		}},
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t, nil)
			jane := w.provision(w.newUser("jane", `{"role":"admin"}`))
			w.eventuallyGranted(jane)
			w.eventuallyCan("okta:jane", "delete", w.namespace, true)
			w.eventually(func() string {
				for _, binding := range w.bindings() {
					if len(binding.Status.NativeBindings) != 2 {
						return fmt.Sprintf("the status lists %v", binding.Status.NativeBindings)
					}
				}
				return ""
			})
			if test.live {
				update(w, w.app, func(a *v1alpha1.App) { wrong(&a.Spec) })
				w.eventuallyCondition(w.app, v1alpha1.ConditionReady, "False", v1alpha1.ReasonInvalidSpec)
			} else {
				w.stop()
			}
			stripped := 0
			for _, native := range w.natives() {
				if native.RoleRef.Name == bindable("delete") {
					update(w, &native, func(b *rbacv1.RoleBinding) { b.Labels, b.Annotations = nil, nil })
					stripped++
				}
			}
			if stripped != 1 {
				t.Fatalf("%d bindings stripped", stripped)
			}
			update(w, w.app, func(a *v1alpha1.App) { test.ends(&a.Spec) })
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
