package protocol

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// MaxDepth bounds the levels of objects and arrays inside each other, in a request and in a resource; the resource itself is the
// first. SCIM's own attributes need four. The API server takes some 10,000 levels, writes them in seconds, and may then be
// unable to read the object, and with it every list of its kind.
const MaxDepth = 32

// patchLevels are what a PatchOp message puts around a resource: the message, its Operations, and the operation.
const patchLevels = 3

// maxPathInError bounds the path of a value in an error text, in bytes.
const maxPathInError = 256

// checkDepth refuses a value with more levels than are given. The error names the path of the object or array beyond.
func checkDepth(v any, levels int) error {
	switch v := v.(type) {
	case map[string]any:
		if levels == 0 {
			return &typeError{problem: tooDeep}
		}
		for key, value := range v {
			if err := checkDepth(value, levels-1); err != nil {
				return within(key, err)
			}
		}
	case []any:
		if levels == 0 {
			return &typeError{problem: tooDeep}
		}
		for i, element := range v {
			if err := checkDepth(element, levels-1); err != nil {
				return within("["+strconv.Itoa(i)+"]", err)
			}
		}
	}
	return nil
}

var tooDeep = fmt.Sprintf("objects and arrays are inside each other more than %d levels deep", MaxDepth)

// checkGrowth refuses a resource with more levels than MaxDepth. An attribute that was as deep before is let pass: a limit
// must not keep a person active who was stored before it.
func checkGrowth(current, next Resource) error {
	for name, value := range next.Attributes {
		err := checkDepth(value, MaxDepth-1)
		if err != nil && !equalValue(value, current.Attributes[name]) {
			return invalid(within(name, err))
		}
	}
	return nil
}

// checkRawDepth is checkDepth for JSON as it stands.
func checkRawDepth(raw []byte, levels int) error {
	if depthOf(raw) <= levels {
		return nil
	}
	value, err := parseJSON(raw)
	if err != nil {
		return malformed(err)
	}
	return checkDepth(value, levels)
}

// depthOf counts the levels of objects and arrays inside each other.
func depthOf(raw []byte) int {
	depth, deepest := 0, 0
	for at := 0; at < len(raw); {
		switch raw[at] {
		case '"':
			at = stringEnd(raw, at)
			continue
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
		at++
	}
	return deepest
}

// isDeep reports whether a member of a group may have levels of its own, without reading it.
func isDeep(raw []byte) bool {
	return len(raw) > 1 && (bytes.IndexByte(raw[1:], '{') >= 0 || bytes.IndexByte(raw[1:], '[') >= 0)
}

// shortPath is a path as an error text has it.
func shortPath(path string) string {
	if len(path) <= maxPathInError {
		return path
	}
	return strings.ToValidUTF8(path[:maxPathInError], "") + "…"
}
