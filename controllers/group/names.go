package group

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// NamesOf returns the display names of the groups that a person is a member of, as far as they are known now: for reports,
// not for roles.
func (m *Memberships) NamesOf(user *v1alpha1.User) []string {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	var names []string
	for _, name := range m.index.GroupsOf(user.Namespace, user.Name) {
		s := m.states[types.NamespacedName{Namespace: user.Namespace, Name: name}]
		if s != nil && s.app.Name == user.Spec.App && s.counts {
			names = append(names, s.group.DisplayName)
		}
	}
	return names
}
