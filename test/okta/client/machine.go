package okta

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Machine is a machine client of an authorization server: it signs a JWT for each request (private_key_jwt, RFC 7523).
type Machine struct {
	// Issuer of the authorization server, as its metadata has it; the endpoints are below it.
	Issuer   string
	ClientID string
	// Key signs by Algorithm; KeyID is the header kid, if any.
	Key       crypto.Signer
	Algorithm jose.SignatureAlgorithm
	KeyID     string
	// HTTP is the transport; nil for the default.
	HTTP http.RoundTripper
}

// Claims of an assertion as a correct client writes them, with others in their place; a nil value removes one.
func (m *Machine) Claims(more map[string]any) map[string]any {
	now := time.Now()
	claims := map[string]any{
		"iss": m.ClientID, "sub": m.ClientID, "aud": m.Issuer + "/oauth/token", "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
	for name, value := range more {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// Assertion signs claims. The error is that of the key.
func (m *Machine) Assertion(claims map[string]any) (string, error) {
	return Sign(m.Algorithm, m.Key, m.KeyID, nil, claims)
}

// Sign makes a JWT with additional header fields. The error is that of the key.
func Sign(algorithm jose.SignatureAlgorithm, key any, keyID string, header map[jose.HeaderKey]any, claims map[string]any) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: keyID}},
		&jose.SignerOptions{ExtraHeaders: header})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// Token asks for an access token by a new assertion. It fails without an answer in JSON; a refusal is one.
func (m *Machine) Token(ctx context.Context, more url.Values) (*Tokens, error) {
	assertion, err := m.Assertion(m.Claims(nil))
	if err != nil {
		return nil, err
	}
	return m.TokenBy(ctx, assertion, more)
}

// TokenBy asks for an access token by an assertion. more replaces or, without values, removes parameters. It fails as Token does.
func (m *Machine) TokenBy(ctx context.Context, assertion string, more url.Values) (*Tokens, error) {
	return m.send(ctx, "/oauth/token", assertion, url.Values{"grant_type": {"client_credentials"}, "scope": {"scim"}}, more)
}

// Revoke sends a token to the revocation endpoint. It fails as Token does.
func (m *Machine) Revoke(ctx context.Context, token string) (*Tokens, error) {
	assertion, err := m.Assertion(m.Claims(nil))
	if err != nil {
		return nil, err
	}
	return m.send(ctx, "/oauth/revoke", assertion, url.Values{"token": {token}}, nil)
}

func (m *Machine) send(ctx context.Context, path, assertion string, form, more url.Values) (*Tokens, error) {
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
	for name, values := range more {
		if form[name] = values; len(values) == 0 {
			form.Del(name)
		}
	}
	tokens, err := post(ctx, m.HTTP, m.Issuer+path, form, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return tokens, nil
}
