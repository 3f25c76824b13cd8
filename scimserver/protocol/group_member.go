package protocol

import (
	"bytes"
	"iter"
	"strconv"
	"strings"
)

const (
	memberTypeUser  = "User"
	memberTypeGroup = "Group"

	nestedGroups = "nested groups are not supported: members are users"
)

// Member is one member of a group, as the server knows it. Only ID is needed.
type Member struct {
	ID      string
	Display string // the userName
	Ref     string // $ref; empty: left out, or made from the group's location where a group is rendered
}

// element is the member as filters run on it.
func (m Member) element() map[string]any {
	element := map[string]any{"value": m.ID, "type": memberTypeUser}
	if m.Display != "" {
		element["display"] = m.Display
	}
	if m.Ref != "" {
		element["$ref"] = m.Ref
	}
	return element
}

// MemberSet is a group's members for filters, which ask for one of them without going through all where they can.
type MemberSet interface {
	// Member finds a member by its id.
	Member(id string) (Member, bool)
	// All visits every member once.
	All() iter.Seq[Member]
}

// CompleteGroup is Complete with the group's members, for filters. A nil set is a group without members; Filter.Mentions says
// whether it matters.
func (s *SchemaSet) CompleteGroup(r Resource, m Meta, members MemberSet) map[string]any {
	complete := s.complete(r, m, Projection{})
	if members != nil {
		complete["members"] = members
	}
	return complete
}

// memberSet finds the members in a complete group, where the reference names them.
func (r reference) memberSet(subject any) (MemberSet, bool) {
	if r.element || r.extension != "" || r.name != "members" {
		return nil, false
	}
	resource, _ := subject.(map[string]any)
	set, ok := resource["members"].(MemberSet)
	return set, ok
}

// rawMemberFields are the sub-attributes that a client sent for one member; nil where one is absent.
type rawMemberFields struct{ value, ref, kind []byte }

func readMemberFields(object []byte) rawMemberFields {
	var fields rawMemberFields
	for name, value := range rawMembers(object) {
		switch {
		case bytes.EqualFold(name, []byte("value")):
			fields.value = value
		case bytes.EqualFold(name, []byte("$ref")):
			fields.ref = value
		case bytes.EqualFold(name, []byte("type")):
			fields.kind = value
		}
	}
	return fields
}

// readMember reads one member: an object, or its id alone. id is empty where the client sent an empty one. Without a value,
// $ref names the member by its last segment.
func readMember(raw []byte) (id string, nested bool, err error) {
	if isDeep(raw) {
		if err := checkRawDepth(raw, MaxDepth-2); err != nil {
			return "", false, err
		}
	}
	switch raw[0] {
	case '[':
		return "", false, &typeError{problem: "expected an object or a string, received an array"}
	case '{':
	default:
		id, err = rawText(raw)
		return id, false, err
	}
	fields := readMemberFields(raw)
	kind, err := optionalText("type", fields.kind)
	if err != nil {
		return "", false, err
	}
	ref, err := optionalText("$ref", fields.ref)
	if err != nil {
		return "", false, err
	}
	referred, endpoint := splitReference(ref)
	nested = strings.EqualFold(kind, memberTypeGroup) || kind == "" && strings.EqualFold(endpoint, "Groups")
	switch {
	case fields.value != nil:
		if id, err = rawText(fields.value); err != nil {
			err = within("value", err)
		}
	case referred != "":
		id = referred
	case !isEmptyObject(raw):
		err = &typeError{path: "value", problem: "is required"}
	}
	return id, nested, err
}

func optionalText(name string, raw []byte) (string, error) {
	if raw == nil {
		return "", nil
	}
	text, err := rawText(raw)
	if err != nil {
		return "", within(name, err)
	}
	return text, nil
}

func isEmptyObject(raw []byte) bool { return raw[skipTo(raw, 1)] == '}' }

// splitReference takes the id and the endpoint from ".../Users/id".
func splitReference(ref string) (id, endpoint string) {
	rest, id, ok := cutLast(strings.TrimRight(ref, "/"), "/")
	if !ok || strings.ContainsAny(id, "?#") {
		return "", ""
	}
	if _, endpoint, ok = cutLast(rest, "/"); !ok {
		endpoint = rest
	}
	return id, endpoint
}

func cutLast(s, separator string) (before, after string, found bool) {
	if at := strings.LastIndex(s, separator); at >= 0 {
		return s[:at], s[at+len(separator):], true
	}
	return "", s, false
}

// memberList collects ids, each once, in the order in which they came.
type memberList struct {
	ids  []string
	seen map[string]struct{}
	read int // elements so far
}

func newMemberList() *memberList {
	return &memberList{ids: []string{}, seen: map[string]struct{}{}}
}

// add reads one more element. Empty ones do not count. Errors carry the element's index.
func (l *memberList) add(raw []byte) error {
	id, nested, err := readMember(raw)
	if err == nil && nested {
		err = &typeError{problem: nestedGroups}
	}
	if err != nil {
		return within("["+strconv.Itoa(l.read)+"]", err)
	}
	l.read++
	if id == "" {
		return nil
	}
	if _, twice := l.seen[id]; !twice {
		l.seen[id] = struct{}{}
		l.ids = append(l.ids, id)
	}
	return nil
}
