package directory

import (
	"context"
	"iter"
	"slices"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// indexedMembers are a group's members in memory, for filters.
type indexedMembers struct {
	in    *memberships
	group *v1alpha1.Group
}

func (s indexedMembers) Member(id string) (protocol.Member, bool) {
	if !s.in.index.Contains(nameOf(s.group), id) {
		return protocol.Member{}, false
	}
	names, missing := s.in.cachedNames(appOf(s.group), []string{id})
	return protocol.Member{ID: id, Display: names[0]}, missing == 0
}

func (s indexedMembers) All() iter.Seq[protocol.Member] {
	return slices.Values(s.in.cached(s.group))
}

// liveMembers are a group's members as they are, for filters. err tells what kept it from finding out.
type liveMembers struct {
	in    *memberships
	ctx   context.Context
	group *v1alpha1.Group
	err   error
}

func (s *liveMembers) Member(id string) (protocol.Member, bool) {
	if !s.contains(id) {
		return protocol.Member{}, false
	}
	names, err := s.in.userNames(s.ctx, appOf(s.group), []string{id})
	if err != nil {
		s.err = err
		return protocol.Member{}, false
	}
	return protocol.Member{ID: id, Display: names[0]}, names[0] != ""
}

func (s *liveMembers) contains(id string) bool {
	found, err := s.in.in(s.group.Namespace).Contains(s.ctx, s.group, id)
	if err != nil {
		s.err = err
	}
	return found
}

func (s *liveMembers) All() iter.Seq[protocol.Member] {
	members, err := s.in.of(s.ctx, s.group)
	if err != nil {
		s.err = err
	}
	return slices.Values(members)
}
