package protocol

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/scim-operator/scim-operator/internal/clip"
)

// MaxDepth bounds the levels of objects and arrays inside each other, in a request and in a resource; the resource itself is the
// first. SCIM's own attributes need four. The API server takes some 10,000 levels, writes them in seconds, and may then be
// unable to read the object, and with it every list of its kind.
const MaxDepth = 32

// MaxMembersInAll bounds the members of all objects in a resource; the resource's own and those inside arrays do not count. The API server records each of
// them (metadata.managedFields): 20,000 names made 160 KB into 400 KB, and a write into one of a second.
const MaxMembersInAll = 2 * MaxMembers

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

// checkGrowth refuses a resource with more levels than MaxDepth, or more members than MaxMembersInAll. It admits what was as
// large before: a limit must not keep a person active because their record is older than the limit.
func checkGrowth(current, next Resource) error {
	for name, value := range next.Attributes {
		err := checkDepth(value, MaxDepth-1)
		if err != nil && !equalValue(value, current.Attributes[name]) {
			return invalid(within(name, err))
		}
	}
	if n := countNested(next); n > MaxMembersInAll && n > countNested(current) {
		return InvalidValue("%s: the objects of the resource have %d members in all: at most %d are taken", widest(next.Attributes), n, MaxMembersInAll)
	}
	return nil
}

// countNested counts what MaxMembersInAll bounds.
func countNested(r Resource) int { return countMembers(r.Attributes) - len(r.Attributes) }

// countMembers counts the members of an object and of the objects in it, arrays apart.
func countMembers(v any) int {
	object, _ := v.(map[string]any)
	n := len(object)
	for _, value := range object {
		n += countMembers(value)
	}
	return n
}

// widest is the attribute with the most members.
func widest(attributes map[string]any) string {
	return slices.MaxFunc(slices.Sorted(maps.Keys(attributes)), func(a, b string) int {
		return countMembers(attributes[a]) - countMembers(attributes[b])
	})
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
func shortPath(path string) string { return clip.Text(path, maxPathInError) }
