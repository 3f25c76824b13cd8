package protocol

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of one PATCH request.
const (
	MaxPatchOperations = 1000
	MaxPathLength      = 4096 // bytes
)

type patchOp string

const (
	opAdd     patchOp = "add"
	opReplace patchOp = "replace"
	opRemove  patchOp = "remove"
)

type operation struct {
	index    int // in the request
	op       patchOp
	path     string // empty: none
	value    any
	hasValue bool
}

// ApplyPatch applies a PatchOp message (RFC 7644 section 3.5.2) to a copy of current: all of its operations, or none. changed
// is false where the result equals current. Errors are invalidSyntax (not a PatchOp message), invalidPath, noTarget,
// invalidValue and mutability, each with the operation's index, or 413 beyond MaxPatchOperations.
func (s *SchemaSet) ApplyPatch(current Resource, body []byte) (next Resource, changed bool, err error) {
	operations, err := parsePatch(body)
	if err != nil {
		return current, false, err
	}
	return s.applyOperations(current, operations)
}

// applyOperations applies all operations to a copy of current, or none. It uses up their values.
func (s *SchemaSet) applyOperations(current Resource, operations []operation) (next Resource, changed bool, err error) {
	next = current.DeepCopy()
	if next.Attributes == nil {
		next.Attributes = map[string]any{}
	}
	p := patcher{set: s, next: &next}
	for _, operation := range operations {
		if err := p.apply(operation); err != nil {
			return current, false, atOperation(operation.index, invalid(err))
		}
	}
	next.prune()
	if err := s.checkImmutable(current, next); err != nil {
		return current, false, err
	}
	if err := checkGrowth(current, next); err != nil {
		return current, false, err
	}
	return next, !sameResource(current, next), nil
}

func atOperation(i int, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return &Error{Status: e.Status, ScimType: e.ScimType, Detail: fmt.Sprintf("Operations[%d]: %s", i, e.Detail)}
}

func sameResource(a, b Resource) bool {
	if len(a.Attributes) != len(b.Attributes) || len(a.Containers) != len(b.Containers) {
		return false
	}
	for name, container := range a.Containers {
		if b.Containers[name] != container {
			return false
		}
	}
	return len(a.Attributes) == 0 || equalValue(a.Attributes, b.Attributes)
}

// checkImmutable refuses a change of an immutable attribute that has a value.
func (s *SchemaSet) checkImmutable(current, next Resource) error {
	check := func(found *schema, before, after map[string]any) error {
		for i := range found.Attributes {
			a := &found.Attributes[i]
			if old, ok := before[a.Name]; ok && a.Mutability == Immutable && !equalValue(old, after[a.Name]) {
				return Mutability("%s is immutable", a.Name)
			}
		}
		return nil
	}
	if err := check(s.core, current.Attributes, next.Attributes); err != nil {
		return err
	}
	for _, e := range s.extensions {
		before, _ := current.Attributes[e.ID].(map[string]any)
		after, _ := next.Attributes[e.ID].(map[string]any)
		if err := check(e, before, after); err != nil {
			return err
		}
	}
	return nil
}

func parsePatch(body []byte) ([]operation, error) {
	message, err := parseObject(body, MaxDepth+patchLevels)
	if err != nil {
		return nil, err
	}
	_, value, ok := member(message, "Operations")
	list, isList := value.([]any)
	if !ok || !isList {
		return nil, InvalidSyntax("a PATCH body needs Operations, an array")
	}
	if len(list) > MaxPatchOperations {
		return nil, tooManyOperations(len(list))
	}
	operations := make([]operation, 0, len(list))
	for i, element := range list {
		parsed, err := parseOperation(element)
		if err != nil {
			return nil, atOperation(i, err)
		}
		parsed.index = i
		operations = append(operations, parsed)
	}
	return operations, nil
}

func tooManyOperations(n int) error {
	return PayloadTooLarge("%d operations: at most %d are taken in one PATCH", n, MaxPatchOperations)
}

func parseOperation(element any) (operation, error) {
	var parsed operation
	object, ok := element.(map[string]any)
	if !ok {
		return parsed, InvalidSyntax("expected an object, received %s", kindOf(element))
	}
	_, value, _ := member(object, "op")
	op, ok := value.(string)
	if !ok {
		return parsed, InvalidSyntax("op is missing or not a string: expected add, replace or remove")
	}
	switch parsed.op = patchOp(strings.ToLower(strings.TrimSpace(op))); parsed.op {
	case opAdd, opReplace, opRemove:
	default:
		return parsed, InvalidSyntax("op is none of add, replace, remove")
	}
	if _, value, _ = member(object, "path"); value != nil {
		if parsed.path, ok = value.(string); !ok {
			return parsed, InvalidPath("path is %s: expected a string", kindOf(value))
		}
	}
	if len(parsed.path) > MaxPathLength {
		return parsed, InvalidPath("the path has %d bytes: at most %d are taken", len(parsed.path), MaxPathLength)
	}
	parsed.path = strings.TrimSpace(parsed.path)
	_, parsed.value, parsed.hasValue = member(object, "value")
	return parsed, nil
}

// patcher applies operations to next, which it owns.
type patcher struct {
	set  *SchemaSet
	next *Resource
	// stated is decoder.stated, and inactive says that active was false somewhere, in the value of the present operation.
	stated   map[string]int
	inactive bool
}

func (p *patcher) apply(o operation) error {
	if o.path == "" {
		return p.withoutPath(o)
	}
	if isPassword(o.path) {
		return nil
	}
	if o.op != opRemove && !o.hasValue {
		return InvalidValue("%s needs a value", o.op)
	}
	t, err := p.target(o.path, o.value)
	if err != nil {
		return err
	}
	if t.name == "" {
		return p.wholeSchema(o.op, t, o.value)
	}
	if t.readOnly() {
		if t.name == "schemas" && t.extension == "" {
			return nil // follows from the attributes: what a client makes of it is of no consequence
		}
		return Mutability("%s is read-only", t)
	}
	return p.change(o.op, t, o.value)
}

func (p *patcher) withoutPath(o operation) error {
	object, ok := o.value.(map[string]any)
	if err := checkWithoutPath(o, ok); err != nil {
		return err
	}
	p.stated, p.inactive = map[string]int{}, false
	return p.members(o.op, object, "", 0)
}

func checkWithoutPath(o operation, isObject bool) error {
	switch {
	case o.op == opRemove:
		return NoTarget("remove needs a path")
	case !o.hasValue:
		return InvalidValue("%s needs a value", o.op)
	case !isObject:
		return InvalidValue("%s without a path needs an object as its value, received %s", o.op, kindOf(o.value))
	}
	return nil
}

// members applies each member of a path-less value as if its key were the path. Read-only attributes are ignored: Okta sends
// the resource's id along. What stands in containers of the core schema counts as DecodeUser says; depth counts them.
func (p *patcher) members(op patchOp, object map[string]any, container string, depth int) error {
	for _, key := range p.set.ordered(object) {
		if key == "" {
			continue
		}
		if err := p.member(op, key, object[key], container, depth); err != nil {
			return err
		}
	}
	return nil
}

func (p *patcher) member(op patchOp, key string, value any, container string, depth int) error {
	inner, isObject := value.(map[string]any)
	if strings.IndexByte(key, ':') >= 0 {
		found, rest := p.set.split(key)
		switch {
		case found == p.set.core && rest == "" && isObject:
			return p.members(op, inner, key, depth+1)
		case found == p.set.core && rest == "" && isEmpty(value):
			return nil
		case found == p.set.core && rest == "":
			return InvalidValue("%s: expected an object, received %s", key, kindOf(value))
		case found != nil && rest == "":
			if isObject && key != found.ID {
				p.next.remember(found.ID, key)
			}
			return p.wholeExtension(op, found, found.ID, value, true)
		case isObject && (found == nil || !found.owns(rest, true)):
			return p.wholeExtension(op, nil, p.heldKey(key), value, true)
		}
	}
	t, err := p.memberTarget(key, value)
	if err != nil {
		return err
	}
	if !p.counts(t, value, depth) {
		return nil
	}
	if err := p.implicit(op, t, value); err != nil {
		return err
	}
	if container != "" && t.extension == "" && t.attribute != nil && t.attribute.declared && !t.attribute.standard {
		if _, held := p.next.Attributes[t.name]; held {
			p.next.remember(t.name, container)
		}
	}
	return nil
}

// counts reports whether what a value says of an attribute of RFC 7643's core schema counts: a false for active always does,
// and a copy in a deeper container never.
func (p *patcher) counts(t target, value any, depth int) bool {
	if t.extension != "" || t.attribute == nil || !t.attribute.standard || t.sub != "" || t.filter != nil {
		return true
	}
	before, stated := p.stated[t.name]
	if !stated {
		p.stated[t.name] = depth
	}
	if t.attribute.isActive() {
		if coerced, err := coerce(t.attribute, value); err == nil && coerced == false {
			p.inactive = true
			return true
		}
		if p.inactive {
			return false
		}
	}
	return !stated || before >= depth
}

// memberTarget reads a key as a path. A key that is no path, or that the resource has as it is, is an unknown attribute's name.
func (p *patcher) memberTarget(key string, value any) (target, error) {
	if p.set.core.attribute(key) == nil {
		if held, _, ok := member(p.next.Attributes, key); ok && p.set.extension(held) == nil {
			return target{name: held}, nil
		}
	}
	t, err := p.target(key, value)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.ScimType == "invalidPath" {
			return target{name: key}, nil
		}
		return t, err
	}
	if t.name == "" {
		return target{name: key}, nil
	}
	return t, nil
}

// implicit changes an attribute that no explicit path named: where it is read-only, nothing happens.
func (p *patcher) implicit(op patchOp, t target, value any) error {
	if t.readOnly() {
		return nil
	}
	return p.change(op, t, value)
}

// heldKey is the resource's own spelling of an undeclared extension's URN, or the URN as given.
func (p *patcher) heldKey(urn string) string {
	if held, value, ok := member(p.next.Attributes, urn); ok {
		if _, isObject := value.(map[string]any); isObject {
			return held
		}
	}
	return urn
}

// wholeSchema applies an operation with a bare URN as path.
func (p *patcher) wholeSchema(op patchOp, t target, value any) error {
	if t.schema != p.set.core {
		return p.wholeExtension(op, t.schema, t.extension, value, op == opAdd)
	}
	object, ok := value.(map[string]any)
	switch {
	case op == opRemove:
		return Mutability("the core schema cannot be removed")
	case !ok:
		return InvalidValue("the value of a schema URN must be an object, received %s", kindOf(value))
	}
	p.stated, p.inactive = map[string]int{}, false
	return p.members(op, object, "", 0)
}

// wholeExtension removes, sets or (merge) extends everything under an extension's URN.
func (p *patcher) wholeExtension(op patchOp, found *schema, key string, value any, merge bool) error {
	object, ok := value.(map[string]any)
	switch {
	case op == opRemove, op == opReplace && isEmpty(value):
		delete(p.next.Attributes, key)
		return nil
	case isEmpty(value):
		return nil
	case !ok:
		return InvalidValue("%s: expected an object, received %s", key, kindOf(value))
	}
	if !merge {
		delete(p.next.Attributes, key)
	}
	for _, name := range found.ordered(object) {
		t := target{schema: found, extension: key, name: name, attribute: found.attribute(name)}
		if t.attribute != nil {
			t.name = t.attribute.Name
		}
		if err := p.implicit(op, t, object[name]); err != nil {
			return err
		}
	}
	return nil
}
