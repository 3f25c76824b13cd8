package protocol

import (
	"iter"
	"slices"
)

// MembershipOp says what a MembershipStep does.
type MembershipOp string

// The steps of a group PATCH.
const (
	AddMembers         MembershipOp = "add"        // IDs become members
	RemoveMembers      MembershipOp = "remove"     // IDs are members no more
	ReplaceAllMembers  MembershipOp = "replaceAll" // IDs are the only members
	ClearMembers       MembershipOp = "clear"      // the group has no members
	RemoveMembersWhere MembershipOp = "removeWhere"
)

// MembershipStep is what one operation of a PATCH does to a group's members.
type MembershipStep struct {
	Op MembershipOp
	// IDs holds each id once, in the order in which they came. Where Op is RemoveMembersWhere, IDs that are not nil are the only
	// ones that the filter can match.
	IDs []string
	// filter is set where Op is RemoveMembersWhere.
	filter *Filter
}

// Matches reports whether the filter of a RemoveMembersWhere step selects a current member.
func (m MembershipStep) Matches(member Member) bool {
	return m.filter != nil && m.filter.matchesElement(member.element())
}

// MembershipDelta is the sum of membership steps. Add and Remove have no id twice, and none in common.
type MembershipDelta struct {
	// ReplaceAll: Add are all members there shall be. Remove is empty then.
	ReplaceAll  bool
	Add, Remove []string
}

// IsZero reports whether the delta says nothing about any member.
func (d MembershipDelta) IsZero() bool { return !d.ReplaceAll && len(d.Add) == 0 && len(d.Remove) == 0 }

// Normalise sums the steps up in their order, so that later ones win. ok is false where a step needs the current members:
// NormaliseOver is for that.
func (p *GroupPatch) Normalise() (delta MembershipDelta, ok bool) {
	if p.NeedsMembers() {
		return MembershipDelta{}, false
	}
	return p.NormaliseOver(nil, nil), true
}

// NeedsMembers reports whether a step selects members by anything but their ids.
func (p *GroupPatch) NeedsMembers() bool {
	return slices.ContainsFunc(p.Steps, func(m MembershipStep) bool { return m.Op == RemoveMembersWhere })
}

// Joining lists the ids that steps make members before a RemoveMembersWhere step looks at them, each once.
func (p *GroupPatch) Joining() []string {
	var ids []string
	seen := map[string]bool{}
	last := len(p.Steps)
	for last > 0 && p.Steps[last-1].Op != RemoveMembersWhere {
		last--
	}
	for _, step := range p.Steps[:last] {
		if step.Op != AddMembers && step.Op != ReplaceAllMembers {
			continue
		}
		for _, id := range step.IDs {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// NormaliseOver is Normalise with the group's current members and those of Joining, as they are once they are members: what
// RemoveMembersWhere steps look at. Of an id that is in neither, such a step sees the id and the type.
func (p *GroupPatch) NormaliseOver(current, joining iter.Seq[Member]) MembershipDelta {
	sum := membershipSum{state: map[string]bool{}, joining: map[string]Member{}}
	if joining != nil {
		for member := range joining {
			sum.joining[member.ID] = member
		}
	}
	for _, step := range p.Steps {
		switch step.Op {
		case AddMembers:
			sum.set(step.IDs, true)
		case RemoveMembers:
			sum.set(step.IDs, false)
		case ReplaceAllMembers, ClearMembers:
			sum = membershipSum{state: map[string]bool{}, replaceAll: true, joining: sum.joining}
			sum.set(step.IDs, true)
		case RemoveMembersWhere:
			sum.removeWhere(step, current)
		}
	}
	return sum.delta()
}

// membershipSum is a delta while it is computed.
type membershipSum struct {
	replaceAll bool
	state      map[string]bool // true: added, false: removed
	order      []string        // the keys of state, as they came
	joining    map[string]Member
}

func (m *membershipSum) set(ids []string, member bool) {
	for _, id := range ids {
		if _, known := m.state[id]; !known {
			m.order = append(m.order, id)
		}
		m.state[id] = member
	}
}

func (m *membershipSum) removeWhere(step MembershipStep, current iter.Seq[Member]) {
	seen := map[string]bool{}
	if current != nil {
		for member := range current {
			state, known := m.state[member.ID]
			if known && !state || !known && m.replaceAll {
				continue // no member any more
			}
			if known {
				seen[member.ID] = true
			}
			if step.Matches(member) {
				m.set([]string{member.ID}, false)
			}
		}
	}
	for _, id := range m.order {
		if !m.state[id] || seen[id] {
			continue
		}
		member, known := m.joining[id]
		if !known {
			member.ID = id
		}
		if step.Matches(member) {
			m.state[id] = false
		}
	}
}

func (m *membershipSum) delta() MembershipDelta {
	delta := MembershipDelta{ReplaceAll: m.replaceAll}
	for _, id := range m.order {
		switch {
		case m.state[id]:
			delta.Add = append(delta.Add, id)
		case !m.replaceAll:
			delta.Remove = append(delta.Remove, id)
		}
	}
	return delta
}
