package names

import (
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold maps a string to its key for comparison where caseExact is false (RFC 7643 section 7) and for uniqueness: two strings
// have the same key if and only if they are a canonical caseless match (Unicode standard, definition D145). The key is in NFC.
// White space and compatibility variants are left alone: they make different names.
func Fold(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return foldFrom(s, i)
		}
	}
	return s
}

func foldFrom(s string, first int) string {
	for i := first; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			// Decomposition before folding: a combining iota subscript must fold alike whether or not it was composed.
			return norm.NFC.String(cases.Fold().String(norm.NFD.String(s)))
		}
	}
	folded := []byte(s)
	for i := first; i < len(folded); i++ {
		if 'A' <= folded[i] && folded[i] <= 'Z' {
			folded[i] += 'a' - 'A'
		}
	}
	return string(folded)
}

// EqualFold reports whether a folds to the key folded, without allocating where a is ASCII.
func EqualFold(a, folded string) bool {
	for i := range len(a) {
		c := a[i]
		if c >= utf8.RuneSelf {
			return Fold(a) == folded
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if i >= len(folded) || folded[i] != c {
			// What follows may still be non-ASCII, but no later character can undo a difference in ASCII: except that
			// composition may join it with a following combining mark.
			return !isASCII(a[i:]) && Fold(a) == folded
		}
	}
	return len(a) == len(folded)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
