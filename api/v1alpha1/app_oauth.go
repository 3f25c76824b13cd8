package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OAuth has clients of the App get their tokens by OAuth 2 (RFC 6749): the server is the authorization server. Of the client that clientID
// names, as Okta's mode OAuth2 has it, a person who may bind what the App grants approves each connection once. Machine clients need no
// approval: to list their keys takes the right to bind what the App grants.
// +kubebuilder:validation:XValidation:rule="has(self.clientID) == has(self.clientSecret) && has(self.clientID) == (has(self.oktaAppName) || has(self.redirectURIs))",message="clientID, clientSecret and one of oktaAppName and redirectURIs go together"
// +kubebuilder:validation:XValidation:rule="!has(self.oktaAppName) || !has(self.redirectURIs)",message="exactly one of oktaAppName and redirectURIs must be set"
// +kubebuilder:validation:XValidation:rule="has(self.clientID) || has(self.machineClients)",message="clientID or machineClients must say which clients there are"
// +kubebuilder:validation:XValidation:rule="!has(self.clientID) || !has(self.machineClients) || self.machineClients.all(machine, machine.clientID != self.clientID)",message="machineClients: clientID of spec.oauth is taken"
type OAuth struct {
	// clientID that the client names itself by.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._~-]+$`
	ClientID string `json:"clientID,omitempty"`
	// clientSecret names the ScimToken, of type ClientSecret, that stands for the client's secret.
	// +optional
	ClientSecret OAuthClientSecret `json:"clientSecret,omitzero"`
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
	// machineClients get access tokens by the grant client_credentials, and authenticate themselves by a JWT that they sign (private_key_jwt,
	// RFC 7523). No person approves them. A token that was issued to one is accepted while the key that signed is listed.
	// +optional
	// +listType=map
	// +listMapKey=clientID
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	MachineClients []MachineClient `json:"machineClients,omitempty"`
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

// MachineClient is a client that has a key pair in place of a secret.
type MachineClient struct {
	// clientID that the client names itself by, in the claims iss and sub.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._~-]+$`
	ClientID string `json:"clientID"`
	// keys are the client's public keys, each in PEM (BEGIN PUBLIC KEY) or as a JWK of RFC 7517: RSA of 2048 to 4096 bits, P-256, P-384, P-521
	// or Ed25519. List two while one is replaced. The condition ClientKeysRead says which cannot be read. Never put a private key here.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.all(key, key.matches('^[[:space:]]*-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=[:space:]]+-----END PUBLIC KEY-----[[:space:]]*$') || key.matches('^[[:space:]]*[{][][:space:] -[^-~]*[}][[:space:]]*$'))",message="must be public keys, each in PEM from -----BEGIN PUBLIC KEY----- to its end, or a JWK in JSON without escapes"
	// +kubebuilder:validation:XValidation:rule="!self.exists(key, key.matches('\"(d|p|q|dp|dq|qi|oth|k|priv)\"[[:space:]]*:'))",message="holds a private or secret key: list the public key alone, and make another pair, since this one has been shown"
	Keys []string `json:"keys"`
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

// Machine returns the machine client with an ID, or nil.
func (o *OAuth) Machine(clientID string) *MachineClient {
	for i := range o.MachineClients {
		if o.MachineClients[i].ClientID == clientID {
			return &o.MachineClients[i]
		}
	}
	return nil
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
