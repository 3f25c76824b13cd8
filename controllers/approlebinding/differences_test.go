package approlebinding

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// What an Event tells of an edit is what the edit did, by others' hands alone.
func TestDifferencesOfANativeBinding(t *testing.T) {
	in := baseInput(t, testMember("jane", true), testMember("joe", true))
	binding := &v1alpha1.AppRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: bindingName(viewer, 0), Generation: 1}}
	for _, user := range []string{"jane", "joe"} {
		binding.Spec.Subjects = append(binding.Spec.Subjects, v1alpha1.AppRoleSubject{User: user, Name: "n-" + user})
	}
	in.chunks[0].Existing, in.memory.generations = binding, map[string]int64{binding.Name: 1}
	p := newPlan(in)
	for name, test := range map[string]struct {
		edit func(*rbacv1.RoleBinding)
		want string
	}{
		"none":              {func(*rbacv1.RoleBinding) {}, ""},
		"a subject more":    {func(b *rbacv1.RoleBinding) { b.Subjects = append(b.Subjects, testSubject("mallory")) }, ": User n-mallory had been added"},
		"a subject less":    {func(b *rbacv1.RoleBinding) { b.Subjects = b.Subjects[:1] }, ": User n-joe was missing"},
		"a group":           {func(b *rbacv1.RoleBinding) { b.Subjects[0].Kind = rbacv1.GroupKind }, ": Group n-jane had been added, User n-jane was missing"},
		"another role":      {func(b *rbacv1.RoleBinding) { b.RoleRef.Name = "admin" }, ": it bound ClusterRole admin"},
		"without labels":    {func(b *rbacv1.RoleBinding) { b.Labels = nil }, ": its labels or annotations had been changed"},
		"a label more":      {func(b *rbacv1.RoleBinding) { b.Labels["team"] = "a" }, ""},
		"a finalizer":       {func(b *rbacv1.RoleBinding) { b.Finalizers = []string{"example.com/hold"} }, ": finalizer example.com/hold had been added"},
		"its own finalizer": {func(b *rbacv1.RoleBinding) { b.Finalizers = []string{v1alpha1.FinalizerBindings} }, ""},
		"an owner": {func(b *rbacv1.RoleBinding) {
			b.OwnerReferences = []metav1.OwnerReference{{Kind: "ConfigMap", Name: "gone"}}
		}, ": ConfigMap gone had been made its owner"},
		"being deleted": {func(b *rbacv1.RoleBinding) { b.DeletionTimestamp = &metav1.Time{Time: time.Now()} }, ": it was being deleted"},
		"many": {func(b *rbacv1.RoleBinding) {
			for i := range maxNamed + 3 {
				b.Subjects = append(b.Subjects, testSubject(fmt.Sprint(i)))
			}
		}, ": User n-0 had been added, User n-1 had been added, User n-2 had been added, User n-3 had been added, User n-4 had been added, and 3 more"},
	} {
		t.Run(name, func(t *testing.T) {
			id, existing := exists("1", "a", 0, "jane", "joe")
			binding := existing.object.(*rbacv1.RoleBinding)
			test.edit(binding)
			if got := p.differences(id, binding); got != test.want {
				t.Errorf("differences%q, want %q", got, test.want)
			}
		})
	}
}

func TestDifferencesOfAnAppRoleBinding(t *testing.T) {
	in := baseInput(t, testMember("jane", true))
	in.dirty = []string{"new"}
	p := newPlan(in)
	subject := func(user string) v1alpha1.AppRoleSubject {
		return v1alpha1.AppRoleSubject{User: user, Name: "n-" + user}
	}
	want := &v1alpha1.AppRoleBinding{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "a"}, Finalizers: []string{v1alpha1.FinalizerBindings}}}
	want.Spec.Subjects = []v1alpha1.AppRoleSubject{subject("joe"), subject("new")}
	have := want.DeepCopy()
	have.Spec.Subjects, have.Labels = []v1alpha1.AppRoleSubject{subject("mallory")}, nil
	const text = ": mallory as n-mallory had been added, joe as n-joe was missing, its labels or finalizers had been changed"
	if got := p.bindingDifferences(have, want); got != text {
		t.Errorf("differences%q, want %q", got, text)
	}
	if got := p.bindingDifferences(want, want); got != "" {
		t.Errorf("of the same: %q", got)
	}
}

// An answer tells whether the object was written, or it does not: then nothing may be said of the next state.
func TestOutcomesThatAreCertain(t *testing.T) {
	resource := schema.GroupResource{Group: rbacv1.GroupName, Resource: "rolebindings"}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"done":      {nil, true},
		"conflict":  {apierrors.NewConflict(resource, "a", errors.New("changed")), true},
		"forbidden": {fmt.Errorf("bind: %w", apierrors.NewForbidden(resource, "a", errors.New("no"))), true},
		"too many":  {apierrors.NewTooManyRequests("later", 1), true},
		"timeout":   {apierrors.NewServerTimeout(resource, "update", 1), false},
		"internal":  {apierrors.NewInternalError(errors.New("etcd")), false},
		"no answer": {context.DeadlineExceeded, false},
	} {
		if got := isCertain(test.err); got != test.want {
			t.Errorf("%s: certain %t", name, got)
		}
	}
}

// The latest writer that is not this operator is named; a write of the status is none of the binding.
func TestEditorOf(t *testing.T) {
	at := func(minute int) *metav1.Time {
		return &metav1.Time{Time: time.Date(2030, 1, 1, 0, minute, 0, 0, time.UTC)}
	}
	fields := []metav1.ManagedFieldsEntry{
		{Manager: FieldOwner, Time: at(9)}, {Manager: "early", Time: at(1)}, {Manager: "late", Time: at(5)},
		{Manager: "status", Time: at(8), Subresource: "status"}, {Manager: "timeless"}, {Time: at(9)},
	}
	if got := editorOf(fields); got != `"late"` {
		t.Errorf("the editor is %s", got)
	}
	if got := editorOf(fields[:1]); got != unknownEditor {
		t.Errorf("the operator's own write names %s", got)
	}
}

func TestRefusal(t *testing.T) {
	r := &refusal{}
	if r.err() != nil || r.includes(viewRef) {
		t.Error("nothing was refused")
	}
	edit := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "edit"}
	for _, namespace := range []string{"d", "a", "c", "a", "b"} {
		r.add(edit, namespace)
	}
	r.add(viewRef, "")
	if !r.includes(viewRef) || !r.includes(edit) {
		t.Error("a refusal is forgotten")
	}
	text := r.err().Error()
	if !strings.Contains(text, `bind on ClusterRole "view" in the cluster, on Role "edit" in namespace a, b, c`) || strings.Contains(text, "a, a") {
		t.Error(text)
	}
}
