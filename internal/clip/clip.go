// Package clip bounds what is written into Events, conditions and logs. It is pure.
package clip

import "strings"

// EventNote is for Text: with its ellipsis, a note stays below the 1,024 bytes that the API server takes.
const EventNote = 1000

// Text returns a text of at most limit bytes as it is, and of a longer one the whole characters within limit bytes, with an
// ellipsis.
func Text(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
