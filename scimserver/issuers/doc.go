// Package issuers verifies tokens of foreign OpenID Connect issuers, as the spec.oidc of Apps names them. It keeps the keys of each App's
// issuer, by discovery, and says of a token whether it opens the App, or why not. It knows no SCIM and writes nothing; package scimserver
// asks it, and tells what it saw.
//
// Each App has its own keys, its own reads and its own bounds on them, also where two name one issuer: no App waits for another's
// issuer, and no flood at one uses up the reads of another.
package issuers

import (
	"fmt"
	"time"
)

const (
	// ClockSkew is how far the clocks of issuer and server may be apart: a token is accepted that much before nbf and iat, and that much
	// after exp.
	ClockSkew = 5 * time.Minute
	// maxToken bounds a token, in bytes.
	maxToken = 16 << 10
)

// RefusedError says why a token does not open the App. Its text is for the client: it holds nothing of the token.
type RefusedError struct{ Detail string }

func (e *RefusedError) Error() string { return e.Detail }

func refused(format string, args ...any) error {
	return &RefusedError{fmt.Sprintf(format, args...)}
}

// UnavailableError says why nothing can be said of a token now, and when to ask again.
type UnavailableError struct {
	Detail     string
	RetryAfter time.Duration
}

func (e *UnavailableError) Error() string { return e.Detail }
