package approlebinding

import (
	"context"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// bindingReader reads bindings from informers, each at least as new as this process's last write of it.
type bindingReader struct {
	client client.Reader
	writes *overlay.Writes
}

// bindingsOf returns the AppRoleBindings of a key. One that others created under another name is none of them: it binds no
// user.
func (r bindingReader) bindingsOf(ctx context.Context, key earned.RoleInScope) ([]*v1alpha1.AppRoleBinding, error) {
	writes := r.writes.Snapshot(key)
	var list v1alpha1.AppRoleBindingList
	if err := r.client.List(ctx, &list, client.InNamespace(key.Namespace),
		client.MatchingFields{indexKey: key.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	cached := map[overlay.ID]client.Object{}
	for i := range list.Items {
		cached[overlay.IDOf(&list.Items[i])] = &list.Items[i]
	}
	var bindings []*v1alpha1.AppRoleBinding
	for _, object := range r.writes.Merge(cached, writes, overlay.KindAppRoleBinding) {
		binding := object.(*v1alpha1.AppRoleBinding)
		if binding.Name == bindingName(key, binding.Spec.Index) {
			bindings = append(bindings, binding)
		}
	}
	return bindings, nil
}

// nativesOf returns the native bindings that carry a key's labels, in all namespaces.
func (r bindingReader) nativesOf(ctx context.Context, key earned.RoleInScope) (map[overlay.ID]native, error) {
	writes := r.writes.Snapshot(key)
	matching := client.MatchingFields{indexKey: key.String()}
	var roleBindings rbacv1.RoleBindingList
	if err := r.client.List(ctx, &roleBindings, matching, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var clusterRoleBindings rbacv1.ClusterRoleBindingList
	if err := r.client.List(ctx, &clusterRoleBindings, matching, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	cached := map[overlay.ID]client.Object{}
	for i := range roleBindings.Items {
		cached[overlay.IDOf(&roleBindings.Items[i])] = &roleBindings.Items[i]
	}
	for i := range clusterRoleBindings.Items {
		cached[overlay.IDOf(&clusterRoleBindings.Items[i])] = &clusterRoleBindings.Items[i]
	}
	natives := map[overlay.ID]native{}
	for id, object := range r.writes.Merge(cached, writes, overlay.KindRoleBinding, overlay.KindClusterRoleBinding) {
		natives[id] = nativeOf(object)
	}
	return natives, nil
}

// subjectsOf returns the keys under which AppRoleBindings name a user, each with its subject. The names are copies, which may be
// kept: in the cache one is a part of a text that has the names of all subjects of a binding.
func (r bindingReader) subjectsOf(ctx context.Context, user types.NamespacedName) (map[earned.RoleInScope]v1alpha1.AppRoleSubject, error) {
	writes := r.writes.AppRoleBindings(user.Namespace) // before the informers are read
	var list v1alpha1.AppRoleBindingList
	if err := r.client.List(ctx, &list, client.InNamespace(user.Namespace),
		client.MatchingFields{indexSubjectBucket: bucketOf(user.Name)}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	bound := map[earned.RoleInScope]v1alpha1.AppRoleSubject{}
	add := func(binding *v1alpha1.AppRoleBinding) {
		if i := packing.Position(binding, user.Name); i >= 0 {
			subject := binding.Spec.Subjects[i]
			subject.User, subject.Name = user.Name, strings.Clone(subject.Name)
			bound[earned.RoleInScopeOf(binding)] = subject
		}
	}
	addLatest := func(object client.Object) {
		if binding, isBinding := object.(*v1alpha1.AppRoleBinding); isBinding && isNamedForKey(binding) {
			add(binding)
		}
	}
	looked := map[overlay.ID]bool{}
	for i := range list.Items {
		cached := &list.Items[i]
		if write := writes[overlay.IDOf(cached)]; write != nil {
			looked[overlay.IDOf(cached)] = true
			addLatest(write.Latest(cached))
			continue
		}
		add(cached) // the index has none of another name
	}
	for id, write := range writes {
		if looked[id] {
			continue
		}
		if written, isBinding := write.Object().(*v1alpha1.AppRoleBinding); !isBinding || packing.Position(written, user.Name) < 0 {
			continue
		}
		cached := &v1alpha1.AppRoleBinding{}
		err := r.client.Get(ctx, client.ObjectKey{Namespace: id.Namespace, Name: id.Name}, cached, client.UnsafeDisableDeepCopy)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return nil, err
		case err != nil:
			addLatest(write.Object())
		default:
			addLatest(write.Latest(cached))
		}
	}
	return bound, nil
}

// isNamed reports whether a native binding of a key names an RBAC user, or the group where that is not empty.
func (r bindingReader) isNamed(ctx context.Context, key earned.RoleInScope, user, group string) (bool, error) {
	natives, err := r.nativesOf(ctx, key)
	if err != nil {
		return false, err
	}
	wanted := rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}
	if group != "" {
		wanted = rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: group}
	}
	for _, native := range natives {
		if slices.Contains(native.subjects, wanted) {
			return true, nil
		}
	}
	return false, nil
}

// boundKeys returns the keys that AppRoleBindings exist for, as informers show them; one may come twice.
func (r bindingReader) boundKeys(ctx context.Context, options ...client.ListOption) []earned.RoleInScope {
	var list v1alpha1.AppRoleBindingList
	if err := r.client.List(ctx, &list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil // an informer's list does not fail once it is synchronised, and before that every binding comes as an event
	}
	keys := make([]earned.RoleInScope, len(list.Items))
	for i := range list.Items {
		keys[i] = earned.RoleInScopeOf(&list.Items[i])
	}
	return keys
}
