// Package datetime reads points in time as SCIM clients write them. Server and controller use it, so that both take one value for
// the same time. It is pure and imports nothing of this project.
package datetime

import "time"

// layouts are xsd:dateTime (RFC 7643 section 2.3.5), with or without a zone, and the shorter forms that clients send.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02"}

// Parse reads a point in time; false where the text is none. Without a zone it is UTC, and a date is the beginning of that day.
func Parse(text string) (time.Time, bool) {
	for _, layout := range layouts {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
