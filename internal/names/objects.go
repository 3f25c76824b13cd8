package names

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
)

// encoding is RFC 4648's base32 in lower case, as object names need it.
var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// randomLength is the length of Random's result: 50 bits.
const randomLength = 10

// Hash returns the SHA-256 of parts in base32: 52 characters. NUL, which names do not have, keeps ("ab", "c") and ("a", "bc")
// apart.
func Hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return encoding.EncodeToString(sum[:])
}

// Random returns 10 random characters of base32 (50 bits). It fails where the operating system gives no random bytes.
func Random() (string, error) {
	var random [7]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return encoding.EncodeToString(random[:])[:randomLength], nil
}
