package protocol

import "strings"

// activity is what a message says about active; of several statements in one object the greatest counts.
type activity int8

const (
	activityUnsaid activity = iota
	activityCleared
	activityTrue
	activityFalse
)

// PutDeactivates reports whether the body of a user's PUT says active: false, as DecodeUser reads it, whatever else the body
// says: other attributes may be wrong, too many or too deep. It is false for what is no JSON object.
func (s *SchemaSet) PutDeactivates(body []byte) bool {
	value, err := parseJSON(body)
	object, ok := value.(map[string]any)
	return err == nil && ok && s.activityIn(object) == activityFalse
}

// PatchDeactivates is PutDeactivates for a PatchOp message: whether active is false once the operations that can be read have
// been applied. Other operations may be wrong or too many.
func (s *SchemaSet) PatchDeactivates(body []byte) bool {
	value, err := parseJSON(body)
	message, ok := value.(map[string]any)
	if err != nil || !ok {
		return false
	}
	_, value, _ = member(message, "Operations")
	list, _ := value.([]any)
	said := activityUnsaid
	for _, element := range list {
		if parsed, err := parseOperation(element); err == nil {
			if now := s.activityOf(parsed); now != activityUnsaid {
				said = now
			}
		}
	}
	return said == activityFalse
}

// activityOf is what one operation says.
func (s *SchemaSet) activityOf(o operation) activity {
	object, _ := o.value.(map[string]any)
	if o.path == "" {
		if o.op == opRemove {
			return activityUnsaid
		}
		return s.activityIn(object)
	}
	t, err := (&patcher{set: s, next: &Resource{}}).target(o.path, o.value)
	switch {
	case err != nil:
		return activityUnsaid
	case t.name == "" && t.schema == s.core && o.op != opRemove:
		return s.activityIn(object)
	case !t.attribute.isActive() || t.sub != "" || t.filter != nil:
		return activityUnsaid
	case o.op == opRemove:
		return activityCleared
	case !o.hasValue:
		return activityUnsaid
	default:
		return stateOf(t.attribute, o.value)
	}
}

// activityIn is what an object says, at top level and in containers of the core schema.
func (s *SchemaSet) activityIn(object map[string]any) activity {
	said := activityUnsaid
	for key, value := range object {
		name := key
		if strings.IndexByte(key, ':') >= 0 {
			found, rest := s.split(key)
			if found != s.core {
				continue
			}
			if name = rest; rest == "" {
				inner, _ := value.(map[string]any)
				said = max(said, s.activityIn(inner))
				continue
			}
		}
		if a := s.core.attribute(name); a.isActive() {
			said = max(said, stateOf(a, value))
		}
	}
	return said
}

// stateOf is what a value of active says; nothing where it is no boolean.
func stateOf(a *attribute, value any) activity {
	switch value, err := coerce(a, value); {
	case err != nil:
		return activityUnsaid
	case value == nil:
		return activityCleared
	case value == false:
		return activityFalse
	default:
		return activityTrue
	}
}
