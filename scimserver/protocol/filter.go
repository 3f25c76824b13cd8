package protocol

import (
	"slices"
	"strings"
)

// Limits of a filter.
const (
	MaxFilterLength  = 4096 // bytes
	MaxFilterNesting = 32   // parentheses, not and value filters inside each other
)

// Filter is a parsed filter (RFC 7644 section 3.4.2.2). It is immutable, and safe for concurrent use.
//
// Where an attribute is multi-valued, a comparison holds if it holds for one of the values; ne is the opposite of eq, so that it
// holds where the attribute is absent. "eq null" holds where the attribute is absent.
type Filter struct {
	root  expression
	bound bool
}

// expression is a node of a filter. subject is a complete resource, or an element inside a value filter.
type expression interface {
	matches(subject any) bool
	bind(b binder) (expression, error)
}

type (
	conjunction struct{ terms []expression }
	disjunction struct{ terms []expression }
	negation    struct{ term expression }
	// present is "attribute pr".
	present struct{ attribute reference }
	// comparison is "attribute operator value".
	comparison struct {
		attribute reference
		operator  string
		value     literal
	}
	// valueFilter is "attribute[filter]": one element satisfies the filter.
	valueFilter struct {
		attribute reference
		term      expression
		// candidates are the only values that an element can have to match, set when the filter is bound; nil where there are others.
		candidates []Lookup
	}
)

func (c conjunction) matches(subject any) bool {
	for _, term := range c.terms {
		if !term.matches(subject) {
			return false
		}
	}
	return true
}

func (d disjunction) matches(subject any) bool {
	for _, term := range d.terms {
		if term.matches(subject) {
			return true
		}
	}
	return false
}

func (n negation) matches(subject any) bool { return !n.term.matches(subject) }

func (p present) matches(subject any) bool { return p.attribute.any(subject, isPresent) }

func (v valueFilter) matches(subject any) bool {
	if set, ok := v.attribute.memberSet(subject); ok && v.candidates != nil {
		return slices.ContainsFunc(v.candidates, func(candidate Lookup) bool {
			member, ok := set.Member(candidate.Value)
			return ok && v.term.matches(member.element())
		})
	}
	return v.attribute.any(subject, v.term.matches)
}

// isPresent reports whether a value is neither null nor empty.
func isPresent(v any) bool {
	if object, ok := v.(map[string]any); ok {
		return len(object) > 0
	}
	return !isEmpty(v)
}

// Matches evaluates a bound filter over a complete resource, as Complete returns it. A filter that is not bound matches nothing.
func (f *Filter) Matches(attributes map[string]any) bool {
	return f.bound && f.root.matches(attributes)
}

// matchesElement evaluates a value filter over one element.
func (f *Filter) matchesElement(element any) bool { return f.root.matches(element) }

// Lookup is an equality that an index can answer.
type Lookup struct {
	// Attribute is "id", "externalId", "userName", "emails.value" or "groups.value" of a user, "id", "externalId",
	// "displayName" or "members.value" of a group.
	Attribute string
	Value     string // as in the filter; userName, displayName and emails.value compare by Fold, the others exactly
}

// Mentions reports whether the filter asks for a core attribute, by itself or by one of its sub-attributes, or for one
// sub-attribute, as in meta.version. Matches does not need what the filter does not mention. The name is the schema's
// spelling.
func (f *Filter) Mentions(attribute string) bool {
	attribute, sub, one := strings.Cut(attribute, ".")
	found := false
	visit(f.root, func(r reference) {
		found = found || !r.element && r.extension == "" && strings.EqualFold(r.name, attribute) &&
			(!one || r.sub == "" || strings.EqualFold(r.sub, sub))
	})
	return found
}

// visit calls f for every reference in an expression.
func visit(e expression, f func(reference)) {
	switch e := e.(type) {
	case conjunction:
		for _, term := range e.terms {
			visit(term, f)
		}
	case disjunction:
		for _, term := range e.terms {
			visit(term, f)
		}
	case negation:
		visit(e.term, f)
	case present:
		f(e.attribute)
	case comparison:
		f(e.attribute)
	case valueFilter:
		f(e.attribute)
		visit(e.term, f)
	}
}

// Lookups returns equalities such that every resource that a bound filter matches satisfies one of them; nil where there
// are none, and all resources must be looked at. Where exact is true, every resource that satisfies one of them matches;
// where it is false, Matches must decide about each.
func (f *Filter) Lookups() (lookups []Lookup, exact bool) {
	if !f.bound {
		return nil, false
	}
	return lookupsOf(f.root)
}

func lookupsOf(e expression) ([]Lookup, bool) {
	switch e := e.(type) {
	case comparison:
		if indexed := e.attribute.indexed(); indexed != "" && e.operator == "eq" && e.value.kind != literalNull {
			return []Lookup{{indexed, e.value.text}}, true
		}
	case disjunction:
		var all []Lookup
		exact := true
		for _, term := range e.terms {
			lookups, termExact := lookupsOf(term)
			if len(lookups) == 0 {
				return nil, false
			}
			for _, lookup := range lookups {
				if !slices.Contains(all, lookup) {
					all = append(all, lookup)
				}
			}
			exact = exact && termExact
		}
		return all, exact
	case conjunction:
		var best []Lookup
		for _, term := range e.terms {
			if lookups, _ := lookupsOf(term); len(lookups) > 0 && (best == nil || len(lookups) < len(best)) {
				best = lookups
			}
		}
		return best, false
	case valueFilter:
		return elementLookups(e)
	}
	return nil, false
}

// elementLookups handles emails[value eq "x"], alone or with other conditions on the element.
func elementLookups(v valueFilter) ([]Lookup, bool) {
	indexed := v.attribute.withSub("value").indexed()
	if v.attribute.attribute == nil || indexed == "" {
		return nil, false
	}
	lookups, exact := lookupsOf(v.term)
	for _, lookup := range lookups {
		if lookup.Attribute != "value" {
			return nil, false
		}
	}
	result := make([]Lookup, 0, len(lookups))
	for _, lookup := range lookups {
		result = append(result, Lookup{indexed, lookup.Value})
	}
	if len(result) == 0 {
		return nil, false
	}
	return result, exact
}

// indexed names the index for a bound reference; empty where there is none.
func (r reference) indexed() string {
	switch {
	case r.element:
		if r.name == "value" && r.sub == "" {
			return "value"
		}
	case r.extension != "" || r.attribute == nil:
	case r.name == "id", r.name == "externalId", r.name == r.set.naming:
		if r.sub == "" && r.set.writable() {
			return r.name
		}
	case r.sub != "value":
	case r.name == "emails", r.name == "groups", r.name == "members":
		return r.name + ".value"
	}
	return ""
}

// writable: a resource type that clients create, so that the directory has it in its indexes.
func (s *SchemaSet) writable() bool {
	naming := s.core.attribute(s.naming)
	return naming != nil && naming.Mutability != ReadOnly
}

// describedElement makes the element that a value filter describes, where it is an equality or a conjunction of equalities.
func (f *Filter) describedElement(a *attribute) (any, bool) {
	terms := []expression{f.root}
	if all, ok := f.root.(conjunction); ok {
		terms = all.terms
	}
	element := map[string]any{}
	for _, term := range terms {
		c, ok := term.(comparison)
		if !ok || c.operator != "eq" || c.value.kind == literalNull {
			return nil, false
		}
		value, err := coerce(c.attribute.attribute, c.value.json())
		if err != nil || value == nil {
			return nil, false
		}
		if held, twice := element[c.attribute.name]; twice && !equalValue(held, value) {
			return nil, false
		}
		element[c.attribute.name] = value
	}
	if a != nil && a.Type != TypeComplex {
		return element["value"], len(element) == 1 && element["value"] != nil
	}
	return element, true
}

// joined flattens nested conjunctions or disjunctions of one kind into one node.
func joined(terms []expression, conjunctive bool) expression {
	if len(terms) == 1 {
		return terms[0]
	}
	if conjunctive {
		return conjunction{terms}
	}
	return disjunction{terms}
}

// qualifier splits a reference as written at the last colon; urn is empty where there is none.
func qualifier(written string) (urn, name string) {
	if cut := strings.LastIndexByte(written, ':'); cut >= 0 {
		return written[:cut], written[cut+1:]
	}
	return "", written
}
