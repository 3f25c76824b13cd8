package protocol

import (
	"strings"
)

// MaxProjectionLength bounds the parameters attributes and excludedAttributes, each, in bytes.
const MaxProjectionLength = 4096

// Projection selects the attributes of an answer (RFC 7644 section 3.9). The zero value selects what is returned by default.
// id and schemas are always returned, a password never.
type Projection struct {
	// include and exclude hold lower-case names: attribute[.sub], after a URN and a colon where they were qualified. Core
	// attributes have lost their URN; "" stands for all of them.
	include, exclude []string
}

// ParseProjection reads the query parameters attributes and excludedAttributes: names separated by commas, in any letter case,
// with or without a URN. A value filter after a name is passed over. Names that no schema knows select nothing. Where both are given, what is excluded wins. The error is
// invalidValue.
func ParseProjection(attributes, excludedAttributes string) (Projection, error) {
	var p Projection
	var err error
	if p.include, err = parseNames("attributes", attributes); err != nil {
		return Projection{}, err
	}
	p.exclude, err = parseNames("excludedAttributes", excludedAttributes)
	if err != nil {
		return Projection{}, err
	}
	return p, nil
}

func parseNames(parameter, list string) ([]string, error) {
	if len(list) > MaxProjectionLength {
		return nil, InvalidValue("%s has %d bytes: at most %d are taken", parameter, len(list), MaxProjectionLength)
	}
	list, ok := withoutValueFilters(list)
	if !ok {
		return nil, InvalidValue("%s: a '[' has no ']'", parameter)
	}
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "" {
			continue
		}
		if strings.ContainsAny(name, " \t\r\n\"[]()") {
			return nil, InvalidValue("%s: expected attribute names separated by commas", parameter)
		}
		names = append(names, withoutCoreURN(name))
	}
	return names, nil
}

// withoutValueFilters drops the value filters of names: emails[type eq "work"] asks for emails. ok is false where a filter has no
// end.
func withoutValueFilters(list string) (names string, ok bool) {
	if strings.IndexByte(list, '[') < 0 {
		return list, true
	}
	var b strings.Builder
	inFilter, inString := false, false
	for i := 0; i < len(list); i++ {
		c := list[i]
		switch {
		case inString && c == '\\':
			i++
		case inFilter && c == '"':
			inString = !inString
		case inString:
		case c == '[' && !inFilter:
			inFilter = true
		case c == ']' && inFilter:
			inFilter = false
		case !inFilter:
			b.WriteByte(c)
		}
	}
	return b.String(), !inFilter
}

// withoutCoreURN strips a core schema's URN: ":User" or any other resource type's, and the spelling without one.
func withoutCoreURN(name string) string {
	rest, ok := strings.CutPrefix(name, coreSchemaPrefix)
	if !ok {
		return name
	}
	if rest == "" {
		return ""
	}
	if rest[0] != ':' {
		return name
	}
	if cut := strings.LastIndexByte(rest[1:], ':'); cut >= 0 {
		return rest[cut+2:]
	}
	if rest == ":user" || rest == ":group" {
		return ""
	}
	return rest[1:]
}

// IsZero reports whether the projection selects what is returned by default.
func (p Projection) IsZero() bool { return len(p.include) == 0 && len(p.exclude) == 0 }

// selection is what a list of names says about one attribute.
type selection struct {
	whole bool
	subs  []string // lower-case
}

func (s selection) none() bool { return !s.whole && len(s.subs) == 0 }

// selectCore looks a core-level attribute up in a list of names.
func selectCore(names []string, attribute string) selection {
	var s selection
	for _, name := range names {
		rest, ok := cutName(name, attribute)
		switch {
		case name == "", ok && rest == "":
			s.whole = true
		case ok && rest[0] == '.':
			s.subs = append(s.subs, rest[1:])
		}
	}
	return s
}

// selectExtension looks an extension's attribute up: by URN, by URN and name, or, where unqualified is true, by name alone.
func selectExtension(names []string, urn, attribute string, unqualified bool) selection {
	var s selection
	for _, name := range names {
		rest, ok := cutName(name, urn)
		if ok && rest == "" {
			s.whole = true
			continue
		}
		if ok {
			rest, ok = cutName(rest[1:], attribute)
		} else if unqualified {
			rest, ok = cutName(name, attribute)
		}
		switch {
		case ok && rest == "":
			s.whole = true
		case ok && rest[0] == '.':
			s.subs = append(s.subs, rest[1:])
		}
	}
	return s
}

// cutName cuts prefix off name where it ends there, or where ':' or '.' follows, in any letter case.
func cutName(name, prefix string) (rest string, ok bool) {
	if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
		return "", false
	}
	rest = name[len(prefix):]
	return rest, rest == "" || len(rest) > 1 && (rest[0] == ':' || rest[0] == '.')
}

// project applies the projection to one attribute's value; ok is false where nothing of it is returned. It copies what it
// changes.
func (p Projection) project(a *attribute, value any, included, excluded selection) (result any, ok bool) {
	returned := ReturnedDefault
	if a != nil {
		returned = a.Returned
	}
	switch returned {
	case ReturnedNever:
		return nil, false
	case ReturnedAlways:
		return value, true
	case ReturnedRequest:
		if included.none() {
			return nil, false
		}
	}
	if excluded.whole || len(p.include) > 0 && included.none() {
		return nil, false
	}
	if len(p.include) > 0 && !included.whole {
		value = filterSubs(value, func(name string) bool { return containsFold(included.subs, name) })
	}
	if len(excluded.subs) > 0 {
		value = filterSubs(value, func(name string) bool { return !containsFold(excluded.subs, name) })
	}
	return value, isPresent(value)
}

// filterSubs keeps some sub-attributes of an object, or of each object of an array.
func filterSubs(value any, keep func(name string) bool) any {
	switch value := value.(type) {
	case map[string]any:
		kept := make(map[string]any, len(value))
		for name, v := range value {
			if keep(name) {
				kept[name] = v
			}
		}
		return kept
	case []any:
		var kept []any
		for _, element := range value {
			if element := filterSubs(element, keep); isPresent(element) {
				kept = append(kept, element)
			}
		}
		return kept
	default:
		if keep("value") {
			return value
		}
		return nil
	}
}

func containsFold(names []string, name string) bool {
	for _, candidate := range names {
		if strings.EqualFold(candidate, name) {
			return true
		}
	}
	return false
}
