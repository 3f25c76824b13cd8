package v1alpha1

import "fmt"

// Reasons of a ScimToken that its App does not take.
const (
	// ReasonNotAccepted says that the App does not list the token.
	ReasonNotAccepted = "NotAccepted"
	// ReasonOwnURLOnly says that the token opens its App at the URL that names it alone: another App's token has its digest.
	ReasonOwnURLOnly = "OwnURLOnly"
	// ReasonSecretNotMade says that the Secret of a generated token could not be made.
	ReasonSecretNotMade = "SecretNotMade"
	// ReasonGenerated is that of the Event when a token was made.
	ReasonGenerated = "Generated"
)

// Accepts reports whether a ScimToken that stands for digest may open the App: one that the App lists, or an access token issued
// to the App's OAuth client, whose OAuthGrant the caller has to look at. It compares names and digests only: the caller
// sees to it that both are of one namespace, and that the ScimToken names this App.
func (s *AppSpec) Accepts(token *ScimToken, digest string) bool {
	switch token.Spec.Type {
	case TokenTypeClientSecret, TokenTypeRefresh:
		return false
	default:
		return s.Takes(token, digest)
	}
}

// Takes reports whether a ScimToken that stands for digest is of use to the App, as whatever its type says. A secret or a refresh
// token that the App takes does not open it.
func (s *AppSpec) Takes(token *ScimToken, digest string) bool {
	if token.Spec.Digest != "" && token.Spec.Digest != digest {
		return false
	}
	switch token.Spec.Type {
	case TokenTypeClientSecret:
		return s.OAuth != nil && s.OAuth.ClientSecret.accepts(token, digest)
	case TokenTypeAccess, TokenTypeRefresh:
		return s.OAuth != nil && token.Spec.Digest == digest
	default: // the App lists it
	}
	for i := range s.Tokens {
		if s.Tokens[i].accepts(token, digest) {
			return true
		}
	}
	return false
}

// accepts compares the secret that the App names with a ScimToken that stands for digest.
func (o *OAuthClientSecret) accepts(token *ScimToken, digest string) bool {
	return o.Name == token.Name && (o.Digest == digest || o.Digest == "" && token.Spec.Digest == "")
}

// ScopesOf returns the scopes that the App's entries leave to a ScimToken that stands for digest; nil for all of them. Several
// entries that accept it add up. It must be called of a token that the App accepts.
func (s *AppSpec) ScopesOf(token *ScimToken, digest string) []TokenScope {
	if token.Spec.Type == TokenTypeAccess {
		return s.OAuth.Scopes
	}
	var scopes []TokenScope
	for i := range s.Tokens {
		if !s.Tokens[i].accepts(token, digest) {
			continue
		}
		if len(s.Tokens[i].Scopes) == 0 {
			return nil
		}
		scopes = append(scopes, s.Tokens[i].Scopes...)
	}
	return scopes
}

// accepts compares one entry with a ScimToken that stands for digest.
func (t *AcceptedToken) accepts(token *ScimToken, digest string) bool {
	return t.Name == token.Name && (t.Digest == digest || t.Digest == "" && token.Spec.Digest == "")
}

// Lists reports whether the App names a ScimToken at all, with whatever digest, or has an OAuth client that it may be issued to.
func (s *AppSpec) Lists(token *ScimToken) bool {
	switch token.Spec.Type {
	case TokenTypeClientSecret:
		return s.OAuth != nil && s.OAuth.ClientSecret.Name == token.Name
	case TokenTypeAccess, TokenTypeRefresh:
		return s.OAuth != nil
	default: // the App lists it
	}
	for i := range s.Tokens {
		if s.Tokens[i].Name == token.Name {
			return true
		}
	}
	return false
}

// AcceptanceOf returns the lines that make an App accept a ScimToken, as YAML below spec.
func AcceptanceOf(token *ScimToken) string {
	if token.Spec.Type == TokenTypeClientSecret {
		return fmt.Sprintf("oauth:\n  clientSecret: {name: %s}\n", token.Name)
	}
	lines := fmt.Sprintf("tokens:\n- name: %s\n", token.Name)
	if token.Spec.Digest != "" {
		lines += fmt.Sprintf("  digest: %s\n", token.Spec.Digest)
	}
	return lines
}
