package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/scim-operator/scim-operator/internal/datetime"
)

// typeError is a value of the wrong type somewhere below an attribute. Its path grows while it is handed up.
type typeError struct{ path, problem string }

func (e *typeError) Error() string { return e.path + ": " + e.problem }

// within puts the name of the enclosing attribute before an error's path.
func within(name string, err error) error {
	var e *typeError
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.path == "", e.path[0] == '[':
		e.path = name + e.path
	default:
		e.path = name + "." + e.path
	}
	return e
}

// invalid turns an error of coerce into the protocol's.
func invalid(err error) error {
	var e *typeError
	if errors.As(err, &e) {
		return InvalidValue("%s: %s", shortPath(e.path), e.problem)
	}
	return err
}

func expected(what string, got any) error {
	return &typeError{problem: fmt.Sprintf("expected %s, received %s", what, kindOf(got))}
}

// coerce normalises a value for an attribute; nil means absent. A nil attribute is one that no schema knows. The value is
// changed in place: the caller owns it.
func coerce(a *attribute, v any) (any, error) {
	if a == nil {
		return clean(v)
	}
	if a.MultiValued {
		list, err := coerceList(a, v)
		if len(list) == 0 {
			return nil, err
		}
		return list, err
	}
	return coerceSingle(a, v)
}

// stored is coerce for a value that a client stores. A declared time that is none is kept as text: access may end by it, and then it
// grants nothing. To refuse the write would keep a leaver's access where the same request deactivates. Validate refuses it of
// new users.
func stored(a *attribute, v any) (any, error) {
	value, err := coerce(a, v)
	if err == nil || !a.isDeclaredTime() {
		return value, err
	}
	return coerceString(v)
}

// isDeclaredTime reports whether an App declared the attribute, with type dateTime and one value.
func (a *attribute) isDeclaredTime() bool {
	return a != nil && a.declared && !a.standard && a.Type == TypeDateTime && !a.MultiValued
}

// coerceSingle normalises one value of an attribute, or the only one of an array.
func coerceSingle(a *attribute, v any) (any, error) {
	if list, ok := v.([]any); ok {
		switch len(list) {
		case 0:
			return nil, nil
		case 1:
			if _, nested := list[0].([]any); !nested {
				return coerceSingle(a, list[0])
			}
		}
		return nil, &typeError{problem: fmt.Sprintf("expected one value, received an array of %d", len(list))}
	}
	if a.Type == TypeComplex {
		return coerceComplex(a, v)
	}
	return coerceSimple(a.Type, v)
}

func coerceSimple(kind string, v any) (any, error) {
	switch wrapped := v.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		inner, ok := unwrapped(wrapped)
		if !ok {
			return nil, expected(article(kind), v)
		}
		return coerceSimple(kind, inner)
	case []any:
		return nil, expected(article(kind), v)
	}
	s, isString := v.(string)
	if isString && s == "" {
		return nil, nil
	}
	switch kind {
	case TypeBoolean:
		return coerceBoolean(v)
	case TypeInteger:
		if n, ok := numericValue(v); ok {
			if integer, whole := n.asInteger(); whole {
				return integer, nil
			}
		}
		return nil, expected("an integer", v)
	case TypeDecimal:
		if _, ok := numericValue(v); !ok {
			return nil, expected("a decimal number", v)
		}
		if isString {
			return json.Number(strings.TrimSpace(s)), nil
		}
		return v, nil
	case TypeDateTime:
		if _, ok := datetime.Parse(s); !ok {
			return nil, expected("a date and time as in 2011-05-13T04:42:34Z", v)
		}
		return s, nil
	default:
		return coerceString(v)
	}
}

// unwrapped takes a simple value out of {"$ref": null, "value": x}, which early versions of Entra put it into.
func unwrapped(object map[string]any) (any, bool) {
	value, ok := object["value"]
	if ref, sent := object["$ref"]; !ok || !sent || ref != nil || len(object) != 2 {
		return nil, false
	}
	_, nested := value.(map[string]any)
	return value, !nested
}

func coerceBoolean(v any) (any, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		switch trimmed := strings.TrimSpace(v); {
		case strings.EqualFold(trimmed, "true"):
			return true, nil
		case strings.EqualFold(trimmed, "false"):
			return false, nil
		}
	}
	return nil, expected("a boolean", v)
}

func coerceString(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		if len(v) > maxNumberLength {
			return nil, &typeError{problem: "the number has too many digits"}
		}
		return string(v), nil
	case bool:
		return strconv.FormatBool(v), nil
	default:
		if n, ok := numberOf(v); ok {
			return strconv.FormatFloat(n.float, 'f', -1, 64), nil
		}
		return nil, expected("a string", v)
	}
}

// numericValue reads a number, or a string that is one.
func numericValue(v any) (number, bool) {
	if s, ok := v.(string); ok {
		return parseNumber(strings.TrimSpace(s))
	}
	return numberOf(v)
}

func article(kind string) string {
	switch kind {
	case TypeInteger:
		return "an integer"
	case TypeReference, TypeBinary:
		return "a string"
	default:
		return "a " + kind
	}
}

// coerceComplex normalises an object. A plain value stands for the sub-attribute value (or formatted).
func coerceComplex(a *attribute, v any) (any, error) {
	object, ok := v.(map[string]any)
	if !ok {
		if v == nil || v == "" {
			return nil, nil
		}
		plain := a.plainSub()
		if _, isArray := v.([]any); isArray || plain == nil {
			return nil, expected("an object", v)
		}
		object = map[string]any{plain.Name: v}
	}
	var misspelled []string
	for key, value := range object {
		sub := a.sub(key)
		if sub != nil && sub.Name != key {
			misspelled = append(misspelled, key)
			continue
		}
		if err := put(object, key, sub, value); err != nil {
			return nil, err
		}
	}
	// Another spelling than the schema's is what the client wrote itself; the schema's may be its copy of our answer.
	slices.Sort(misspelled)
	for _, key := range misspelled {
		sub, value := a.sub(key), object[key]
		delete(object, key)
		if err := put(object, sub.Name, sub, value); err != nil {
			return nil, err
		}
	}
	if len(object) == 0 {
		return nil, nil
	}
	return object, nil
}

// put sets key to the coerced value, or deletes it where the value is empty.
func put(object map[string]any, key string, a *attribute, value any) error {
	value, err := stored(a, value)
	if err != nil {
		return within(key, err)
	}
	if value == nil {
		delete(object, key)
	} else {
		object[key] = value
	}
	return nil
}

// clean normalises a value that no schema knows: nulls, empty strings, arrays and objects are absent at any depth, and what Entra
// wrapped with $ref counts as the value in it.
func clean(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		if v == "" {
			return nil, nil
		}
		return v, nil
	case json.Number:
		if _, ok := parseNumber(string(v)); !ok {
			return nil, &typeError{problem: "the number is out of range"}
		}
		return v, nil
	case []any:
		if len(v) == 1 {
			if object, ok := v[0].(map[string]any); ok {
				if inner, wrapped := unwrapped(object); wrapped {
					return clean(inner)
				}
			}
		}
		kept := v[:0]
		for i, element := range v {
			element, err := clean(element)
			if err != nil {
				return nil, within("["+strconv.Itoa(i)+"]", err)
			}
			if element != nil {
				kept = append(kept, element)
			}
		}
		if len(kept) == 0 {
			return nil, nil
		}
		return kept, nil
	case map[string]any:
		for key, value := range v {
			if err := put(v, key, nil, value); err != nil {
				return nil, err
			}
		}
		if len(v) == 0 {
			return nil, nil
		}
		return v, nil
	default:
		return v, nil
	}
}
