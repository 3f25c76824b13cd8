package protocol

import (
	"maps"
	"strconv"

	"github.com/scim-operator/scim-operator/internal/names"
)

// coerceList normalises a multi-valued attribute's elements: no empty ones, no duplicates, at most one primary.
func coerceList(a *attribute, v any) ([]any, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	kept := list[:0]
	for i, element := range list {
		element, err := coerceElement(a, element)
		if err != nil {
			if ok {
				err = within("["+strconv.Itoa(i)+"]", err)
			}
			return nil, err
		}
		if element != nil {
			kept = append(kept, element)
		}
	}
	return normaliseList(kept, -1), nil
}

func coerceElement(a *attribute, v any) (any, error) {
	if _, nested := v.([]any); nested {
		return nil, expected("one value", v)
	}
	if a.Type != TypeComplex {
		return coerceSimple(a.Type, v)
	}
	object, given := v.(map[string]any)
	if given {
		_, _, given = member(object, "value")
	}
	element, err := coerceComplex(a, v)
	if err != nil || element == nil {
		return nil, err
	}
	object = element.(map[string]any)
	if _, _, left := member(object, "value"); given && !left || !informative(object) {
		return nil, nil
	}
	return object, nil
}

// informative reports whether an element says more than its type and whether it is primary.
func informative(element map[string]any) bool {
	for key := range element {
		if key != "type" && key != "primary" {
			return true
		}
	}
	return false
}

// normaliseList merges elements with the same (type, value) and leaves one primary element: the one at index winner, or the
// last that says so where winner is negative. It reuses the list.
func normaliseList(list []any, winner int) []any {
	if len(list) == 0 {
		return nil
	}
	if len(list) == 1 {
		return list
	}
	seen := make(map[string]int, len(list))
	kept := list[:0]
	primary, since := -1, make([]int, 0, len(list)) // since: when each kept element last became primary
	for i, element := range list {
		object, _ := element.(map[string]any)
		key := elementKey(element)
		at, duplicate := seen[key]
		if !duplicate {
			at = len(kept)
			seen[key], kept, since = at, append(kept, element), append(since, -1)
		} else if object != nil {
			maps.Copy(kept[at].(map[string]any), object)
		}
		if object["primary"] == true {
			since[at] = i
			if i == winner {
				since[at] = len(list)
			}
		}
	}
	for at, element := range kept {
		if object, _ := element.(map[string]any); object["primary"] == true && (primary < 0 || since[at] > since[primary]) {
			primary = at
		}
	}
	for at, element := range kept {
		if object, _ := element.(map[string]any); object["primary"] == true && at != primary {
			object["primary"] = false
		}
	}
	return kept
}

// elementKey is equal for elements that are the same value: by (type, value) where there is a value, else as a whole.
func elementKey(element any) string {
	object, ok := element.(map[string]any)
	if !ok {
		return string(appendValue(nil, element))
	}
	value, ok := object["value"]
	if !ok {
		rest := maps.Clone(object)
		delete(rest, "primary")
		return string(appendValue(nil, rest))
	}
	kind, _ := object["type"].(string)
	return string(appendValue(append(appendString(nil, names.Fold(kind)), ' '), value))
}
