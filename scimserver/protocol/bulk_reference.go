package protocol

import (
	"bytes"
	"iter"
	"slices"
	"strings"
)

// bulkIDPrefix begins a reference to a resource that another operation of the request creates (RFC 7644 section 3.7.2).
const bulkIDPrefix = "bulkId:"

// references finds the references in one string: the whole string, the last segment of a path or URI, and a quoted value in the
// filter of a PATCH path. start is where the prefix begins, end where the bulkId ends.
func references(text string) iter.Seq2[int, int] {
	return func(yield func(start, end int) bool) {
		if strings.HasPrefix(text, bulkIDPrefix) {
			if len(text) > len(bulkIDPrefix) {
				yield(0, len(text))
			}
			return
		}
		if at := strings.LastIndexByte(text, '/') + 1; strings.HasPrefix(text[at:], bulkIDPrefix) && len(text) > at+len(bulkIDPrefix) && !strings.ContainsAny(text, " \"") {
			yield(at, len(text))
			return
		}
		if strings.IndexByte(text, '[') < 0 {
			return
		}
		for at := 0; ; {
			found := strings.Index(text[at:], `"`+bulkIDPrefix)
			if found < 0 {
				return
			}
			start := at + found + 1
			length := strings.IndexByte(text[start:], '"')
			if length < 0 {
				return
			}
			if at = start + length; length > len(bulkIDPrefix) && !yield(start, at) {
				return
			}
		}
	}
}

// mayRefer reports whether a string's JSON could contain a reference. It never misses one.
func mayRefer(raw []byte) bool {
	return bytes.Contains(raw, []byte(bulkIDPrefix)) || bytes.IndexByte(raw, '\\') >= 0
}

// rawStrings finds the strings in a valid JSON value that are no names of members: where each begins, and where it ends.
func rawStrings(raw []byte) iter.Seq2[int, int] {
	return func(yield func(start, end int) bool) {
		for at := 0; at < len(raw); at++ {
			if raw[at] != '"' {
				continue
			}
			end := stringEnd(raw, at)
			next := end
			for next < len(raw) && isSpace(raw[next]) {
				next++
			}
			if (next == len(raw) || raw[next] != ':') && !yield(at, end) {
				return
			}
			at = end - 1
		}
	}
}

// findReferences lists the bulkIds that the operation's path and data name, each once.
func (o BulkOperation) findReferences() []string {
	var found []string
	seen := map[string]bool{}
	note := func(text string) {
		for start, end := range references(text) {
			if id := text[start+len(bulkIDPrefix) : end]; !seen[id] {
				seen[id] = true
				found = append(found, id)
			}
		}
	}
	note(o.Path)
	for start, end := range rawStrings(o.Data) {
		if raw := o.Data[start:end]; mayRefer(raw) {
			note(string(unquoted(raw)))
		}
	}
	return slices.Clip(found)
}
