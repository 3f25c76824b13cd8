package protocol

import "github.com/scim-operator/scim-operator/internal/names"

// removeValues removes the whole attribute, or, where a multi-valued one comes with a value, only the elements in it: Entra
// removes members in this way, and clearing the list instead would lose the others.
func (t target) removeValues(old, value any) (any, error) {
	held, ok := old.([]any)
	if !ok || value == nil || value == "" {
		return nil, nil
	}
	listed, isList := value.([]any)
	if !isList {
		listed = []any{value}
	}
	gone := t.listed(listed)
	kept := held[:0]
	for _, element := range held {
		if !gone(element) {
			kept = append(kept, element)
		}
	}
	return listOrNil(kept), nil
}

// listed returns whether an element is among those listed. A listed object with a value names the element with that value,
// and that type where it has one; other sub-attributes, such as $ref, do not count. Without a value, all must be equal.
func (t target) listed(listed []any) func(element any) bool {
	types := map[string][]string{} // folded types by value; "" for any type
	var wholes []map[string]any
	for _, entry := range listed {
		object, ok := entry.(map[string]any)
		if !ok {
			key := t.valueKey(entry)
			types[key] = append(types[key], "")
			continue
		}
		_, value, ok := member(object, "value")
		if !ok {
			wholes = append(wholes, object)
			continue
		}
		_, kind, _ := member(object, "type")
		label, _ := kind.(string)
		key := t.valueKey(value)
		types[key] = append(types[key], names.Fold(label))
	}
	return func(element any) bool {
		object, ok := element.(map[string]any)
		if !ok {
			return len(types[t.valueKey(element)]) > 0
		}
		_, kind, _ := member(object, "type")
		label, _ := kind.(string)
		if value, ok := object["value"]; ok {
			for _, candidate := range types[t.valueKey(value)] {
				if candidate == "" || candidate == names.Fold(label) {
					return true
				}
			}
		}
		for _, whole := range wholes {
			if covers(object, whole) {
				return true
			}
		}
		return false
	}
}

// valueKey is equal for values that are equal as the attribute compares them.
func (t target) valueKey(value any) string {
	compared := t.attribute.sub("value")
	if compared == nil {
		compared = t.attribute
	}
	s, ok := value.(string)
	if !ok {
		coerced, err := coerceString(value)
		if err != nil {
			return string(appendValue(nil, value))
		}
		s = coerced.(string)
	}
	if compared != nil && compared.CaseExact {
		return s
	}
	return names.Fold(s)
}

// covers reports whether the element has every sub-attribute of the listed object, and there is at least one.
func covers(element, listed map[string]any) bool {
	count := 0
	for key, value := range listed {
		if isEmpty(value) {
			continue
		}
		if _, held, ok := member(element, key); !ok || !equalValue(held, value) {
			return false
		}
		count++
	}
	return count > 0
}
