package protocol

import (
	"encoding/json"
	"slices"
	"strings"
)

// GroupPatch is a PATCH of a group in two parts: the changes of the membership, and the changes of the other attributes.
// Neither part needs the group's members at hand.
//
// A PATCH takes effect as a whole or not at all: call ApplyAttributes, which can still refuse, before the first step is
// done.
type GroupPatch struct {
	// Steps are in the order of the operations.
	Steps []MembershipStep

	set        *SchemaSet
	attributes []operation
}

// HasAttributes reports whether any operation is about something else than members.
func (p *GroupPatch) HasAttributes() bool { return len(p.attributes) > 0 }

// ApplyAttributes applies the operations that are not about members to a copy of current, with the errors of ApplyPatch. It
// can be called again and again.
func (p *GroupPatch) ApplyAttributes(current Resource) (next Resource, changed bool, err error) {
	operations := slices.Clone(p.attributes)
	for i := range operations {
		operations[i].value = copyValue(operations[i].value)
	}
	return p.set.applyOperations(current, operations)
}

// ParseGroupPatch reads a PatchOp message for a group. Errors are those of ApplyPatch, each with the operation's index:
// invalidValue for a member that is a group or has no id, mutability for another id in place of a member's.
//
// For members, null as the value of the path means none, and a null inside a value without a path means nothing: clients that
// write out every field they know send it with a rename.
func (s *SchemaSet) ParseGroupPatch(body []byte) (*GroupPatch, error) {
	if err := checkObject(body); err != nil {
		return nil, err
	}
	list, ok := rawMember(body, "Operations")
	if !ok || list[0] != '[' {
		return nil, InvalidSyntax("a PATCH body needs Operations, an array")
	}
	reader := groupPatchReader{patch: &GroupPatch{set: s}}
	for element := range rawElements(list) {
		if reader.index == MaxPatchOperations {
			return nil, PayloadTooLarge("more than %d operations: that many are taken in one PATCH", MaxPatchOperations)
		}
		if err := reader.operation(element); err != nil {
			return nil, atOperation(reader.index, invalid(err))
		}
		reader.index++
	}
	return reader.patch, nil
}

// groupPatchReader splits each operation into its membership part and the rest.
type groupPatchReader struct {
	patch *GroupPatch
	index int // of the operation
	size  int // bytes of attribute values so far
	// stated says that the present value has members at top level: those in its containers do not count then.
	stated bool
}

func (g *groupPatchReader) operation(element []byte) error {
	if element[0] != '{' {
		return InvalidSyntax("expected an object, received %s", kindOfRaw(element))
	}
	// The value stays as it is: it can be a hundred thousand members.
	fields := map[string]any{}
	for name, raw := range rawMembers(element) {
		key := string(name)
		if strings.EqualFold(key, "value") {
			fields[key] = json.RawMessage(raw)
			continue
		}
		value, err := g.parsed(key, raw)
		if err != nil {
			return err
		}
		if fields[key] = value; len(fields) > MaxMembers {
			return tooManyMembers(len(fields))
		}
	}
	o, err := parseOperation(fields)
	if err != nil {
		return err
	}
	raw, _ := o.value.(json.RawMessage)
	o.index = g.index
	switch set := g.patch.set; {
	case o.path == "":
		if err := g.checkWithoutPath(o, raw); err != nil {
			return err
		}
		return g.withoutPath(o, raw)
	case set.isCoreContainer(o.path) && o.op != opRemove && len(raw) > 0 && raw[0] == '{':
		return g.withoutPath(o, raw)
	case isPassword(o.path):
		return nil
	case set.inMembers(o.path):
		return g.membership(o, raw, false)
	default:
		return g.attribute(o, raw)
	}
}

// inMembers reports whether a path is the attribute members, or begins with it.
func (s *SchemaSet) inMembers(path string) bool {
	head, _, _ := strings.Cut(path, "[")
	head = strings.TrimSpace(head)
	if strings.IndexByte(head, ':') >= 0 {
		found, rest := s.split(head)
		if found != s.core {
			return false
		}
		head = rest
	}
	name, _, _ := strings.Cut(head, ".")
	return strings.EqualFold(name, "members")
}

func (g *groupPatchReader) checkWithoutPath(o operation, raw []byte) error {
	isObject := len(raw) > 0 && raw[0] == '{'
	if !isObject && len(raw) > 0 {
		value, err := g.parsed("value", raw)
		if err != nil {
			return err
		}
		o.value = value
	}
	return checkWithoutPath(o, isObject)
}

// parsed builds a value that is not a list of members. Its name begins the path in errors.
func (g *groupPatchReader) parsed(name string, raw []byte) (any, error) {
	if g.size += len(raw); g.size > MaxGroupAttributes {
		return nil, PayloadTooLarge("the operations, members apart, have more than %d bytes", MaxGroupAttributes)
	}
	value, err := parseJSON(raw)
	if err != nil {
		return nil, malformed(err)
	}
	if err := admit(value, MaxDepth); err != nil {
		return nil, within(name, err)
	}
	return value, nil
}

func (g *groupPatchReader) attribute(o operation, raw []byte) error {
	o.value = nil
	if len(raw) > 0 {
		value, err := g.parsed("value", raw)
		if err != nil {
			return err
		}
		o.value = value
	}
	g.patch.attributes = append(g.patch.attributes, o)
	return nil
}

// withoutPath takes the members out of a path-less value, and keeps the rest.
func (g *groupPatchReader) withoutPath(o operation, raw []byte) error {
	g.stated = false
	for name := range rawMembers(raw) {
		g.stated = g.stated || strings.EqualFold(string(name), "members")
	}
	rest, err := g.rest(o, raw, 0)
	if err != nil || len(rest) == 0 {
		return err
	}
	o.path, o.value = "", rest
	g.patch.attributes = append(g.patch.attributes, o)
	return nil
}

func (g *groupPatchReader) rest(o operation, object []byte, depth int) (map[string]any, error) {
	if depth > maxContainerDepth {
		return nil, InvalidSyntax("more than %d containers of the core schema are inside each other", maxContainerDepth)
	}
	rest := map[string]any{}
	for name, raw := range rawMembers(object) {
		var err error
		switch key := string(name); {
		case isPassword(key), g.stated && depth > 0 && strings.EqualFold(key, "members"):
		case g.patch.set.inMembers(key):
			o.path, o.hasValue = strings.TrimSpace(key), true
			err = g.membership(o, raw, true)
		case g.patch.set.isCoreContainer(key) && raw[0] == '{':
			rest[key], err = g.rest(o, raw, depth+1)
		default:
			rest[key], err = g.parsed(key, raw)
		}
		if err != nil {
			return nil, err
		}
		if len(rest) > MaxMembers {
			return nil, tooManyMembers(len(rest))
		}
	}
	return rest, nil
}
