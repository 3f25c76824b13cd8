package protocol

import (
	"encoding/json"
	"strings"
)

// What follows evaluates filters and sort orders over resources as Render wrote them, without building more of each than is
// asked for: a list looks at a hundred thousand of them.

// Scanner evaluates a bound filter over one rendered resource after the other. It is for one goroutine.
type Scanner struct {
	filter *Filter
	reader partReader
}

// Scanner returns one for a bound filter. ok is false where the filter asks for what is not in the bytes that a directory keeps:
// groups, or where in meta the base URL or the groups count. Matches over Complete then decides.
func (f *Filter) Scanner() (scanner *Scanner, ok bool) {
	if !f.bound {
		return nil, false
	}
	var references []reference
	visit(f.root, func(r reference) { references = append(references, r) })
	reader, ok := newPartReader(references)
	reader.leave = true
	return &Scanner{filter: f, reader: reader}, ok
}

// Matches is Filter.Matches over a resource as Render wrote it, without a projection.
func (s *Scanner) Matches(rendered []byte) bool {
	return s.filter.root.matches(s.reader.read(rendered))
}

// Keys takes keys from one rendered resource after the other. It is for one goroutine.
type Keys struct {
	sort   Sort
	reader partReader
}

// Keys returns one for a bound Sort. ok is false under the terms of Filter.Scanner: Sort.Key over Complete then gives the keys.
func (s Sort) Keys() (keys *Keys, ok bool) {
	if !s.bound {
		return nil, false
	}
	reader, ok := newPartReader([]reference{s.by})
	return &Keys{sort: s, reader: reader}, ok
}

// Of is Sort.Key of a resource as Render wrote it, without a projection.
func (k *Keys) Of(rendered []byte) SortKey { return k.sort.Key(k.reader.read(rendered)) }

// Schemas is what a bound Sort was bound to.
func (s Sort) Schemas() *SchemaSet { return s.by.set }

// Order identifies what a bound Sort orders by, and which way: equal for two that order alike among the resources of one
// schema set.
func (s Sort) Order() string {
	direction := "ascending "
	if s.descending {
		direction = "descending "
	}
	return direction + strings.Join([]string{s.by.extension, s.by.name, s.by.sub}, "\x00")
}

// partReader builds those top-level members of a rendered resource that some references look at.
type partReader struct {
	references []reference
	decisions  map[string]decision // of each key met
	part       map[string]any
	// leave objects and arrays unbuilt: reference.any reads them where they stand.
	leave bool
}

// unbuilt is an object or an array as it stands in a rendered resource.
type unbuilt []byte

// anyUnbuilt is anyValue.
func (r reference) anyUnbuilt(raw []byte, sub string, satisfies func(any) bool) bool {
	switch {
	case raw[0] == '[':
		for element := range rawElements(raw) {
			if r.anyUnbuilt(element, sub, satisfies) {
				return true
			}
		}
		return false
	case sub == "":
		return satisfies(rawValue(raw))
	case raw[0] != '{':
		return sub == "value" && satisfies(rawValue(raw))
	}
	value, ok := rawMember(raw, sub)
	return ok && r.anyUnbuilt(value, "", satisfies)
}

type decision struct {
	wanted bool
	// whole says that reference.find looks into the value.
	whole bool
	// settles is for how many references nothing else needs to be looked at once the key is found.
	settles int
}

func newPartReader(references []reference) (partReader, bool) {
	var all []reference
	for _, r := range references {
		if r.element {
			continue // inside a value filter, with an attribute that is another reference
		}
		if r.extension == "" && !keptInBytes(r) {
			return partReader{}, false
		}
		all = append(all, r)
		if r.fallback != nil {
			all = append(all, *r.fallback)
		}
	}
	return partReader{references: all, decisions: map[string]decision{}, part: map[string]any{}}, true
}

// keptInBytes says whether a core attribute's value is the same in every answer about a resource.
func keptInBytes(r reference) bool {
	switch {
	case strings.EqualFold(r.name, "groups"):
		return false
	case strings.EqualFold(r.name, "meta"):
		return strings.EqualFold(r.sub, "created") || strings.EqualFold(r.sub, "lastModified") || strings.EqualFold(r.sub, "resourceType")
	}
	return true
}

// read returns the part of a resource; the next call changes it.
func (p *partReader) read(rendered []byte) map[string]any {
	clear(p.part)
	open := len(p.references)
	for name, value := range rawMembers(rendered) {
		decided, known := p.decisions[string(name)]
		if !known {
			decided = p.decide(string(name))
			p.decisions[string(name)] = decided
		}
		if decided.wanted {
			if p.leave && !decided.whole && (value[0] == '{' || value[0] == '[') {
				p.part[string(name)] = unbuilt(value)
			} else {
				p.part[string(name)] = rawValue(value)
			}
			if open -= decided.settles; open == 0 {
				break
			}
		}
	}
	return p.part
}

// decide says whether reference.find can look at a member, and for how many references it looks no further.
func (p *partReader) decide(key string) (d decision) {
	for _, r := range p.references {
		name := r.name
		if r.extension != "" {
			name = r.extension
		}
		if key == name {
			d.settles++
		}
		container := r.extension == "" && strings.IndexByte(key, ':') >= 0 && r.set.isCoreContainer(key)
		d.wanted = d.wanted || container || strings.EqualFold(key, name)
		d.whole = d.whole || container || r.extension != ""
	}
	return d
}

// rawValue builds a value, with json.Number for numbers.
func rawValue(raw []byte) any {
	switch raw[0] {
	case '"':
		return string(unquoted(raw))
	case '{':
		object := map[string]any{}
		for name, value := range rawMembers(raw) {
			object[string(name)] = rawValue(value)
		}
		return object
	case '[':
		list := []any{}
		for element := range rawElements(raw) {
			list = append(list, rawValue(element))
		}
		return list
	case 't':
		return true
	case 'f':
		return false
	case 'n':
		return nil
	default:
		return json.Number(raw)
	}
}

// ReadRendered builds a resource from what Render wrote without a projection. It returns what Complete returned for the
// resource.
func ReadRendered(rendered []byte) map[string]any {
	attributes, _ := rawValue(rendered).(map[string]any)
	return attributes
}

// Unpack undoes what Complete did with Containers: the attributes of a resource that came from ReadRendered go back to where
// Attributes has them.
func (r Resource) Unpack() {
	for name, container := range r.Containers {
		object, ok := r.Attributes[container].(map[string]any)
		if !ok {
			continue
		}
		// An extension is in an object of its own, whatever it holds; a core attribute is in the core schema's.
		if strings.EqualFold(name, container) {
			delete(r.Attributes, container)
			r.Attributes[name] = object
		} else if value, inside := object[name]; inside {
			if delete(object, name); len(object) == 0 {
				delete(r.Attributes, container)
			}
			r.Attributes[name] = value
		}
	}
}
