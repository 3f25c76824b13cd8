package protocol

import (
	"strings"
)

// target is what a path names in a resource (RFC 7644 section 3.5.2, PATH).
type target struct {
	schema       *schema    // nil: an undeclared extension
	extension    string     // the extension's key in the resource; empty: core
	name         string     // the schema's spelling, or as written where unknown; empty: the whole schema
	attribute    *attribute // nil: unknown
	filter       *Filter    // bound to the attribute's elements; nil: none
	sub          string     // the schema's spelling, or as written where unknown; empty: the whole attribute
	subAttribute *attribute
}

func (t target) readOnly() bool {
	return t.attribute != nil && t.attribute.Mutability == ReadOnly ||
		t.subAttribute != nil && t.subAttribute.Mutability == ReadOnly
}

// String is the path as the schemas spell it, for error texts.
func (t target) String() string {
	var b strings.Builder
	if t.extension != "" {
		b.WriteString(t.extension + ":")
	}
	b.WriteString(t.name)
	if t.filter != nil {
		b.WriteString("[...]")
	}
	if t.sub != "" {
		b.WriteString("." + t.sub)
	}
	return b.String()
}

// target resolves a path: attribute, attribute.sub, attribute[filter], attribute[filter].sub, each also after "URN:" (or
// "URN." as Entra once wrote it), or a bare URN. The value helps to tell an unknown extension's URN from an attribute in it.
func (p *patcher) target(path string, value any) (target, error) {
	head, rest, hasFilter := strings.Cut(path, "[")
	t, err := p.head(strings.TrimSpace(head), value)
	if err != nil || !hasFilter {
		return t, err
	}
	open := len(head)
	if t.name == "" || t.sub != "" {
		return t, InvalidPath("character %d of the path: expected a filter only after an attribute", position(path, open))
	}
	if t.attribute != nil && !t.attribute.MultiValued {
		return t, InvalidPath("%s is not multi-valued: it takes no filter", t.name)
	}
	inner, end, err := parseValueFilter(path, len(path)-len(rest))
	if err != nil {
		return t, err
	}
	if t.filter, err = inner.bindElement(t.attribute); err != nil {
		return t, InvalidPath("%s", detailOf(err))
	}
	if end == len(path) {
		return t, nil
	}
	if path[end] != '.' || !validName(path[end+1:]) {
		return t, InvalidPath("character %d of the path: expected the end, or '.' and a sub-attribute", position(path, end))
	}
	return t.withSub(path[end+1:])
}

// head resolves the part of a path before any filter.
func (p *patcher) head(head string, value any) (target, error) {
	if strings.IndexByte(head, ':') < 0 {
		return p.set.within(p.set.core, head)
	}
	if found, rest := p.set.split(head); found != nil {
		return p.set.within(found, rest)
	}
	// An undeclared extension: one that the resource has, else the URN is what comes before the last colon.
	urn, rest := head, ""
	if _, isObject := value.(map[string]any); !isObject {
		urn, rest = head[:strings.LastIndexByte(head, ':')], head[strings.LastIndexByte(head, ':')+1:]
	}
	held := 0
	for key, value := range p.next.Attributes {
		if _, ok := value.(map[string]any); !ok || len(key) <= held || strings.IndexByte(key, ':') < 0 {
			continue
		}
		if len(head) == len(key) && strings.EqualFold(head, key) {
			urn, rest, held = key, "", len(key)
		} else if len(head) > len(key)+1 && strings.EqualFold(head[:len(key)], key) && (head[len(key)] == ':' || head[len(key)] == '.') {
			urn, rest, held = key, head[len(key)+1:], len(key)
		}
	}
	if strings.IndexByte(urn, ':') < 0 {
		// "emails:x": what is not a URN could be an attribute's name, and the attribute would be lost.
		return target{}, InvalidPath("character 1 of the path: expected an attribute name, or a schema's URN before the last ':'")
	}
	t := target{extension: urn}
	if rest == "" {
		return t, nil
	}
	return t.named(rest)
}

// within resolves attribute[.sub] in a known schema; empty means the whole schema.
func (s *SchemaSet) within(found *schema, rest string) (target, error) {
	t := target{schema: found}
	if found != s.core {
		t.extension = found.ID
	}
	if rest == "" && found != nil {
		return t, nil
	}
	if name, _, _ := strings.Cut(rest, "."); found == s.core && found.attribute(name) == nil && s.isManager(name) {
		t = target{schema: s.enterprise, extension: s.enterprise.ID}
	}
	return t.named(rest)
}

func (t target) named(text string) (target, error) {
	name, sub, hasSub := strings.Cut(text, ".")
	if !validName(name) {
		return t, InvalidPath("character 1 of %q: expected an attribute name", text)
	}
	t.name, t.attribute = name, t.schema.attribute(name)
	if t.attribute != nil {
		t.name = t.attribute.Name
	}
	if !hasSub {
		return t, nil
	}
	if !validName(sub) {
		return t, InvalidPath("character %d of %q: expected one sub-attribute name", len(name)+2, text)
	}
	return t.withSub(sub)
}

func (t target) withSub(sub string) (target, error) {
	t.sub = sub
	if t.attribute == nil {
		return t, nil
	}
	if t.subAttribute = t.attribute.sub(sub); t.subAttribute != nil {
		t.sub = t.subAttribute.Name
	} else if t.attribute.Type != TypeComplex {
		return t, InvalidPath("%s has no sub-attributes", t.name)
	}
	return t, nil
}
