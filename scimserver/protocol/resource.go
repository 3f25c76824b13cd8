package protocol

import (
	"encoding/json"
	"maps"
	"strings"
)

// Resource is a decoded, normalised SCIM resource: no null, no empty value, no password, no read-only attribute.
type Resource struct {
	// Attributes maps canonical attribute names (the schema's spelling; as received where no schema knows it) to JSON values:
	// string, bool, json.Number, []any, map[string]any. Core and custom top-level attributes are at top level, extensions
	// under their URN (a known URN in its schema's spelling, an unknown one as received).
	Attributes map[string]any
	// Containers remembers attributes that arrived in another place than the schema's, so that Render gives them back in
	// that place: a core-level attribute's name → the key of the object that it came in, e.g. "role" →
	// "urn:ietf:params:scim:schemas:core:2.0:user"; a known extension's URN → the spelling that it came with. Okta writes
	// back whatever it reads: an attribute that moved would return twice, once stale.
	Containers map[string]string
}

// DeepCopy returns a copy that shares nothing with r.
func (r Resource) DeepCopy() Resource {
	copied := Resource{Containers: maps.Clone(r.Containers)}
	if r.Attributes != nil {
		copied.Attributes = copyValue(r.Attributes).(map[string]any)
	}
	return copied
}

func copyValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		copied := make(map[string]any, len(v))
		for key, value := range v {
			copied[key] = copyValue(value)
		}
		return copied
	case []any:
		copied := make([]any, len(v))
		for i, value := range v {
			copied[i] = copyValue(value)
		}
		return copied
	default:
		return v
	}
}

// remember notes where an attribute or extension arrived.
func (r *Resource) remember(name, container string) {
	if r.Containers == nil {
		r.Containers = map[string]string{}
	}
	r.Containers[name] = container
}

// prune drops what only empty values would need: empty extensions, and containers of absent attributes.
func (r *Resource) prune() {
	for key, value := range r.Attributes {
		if extension, ok := value.(map[string]any); ok && len(extension) == 0 {
			delete(r.Attributes, key)
		}
	}
	for name := range r.Containers {
		if _, ok := r.Attributes[name]; !ok {
			delete(r.Containers, name)
		}
	}
	if len(r.Containers) == 0 {
		r.Containers = nil
	}
}

// equalValue compares JSON values. Numbers are equal when they have the same text or the same value.
func equalValue(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key, value := range a {
			other, ok := b[key]
			if !ok || !equalValue(value, other) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equalValue(a[i], b[i]) {
				return false
			}
		}
		return true
	case string, bool, nil:
		return a == b
	default:
		x, ok := numberOf(a)
		y, both := numberOf(b)
		return ok && both && compareNumbers(x, y) == 0
	}
}

// member finds a key of an object in any letter case: the exact spelling first, else the smallest in byte order.
func member(object map[string]any, name string) (key string, value any, ok bool) {
	if value, ok = object[name]; ok {
		return name, value, true
	}
	for candidate, v := range object {
		if len(candidate) == len(name) && strings.EqualFold(candidate, name) && (!ok || candidate < key) {
			key, value, ok = candidate, v, true
		}
	}
	return key, value, ok
}

// kindOf names a JSON value's type for error texts, which never repeat the value.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case json.Number, float64, int64, int:
		return "a number"
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	default:
		return "an unknown type"
	}
}
