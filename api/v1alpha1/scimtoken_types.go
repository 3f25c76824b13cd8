package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ScimTokenSpec is one bearer credential of one App. The token itself is never in it: it holds a digest, names a
// Secret, or asks for one to be generated.
// +kubebuilder:validation:XValidation:rule="(has(self.digest) ? 1 : 0) + (has(self.secretRef) ? 1 : 0) + (has(self.generate) ? 1 : 0) == 1",message="exactly one of digest, secretRef and generate must be set"
// +kubebuilder:validation:XValidation:rule="!has(self.rotation) || has(self.generate) && size(self.generate.secretName) <= 240",message="rotation is for generated tokens, with a generate.secretName of 240 characters at most"
// +kubebuilder:validation:XValidation:rule="!has(self.notBefore) || !has(self.expiresAt) || timestamp(self.notBefore) < timestamp(self.expiresAt)",message="expiresAt must be later than notBefore"
// +kubebuilder:validation:XValidation:rule="has(self.grant) == (has(self.type) && self.type in ['AccessToken', 'RefreshToken'])",message="grant is for the types AccessToken and RefreshToken, which the server issues, and they need it"
// +kubebuilder:validation:XValidation:rule="!has(self.grant) || has(self.digest) && has(self.expiresAt) && !has(self.basic)",message="an issued token has a digest and expiresAt, and no basic"
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'ClientSecret' || !has(self.basic) && !has(self.scopes) && !has(self.allowedCIDRs)",message="the secret of an OAuth client opens nothing by itself: basic, scopes and allowedCIDRs are for tokens"
// +kubebuilder:validation:XValidation:rule="(has(self.type) ? self.type : 'Bearer') == (has(oldSelf.type) ? oldSelf.type : 'Bearer') && has(self.grant) == has(oldSelf.grant) && (!has(self.grant) || self.grant == oldSelf.grant)",message="type and grant cannot change: make another ScimToken"
type ScimTokenSpec struct {
	// app names the App, in the same namespace, that the token opens.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	App string `json:"app"`
	// type says what the token is for: Bearer opens the App, which lists it in spec.tokens; ClientSecret is that of the App's OAuth
	// client, which names it in spec.oauth.clientSecret; AccessToken and RefreshToken are issued to that client by the server, and
	// no other account can make them. Empty: Bearer.
	// +optional
	// +kubebuilder:validation:Enum=Bearer;ClientSecret;AccessToken;RefreshToken
	Type TokenType `json:"type,omitempty"`
	// grant names the OAuthGrant, in the same namespace, that an issued token belongs to.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Grant string `json:"grant,omitempty"`
	// digest is sha256: and the token's SHA-256 in hexadecimal, safe to keep in Git where the token is random
	// (256 bits).
	// +optional
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Digest string `json:"digest,omitempty"`
	// secretRef names a Secret, in the same namespace, that holds the token or its digest.
	// +optional
	SecretRef *SecretKeyReference `json:"secretRef,omitempty"`
	// generate has the controller make a random token and write it into a Secret once.
	// +optional
	Generate *GenerateToken `json:"generate,omitempty"`
	// rotation has a generated token replaced by another one at intervals, each in a Secret of its own. status.rotation says which one
	// is to be put into the client, and until when.
	// +optional
	Rotation *TokenRotation `json:"rotation,omitempty"`
	// notBefore is when the token begins to be accepted.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$') && timestamp(self) >= timestamp('1970-01-01T00:00:00Z')",message="must be a time as in RFC 3339, such as 2027-02-01T00:00:00Z or 2027-02-01T01:00:00+01:00"
	NotBefore *metav1.Time `json:"notBefore,omitempty"`
	// expiresAt is when the token stops being accepted. Empty: never.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$') && timestamp(self) >= timestamp('1970-01-01T00:00:00Z')",message="must be a time as in RFC 3339, such as 2027-02-01T00:00:00Z or 2027-02-01T01:00:00+01:00"
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// scopes bound what the token may ask for: read (users and groups), users (read and write), groups (read and write). Empty:
	// everything. The entry of the App's spec.tokens can bound it further.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Scopes []TokenScope `json:"scopes,omitempty"`
	// allowedCIDRs are the networks that requests with the token must come from, such as 203.0.113.0/24. Empty: any. Behind a
	// proxy, the server must be told by --trusted-proxies that it may believe that proxy's X-Forwarded-For; else the address is the
	// proxy's own.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=49
	// +kubebuilder:validation:XValidation:rule="self.all(network, isCIDR(network))",message="must be networks such as 203.0.113.0/24 or 2001:db8::/32"
	AllowedCIDRs []string `json:"allowedCIDRs,omitempty"`
	// basic has clients send the token as the password of HTTP Basic authentication (RFC 7617), too, as Okta's mode Basic Auth does. Absent:
	// the token is accepted as Bearer alone.
	// +optional
	Basic *BasicAuthentication `json:"basic,omitempty"`
	// suspended tokens are not accepted.
	// +optional
	Suspended bool `json:"suspended,omitempty"`
	// description says which client uses the token.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`
}

// TokenRotation says how often a generated token is replaced.
// +kubebuilder:validation:XValidation:rule="duration(self.overlap) < duration(self.every)",message="overlap must be shorter than every"
type TokenRotation struct {
	// every is how long after one token was made the next one is: an hour or more, such as 2160h for 90 days.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="(self == '0' || self != '' && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,8}([.][0-9]{1,9})?s)?([0-9]{1,9}([.][0-9]{1,9})?ms)?$')) && duration(self) >= duration('1h')",message="must be a duration of at least 1h in hours and minutes, such as 2160h for 90 days: days have no unit"
	Every metav1.Duration `json:"every"`
	// overlap is how long the former token is accepted after the next one was made, which is the time to put that one into the client:
	// a minute or more.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="(self == '0' || self != '' && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,8}([.][0-9]{1,9})?s)?([0-9]{1,9}([.][0-9]{1,9})?ms)?$')) && duration(self) >= duration('1m')",message="must be a duration of at least 1m in hours and minutes, such as 168h for 7 days: days have no unit"
	Overlap metav1.Duration `json:"overlap"`
}

// TokenRotationStatus says which token is to be put into the client, and which one it replaces.
type TokenRotationStatus struct {
	// secretName of the Secret that holds the newest token, under the key token.
	SecretName string `json:"secretName"`
	// serial counts the tokens that were made: 1 for the first one.
	Serial int32 `json:"serial"`
	// madeTime is when the newest token was made.
	MadeTime metav1.Time `json:"madeTime"`
	// nextTime is when the next one is made.
	// +optional
	NextTime *metav1.Time `json:"nextTime,omitempty"`
	// former is the token that the newest one replaces, while it is accepted.
	// +optional
	Former *FormerToken `json:"former,omitempty"`
}

// FormerToken is a token that was replaced and is accepted for some time.
type FormerToken struct {
	// secretName of the Secret that holds it.
	SecretName string `json:"secretName"`
	// digest that it stands for.
	Digest string `json:"digest"`
	// tokenID names it in logs.
	TokenID string `json:"tokenID"`
	// until is when it stops being accepted.
	Until metav1.Time `json:"until"`
}

// BasicAuthentication says which user name goes with a token that is sent as a password.
type BasicAuthentication struct {
	// userName that the client must send. Empty: status.tokenID, that of the former token while that one is accepted.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!self.matches('[:[:cntrl:]]')",message="must have no colon and no control characters"
	UserName string `json:"userName,omitempty"`
}

// SecretKeyReference names one key of a Secret that carries the label scim-operator.io/token=true.
type SecretKeyReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// key of its data.
	// +optional
	// +kubebuilder:default=token
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// GenerateToken says where a generated token is written.
type GenerateToken struct {
	// secretName of the Secret to create; the token is under the key token. Delete the Secret to have a new one made.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a Secret: lower case letters, digits, - and ., beginning and ending with a letter or digit"
	SecretName string `json:"secretName"`
}

// ScimTokenStatus is written by the controller, but for lastUsedTime.
type ScimTokenStatus struct {
	// uid is the metadata.uid of the object that the status was written for. A status with another one was put back from a backup, and
	// counts as none.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`
	// conditions: Accepted says whether the token opens its App now. Ready says whether the token is as its specification
	// asks for: also of one that is suspended, expired or not yet valid. Expiring says that it expires within 30 days, Expired
	// that it has. Rotating says that a former token is accepted, too, and until when.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// digest that the token stands for: sha256: and 64 hexadecimal digits. It is there while the App accepts the token,
	// also while the token is suspended, expired or not yet valid.
	// +optional
	Digest string `json:"digest,omitempty"`
	// ownURLOnly says that the token opens its App at the URL that names the App (/apps/<namespace>/<name>/scim/v2) and not at
	// /scim/v2: a token of another App has the same digest and had it first.
	// +optional
	OwnURLOnly bool `json:"ownURLOnly,omitempty"`
	// tokenID is the first eight hexadecimal digits of the digest: it names the token in logs.
	// +optional
	TokenID string `json:"tokenID,omitempty"`
	// rotation is there for a token with spec.rotation.
	// +optional
	Rotation *TokenRotationStatus `json:"rotation,omitempty"`
	// lastUsedTime is when the token last opened its App, to about a quarter of an hour. The SCIM server writes it.
	// +optional
	LastUsedTime *metav1.Time `json:"lastUsedTime,omitempty"`
}

// ScimToken is one credential of one App.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=stoken,categories=scim
// +kubebuilder:selectablefield:JSONPath=`.spec.app`
// +kubebuilder:printcolumn:name="App",type=string,JSONPath=`.spec.app`
// +kubebuilder:printcolumn:name="Type",type=string,priority=1,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Token ID",type=string,JSONPath=`.status.tokenID`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].reason`
// +kubebuilder:printcolumn:name="Ready",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Last Used",type=date,JSONPath=`.status.lastUsedTime`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ScimToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec ScimTokenSpec `json:"spec"`
	// +optional
	Status ScimTokenStatus `json:"status,omitzero"`
}

// ScimTokenList is a list of ScimTokens.
//
// +kubebuilder:object:root=true
type ScimTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ScimToken `json:"items"`
}
