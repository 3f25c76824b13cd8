package approlebinding

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// Bound returns the keys under which AppRoleBindings name a person, each with the RBAC user name that they have for them.
func (s *Syncer) Bound(ctx context.Context, user types.NamespacedName) (map[earned.RoleInScope]string, error) {
	subjects, err := s.Subjects(ctx, user)
	if err != nil {
		return nil, err
	}
	bound := make(map[earned.RoleInScope]string, len(subjects))
	for key, subject := range subjects {
		bound[key] = subject.Name
	}
	return bound, nil
}

// Subjects returns the keys under which AppRoleBindings name a person, each with what they say of them. It is at least as
// new as this process's own writes.
func (s *Syncer) Subjects(ctx context.Context, user types.NamespacedName) (map[earned.RoleInScope]v1alpha1.AppRoleSubject, error) {
	writes := s.writes.AppRoleBindings(user.Namespace) // before the informers are read
	var list v1alpha1.AppRoleBindingList
	if err := s.Client.List(ctx, &list, client.InNamespace(user.Namespace),
		client.MatchingFields{indexSubjectUser: user.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	bound := map[earned.RoleInScope]v1alpha1.AppRoleSubject{}
	add := func(object client.Object) {
		binding, isBinding := object.(*v1alpha1.AppRoleBinding)
		if !isBinding {
			return
		}
		key := earned.RoleInScopeOf(binding)
		if i := packing.Position(binding, user.Name); i >= 0 && binding.Name == bindingName(key, binding.Spec.Index) {
			bound[key] = binding.Spec.Subjects[i]
		}
	}
	for i := range list.Items {
		cached := &list.Items[i]
		if write := writes[overlay.IDOf(cached)]; write != nil {
			delete(writes, overlay.IDOf(cached))
			add(write.Latest(cached))
			continue
		}
		add(cached)
	}
	for id, write := range writes {
		if written, isBinding := write.Object().(*v1alpha1.AppRoleBinding); !isBinding || packing.Position(written, user.Name) < 0 {
			continue
		}
		cached := &v1alpha1.AppRoleBinding{}
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: id.Namespace, Name: id.Name}, cached, client.UnsafeDisableDeepCopy)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return nil, err
		case err != nil:
			add(write.Object())
		default:
			add(write.Latest(cached))
		}
	}
	return bound, nil
}

// IsSettled says of a person who holds a key, and of whom an AppRoleBinding says that, whether the native bindings name
// them as the App asks for: a run of the key would change nothing for them. It is false where this process has not run
// the key for that state of the App.
func (s *Syncer) IsSettled(key earned.RoleInScope, bound v1alpha1.AppRoleSubject, entry earned.Entry) bool {
	if bound.Name != entry.Subject || bound.Group != entry.Groups[key] {
		return false
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	m := s.memories[key]
	return m != nil && m.known && m.app == entry.App && len(m.waiting) == 0
}
