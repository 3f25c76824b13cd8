package protocol

import (
	"errors"
	"slices"
	"strings"
)

func (g *groupPatchReader) step(op MembershipOp, ids []string) {
	if len(ids) > 0 || op == ReplaceAllMembers || op == ClearMembers {
		g.patch.Steps = append(g.patch.Steps, MembershipStep{Op: op, IDs: ids})
	}
}

// membership reads an operation on members. implicit: the path is a key of a path-less value.
func (g *groupPatchReader) membership(o operation, raw []byte, implicit bool) error {
	if o.op != opRemove && !o.hasValue {
		return InvalidValue("%s needs a value", o.op)
	}
	t, err := (&patcher{set: g.patch.set, next: &Resource{}}).target(o.path, nil)
	if err != nil {
		return err
	}
	switch {
	case t.sub != "":
		return g.subAttribute(o, t, raw)
	case t.filter != nil && o.op == opRemove:
		g.removeWhere(t.filter)
		return nil
	case t.filter != nil:
		return g.selected(o, t, raw)
	case o.op == opRemove:
		return g.remove(raw)
	case isEmptyRaw(raw) && (implicit || o.op == opAdd):
		return nil
	}
	ids, err := membersOf(raw)
	if err != nil {
		return err
	}
	if o.op == opAdd {
		g.step(AddMembers, ids)
	} else {
		g.step(ReplaceAllMembers, ids)
	}
	return nil
}

// remove reads "remove members": with a list only those, without one all.
func (g *groupPatchReader) remove(raw []byte) error {
	if isEmptyRaw(raw) {
		g.step(ClearMembers, nil)
		return nil
	}
	removed := newMemberList()
	take := func(element []byte) error {
		// A nested group cannot be a member: there is nothing to remove. But an element without an id is refused: the client
		// may have meant to end a user's access.
		id, nested, err := readMember(element)
		switch {
		case err != nil:
			return within("members", err)
		case nested:
			return nil
		case id == "":
			return InvalidValue("members: an element of the value names no member to remove")
		}
		return removed.add(element)
	}
	if err := eachElement(raw, take); err != nil {
		return err
	}
	g.step(RemoveMembers, removed.ids)
	return nil
}

// membersOf reads the ids of a value: an array, or one member.
func membersOf(raw []byte) ([]string, error) {
	members := newMemberList()
	if isEmptyRaw(raw) {
		return members.ids, nil
	}
	err := eachElement(raw, members.add)
	if err != nil && raw[0] != '[' {
		// One value, without brackets: it has no index.
		var e *typeError
		if errors.As(err, &e) {
			e.path = strings.TrimPrefix(strings.TrimPrefix(e.path, "[0]"), ".")
		}
	}
	return members.ids, within("members", err)
}

// removeWhere reads "remove members[...]". Most filters name ids; what they say beyond that is known, as all members are users.
func (g *groupPatchReader) removeWhere(filter *Filter) {
	ids, exact := filter.memberIDs()
	switch {
	case exact:
		g.step(RemoveMembers, ids)
	case ids != nil && len(ids) == 0:
	case ids != nil && !filter.asksBeyond("value", "type"):
		g.step(RemoveMembers, slices.DeleteFunc(ids, func(id string) bool {
			return !filter.matchesElement(Member{ID: id}.element())
		}))
	default:
		g.patch.Steps = append(g.patch.Steps, MembershipStep{Op: RemoveMembersWhere, IDs: ids, filter: filter})
	}
}

// memberIDs lists the only ids that a filter on members can match; nil where it can match others. exact is true where it matches
// all of them.
func (f *Filter) memberIDs() (ids []string, exact bool) {
	lookups, exact := lookupsOf(f.root)
	if len(lookups) == 0 {
		return nil, false
	}
	ids = make([]string, 0, len(lookups))
	for _, lookup := range lookups {
		if lookup.Value != "" { // no user has it
			ids = append(ids, lookup.Value)
		}
	}
	return ids, exact
}

// asksBeyond reports whether a bound value filter names another sub-attribute than those given.
func (f *Filter) asksBeyond(names ...string) bool {
	beyond := false
	visit(f.root, func(r reference) { beyond = beyond || !slices.Contains(names, r.name) })
	return beyond
}

// selected reads add and replace on "members[...]". A member has nothing that could be changed: what is left is to add the one
// that the filter names.
func (g *groupPatchReader) selected(o operation, t target, raw []byte) error {
	ids, exact := t.filter.memberIDs()
	if !exact || len(ids) == 0 {
		return NoTarget("%s: name the members by value to add or replace them", t)
	}
	if isEmptyRaw(raw) || isEmptyArray(raw) {
		if o.op == opReplace {
			g.step(RemoveMembers, ids)
		}
		return nil
	}
	check := func(element []byte) error {
		if element[0] == '{' {
			if fields := readMemberFields(element); fields.value == nil && fields.ref == nil && fields.kind == nil {
				return nil // display alone
			}
		}
		id, nested, err := readMember(element)
		switch {
		case err != nil:
			return within("members", err)
		case nested:
			return InvalidValue("members: %s", nestedGroups)
		case id != "" && !slices.Contains(ids, id):
			return Mutability("members.value is immutable: remove the member and add the other")
		}
		return nil
	}
	if err := eachElement(raw, check); err != nil {
		return err
	}
	if o.op == opAdd {
		g.step(AddMembers, ids)
	}
	return nil
}

// subAttribute reads an operation on a sub-attribute of members. All of them follow from the member's id: setting one is
// accepted, as clients mirror what they know, and has no effect.
func (g *groupPatchReader) subAttribute(o operation, t target, raw []byte) error {
	switch {
	case t.subAttribute == nil:
		return InvalidPath("%s: members have value, $ref, type and display", t)
	case o.op == opRemove && t.sub == "value":
		return Mutability("members.value is immutable: remove the member instead")
	case o.op == opRemove:
		return nil
	case t.sub == "type":
		if kind, err := optionalText("type", raw); err != nil || strings.EqualFold(kind, memberTypeGroup) {
			return InvalidValue("members.type: %s", nestedGroups)
		}
		return nil
	case t.sub != "value":
		return nil
	}
	given, err := membersOf(raw)
	if err != nil {
		return err
	}
	if t.filter == nil && o.op == opAdd {
		g.step(AddMembers, given)
		return nil
	}
	if t.filter != nil {
		if ids, exact := t.filter.memberIDs(); exact && slices.Equal(ids, given) {
			return nil
		}
	}
	return Mutability("members.value is immutable: remove the member and add the other")
}

// eachElement visits the elements of an array, or the only value.
func eachElement(raw []byte, visit func([]byte) error) error {
	if raw[0] != '[' {
		return visit(raw)
	}
	for element := range rawElements(raw) {
		if err := visit(element); err != nil {
			return err
		}
	}
	return nil
}
