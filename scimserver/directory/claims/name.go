package claims

import (
	"crypto/sha256"
	"encoding/base32"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// lowerBase32 is RFC 4648's alphabet in lower case, as object names need it.
var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Name returns the object name of the claim that reserves a key of one attribute of one App: 52 characters. NUL,
// which occurs in none of the parts, keeps ("ab", "c") and ("a", "bc") apart.
func Name(app, attribute, key string) string {
	digest := sha256.New()
	for i, part := range []string{app, attribute, key} {
		if i > 0 {
			digest.Write([]byte{0})
		}
		digest.Write([]byte(part))
	}
	return lowerBase32.EncodeToString(digest.Sum(nil))
}

// Key folds a name for comparison (RFC 7643 section 2.2: userName and displayName are not case-exact).
func Key(value string) string {
	return protocol.Fold(value)
}
