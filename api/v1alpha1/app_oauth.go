package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OAuth has the App's client get its tokens by OAuth 2 (RFC 6749), as Okta's mode OAuth2 does: the server is the authorization server,
// and a person who may bind what the App grants approves each connection once.
// +kubebuilder:validation:XValidation:rule="has(self.oktaAppName) != has(self.redirectURIs)",message="exactly one of oktaAppName and redirectURIs must be set"
type OAuth struct {
	// clientID that the client names itself by.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._~-]+$`
	ClientID string `json:"clientID"`
	// clientSecret names the ScimToken, of type ClientSecret, that stands for the client's secret.
	// +required
	ClientSecret OAuthClientSecret `json:"clientSecret"`
	// oktaAppName is what Okta calls the app: the part of the Admin Console's address between /app/ and /instance/, such as
	// dev-123456_acme_1. The client is sent back to https://system-admin.okta.com/admin/app/cpc/{oktaAppName}/oauth/callback, or the
	// same at okta-emea.com or oktapreview.com, and to no other address.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	OktaAppName string `json:"oktaAppName,omitempty"`
	// redirectURIs are the addresses that the client may be sent back to, in place of Okta's own. An address must be equal to one of
	// them, character by character.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(uri, isURL(uri) && uri.matches('^https://[^/@#?]+/[^#]*$'))",message="must be https URLs with a path, without user and fragment"
	RedirectURIs []string `json:"redirectURIs,omitempty"`
	// scopes bound what the issued tokens may ask for: read, users, groups, as in ScimToken.spec.scopes. Empty: everything.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Scopes []TokenScope `json:"scopes,omitempty"`
	// accessTokenLifetime is how long an access token is accepted: 1h where it is not set, 5m to 24h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,8}([.][0-9]{1,9})?s)?$') && self != '' && duration(self) >= duration('5m') && duration(self) <= duration('24h')",message="must be a duration from 5m to 24h, such as 1h"
	AccessTokenLifetime *metav1.Duration `json:"accessTokenLifetime,omitempty"`
	// refreshTokenLifetime is how long a refresh token is accepted after it was issued; each use issues the next one. 2160h where it
	// is not set, 1h to 8760h. A client that sends nothing for that long must be approved anew.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,8}([.][0-9]{1,9})?s)?$') && self != '' && duration(self) >= duration('1h') && duration(self) <= duration('8760h')",message="must be a duration from 1h to 8760h, such as 2160h for 90 days: days have no unit"
	RefreshTokenLifetime *metav1.Duration `json:"refreshTokenLifetime,omitempty"`
}

// OAuthClientSecret names the ScimToken of a client's secret.
type OAuthClientSecret struct {
	// name of the ScimToken, of type ClientSecret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// digest that the ScimToken must stand for: sha256: and 64 hexadecimal digits. A ScimToken that holds a digest is accepted only
	// with it. Empty for one with secretRef or generate.
	// +optional
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Digest string `json:"digest,omitempty"`
}

// Lifetimes of issued tokens where the App sets none.
const (
	DefaultAccessTokenLifetime  = time.Hour
	DefaultRefreshTokenLifetime = 90 * 24 * time.Hour
)

// AccessLifetime is how long an access token of the App is accepted.
func (o *OAuth) AccessLifetime() time.Duration {
	return lifetime(o.AccessTokenLifetime, DefaultAccessTokenLifetime)
}

// RefreshLifetime is how long a refresh token of the App is accepted.
func (o *OAuth) RefreshLifetime() time.Duration {
	return lifetime(o.RefreshTokenLifetime, DefaultRefreshTokenLifetime)
}

func lifetime(set *metav1.Duration, otherwise time.Duration) time.Duration {
	if set == nil || set.Duration <= 0 {
		return otherwise
	}
	return set.Duration
}

// oktaConsoles are the hosts that Okta sends browsers back to.
var oktaConsoles = []string{"system-admin.okta.com", "system-admin.okta-emea.com", "system-admin.oktapreview.com"}

// Redirects returns the addresses that the client may be sent back to.
func (o *OAuth) Redirects() []string {
	if o.OktaAppName == "" {
		return o.RedirectURIs
	}
	uris := make([]string, len(oktaConsoles))
	for i, host := range oktaConsoles {
		uris[i] = "https://" + host + "/admin/app/cpc/" + o.OktaAppName + "/oauth/callback"
	}
	return uris
}
