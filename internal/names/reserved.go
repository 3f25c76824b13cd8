package names

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// ReservedPrefix begins the names that Kubernetes keeps for itself.
const ReservedPrefix = "system:"

// IsReserved reports whether a user's or group's name is one of Kubernetes' own, or reads like one: blanks, control
// and invisible characters, case and compatibility forms make no difference.
func IsReserved(name string) bool {
	readable := strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, norm.NFKC.String(name))
	return strings.HasPrefix(strings.ToLower(readable), ReservedPrefix)
}
