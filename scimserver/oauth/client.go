package oauth

import (
	"crypto/subtle"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

// oauthClient is the client of an App, as the library asks for it. What concerns OpenID Connect is of no use here.
type oauthClient struct{ app *v1alpha1.App }

var _ op.Client = oauthClient{}

func (c oauthClient) GetID() string                       { return c.app.Spec.OAuth.ClientID }
func (c oauthClient) RedirectURIs() []string              { return c.app.Spec.OAuth.Redirects() }
func (c oauthClient) PostLogoutRedirectURIs() []string    { return nil }
func (c oauthClient) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c oauthClient) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (c oauthClient) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c oauthClient) LoginURL(string) string               { return "" }
func (c oauthClient) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (c oauthClient) IDTokenLifetime() time.Duration       { return 0 }
func (c oauthClient) DevMode() bool                        { return false }
func (c oauthClient) IsScopeAllowed(scope string) bool     { return isScope(scope) }
func (c oauthClient) IDTokenUserinfoClaimsAssertion() bool { return false }
func (c oauthClient) ClockSkew() time.Duration             { return 0 }
func (c oauthClient) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return slices.Clone[[]string]
}

func (c oauthClient) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return slices.Clone[[]string]
}

func (c oauthClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
}

// is says whether the client is the one that an ID names.
func (c oauthClient) is(id string) bool {
	return id != "" && subtle.ConstantTimeCompare([]byte(id), []byte(c.app.Spec.OAuth.ClientID)) == 1
}

// hasSecret compares a secret with those that are accepted, all of them, each in constant time.
func hasSecret(secret string, digests []string) bool {
	found := false
	digest := token.Digest(secret)
	for _, each := range digests {
		found = token.Equal(digest, each) || found
	}
	return found && secret != ""
}

// scopeAll asks for everything that the App leaves to its client.
const scopeAll = "scim"

var tokenScopes = []v1alpha1.TokenScope{v1alpha1.TokenScopeRead, v1alpha1.TokenScopeUsers, v1alpha1.TokenScopeGroups}

func isScope(scope string) bool {
	return scope == scopeAll || slices.Contains(tokenScopes, v1alpha1.TokenScope(scope))
}

// scopesOf returns the scopes that a request asks for; nil for everything.
func scopesOf(asked []string) []v1alpha1.TokenScope {
	if slices.Contains(asked, scopeAll) {
		return nil
	}
	var scopes []v1alpha1.TokenScope
	for _, scope := range tokenScopes {
		if slices.Contains(asked, string(scope)) {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// scopeText is what an answer says that a token may do.
func scopeText(scopes []v1alpha1.TokenScope) []string {
	if len(scopes) == 0 {
		return []string{scopeAll}
	}
	text := make([]string, len(scopes))
	for i, scope := range scopes {
		text[i] = string(scope)
	}
	return text
}
