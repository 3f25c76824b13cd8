package residualaccess

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// ownSubjects counts, by the hash of a Kubernetes user name, this operator's bindings that name it: a few bytes a name, where an
// index of the informer would cost hundreds. Two names of one hash are told apart by a look at the bindings.
type ownSubjects struct{ counts map[uint64]int32 }

var seed = maphash.MakeSeed()

// change takes in that a binding names other users than before, and returns the subjects that came and went.
func (o *ownSubjects) change(before, after []string) (come, gone []string) {
	if o.counts == nil {
		o.counts = map[uint64]int32{}
	}
	held := make(map[string]bool, len(before))
	for _, name := range before {
		held[name] = true
	}
	for _, name := range after {
		if held[name] {
			delete(held, name)
			continue
		}
		o.counts[maphash.String(seed, name)]++
		come = append(come, userSubject(name))
	}
	for name := range held {
		hash := maphash.String(seed, name)
		if o.counts[hash]--; o.counts[hash] <= 0 {
			delete(o.counts, hash)
		}
		gone = append(gone, userSubject(name))
	}
	return come, gone
}

func (o *ownSubjects) mayName(name string) bool { return o.counts[maphash.String(seed, name)] > 0 }

// usersOf returns the Kubernetes users that a binding of an App names, each once; none of anything else.
func (f *Finder) usersOf(object client.Object) []string {
	if object == nil || !f.isServed(object) {
		return nil
	}
	var names []string
	for _, subject := range subjectsIn(object) {
		if subject.Kind == rbacv1.UserKind {
			names = append(names, subject.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// isOwned says of a binding with this operator's label that it belongs to an App.
func (f *Finder) isOwned(object client.Object) bool {
	marks := object.GetLabels()
	return marks[v1alpha1.LabelApp] != "" && marks[v1alpha1.LabelAppNamespace] != "" && f.IsMade(object)
}

// isServed says of a binding that it belongs to an App that this operator serves.
func (f *Finder) isServed(object client.Object) bool {
	return f.isOwned(object) && (len(f.Namespaces) == 0 || slices.Contains(f.Namespaces, object.GetLabels()[v1alpha1.LabelAppNamespace]))
}

func subjectsIn(object client.Object) []rbacv1.Subject {
	switch binding := object.(type) {
	case *rbacv1.RoleBinding:
		return binding.Subjects
	case *rbacv1.ClusterRoleBinding:
		return binding.Subjects
	}
	return nil
}

// ownNaming returns the bindings of this operator, of all Apps, that name one of the users among subjects. There are none as a
// rule, which costs nothing; else all bindings are looked through.
func (f *Finder) ownNaming(ctx context.Context, subjects []string) ([]v1alpha1.ResidualAccess, error) {
	var names []string
	f.mutex.Lock()
	for _, subject := range subjects {
		if name, isUser := strings.CutPrefix(subject, rbacv1.UserKind+"/"); isUser && f.own.mayName(name) {
			names = append(names, name)
		}
	}
	f.mutex.Unlock()
	if len(names) == 0 {
		return nil, nil
	}
	var roleBindings rbacv1.RoleBindingList
	var clusterRoleBindings rbacv1.ClusterRoleBindingList
	for _, list := range []client.ObjectList{&roleBindings, &clusterRoleBindings} {
		if err := f.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list the bindings of this operator: %w", err)
		}
	}
	var found []v1alpha1.ResidualAccess
	for i := range roleBindings.Items {
		found = append(found, f.accessBy(&roleBindings.Items[i], kindRoleBinding, roleBindings.Items[i].RoleRef, names)...)
	}
	for i := range clusterRoleBindings.Items {
		found = append(found, f.accessBy(&clusterRoleBindings.Items[i], kindClusterRoleBinding, clusterRoleBindings.Items[i].RoleRef, names)...)
	}
	return found, nil
}

// accessBy returns what a binding of an App gives to Kubernetes users.
func (f *Finder) accessBy(object client.Object, kind string, ref rbacv1.RoleRef, names []string) []v1alpha1.ResidualAccess {
	var found []v1alpha1.ResidualAccess
	for _, name := range names {
		isNamed := slices.ContainsFunc(subjectsIn(object), func(s rbacv1.Subject) bool { return s.Kind == rbacv1.UserKind && s.Name == name })
		if isNamed && f.isServed(object) {
			marks := object.GetLabels()
			found = append(found, v1alpha1.ResidualAccess{
				Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), Role: roleOf(ref), Subject: userSubject(name),
				App: marks[v1alpha1.LabelAppNamespace] + "/" + marks[v1alpha1.LabelApp],
			})
		}
	}
	return found
}
