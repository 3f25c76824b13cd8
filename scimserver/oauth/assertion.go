package oauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/publickeys"
)

const (
	// clockSkew is how far the clocks of a machine client and this server may be apart.
	clockSkew = 5 * time.Minute
	// replicaSkew is how far the clocks of two replicas may be apart: so much longer an assertion is remembered.
	replicaSkew = time.Minute
	// assertionTime is how long after its claim iat a machine client's JWT may expire.
	assertionTime = 10 * time.Minute
)

// assertionTypes are the values of the header typ: none, JWT, and that of the draft that updates RFC 7523. Others are tokens for something else.
var assertionTypes = []string{"", "jwt", "client-authentication+jwt"}

// assertion is a JWT by which a machine client authenticated itself (RFC 7523 section 3). It is yet to be spent.
type assertion struct {
	clientID string
	// key that signed it, as the App lists it.
	key string
	// id is the claim jti.
	id string
	// issued is the claim iat: when the client made it, by its own clock.
	issued time.Time
	// until when a replica could take the JWT.
	until time.Time
}

// errUnproved is all that a client learns before it has proved that it holds a key.
var errUnproved = errors.New("the client_assertion is not signed by a key of a machine client of this App")

// verifyAssertion verifies a JWT for an App with the authorization server issuer. Its error tells what a client may know.
func verifyAssertion(app *v1alpha1.App, issuer, text string, now time.Time) (*assertion, error) {
	parsed, err := jwt.ParseSigned(text, publickeys.Algorithms)
	if err != nil || len(parsed.Headers) != 1 || !isAssertion(&parsed.Headers[0]) {
		return nil, errUnproved
	}
	var named jwt.Claims
	if parsed.UnsafeClaimsWithoutVerification(&named) != nil {
		return nil, errUnproved
	}
	machine := app.Spec.OAuth.Machine(named.Issuer)
	if machine == nil {
		return nil, errUnproved
	}
	for _, key := range machine.Keys {
		var claims jwt.Claims
		if !hasSigned(key, parsed, &claims) {
			continue
		}
		if err := judge(&claims, machine.ClientID, []string{issuer, issuer + "/oauth/token"}, now); err != nil {
			return nil, err
		}
		return &assertion{
			clientID: machine.ClientID, key: key, id: claims.ID, issued: claims.IssuedAt.Time(),
			until: claims.Expiry.Time().Add(clockSkew + replicaSkew),
		}, nil
	}
	return nil, errUnproved
}

// isAssertion says whether the header of a JWT is one of a client's assertion.
func isAssertion(header *jose.Header) bool {
	named, found := header.ExtraHeaders[jose.HeaderType]
	kind, isText := named.(string)
	return (isText || !found) && slices.Contains(assertionTypes, strings.ToLower(kind))
}

// hasSigned says whether a key, as the App lists it, signed a JWT, and reads the claims of one that it did. A key without an ID is tried
// whatever ID the JWT names.
func hasSigned(text string, token *jwt.JSONWebToken, claims *jwt.Claims) bool {
	key, err := publickeys.Parse(text)
	header := &token.Headers[0]
	if err != nil || key.KeyID != "" && header.KeyID != "" && key.KeyID != header.KeyID ||
		!slices.Contains(publickeys.AlgorithmsOf(key), jose.SignatureAlgorithm(header.Algorithm)) {
		return false
	}
	return token.Claims(key.Key, claims) == nil
}

// judge holds the claims of a JWT that its client signed against RFC 7523 section 3, and the clock. One audience is asked for, so that what
// a client shows to another authorization server is of no use here.
func judge(claims *jwt.Claims, clientID string, audiences []string, now time.Time) error {
	err := claims.ValidateWithLeeway(jwt.Expected{Issuer: clientID, Subject: clientID, AnyAudience: audiences, Time: now}, clockSkew)
	switch {
	case errors.Is(err, jwt.ErrInvalidSubject), errors.Is(err, jwt.ErrInvalidIssuer):
		return errors.New("the claims iss and sub must both be the client's ID")
	case errors.Is(err, jwt.ErrInvalidAudience), len(claims.Audience) != 1:
		return fmt.Errorf("the claim aud must be %s or %s, and nothing else", audiences[0], audiences[1])
	case errors.Is(err, jwt.ErrExpired):
		return errors.New("the client_assertion has expired: compare the client's clock with the server's")
	case err != nil:
		return errors.New("the client_assertion is not valid yet, by its claim iat or nbf: compare the client's clock with the server's")
	case claims.Expiry == nil || claims.IssuedAt == nil:
		return errors.New("the client_assertion needs the claims exp and iat")
	case claims.ID == "":
		return errors.New("the client_assertion needs the claim jti, another one each time")
	case claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > assertionTime:
		return fmt.Errorf("the claim exp must be at most %d seconds after iat", int(assertionTime/time.Second))
	}
	return nil
}
