package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// parseJSON reads exactly one JSON value, numbers as json.Number.
func parseJSON(body []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return value, nil
}

// parseObject reads a request body of so many levels at most, and drops every password in it.
func parseObject(body []byte, levels int) (map[string]any, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, emptyBody()
	}
	value, err := parseJSON(body)
	if err != nil {
		return nil, malformed(err)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, notAnObject(kindOf(value))
	}
	if err := admit(object, levels); err != nil {
		return nil, invalid(err)
	}
	return object, nil
}

func emptyBody() error {
	return InvalidSyntax("the request body is empty: expected a JSON object")
}

func notAnObject(kind string) error {
	return InvalidSyntax("the request body is %s: expected a JSON object", kind)
}

// malformed turns an error of encoding/json into the protocol's.
func malformed(err error) error {
	if strings.Contains(err.Error(), "exceeded max depth") {
		return InvalidValue("the request body: %s", tooDeep)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return InvalidSyntax("the request body is not valid JSON: error at byte %d", syntax.Offset)
	}
	return InvalidSyntax("the request body is not a single, complete JSON value")
}

// MaxMembers bounds the members of one object, in a request and in a resource: names are compared in any letter case, which
// takes time for each pair.
const MaxMembers = 1000

// admit removes every password at any depth, before anything else looks at the value. It refuses objects beyond MaxMembers, and
// more levels than are given.
func admit(v any, levels int) error {
	switch v := v.(type) {
	case map[string]any:
		if levels == 0 {
			return &typeError{problem: tooDeep}
		}
		if len(v) > MaxMembers {
			return tooManyMembers(len(v))
		}
		for key, value := range v {
			if isPassword(key) {
				delete(v, key)
			} else if err := admit(value, levels-1); err != nil {
				return within(key, err)
			}
		}
	case []any:
		if levels == 0 {
			return &typeError{problem: tooDeep}
		}
		for i, element := range v {
			if err := admit(element, levels-1); err != nil {
				return within("["+strconv.Itoa(i)+"]", err)
			}
		}
	}
	return nil
}

func tooManyMembers(n int) error {
	return InvalidValue("an object has %d members: at most %d are taken", n, MaxMembers)
}

// isPassword reports whether a key or an attribute path names the attribute password: alone, after a URN, as a sub-attribute, or
// with something below it.
func isPassword(name string) bool {
	if len(name) < len("password") {
		return false
	}
	head, rest, hasFilter := strings.Cut(name, "[")
	if hasFilter && isPassword(rest[strings.LastIndexByte(rest, ']')+1:]) {
		return true
	}
	for segment := range strings.SplitSeq(head[strings.LastIndexByte(head, ':')+1:], ".") {
		if strings.EqualFold(strings.TrimSpace(segment), "password") {
			return true
		}
	}
	return false
}

var keyPool = sync.Pool{New: func() any { keys := make([]string, 0, 32); return &keys }}

// appendValue appends v as JSON. Keys are in byte order, so that equal values have equal bytes.
func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case string:
		return appendString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case json.Number:
		if !isNumber(string(v)) {
			return appendString(dst, string(v))
		}
		return append(dst, v...)
	case map[string]any:
		return appendObject(dst, v, strings.Compare)
	case []any:
		dst = append(dst, '[')
		for i, element := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, element)
		}
		return append(dst, ']')
	default:
		encoded, err := json.Marshal(v)
		if err != nil {
			return append(dst, "null"...)
		}
		return append(dst, encoded...)
	}
}

func appendObject(dst []byte, object map[string]any, order func(a, b string) int) []byte {
	pooled := keyPool.Get().(*[]string)
	keys := (*pooled)[:0]
	for key := range object {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, order)
	dst = append(dst, '{')
	for i, key := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, key)
		dst = append(dst, ':')
		dst = appendValue(dst, object[key])
	}
	clear(keys)
	*pooled = keys
	keyPool.Put(pooled)
	return append(dst, '}')
}

// appendString appends s as a JSON string, without the HTML escapes of encoding/json.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
