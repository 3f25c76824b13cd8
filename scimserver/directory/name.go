package directory

import (
	"fmt"
	"strings"

	"github.com/scim-operator/scim-operator/internal/names"
	"golang.org/x/text/unicode/norm"
)

// maxSlug is the readable part of an id, in characters.
const maxSlug = 40

// newID returns a new user's object name, which is the SCIM id: what can be read of the userName's local part, and 10
// random base32 characters (50 bits). A rename does not change it, and it is never used again.
func newID(userName string) (string, error) {
	return idOf(slug(userName))
}

// newGroupID is newID for a group, of its displayName.
func newGroupID(displayName string) (string, error) { return idOf(label(displayName, "group")) }

func idOf(readable string) (string, error) {
	random, err := names.Random()
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return readable + "-" + random, nil
}

// slug returns the local part of a userName as a DNS label may have it; "user" where nothing is left.
func slug(userName string) string {
	local, _, _ := strings.Cut(userName, "@")
	return label(local, "user")
}

// label returns what of a name a DNS label may have; otherwise where nothing is left.
func label(name, otherwise string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(norm.NFKD.String(name)) {
		if b.Len() >= maxSlug {
			break
		}
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			b.WriteRune(c)
		case c < 0x80 && b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	if trimmed := strings.Trim(b.String(), "-"); trimmed != "" {
		return trimmed
	}
	return otherwise
}
