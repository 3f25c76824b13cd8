package scimserver

import (
	"net/http"
	"strings"

	"github.com/scim-operator/scim-operator/internal/token"
)

// presented is the token that a request shows.
type presented struct {
	token string
	// basic says that it came as a password (RFC 7617); userDigest is the digest of the user name with it. Names are compared by digests,
	// so that the work is the same for every one.
	basic      bool
	userDigest string
}

// presentedBy reads the Authorization header. The error says what it lacks.
func presentedBy(r *http.Request) (presented, error) {
	header := strings.TrimSpace(r.Header.Get("Authorization"))
	if scheme, _, _ := strings.Cut(header, " "); strings.EqualFold(scheme, "Basic") {
		user, password, found := r.BasicAuth()
		if !found || password == "" {
			return presented{}, errNoBasic
		}
		return presented{token: password, basic: true, userDigest: token.Digest(user)}, nil
	}
	text := bearerToken(header)
	if text == "" {
		return presented{}, errNoCredentials
	}
	return presented{token: text}, nil
}

// bearerToken reads a token as Okta's kinds of app send it: "Bearer x" (RFC 6750 section 2.1), "x" alone, and
// "Bearer Bearer x" where an admin pasted the word into a field that adds it.
func bearerToken(header string) string {
	value := strings.TrimSpace(header)
	for {
		scheme, rest, found := strings.Cut(value, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			break
		}
		if !found {
			return ""
		}
		value = strings.TrimSpace(rest)
	}
	if strings.ContainsAny(value, " \t") {
		// Another scheme: no token of ours.
		return ""
	}
	return value
}
