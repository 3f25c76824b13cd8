package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// What others do to the bindings is undone.
func TestDriftIsRepaired(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.provision(w.newUser("jane", ""))
	w.eventuallyGranted(jane)
	mallory := rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "mallory"}
	native := func() *rbacv1.RoleBinding { n := w.natives(); return &n[0] }
	binding := func() *v1alpha1.AppRoleBinding { b := w.bindings(); return &b[0] }
	name := client.ObjectKeyFromObject(native())
	arb := client.ObjectKeyFromObject(binding())

	for title, test := range map[string]struct {
		edit  func()
		event string
	}{
		"a subject is added": {
			edit:  func() { update(w, native(), func(b *rbacv1.RoleBinding) { b.Subjects = append(b.Subjects, mallory) }) },
			event: `was changed by "controllers.test"; it was restored: User mallory had been added`,
		},
		"a group is added": {
			edit: func() {
				update(w, native(), func(b *rbacv1.RoleBinding) {
					b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "okta:jane"})
				})
			},
		},
		"the subject is removed": {
			edit: func() { update(w, native(), func(b *rbacv1.RoleBinding) { b.Subjects = nil }) },
		},
		"the role binding is deleted": {
			edit:  func() { w.delete(native()) },
			event: "was deleted by another client; it was restored",
		},
		"the labels are stripped": {
			edit: func() {
				update(w, native(), func(b *rbacv1.RoleBinding) { b.Labels, b.Subjects = nil, append(b.Subjects, mallory) })
			},
		},
		"one label is changed": {
			edit: func() { update(w, native(), func(b *rbacv1.RoleBinding) { b.Labels[v1alpha1.LabelApp] = "other" }) },
		},
		"the annotations are stripped": {
			edit: func() { update(w, native(), func(b *rbacv1.RoleBinding) { b.Annotations = nil }) },
		},
		"the role binding is replaced by one of another role": {
			edit: func() {
				replacement := native().DeepCopy()
				w.delete(native())
				replacement.ObjectMeta = metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Labels: replacement.Labels, Annotations: replacement.Annotations}
				replacement.RoleRef.Name = "cluster-admin"
				// The controller may have been faster; then there is nothing to replace.
				if err := env.Client.Create(w.ctx, replacement); err != nil && !apierrors.IsAlreadyExists(err) {
					t.Fatal(err)
				}
			},
		},
		"a subject is added to the AppRoleBinding": {
			edit: func() {
				update(w, binding(), func(b *v1alpha1.AppRoleBinding) {
					b.Spec.Subjects = append(b.Spec.Subjects, v1alpha1.AppRoleSubject{User: "mallory", Name: "mallory"})
				})
			},
			event: `The binding was changed by "controllers.test"; it was restored: mallory as mallory had been added`,
		},
		"the name of a subject is changed in the AppRoleBinding": {
			edit: func() { update(w, binding(), func(b *v1alpha1.AppRoleBinding) { b.Spec.Subjects[0].Name = "renamed" }) },
		},
		"a finalizer is added": {
			edit:  func() { update(w, native(), func(b *rbacv1.RoleBinding) { b.Finalizers = []string{foreignFinalizer} }) },
			event: "finalizer " + foreignFinalizer + " had been added",
		},
		"a finalizer is added and the role binding deleted": {
			edit: func() {
				held := native()
				update(w, held, func(b *rbacv1.RoleBinding) { b.Finalizers = []string{foreignFinalizer} })
				w.delete(held)
			},
		},
		"an owner that is no more": {
			edit: func() {
				update(w, native(), func(b *rbacv1.RoleBinding) { b.OwnerReferences = []metav1.OwnerReference{goneOwner} })
			},
			event: "ConfigMap gone had been made its owner",
		},
		"an owner and a finalizer of the AppRoleBinding": {
			edit: func() {
				update(w, binding(), func(b *v1alpha1.AppRoleBinding) {
					b.OwnerReferences, b.Finalizers = []metav1.OwnerReference{goneOwner}, append(b.Finalizers, foreignFinalizer)
				})
			},
			event: "finalizer " + foreignFinalizer + " had been added",
		},
		"a finalizer is added and the AppRoleBinding deleted": {
			edit: func() {
				held := binding()
				update(w, held, func(b *v1alpha1.AppRoleBinding) { b.Finalizers = append(b.Finalizers, foreignFinalizer) })
				w.delete(held)
			},
		},
		"the AppRoleBinding is deleted": {
			edit:  func() { w.delete(binding()) },
			event: "The binding was deleted by another client; it was restored",
		},
		"the AppRoleBinding loses its finalizer": {
			edit: func() { update(w, binding(), func(b *v1alpha1.AppRoleBinding) { b.Finalizers, b.Labels = nil, nil }) },
		},
	} {
		w.Run(title, func(t *testing.T) {
			w := w.with(t)
			test.edit()
			w.eventually(func() string { return w.sound(jane, arb, name) })
			if w.can("mallory", "get", w.namespace) || w.can("renamed", "get", w.namespace) || !w.can("okta:jane", "get", w.namespace) {
				t.Error("the authorizer does not follow")
			}
			if test.event != "" {
				w.eventually(func() string { return w.noEvent("AppRoleBinding", arb.Name, test.event) })
			}
		})
	}
}

func (k *cluster) delete(object client.Object) {
	k.Helper()
	if err := env.Client.Delete(k.ctx, object); err != nil {
		k.Fatal(err)
	}
}

// sound says what is wrong with the bindings of the only holder of the only role.
func (w *world) sound(user *v1alpha1.User, arb, native client.ObjectKey) string {
	var binding v1alpha1.AppRoleBinding
	if err := env.Client.Get(w.ctx, arb, &binding); err != nil {
		return err.Error()
	}
	subject := "okta:" + user.Spec.UserName
	want := []v1alpha1.AppRoleSubject{{User: user.Name, Name: subject}}
	if !slices.Equal(binding.Spec.Subjects, want) || !slices.Equal(binding.Finalizers, []string{v1alpha1.FinalizerBindings}) ||
		!binding.DeletionTimestamp.IsZero() || binding.Labels[v1alpha1.LabelApp] != "demo" {
		return fmt.Sprintf("AppRoleBinding: %+v", binding)
	}
	var role rbacv1.RoleBinding
	if err := env.Client.Get(w.ctx, native, &role); err != nil {
		return err.Error()
	}
	people := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: subject}}
	if len(role.Finalizers)+len(role.OwnerReferences)+len(binding.OwnerReferences) > 0 || !role.DeletionTimestamp.IsZero() {
		return fmt.Sprintf("held by others: %+v, %+v", role.ObjectMeta, binding.ObjectMeta)
	}
	if !slices.Equal(role.Subjects, people) || role.RoleRef.Name != bindable("get") ||
		role.Labels[v1alpha1.LabelManagedBy] != v1alpha1.ManagedByValue || role.Labels[v1alpha1.LabelAppNamespace] != w.namespace ||
		role.Labels[v1alpha1.LabelApp] != "demo" || role.Annotations[v1alpha1.LabelRole] != "viewer" {
		return fmt.Sprintf("RoleBinding: %+v", role)
	}
	return ""
}

// noEvent returns "" once an event that contains a text is there.
func (d *directory) noEvent(kind, name, text string) string {
	var list eventsv1.EventList
	if err := env.Client.List(d.ctx, &list, client.InNamespace(d.namespace)); err != nil {
		return err.Error()
	}
	for _, event := range list.Items {
		if event.Regarding.Kind == kind && event.Regarding.Name == name && strings.Contains(event.Note, text) {
			return ""
		}
	}
	return fmt.Sprintf("no event on %s %s says %q", kind, name, text)
}

func TestEventsTellWhatAPersonGainedAndLost(t *testing.T) {
	w := newWorld(t, nil)
	user := w.provision(w.newUser("jane", `{"role":"admin"}`))
	w.eventuallyGranted(user)
	w.eventually(func() string { return w.noEvent("User", user.Name, "Granted admin in default") })
	update(w, user, func(u *v1alpha1.User) { u.Spec.Active = false })
	w.eventually(func() string { return w.noEvent("User", user.Name, "Revoked admin in default") })
}

// A binding by another hand binds no user.
func TestForeignAppRoleBindingBindsNobody(t *testing.T) {
	w := newWorld(t, nil)
	user := w.provision(w.newUser("jane", ""))
	w.eventuallyGranted(user)
	foreign := &v1alpha1.AppRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "mine"},
		Spec: v1alpha1.AppRoleBindingSpec{
			App: "demo", RoleRef: v1alpha1.AppRoleRef{Name: "admin"}, Scope: "default",
			Subjects: []v1alpha1.AppRoleSubject{{User: user.Name, Name: "okta:jane"}, {User: "mallory", Name: "mallory"}},
		},
	}
	w.create(foreign)
	// Another key's work, begun later, is done: so is that of the foreign binding's, or it never will be.
	w.eventuallyGranted(w.provision(w.newUser("boss", `{"role":"admin"}`)))
	if w.can("mallory", "delete", w.namespace) || w.can("okta:jane", "delete", w.namespace) {
		t.Error("a foreign AppRoleBinding bound a user")
	}
}
