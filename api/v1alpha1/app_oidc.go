package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ForeignIssuer has tokens of an OpenID Connect issuer open the App, beside its ScimTokens: signed JWTs, as access tokens (RFC 9068) or ID
// tokens. Each server reads the issuer's keys by discovery. Such a token opens the App at the URL that names it alone:
// /apps/<namespace>/<name>/scim/v2.
// +kubebuilder:validation:XValidation:rule="has(self.subjects) || has(self.authorizedParties) || has(self.claims)",message="one of subjects, authorizedParties and claims must say which clients are meant: otherwise every client that can have the issuer name the audience opens the App"
type ForeignIssuer struct {
	// issuer is the URL of the issuer, as the claim iss has it, byte by byte. Its keys are read from /.well-known/openid-configuration below
	// it, by HTTPS, from public addresses and those of the server's --issuer-networks; no redirect is followed.
	// +required
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://([A-Za-z0-9.-]+|[[][0-9A-Fa-f:.]+[]])(:[0-9]{1,5})?(/[A-Za-z0-9._~!$&()*+,;=:@%-]*)*$') && isURL(self)",message="must be an https URL without user, query and fragment, such as https://login.example.com"
	Issuer string `json:"issuer"`
	// audience that the claim aud must hold. Choose one that no other service takes: what a client sends there could be sent here, too.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Audience string `json:"audience"`
	// subjects of which the claim sub must be one. Empty: any.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Subjects []string `json:"subjects,omitempty"`
	// authorizedParties are client IDs of which the claim azp must be one; in a token without azp the claim client_id, or, without both,
	// Okta's cid. Empty: any.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	AuthorizedParties []string `json:"authorizedParties,omitempty"`
	// claims that a token must have, all of them.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Claims []RequiredClaim `json:"claims,omitempty"`
	// certificateAuthority is what the issuer's certificate must be signed by, as one or more certificates in PEM. Empty: the authorities
	// of the server's image.
	// +optional
	// +kubebuilder:validation:MaxLength=32768
	// +kubebuilder:validation:XValidation:rule="self == '' || self.contains('-----BEGIN CERTIFICATE-----')",message="must be certificates in PEM, beginning with -----BEGIN CERTIFICATE-----"
	CertificateAuthority string `json:"certificateAuthority,omitempty"`
	// scopes bound what such tokens may ask for, as in ScimToken.spec.scopes. Empty: everything.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Scopes []TokenScope `json:"scopes,omitempty"`
	// allowedCIDRs are the networks that requests must come from, as in ScimToken.spec.allowedCIDRs. Empty: any.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=49
	// +kubebuilder:validation:XValidation:rule="self.all(network, isCIDR(network))",message="must be networks such as 203.0.113.0/24 or 2001:db8::/32"
	AllowedCIDRs []string `json:"allowedCIDRs,omitempty"`
	// suspended has no token of the issuer accepted.
	// +optional
	Suspended bool `json:"suspended,omitempty"`
}

// RequiredClaim is one claim that a token must have.
type RequiredClaim struct {
	// name of the claim, at top level.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`
	// value that the claim must be, exactly, or hold, if it is an array. The claim scope holds words with spaces between (RFC 8693). A
	// boolean is true or false.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Value string `json:"value"`
}

// ForeignIssuerStatus is written by the SCIM servers: what they saw of the issuer, and when a token of it was used.
type ForeignIssuerStatus struct {
	// observedGeneration of the App that reachable speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// reachable says whether the last server that told could read the issuer's keys.
	// +optional
	Reachable bool `json:"reachable"`
	// message tells which server tried, and what it met.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// checkedTime is when that server tried. It is written when the outcome changes, and about four times an hour.
	// +optional
	CheckedTime *metav1.Time `json:"checkedTime,omitempty"`
	// lastUsedTime is when a token of the issuer last opened the App, to about a quarter of an hour.
	// +optional
	LastUsedTime *metav1.Time `json:"lastUsedTime,omitempty"`
	// lastSubject is the claim sub of that token, cut to 128 bytes.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastSubject string `json:"lastSubject,omitempty"`
}
