// Package token makes bearer tokens for SCIM clients and the digests that stand for them in ScimToken objects.
//
// A token reads scim_<id>_<random>_<check>: an identifier of 8 characters, 43 random ones (256 bits) and a checksum of 6, so
// that secret scanners recognise it and a typing error is told from a wrong token. The server takes any token with a digest that a ScimToken holds.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math/big"
	"regexp"
	"strings"
)

// prefix begins every token that New makes.
const prefix = "scim_"

// DigestPrefix begins every digest.
const DigestPrefix = "sha256:"

// MinimumLength of a token that is brought along in a Secret, in characters.
const MinimumLength = 32

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// idLength is the length of a token's identifier.
const idLength = 8

// New returns a random token. It fails where the system has no random bytes.
func New() (string, error) {
	id, err := random(idLength)
	if err != nil {
		return "", err
	}
	return NewFor(id)
}

// NewFor returns a random token with an identifier of 8 characters of its own, which is no secret. It fails where the
// system gives no random bytes.
func NewFor(id string) (string, error) {
	secret, err := random(43)
	if err != nil {
		return "", err
	}
	body := prefix + id + "_" + secret
	return body + "_" + checksum(body), nil
}

// Identifier returns the identifier of a token that New or NewFor made; false for other text.
func Identifier(text string) (string, bool) {
	if IsMistyped(text) || !strings.HasPrefix(text, prefix) {
		return "", false
	}
	return text[len(prefix) : len(prefix)+idLength], true
}

// pattern is the form of a token that New makes.
var pattern = regexp.MustCompile(`^scim_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$`)

// IsMistyped says whether text was meant as a token that New made, and is none: it begins as one, and its length, its characters
// or its checksum are wrong. It depends on the text alone, so it tells nothing about tokens that exist.
func IsMistyped(text string) bool {
	if !strings.HasPrefix(text, prefix) {
		return false
	}
	body, sum := text[:max(0, len(text)-7)], text[max(0, len(text)-6):]
	return !pattern.MatchString(text) || checksum(body) != sum
}

// Digest returns sha256: and the token's SHA-256 in hexadecimal.
func Digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return DigestPrefix + hex.EncodeToString(sum[:])
}

// Equal compares two digests in constant time.
func Equal(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// IsDigest says whether text has the form of a digest.
func IsDigest(text string) bool {
	digits, found := strings.CutPrefix(text, DigestPrefix)
	if !found || len(digits) != 2*sha256.Size || strings.ToLower(digits) != digits {
		return false
	}
	_, err := hex.DecodeString(digits)
	return err == nil
}

// ID returns the first eight hexadecimal digits of a digest: enough to name a token in logs, useless to guess it.
func ID(digest string) string {
	digits := strings.TrimPrefix(digest, DigestPrefix)
	if len(digits) < 8 {
		return ""
	}
	return digits[:8]
}

func random(length int) (string, error) {
	var b strings.Builder
	size := big.NewInt(int64(len(alphabet)))
	for range length {
		n, err := rand.Int(rand.Reader, size)
		if err != nil {
			return "", fmt.Errorf("read random numbers: %w", err)
		}
		b.WriteByte(alphabet[n.Int64()])
	}
	return b.String(), nil
}

func checksum(text string) string {
	sum := crc32.ChecksumIEEE([]byte(text))
	digits := make([]byte, 6)
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = alphabet[sum%62]
		sum /= 62
	}
	return string(digits)
}
