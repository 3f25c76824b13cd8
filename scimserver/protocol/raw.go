package protocol

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"
	"unicode/utf8"
)

// What follows reads JSON where it stands, so that a body with a hundred thousand members costs no map for each of them. All
// of it expects JSON that checkObject, or json.Decoder, has found valid.

// unread is a JSON value that is checked, and not looked at.
type unread struct{}

func (unread) UnmarshalJSON([]byte) error { return nil }

// checkObject answers the errors that parseObject answers, without building the object.
func checkObject(body []byte) error {
	trimmed := bytes.TrimSpace(body)
	if len(trimmed) == 0 {
		return emptyBody()
	}
	if err := json.Unmarshal(body, &unread{}); err != nil {
		return malformed(err)
	}
	if trimmed[0] != '{' {
		return notAnObject(kindOfRaw(trimmed))
	}
	return nil
}

// rawMembers visits the members of an object: names without quotes and escapes, values as they stand.
func rawMembers(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		at := bytes.IndexByte(object, '{') + 1
		for {
			at = skipTo(object, at)
			if object[at] == '}' {
				return
			}
			end := rawEnd(object, at)
			name := unquoted(object[at:end])
			at = skipTo(object, end) // a colon counts as space
			end = rawEnd(object, at)
			if !yield(name, object[at:end]) {
				return
			}
			at = end
		}
	}
}

// rawElements visits the elements of an array.
func rawElements(array []byte) iter.Seq[[]byte] {
	return func(yield func(element []byte) bool) {
		at := bytes.IndexByte(array, '[') + 1
		for {
			at = skipTo(array, at)
			if array[at] == ']' {
				return
			}
			end := rawEnd(array, at)
			if !yield(array[at:end]) {
				return
			}
			at = end
		}
	}
}

// skipTo finds the next byte that is neither space nor a separator.
func skipTo(raw []byte, at int) int {
	for isSpace(raw[at]) || raw[at] == ',' || raw[at] == ':' {
		at++
	}
	return at
}

// rawEnd finds where the value ends that begins at a byte.
func rawEnd(raw []byte, at int) int {
	depth := 0
	for at < len(raw) {
		switch raw[at] {
		case '"':
			at = stringEnd(raw, at)
			if depth == 0 {
				return at
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth < 0 {
				return at // what encloses a number or a literal
			}
			if depth == 0 {
				return at + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return at
			}
		}
		at++
	}
	return at
}

// stringEnd finds the byte after the string that begins at a byte.
func stringEnd(raw []byte, at int) int {
	at++
	for {
		at += bytes.IndexByte(raw[at:], '"')
		escapes := 0
		for raw[at-1-escapes] == '\\' {
			escapes++
		}
		at++
		if escapes%2 == 0 {
			return at
		}
	}
}

// unquoted is a string's text. It may share the string's bytes.
func unquoted(raw []byte) []byte {
	text := raw[1 : len(raw)-1]
	if bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text) {
		return text
	}
	var decoded string
	if json.Unmarshal(raw, &decoded) != nil {
		return nil
	}
	return []byte(decoded)
}

// rawMember finds a member as member does: the exact spelling first, else the smallest in byte order. Of several in one
// spelling the last counts, as in encoding/json.
func rawMember(object []byte, name string) (value []byte, ok bool) {
	var key []byte
	for candidate, v := range rawMembers(object) {
		if string(candidate) == name {
			key, value, ok = candidate, v, true
			continue
		}
		if string(key) != name && strings.EqualFold(string(candidate), name) && (!ok || string(candidate) <= string(key)) {
			key, value, ok = candidate, v, true
		}
	}
	return value, ok
}

// isEmptyRaw reports whether a value is null or "".
func isEmptyRaw(raw []byte) bool {
	return len(raw) == 0 || string(raw) == "null" || string(raw) == `""`
}

// isEmptyArray reports whether a value is an array without elements.
func isEmptyArray(raw []byte) bool {
	return raw[0] == '[' && raw[skipTo(raw, 1)] == ']'
}

// kindOfRaw is kindOf.
func kindOfRaw(raw []byte) string {
	switch raw[0] {
	case 'n':
		return kindOf(nil)
	case '"':
		return kindOf("")
	case 't', 'f':
		return kindOf(true)
	case '[':
		return kindOf([]any{})
	case '{':
		return kindOf(map[string]any{})
	default:
		return kindOf(json.Number(""))
	}
}

// rawText is coerceString for what names a resource: a string, or a number's text; empty for null.
func rawText(raw []byte) (string, error) {
	switch c := raw[0]; {
	case c == '"':
		return string(unquoted(raw)), nil
	case c == 'n':
		return "", nil
	case c == '-' || '0' <= c && c <= '9':
		if len(raw) > maxNumberLength {
			return "", &typeError{problem: "the number has too many digits"}
		}
		return string(raw), nil
	default:
		return "", &typeError{problem: "expected a string, received " + kindOfRaw(raw)}
	}
}
