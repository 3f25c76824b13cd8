package issuers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/publickeys"
)

// LooksLikeToken says whether text has the form of a signed JWT: three parts, the first of them a JSON object in base64url.
func LooksLikeToken(text string) bool {
	return strings.HasPrefix(text, "eyJ") && strings.Count(text, ".") == 2
}

// tokenTypes are the values of the header typ (RFC 8725 section 3.11): none, JWT, and that of access tokens (RFC 9068). Others are tokens
// for something else, such as logout tokens.
var tokenTypes = []string{"", "jwt", "at+jwt", "application/at+jwt"}

// Client is what a token that was verified says of its bearer.
type Client struct {
	// Subject is the claim sub, AuthorizedParty the claim azp, or what stands for it; "" for none.
	Subject, AuthorizedParty string

	asked  asked
	claims map[string]any
	now    func() time.Time
}

// Verify returns the client that a token names, if the token opens the App. The App must have spec.oidc. Errors are *RefusedError and
// *UnavailableError.
func (s *Set) Verify(ctx context.Context, app *v1alpha1.App, text string) (Client, error) {
	spec := app.Spec.OIDC
	switch {
	case spec.Suspended:
		return Client{}, refused("tokens of the issuer are not accepted: spec.oidc.suspended of the App is true")
	case isUnreadable(app):
		return Client{}, errUnreadable
	case len(text) > maxToken:
		return Client{}, refused("the token is larger than %d bytes", maxToken)
	}
	if err := checkHeader(text); err != nil {
		return Client{}, err
	}
	from := s.sourceOf(app)
	if from == nil {
		return Client{}, &UnavailableError{Detail: "The App's issuer has just changed, and its keys are not read yet", RetryAfter: time.Second}
	}
	keys := &keySet{source: from}
	verifier := oidc.NewVerifier(spec.Issuer, keys, &oidc.Config{
		ClientID: spec.Audience, SupportedSigningAlgs: publickeys.AlgorithmNames(), SkipExpiryCheck: true, // judge holds times against ClockSkew
	})
	verified, err := verifier.Verify(ctx, text)
	switch {
	case keys.err != nil:
		return Client{}, keys.err
	case keys.payload == nil:
		return Client{}, refused("the token is no signed JWT that can be read, or its algorithm is not among %s", strings.Join(publickeys.AlgorithmNames(), ", "))
	}
	claims, decodeErr := decode(keys.payload)
	if decodeErr != nil {
		return Client{}, decodeErr
	}
	client := Client{asked: askedOf(spec), claims: claims, now: s.now}
	client.Subject, _ = claims["sub"].(string)
	client.AuthorizedParty = authorizedParty(claims)
	if err := client.judge(spec); err != nil {
		return Client{}, err
	}
	if err != nil || verified == nil { // the library found what judge did not
		return Client{}, refused("the token is not one of spec.oidc.issuer for spec.oidc.audience of the App")
	}
	return client, nil
}

// StillOpens holds a client that was verified against an App as it is now, and the clock. The error is a *RefusedError.
func (c Client) StillOpens(app *v1alpha1.App) error {
	spec := app.Spec.OIDC
	if spec == nil || spec.Suspended || askedOf(spec) != c.asked {
		return refused("the App does not accept tokens of this issuer any more")
	}
	if isUnreadable(app) {
		return errUnreadable
	}
	return c.judge(spec)
}

var errUnreadable = refused("tokens of the issuer are not accepted: a part of spec.oidc of the App cannot be read")

// isUnreadable says whether a part of an App's spec.oidc could not be read: what is left might ask for less than its author did.
func isUnreadable(app *v1alpha1.App) bool {
	return strings.Contains(app.Annotations[v1alpha1.AnnotationUnreadable], "spec.oidc")
}

// checkHeader refuses what needs no key to be refused: another algorithm, first of all none and those with a shared secret, and tokens of
// another type.
func checkHeader(text string) error {
	token, err := jose.ParseSignedCompact(text, publickeys.Algorithms)
	if err != nil || len(token.Signatures) != 1 {
		return refused("the token is no signed JWT that can be read, or its algorithm is not among %s", strings.Join(publickeys.AlgorithmNames(), ", "))
	}
	named, found := token.Signatures[0].Header.ExtraHeaders["typ"]
	kind, isText := named.(string)
	if found && !isText || !slices.Contains(tokenTypes, strings.ToLower(kind)) {
		return refused("the token's header typ is neither JWT nor at+jwt: it is a token for something else")
	}
	return nil
}

// keySet is the oidc.KeySet of one verification. The library flattens errors: this one keeps them.
type keySet struct {
	source  *source
	payload []byte
	err     error
}

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, text string) ([]byte, error) {
	token, err := jose.ParseSignedCompact(text, publickeys.Algorithms)
	if err != nil {
		return nil, err
	}
	k.payload, k.err = k.source.verify(ctx, token)
	return k.payload, k.err
}

// decode reads claims, names of them byte by byte.
func decode(payload []byte) (map[string]any, error) {
	var claims map[string]any
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	if err := decoder.Decode(&claims); err != nil || claims == nil {
		return nil, refused("the token's claims are no JSON object")
	}
	return claims, nil
}

// authorizedParty returns the client that a token was issued to: azp (OpenID Connect Core), client_id (RFC 9068), or Okta's cid.
func authorizedParty(claims map[string]any) string {
	for _, name := range []string{"azp", "client_id", "cid"} {
		if value, found := claims[name]; found {
			text, _ := value.(string)
			return text
		}
	}
	return ""
}

// judge holds claims against what an App asks of them, and against the clock.
func (c Client) judge(spec *v1alpha1.ForeignIssuer) error {
	if err := c.judgeTimes(); err != nil {
		return err
	}
	issuer, _ := c.claims["iss"].(string)
	switch {
	case issuer != spec.Issuer:
		return refused("the token's claim iss is not spec.oidc.issuer of the App")
	case !holds(c.claims["aud"], spec.Audience):
		return refused("the token's claim aud does not hold spec.oidc.audience of the App: it is for something else")
	case c.Subject == "":
		return refused("the token has no claim sub")
	case len(spec.Subjects) > 0 && !slices.Contains(spec.Subjects, c.Subject):
		return refused("the token's claim sub is not among spec.oidc.subjects of the App")
	case len(spec.AuthorizedParties) > 0 && !slices.Contains(spec.AuthorizedParties, c.AuthorizedParty):
		return refused("the token's client (azp, client_id or cid) is not among spec.oidc.authorizedParties of the App")
	}
	for _, required := range spec.Claims {
		value := c.claims[required.Name]
		if required.Name == "scope" {
			value = words(value)
		}
		if !holds(value, required.Value) {
			return refused("the token's claims are not what spec.oidc.claims of the App asks for: %s", required.Name)
		}
	}
	if len(spec.Subjects)+len(spec.AuthorizedParties)+len(spec.Claims) == 0 {
		return refused("spec.oidc of the App says of no client that it is accepted") // admission asks for one
	}
	return nil
}

// words splits a claim that holds words with spaces between.
func words(value any) any {
	text, isText := value.(string)
	if !isText {
		return value
	}
	var list []any
	for _, word := range strings.Fields(text) {
		list = append(list, word)
	}
	return list
}

// holds says whether a claim is a value, or an array with it.
func holds(claim any, value string) bool {
	switch claim := claim.(type) {
	case string:
		return claim == value
	case bool:
		return claim && value == "true" || !claim && value == "false"
	case []any:
		return slices.ContainsFunc(claim, func(each any) bool {
			text, isText := each.(string)
			return isText && text == value
		})
	}
	return false
}

var errNoTime = errors.New("no time")

// judgeTimes holds exp, nbf and iat against the clock, each with ClockSkew.
func (c Client) judgeTimes() error {
	now := c.now()
	expires, err := timeOf(c.claims["exp"])
	if err != nil {
		return refused("the token has no claim exp that is a time")
	}
	if !now.Before(expires.Add(ClockSkew)) {
		return refused("the token has expired")
	}
	for _, name := range []string{"nbf", "iat"} {
		value, found := c.claims[name]
		if !found {
			continue
		}
		begins, err := timeOf(value)
		if err != nil {
			return refused("the token's claim %s is no time", name)
		}
		if now.Before(begins.Add(-ClockSkew)) {
			return refused("the token is not valid yet by its claim %s: compare the clocks of the issuer and this server", name)
		}
	}
	return nil
}

// latest is the last second of the year 9999.
const latest = 253402300799

// timeOf reads a NumericDate (RFC 7519 section 2).
func timeOf(claim any) (time.Time, error) {
	number, isNumber := claim.(json.Number)
	if !isNumber {
		return time.Time{}, errNoTime
	}
	seconds, err := number.Float64()
	if err != nil || seconds < 0 || seconds > latest {
		return time.Time{}, errNoTime
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*float64(time.Second))), nil
}
