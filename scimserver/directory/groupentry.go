package directory

import (
	"unique"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// groupEntry is one group as the read model has it, without its members: those are in a membership.Index.
type groupEntry struct {
	header
	// group is the informer's own object: not to be changed.
	group *v1alpha1.Group
}

func newGroupEntry(group *v1alpha1.Group) *groupEntry {
	spec := &group.Spec
	return &groupEntry{
		header: header{
			id: group.Name, app: unique.Make(types.NamespacedName{Namespace: group.Namespace, Name: spec.App}),
			uid: group.UID, resourceVersion: group.ResourceVersion,
			key: spec.DisplayNameKey, externalID: spec.ExternalID,
			created:  createdAt(group, spec.CreatedAt).UnixMicro(),
			reserved: group.IsNameReserved(), terminating: group.DeletionTimestamp != nil,
		},
		group: group,
	}
}

func (e *groupEntry) head() *header { return &e.header }

func (e *groupEntry) with(header header) *groupEntry { return &groupEntry{header, e.group} }

func (*groupEntry) at(p position) *groupEntry {
	return &groupEntry{header: header{id: p.id, created: p.created}}
}

// groupsOf returns the objects of entries.
func groupsOf(entries []*groupEntry) []*v1alpha1.Group {
	groups := make([]*v1alpha1.Group, len(entries))
	for i, e := range entries {
		groups[i] = e.group
	}
	return groups
}

func nameOf(group *v1alpha1.Group) types.NamespacedName {
	return types.NamespacedName{Namespace: group.Namespace, Name: group.Name}
}
