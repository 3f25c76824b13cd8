package protocol

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

type literalKind int

const (
	literalString literalKind = iota
	literalNumber
	literalBoolean
	literalNull
)

// literal is a comparison's value. compare is set when the filter is bound.
type literal struct {
	kind    literalKind
	text    string // without quotes
	compare comparator

	folded  string
	number  number
	time    time.Time
	boolean bool
}

// comparator says how the attribute's values are compared.
type comparator int

const (
	compareFolded comparator = iota
	compareExact
	compareNumber
	compareTime
	compareBoolean
	compareDynamic // by the type of the value found: no schema knows the attribute
)

func (l literal) json() any {
	switch l.kind {
	case literalNumber:
		return json.Number(l.text)
	case literalBoolean:
		return l.text == "true"
	case literalNull:
		return nil
	default:
		return l.text
	}
}

// reference names an attribute in a filter. Binding fills in everything after position.
type reference struct {
	written  string
	inPath   bool
	position int // in characters, from 1

	element      bool // relative to an element inside a value filter
	set          *SchemaSet
	extension    string // the extension's URN; empty: core
	name, sub    string
	attribute    *attribute // nil: unknown
	subAttribute *attribute
	// fallback is the attribute of an extension that an unqualified name stands for where no core attribute has it.
	fallback *reference
}

// compared is the attribute with the type that decides a comparison; nil where it is unknown.
func (r reference) compared() *attribute {
	switch {
	case r.sub != "":
		return r.subAttribute
	case r.fallback != nil:
		return r.fallback.compared()
	default:
		return r.attribute
	}
}

func (r reference) fail(format string, args ...any) error {
	text := fmt.Sprintf("character %d: %s: ", r.position, r.written) + fmt.Sprintf(format, args...)
	if r.inPath {
		return InvalidPath("%s", text)
	}
	return InvalidFilter("%s", text)
}

// any reports whether a value that the reference names in the subject satisfies the condition.
func (r reference) any(subject any, satisfies func(any) bool) bool {
	if r.element {
		return r.anyBelow(subject, satisfies)
	}
	resource, ok := subject.(map[string]any)
	if !ok {
		return false
	}
	value, ok := r.find(resource)
	if !ok {
		return r.fallback != nil && r.fallback.any(subject, satisfies)
	}
	return r.anyValue(value, r.sub, satisfies)
}

// anyBelow looks the reference's name up in one element; a plain element is its own value.
func (r reference) anyBelow(element any, satisfies func(any) bool) bool {
	object, ok := element.(map[string]any)
	if !ok {
		return strings.EqualFold(r.name, "value") && r.sub == "" && satisfies(element)
	}
	_, value, ok := member(object, r.name)
	return ok && r.anyValue(value, r.sub, satisfies)
}

// anyValue visits a value, or each value of an array, or that sub-attribute of them.
func (r reference) anyValue(value any, sub string, satisfies func(any) bool) bool {
	if raw, ok := value.(unbuilt); ok {
		return r.anyUnbuilt(raw, sub, satisfies)
	}
	if list, ok := value.([]any); ok {
		for _, element := range list {
			if r.anyValue(element, sub, satisfies) {
				return true
			}
		}
		return false
	}
	if set, ok := value.(MemberSet); ok {
		for member := range set.All() {
			if r.anyValue(member.element(), sub, satisfies) {
				return true
			}
		}
		return false
	}
	if sub == "" {
		return satisfies(value)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return sub == "value" && satisfies(value)
	}
	_, value, ok = member(object, sub)
	return ok && r.anyValue(value, "", satisfies)
}

// find gives the attribute's value in a complete resource: at its place, or in the container that it arrived in.
func (r reference) find(resource map[string]any) (any, bool) {
	if r.extension != "" {
		_, extension, _ := member(resource, r.extension)
		object, ok := extension.(map[string]any)
		if !ok {
			return nil, false
		}
		_, value, ok := member(object, r.name)
		return value, ok
	}
	if value, ok := resource[r.name]; ok {
		return value, true
	}
	if r.attribute == nil {
		if _, value, ok := member(resource, r.name); ok {
			return value, true
		}
	}
	for key, value := range resource {
		if strings.IndexByte(key, ':') < 0 || !r.set.isCoreContainer(key) {
			continue
		}
		if container, ok := value.(map[string]any); ok {
			if _, value, ok := member(container, r.name); ok {
				return value, true
			}
		}
	}
	return nil, false
}

// binder resolves references: in a resource, or in the elements of an attribute inside a value filter.
type binder struct {
	set     *SchemaSet
	element bool
	of      *attribute // the multi-valued attribute; nil where it is unknown
}

// Bind resolves the filter's attribute names for a resource type and decides how each comparison is made. It answers
// invalidFilter for comparisons that have no meaning, such as "active gt true".
func (f *Filter) Bind(s *SchemaSet) (*Filter, error) {
	root, err := f.root.bind(binder{set: s})
	if err != nil {
		return nil, err
	}
	return &Filter{root: root, bound: true}, nil
}

// bindElement binds a value filter to the elements of an attribute.
func (f *Filter) bindElement(of *attribute) (*Filter, error) {
	root, err := f.root.bind(binder{element: true, of: of})
	if err != nil {
		return nil, err
	}
	return &Filter{root: root, bound: true}, nil
}

func (c conjunction) bind(b binder) (expression, error) {
	terms, err := b.all(c.terms)
	return conjunction{terms}, err
}

func (d disjunction) bind(b binder) (expression, error) {
	terms, err := b.all(d.terms)
	return disjunction{terms}, err
}

func (n negation) bind(b binder) (expression, error) {
	term, err := n.term.bind(b)
	return negation{term}, err
}

func (b binder) all(terms []expression) ([]expression, error) {
	bound := make([]expression, 0, len(terms))
	for _, term := range terms {
		term, err := term.bind(b)
		if err != nil {
			return nil, err
		}
		bound = append(bound, term)
	}
	return bound, nil
}

func (p present) bind(b binder) (expression, error) {
	var err error
	p.attribute, err = b.resolve(p.attribute)
	return p, err
}

func (v valueFilter) bind(b binder) (expression, error) {
	attribute, err := b.resolve(v.attribute)
	if err != nil {
		return nil, err
	}
	of := attribute.attribute
	if attribute.sub != "" {
		return nil, attribute.fail("a value filter belongs after an attribute, not after a sub-attribute")
	}
	if attribute.fallback != nil {
		of = attribute.fallback.attribute
	}
	term, err := v.term.bind(binder{element: true, of: of})
	if err != nil {
		return nil, err
	}
	candidates, _ := lookupsOf(term)
	return valueFilter{attribute, term, candidates}, nil
}

func (c comparison) bind(b binder) (expression, error) {
	var err error
	if c.attribute, err = b.resolve(c.attribute); err != nil {
		return nil, err
	}
	if a := c.attribute.compared(); a != nil && a.Type == TypeComplex && c.value.kind != literalNull {
		if a.sub("value") == nil {
			return nil, c.attribute.fail("is complex: compare one of its sub-attributes")
		}
		c.attribute = c.attribute.withSub("value")
	}
	c.value, err = c.prepared()
	return c, err
}

func (r reference) withSub(sub string) reference {
	r.sub, r.subAttribute = sub, r.attribute.sub(sub)
	if r.fallback != nil {
		fallback := r.fallback.withSub(sub)
		r.fallback = &fallback
		r.subAttribute = fallback.subAttribute
	}
	return r
}

// resolve finds the attribute that a reference names.
func (b binder) resolve(r reference) (reference, error) {
	r.set, r.element = b.set, b.element
	if isPassword(r.written) {
		return r, r.fail("passwords cannot be filtered")
	}
	if b.element {
		return b.resolveElement(r)
	}
	var t target
	var err error
	if urn, name := qualifier(r.written); b.set.isOfAnotherType(urn) {
		// Absent in every resource of this type: a search over all types names attributes of one of them.
		t, err = target{extension: urn}.named(name)
	} else if found, rest := b.set.split(r.written); found != nil && rest != "" {
		t, err = b.set.within(found, rest)
	} else if urn, name := qualifier(r.written); urn != "" {
		t, err = target{extension: urn}.named(name)
	} else if strings.EqualFold(r.written, "email") && b.set.core.attribute("email") == nil {
		t, err = b.set.within(b.set.core, "emails.value")
	} else {
		t, err = b.set.within(b.set.core, r.written)
	}
	if err != nil {
		return r, r.fail("%s", detailOf(err))
	}
	r.extension, r.name, r.sub, r.attribute, r.subAttribute = t.extension, t.name, t.sub, t.attribute, t.subAttribute
	if t.extension == "" && t.attribute == nil {
		r.fallback = b.inExtension(r)
	}
	return r, nil
}

// isOfAnotherType reports whether a URN is the core schema of another resource type.
func (s *SchemaSet) isOfAnotherType(urn string) bool {
	for _, other := range []string{UserSchema, GroupSchema} {
		if strings.EqualFold(urn, other) && !strings.EqualFold(other, s.core.ID) {
			return true
		}
	}
	return false
}

// inExtension finds an unqualified name that no core attribute has in the known extensions.
func (b binder) inExtension(r reference) *reference {
	for _, e := range b.set.extensions {
		if a := e.attribute(r.name); a != nil {
			r.extension, r.name, r.attribute, r.subAttribute = e.ID, a.Name, a, a.sub(r.sub)
			return &r
		}
	}
	return nil
}

func (b binder) resolveElement(r reference) (reference, error) {
	name, sub, hasSub := strings.Cut(r.written, ".")
	if hasSub || strings.IndexByte(name, ':') >= 0 {
		return r, r.fail("expected a sub-attribute's name, such as type or value (found %q)", name+"."+sub)
	}
	r.name = name
	switch {
	case b.of == nil:
	case b.of.Type != TypeComplex:
		if !strings.EqualFold(name, "value") {
			return r, r.fail("the values of %s are plain: only value can be compared", b.of.Name)
		}
		plain := *b.of
		plain.MultiValued = false
		r.name, r.attribute = "value", &plain
	default:
		if r.attribute = b.of.sub(name); r.attribute != nil {
			r.name = r.attribute.Name
		}
	}
	return r, nil
}
