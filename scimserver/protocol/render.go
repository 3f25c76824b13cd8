package protocol

import (
	"slices"
	"strings"
	"time"
)

// Meta is what the server knows about a resource and no client sets (RFC 7643 section 3.1). Empty fields are left out.
type Meta struct {
	ResourceType          string // empty: the schema set's
	ID, Location, Version string
	Created, LastModified time.Time
	// Groups are those that a user is in directly, for the read-only attribute groups (RFC 7643 section 4.1.2).
	Groups []GroupReference
}

// timeFormat is xsd:dateTime in UTC, with milliseconds where there are any.
const timeFormat = "2006-01-02T15:04:05.999Z07:00"

// Complete returns the resource as a client sees it, and as filters run on it. It adds schemas, id and meta, and puts
// attributes back into the containers that they arrived in. The values are r's own: do not change them.
func (s *SchemaSet) Complete(r Resource, m Meta) map[string]any {
	return s.complete(r, m, Projection{})
}

// Render gives the resource as JSON. Equal input gives equal bytes. It returns no error.
func (s *SchemaSet) Render(r Resource, m Meta, p Projection) ([]byte, error) {
	return appendObject(make([]byte, 0, 1024), s.complete(r, m, p), topLevelOrder), nil
}

// isStandard reports whether RFC 7643 puts the attribute at top level, where it is answered also if a client sent it in a
// container.
func (s *SchemaSet) isStandard(name string) bool {
	a := s.core.attributes[name]
	return a != nil && a.standard
}

// topLevelOrder sorts schemas and id first and meta last, for the reader's sake.
func topLevelOrder(a, b string) int {
	rank := func(key string) int {
		switch key {
		case "schemas":
			return 0
		case "id":
			return 1
		case "externalId":
			return 2
		case "userName", "displayName":
			return 3
		case "meta":
			return 5
		default:
			return 4
		}
	}
	if order := rank(a) - rank(b); order != 0 {
		return order
	}
	return strings.Compare(a, b)
}

func (s *SchemaSet) complete(r Resource, m Meta, p Projection) map[string]any {
	out := make(map[string]any, len(r.Attributes)+3)
	extensions := make([]any, 1, 4)
	extensions[0] = s.core.ID
	for name, value := range r.Attributes {
		object, isObject := value.(map[string]any)
		if isObject && strings.IndexByte(name, ':') >= 0 {
			if object = s.projectExtension(name, object, p); len(object) > 0 {
				extensions = append(extensions, name)
				key := name
				if spelled, ok := r.Containers[name]; ok {
					key = spelled
				}
				out[key] = object
			}
			continue
		}
		value, ok := s.projectCore(name, value, p)
		if !ok {
			continue
		}
		container, contained := r.Containers[name]
		if !contained || s.isStandard(name) {
			out[name] = value
			continue
		}
		object, _ = out[container].(map[string]any)
		if object == nil {
			object = map[string]any{}
			out[container] = object
		}
		object[name] = value
	}
	slices.SortFunc(extensions[1:], func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	out["schemas"] = extensions
	if m.ID != "" {
		out["id"] = m.ID
	}
	if len(m.Groups) > 0 && s.core.attribute("groups") != nil && p.Includes("groups") {
		if groups, ok := s.projectCore("groups", groupList(m), p); ok {
			out["groups"] = groups
		}
	}
	if meta, ok := s.projectCore("meta", s.meta(m), p); ok {
		out["meta"] = meta
	}
	return out
}

func (s *SchemaSet) meta(m Meta) map[string]any {
	meta := make(map[string]any, 5)
	meta["resourceType"] = s.resourceType
	if m.ResourceType != "" {
		meta["resourceType"] = m.ResourceType
	}
	if m.Location != "" {
		meta["location"] = m.Location
	}
	if m.Version != "" {
		meta["version"] = m.Version
	}
	if !m.Created.IsZero() {
		meta["created"] = m.Created.UTC().Format(timeFormat)
	}
	if !m.LastModified.IsZero() {
		meta["lastModified"] = m.LastModified.UTC().Format(timeFormat)
	}
	return meta
}

func (s *SchemaSet) projectCore(name string, value any, p Projection) (any, bool) {
	if isPassword(name) {
		return nil, false
	}
	a := s.core.attribute(name)
	if p.IsZero() {
		return value, a == nil || a.Returned == ReturnedDefault || a.Returned == ReturnedAlways
	}
	return p.project(a, value, selectCore(p.include, name), selectCore(p.exclude, name))
}

func (s *SchemaSet) projectExtension(urn string, object map[string]any, p Projection) map[string]any {
	found := s.extension(urn)
	if p.IsZero() && (found == nil || !found.hides) {
		return object
	}
	kept := make(map[string]any, len(object))
	for name, value := range object {
		a := found.attribute(name)
		// An unqualified name means the core attribute where there is one.
		unqualified := a != nil && s.core.attribute(name) == nil
		value, ok := p.project(a, value,
			selectExtension(p.include, urn, name, unqualified), selectExtension(p.exclude, urn, name, unqualified))
		if ok {
			kept[name] = value
		}
	}
	return kept
}
