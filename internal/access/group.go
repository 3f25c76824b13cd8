package access

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/names"
)

// Group is a pushed group, as far as roles are earned by it.
type Group struct {
	// DisplayName as the client wrote it, and Key, which is the same folded for comparison.
	DisplayName, Key string
	// ExternalID is the client's own identifier; empty where it gave none.
	ExternalID string
}

// groupName is how a role names a group.
type groupName struct {
	// exact is compared with external ids, key with folded display names.
	exact, key string
}

func groupNames(groups []string) []groupName {
	compiled := make([]groupName, 0, len(groups))
	for _, name := range groups {
		if name != "" {
			compiled = append(compiled, groupName{exact: name, key: names.Fold(name)})
		}
	}
	return compiled
}

// names says whether the role is conferred by membership of a group. Display names compare as SCIM compares them
// (RFC 7643 section 4.2: without regard to case), external ids exactly.
func (r *role) names(group Group) bool {
	return slices.ContainsFunc(r.groups, func(name groupName) bool {
		return name.key == group.Key || name.exact == group.ExternalID
	})
}

const (
	reasonMember = "member of group "
	// boundByName ends the reason of a role that a group confers and that bindings of an App with subjectMode Group give to each
	// member by name: members end apart.
	boundByName = ", bound by name"
)

// reasonAttribute begins the reason of a role that an attribute names; the attribute's name follows.
const reasonAttribute = "attribute "

// ByGroup says whether a role was earned by membership of a group, which bindings of an App with subjectMode Group name.
func ByGroup(role v1alpha1.EarnedRole) bool {
	return slices.ContainsFunc(role.Reasons, func(reason string) bool {
		return strings.HasPrefix(reason, reasonMember) && !strings.HasSuffix(reason, boundByName)
	})
}

// ConferredBy returns the names of the roles that membership of a group confers, sorted.
func (p *Policy) ConferredBy(group Group) []string {
	var names []string
	for i := range p.roles {
		if p.roles[i].names(group) {
			names = append(names, p.roles[i].name)
		}
	}
	slices.Sort(names)
	return names
}

// Concerns says whether membership of a group can make a difference to what a user earns.
func (p *Policy) Concerns(group Group) bool {
	return slices.ContainsFunc(p.roles, func(r role) bool { return r.when != nil && r.when.groups || r.names(group) })
}

// UsesGroups says whether membership of any group can make a difference to what a user earns.
func (p *Policy) UsesGroups() bool {
	return slices.ContainsFunc(p.roles, func(r role) bool { return r.when != nil && r.when.groups || len(r.groups) > 0 })
}

func (p *Policy) earnByGroup(groups []Group, reasons map[string][]string, decision *Decision) {
	for _, group := range groups {
		roles := p.ConferredBy(group)
		if len(roles) == 0 {
			continue
		}
		subject := p.groupPrefix + group.DisplayName
		if p.subjectsAreGroups && names.IsReserved(subject) {
			decision.Problems = append(decision.Problems, Problem{
				Reason: v1alpha1.ReasonInvalidSubject,
				Message: fmt.Sprintf("the group %q makes a Kubernetes group name that begins with %s, which is reserved: membership of it grants nothing",
					shorten(group.DisplayName), names.ReservedPrefix),
			})
			continue
		}
		for _, name := range roles {
			reason := fmt.Sprintf("%s%q", reasonMember, shorten(group.DisplayName))
			// A group that one member holds the role by would go on giving it to members that it has ended for.
			byName := p.subjectsAreGroups && p.roleByName[name].end.attribute != ""
			if byName {
				reason += boundByName
			}
			reasons[name] = append(reasons[name], reason)
			if p.subjectsAreGroups && !byName && decision.Groups[name] == "" {
				if decision.Groups == nil {
					decision.Groups = map[string]string{}
				}
				decision.Groups[name] = subject
			}
		}
	}
}

// ReasonKinds returns reasons of an EarnedRole without the values in them, each kind once: a log must not hold attributes.
func ReasonKinds(reasons []string) (kinds []string) {
	for _, reason := range reasons {
		kind := reason
		if strings.HasPrefix(reason, reasonMember) {
			kind = "member of a group"
		} else if rest, isAttribute := strings.CutPrefix(reason, reasonAttribute); isAttribute {
			name, _, _ := strings.Cut(rest, " ")
			kind = reasonAttribute + name
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// sortGroups puts groups in the order of their names, so that the same memberships always give the same reasons.
func sortGroups(groups []Group) []Group {
	return slices.SortedFunc(slices.Values(groups), func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.DisplayName, b.DisplayName), cmp.Compare(a.ExternalID, b.ExternalID))
	})
}

func displayNames(groups []Group) []string {
	names := make([]string, len(groups))
	for i := range groups {
		names[i] = groups[i].DisplayName
	}
	return names
}
