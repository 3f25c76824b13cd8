package protocol

import (
	"slices"
	"strings"
)

// ETags is the value of If-Match or If-None-Match (RFC 9110 section 13.1, RFC 7644 section 3.14).
type ETags struct {
	// Any is "*": every version.
	Any     bool
	present bool
	tags    []entityTag
}

type entityTag struct {
	opaque string // without quotes
	weak   bool
}

// ParseETags reads a header; join several lines with commas. A tag without quotes is taken as if it had them, as some clients
// send meta.version with its quotes lost. What cannot be read matches nothing.
func ParseETags(header string) ETags {
	e := ETags{present: strings.TrimSpace(header) != ""}
	for rest := strings.TrimLeft(header, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
		var tag entityTag
		if tag.weak = strings.HasPrefix(rest, "W/") || strings.HasPrefix(rest, "w/"); tag.weak {
			rest = rest[2:]
		}
		if !strings.HasPrefix(rest, `"`) {
			end := strings.IndexByte(rest, ',')
			if end < 0 {
				end = len(rest)
			}
			tag.opaque, rest = strings.TrimSpace(rest[:end]), rest[end:]
			if tag.opaque == "*" && !tag.weak {
				e.Any = true
				continue
			}
		} else if opaque, after, ok := strings.Cut(rest[1:], `"`); ok {
			tag.opaque, rest = opaque, after
		} else {
			return e
		}
		e.tags = append(e.tags, tag)
	}
	return e
}

// IsZero reports whether the header was absent or empty: there is no condition. A header that cannot be read is one.
func (e ETags) IsZero() bool { return !e.present }

// MatchStrong reports whether If-Match holds for a resource that exists in this version, as in meta.version. A weak tag on either
// side never matches (RFC 9110 section 8.8.3.2).
func (e ETags) MatchStrong(version string) bool {
	return e.match(version, func(tag, current entityTag) bool { return !tag.weak && !current.weak })
}

// MatchWeak is the comparison of If-None-Match, which does not tell weak tags from strong ones.
func (e ETags) MatchWeak(version string) bool {
	return e.match(version, func(entityTag, entityTag) bool { return true })
}

// NamePrefix reports whether a strong tag is the given one, without quotes, or begins with it and a hyphen.
func (e ETags) NamePrefix(opaque string) bool {
	return slices.ContainsFunc(e.tags, func(tag entityTag) bool {
		rest, ok := strings.CutPrefix(tag.opaque, opaque)
		return ok && !tag.weak && (rest == "" || rest[0] == '-')
	})
}

func (e ETags) match(version string, equal func(tag, current entityTag) bool) bool {
	if e.Any {
		return true
	}
	current := ParseETags(version).tags
	if len(current) != 1 {
		return false
	}
	for _, tag := range e.tags {
		if tag.opaque == current[0].opaque && equal(tag, current[0]) {
			return true
		}
	}
	return false
}
