package residualaccess

import (
	"context"
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
)

// Add has the Finder fed by others, a cache of the bindings of others, and by the manager's cache, which must hold Users and
// the bindings that carry v1alpha1.LabelManagedBy. Every replica follows them, standbys too. It fails where an informer
// cannot be had.
func Add(ctx context.Context, mgr manager.Manager, f *Finder, others cache.Cache) (err error) {
	own := mgr.GetCache()
	f.synced, err = informers.Feed(ctx,
		informers.Of(others, &rbacv1.RoleBinding{}, f.watchForeign()),
		informers.Of(others, &rbacv1.ClusterRoleBinding{}, f.watchForeign()),
		informers.Of(own, &rbacv1.RoleBinding{}, f.watchOwn()),
		informers.Of(own, &rbacv1.ClusterRoleBinding{}, f.watchOwn()),
		informers.Of(own, &v1alpha1.User{}, f.watchUsers()),
	)
	return err
}

// NewCache makes a cache of the bindings that do not carry this operator's label: their names, roles, and subjects that may
// be users. It fails where the manager's configuration makes no cache.
func NewCache(mgr manager.Manager) (cache.Cache, error) {
	notOurs, err := labels.NewRequirement(v1alpha1.LabelManagedBy, selection.NotEquals, []string{v1alpha1.ManagedByValue})
	if err != nil {
		return nil, err
	}
	selector := labels.NewSelector().Add(*notOurs)
	return informers.NewCache(mgr, cache.Options{
		ByObject: map[client.Object]cache.ByObject{
			&rbacv1.RoleBinding{}:        {Label: selector, Transform: reduce},
			&rbacv1.ClusterRoleBinding{}: {Label: selector, Transform: reduce},
		},
	})
}

// reduce drops what is of no use here, ServiceAccounts first of all.
func reduce(object any) (any, error) {
	metadata := func(from metav1.ObjectMeta) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: from.Namespace, Name: from.Name, ResourceVersion: from.ResourceVersion, UID: from.UID}
	}
	isService := func(subject rbacv1.Subject) bool {
		return subject.Kind != rbacv1.UserKind && subject.Kind != rbacv1.GroupKind
	}
	switch b := object.(type) {
	case *rbacv1.RoleBinding:
		return &rbacv1.RoleBinding{ObjectMeta: metadata(b.ObjectMeta), RoleRef: b.RoleRef, Subjects: slices.Clip(slices.DeleteFunc(b.Subjects, isService))}, nil
	case *rbacv1.ClusterRoleBinding:
		return &rbacv1.ClusterRoleBinding{ObjectMeta: metadata(b.ObjectMeta), RoleRef: b.RoleRef, Subjects: slices.Clip(slices.DeleteFunc(b.Subjects, isService))}, nil
	}
	return object, nil
}

// WaitForSync returns true once every binding that there was at the start is known.
func (f *Finder) WaitForSync(ctx context.Context) bool {
	return toolscache.WaitForCacheSync(ctx.Done(), f.synced...)
}

// watchForeign follows bindings by others.
func (f *Finder) watchForeign() toolscache.ResourceEventHandler {
	return informers.States(func(object any) {
		if b := bindingOf(object); b != nil {
			f.put(b)
		}
	}, func(object any) {
		if b := bindingOf(object); b != nil {
			b.subjects = nil
			f.put(b)
		}
	})
}

// put takes in a binding by others; without subjects it is forgotten.
func (f *Finder) put(b *binding) {
	f.mutex.Lock()
	before := f.foreign[b.bindingID]
	if before == nil {
		before = &binding{}
	}
	var touched []string
	for _, subject := range before.subjects {
		f.bySubject[subject] = slices.DeleteFunc(f.bySubject[subject], func(other *binding) bool { return other == before })
		if len(f.bySubject[subject]) == 0 {
			delete(f.bySubject, subject)
		}
		if !slices.Contains(b.subjects, subject) || before.role != b.role {
			touched = append(touched, subject)
		}
	}
	for _, subject := range b.subjects {
		f.bySubject[subject] = append(f.bySubject[subject], b)
		if !slices.Contains(before.subjects, subject) || before.role != b.role {
			touched = append(touched, subject)
		}
	}
	if len(b.subjects) > 0 {
		f.foreign[b.bindingID] = b
	} else {
		delete(f.foreign, b.bindingID)
	}
	concerned := f.concerned(touched)
	f.mutex.Unlock()
	f.tell(concerned)
}

// concerned returns the revoked users that subjects stand for; the mutex is held.
func (f *Finder) concerned(subjects []string) []types.NamespacedName {
	users := map[types.NamespacedName]bool{}
	for _, subject := range subjects {
		maps.Copy(users, f.askedBy[subject])
	}
	return slices.Collect(maps.Keys(users))
}

func (f *Finder) tell(users []types.NamespacedName) {
	if len(users) > 0 && f.changed != nil {
		f.changed(users)
	}
}

// watchOwn follows what this operator wrote: it concerns users that share a Kubernetes user name with others. What carries
// its label but belongs to no App is by another hand.
func (f *Finder) watchOwn() toolscache.ResourceEventHandler {
	return informers.Changes(func(before, after client.Object) {
		f.putUnowned(before, after)
		f.mutex.Lock()
		come, gone := f.own.change(f.usersOf(before), f.usersOf(after))
		concerned := f.concerned(come)
		for _, user := range f.concerned(gone) {
			if f.asked[user].own > 0 {
				concerned = append(concerned, user)
			}
		}
		f.mutex.Unlock()
		f.tell(concerned)
	})
}

// putUnowned takes in a binding that carries this operator's label and belongs to no App.
func (f *Finder) putUnowned(before, after client.Object) {
	switch {
	case after != nil && !f.isOwned(after):
		f.put(bindingOf(after))
	case before != nil && !f.isOwned(before):
		b := bindingOf(before)
		b.subjects = nil
		f.put(b)
	}
}

// watchUsers forgets Users that are gone.
func (f *Finder) watchUsers() toolscache.ResourceEventHandler {
	return informers.States(func(*v1alpha1.User) {}, func(user *v1alpha1.User) { f.Forget(client.ObjectKeyFromObject(user)) })
}

// bindingOf returns a binding as it is kept; nil for anything else.
func bindingOf(object any) *binding {
	var b *binding
	var subjects []rbacv1.Subject
	switch object := object.(type) {
	case *rbacv1.RoleBinding:
		b = &binding{bindingID: bindingID{kindRoleBinding, object.Namespace, object.Name}, role: roleOf(object.RoleRef)}
		subjects = object.Subjects
	case *rbacv1.ClusterRoleBinding:
		b = &binding{bindingID: bindingID{kindClusterRoleBinding, "", object.Name}, role: roleOf(object.RoleRef)}
		subjects = object.Subjects
	default:
		return nil
	}
	for _, subject := range subjects {
		if text := subject.Kind + "/" + subject.Name; (subject.Kind == rbacv1.UserKind || subject.Kind == rbacv1.GroupKind) && !slices.Contains(b.subjects, text) {
			b.subjects = append(b.subjects, text)
		}
	}
	return b
}
