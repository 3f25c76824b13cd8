package v1alpha1

import (
	"net/url"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Decisions about an OAuthGrant.
const (
	DecisionApproved = "Approved"
	DecisionDenied   = "Denied"
)

// OAuthGrantSpec is a request of an OAuth 2 client to open an App, and what a person decided about it; or a machine client of an App. The
// server writes it, once; people write the decision.
// +kubebuilder:validation:XValidation:rule="has(self.decision) == has(self.decidedBy)",message="decision and decidedBy go together"
// +kubebuilder:validation:XValidation:rule="!has(self.key) || !has(self.decision)",message="decision: a machine client is let in by its App. To end it, take its key out of spec.oauth.machineClients of the App"
// +kubebuilder:validation:XValidation:rule="has(self.key) ? !has(self.redirectURI) && !has(self.browserDigest) && !has(self.expiresAt) && !has(self.codeChallenge) && !has(self.appUID) : has(self.redirectURI) && has(self.browserDigest) && has(self.expiresAt) && has(self.appUID)",message="redirectURI, browserDigest, expiresAt and appUID are of the request of a browser, which needs them; key is of a machine client"
type OAuthGrantSpec struct {
	// app names the App, in the same namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	App string `json:"app"`
	// appUID is the uid of the App that a browser's request was made for: the App made anew under its name takes no part in it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	AppUID string `json:"appUID,omitempty"`
	// key is the public key of a machine client, as spec.oauth.machineClients of the App lists it, character by character.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Key string `json:"key,omitempty"`
	// clientID of the client.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ClientID string `json:"clientID"`
	// redirectURI that the browser is sent back to.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	RedirectURI string `json:"redirectURI,omitempty"`
	// userCode is the short code that the page shows and that names the request in kubectl scim oauth approve. That of a machine client
	// follows from its ID and key.
	// +required
	// +kubebuilder:validation:Pattern=`^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`
	UserCode string `json:"userCode"`
	// requestedFrom is the address of the browser, as the server saw it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	RequestedFrom string `json:"requestedFrom,omitempty"`
	// scopes that the client asked for; empty: all that the App leaves to it.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=3
	Scopes []TokenScope `json:"scopes,omitempty"`
	// codeChallenge is the client's of PKCE (RFC 7636), by S256.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]{43}$`
	CodeChallenge string `json:"codeChallenge,omitempty"`
	// browserDigest is the digest of the cookie that the browser holds: no other browser is sent back to the client.
	// +optional
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	BrowserDigest string `json:"browserDigest,omitempty"`
	// expiresAt is until when the request can be approved and the browser be sent back.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$') && timestamp(self) >= timestamp('1970-01-01T00:00:00Z')",message="must be a time as in RFC 3339, such as 2027-02-01T00:00:00Z or 2027-02-01T01:00:00+01:00"
	ExpiresAt metav1.Time `json:"expiresAt,omitzero"`
	// decision about the request: Approved or Denied. Approved takes the right to bind what the App grants. Denied ends what was
	// approved before.
	// +optional
	// +kubebuilder:validation:Enum=Approved;Denied
	Decision string `json:"decision,omitempty"`
	// decidedBy is the Kubernetes user of the decision.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	DecidedBy string `json:"decidedBy,omitempty"`
}

// OAuthGrantStatus is written by the server, but for the conditions, which the controller writes.
type OAuthGrantStatus struct {
	// uid is the metadata.uid of the object that the status was written for. A status with another one was put back from a backup, and
	// counts as none.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`
	// conditions: Active says whether tokens of this grant open the App; Replayed, for a day, that a JWT of the machine client was shown a
	// second time.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// code is the authorization code that the browser took to the client.
	// +optional
	Code *OAuthCode `json:"code,omitempty"`
	// refresh is the refresh token that is accepted.
	// +optional
	Refresh *OAuthRefresh `json:"refresh,omitempty"`
	// usedRefreshDigests are those of refresh tokens that were used, the last 64 of them: one that comes back ends the grant.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=71
	UsedRefreshDigests []string `json:"usedRefreshDigests,omitempty"`
	// assertions are JWTs that the machine client has shown, until they expire: one that comes back is refused. While there are 256, the
	// client waits.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Assertions []OAuthAssertion `json:"assertions,omitempty"`
	// replayed says when a JWT of the machine client that was used before was shown and refused; of those within ten minutes, the first one.
	// +optional
	Replayed *OAuthReplay `json:"replayed,omitempty"`
	// access says when the machine client last asked for a token.
	// +optional
	Access *OAuthAccess `json:"access,omitempty"`
	// ended says why and since when no token of the grant is accepted any more.
	// +optional
	Ended *OAuthEnd `json:"ended,omitempty"`
}

// LastContact is when the client last asked for a token; nil for never. A client that works asks anew whenever a token expires.
func (s *OAuthGrantStatus) LastContact() (last *metav1.Time) {
	note := func(at *metav1.Time) {
		if last == nil || last.Before(at) {
			last = at
		}
	}
	if s.Code != nil {
		note(s.Code.UsedAt)
	}
	if s.Refresh != nil {
		note(&s.Refresh.IssuedAt)
	}
	if s.Access != nil {
		note(&s.Access.RequestedAt)
	}
	return last
}

// OAuthCode is an authorization code, by its digest.
type OAuthCode struct {
	// digest of the code.
	Digest string `json:"digest"`
	// expiresAt is until when the client can redeem it.
	ExpiresAt metav1.Time `json:"expiresAt"`
	// usedAt is when the client did.
	// +optional
	UsedAt *metav1.Time `json:"usedAt,omitempty"`
}

// OAuthRefresh is the refresh token of a grant, by its digest.
type OAuthRefresh struct {
	// digest of the refresh token.
	Digest string `json:"digest"`
	// issuedAt is when it was issued.
	IssuedAt metav1.Time `json:"issuedAt"`
	// expiresAt is until when it is accepted.
	ExpiresAt metav1.Time `json:"expiresAt"`
	// formerDigest is that of the one which was used for it: for half a minute it may be used again, by a client that got no answer.
	// +optional
	FormerDigest string `json:"formerDigest,omitempty"`
}

// OAuthAssertion is a JWT by which a machine client authenticated itself, by the digest of its claim jti.
type OAuthAssertion struct {
	// digest of the claim jti.
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest"`
	// until when the JWT could be shown again.
	Until metav1.Time `json:"until"`
}

// OAuthReplay is a JWT that was shown a second time: it may be in other hands.
type OAuthReplay struct {
	// time when it was shown.
	Time metav1.Time `json:"time"`
	// from is the address that it came from, as the server saw it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	From string `json:"from,omitempty"`
}

// OAuthAccess is the last request of a machine client for an access token.
type OAuthAccess struct {
	// requestedAt is when.
	RequestedAt metav1.Time `json:"requestedAt"`
	// expiresAt is when the token that it asked for expires.
	ExpiresAt metav1.Time `json:"expiresAt"`
}

// OAuthEnd says why a grant ended.
type OAuthEnd struct {
	// reason in one word: CodeReused, RefreshTokenReused, Revoked.
	Reason string `json:"reason"`
	// time of the end.
	Time metav1.Time `json:"time"`
}

// OAuthGrant is one connection of an OAuth 2 client to an App: asked for by the client, approved by a person, and the root of the
// access and refresh tokens that the server issues for it. Delete it to end them. A machine client has one for each of its keys, without an
// approval: delete it to end its tokens, and take the key out of the App to end the client.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sgrant,categories=scim
// +kubebuilder:selectablefield:JSONPath=`.spec.app`
// +kubebuilder:printcolumn:name="App",type=string,JSONPath=`.spec.app`
// +kubebuilder:printcolumn:name="Code",type=string,JSONPath=`.spec.userCode`
// +kubebuilder:printcolumn:name="Decision",type=string,JSONPath=`.spec.decision`
// +kubebuilder:printcolumn:name="By",type=string,JSONPath=`.spec.decidedBy`
// +kubebuilder:printcolumn:name="Active",type=string,JSONPath=`.status.conditions[?(@.type=="Active")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Active")].reason`
// +kubebuilder:printcolumn:name="From",type=string,priority=1,JSONPath=`.spec.requestedFrom`
// +kubebuilder:printcolumn:name="Redirect",type=string,priority=1,JSONPath=`.spec.redirectURI`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type OAuthGrant struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec OAuthGrantSpec `json:"spec"`
	// +optional
	Status OAuthGrantStatus `json:"status,omitzero"`
}

// OAuthGrantList is a list of OAuthGrants.
//
// +kubebuilder:object:root=true
type OAuthGrantList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OAuthGrant `json:"items"`
}

// Reasons of an OAuthGrant's condition Active, and of its end.
const (
	// ReasonPending says that it waits for a decision; ReasonApproved that the browser has not been sent back yet.
	ReasonPending  = "Pending"
	ReasonApproved = "Approved"
	// ReasonConnected says that the client has its tokens; ReasonNotHeld that its App does not let it in any more.
	ReasonConnected = "Connected"
	ReasonNotHeld   = "NotHeld"
	ReasonDenied    = "Denied"
	// ReasonCodeReused and ReasonRefreshTokenReused say that a code or a refresh token was used twice: it may be in other hands.
	ReasonCodeReused         = "CodeReused"
	ReasonRefreshTokenReused = "RefreshTokenReused"
	// ReasonAssertionReplayed says that a JWT of a machine client was shown twice, and refused the second time.
	ReasonAssertionReplayed = "AssertionReplayed"
)

// IsApproved says whether a person let the client in, and the grant has not ended.
func (g *OAuthGrant) IsApproved() bool {
	return g.Spec.Decision == DecisionApproved && g.Status.Ended == nil && g.DeletionTimestamp.IsZero()
}

// RedirectHost is the host that the browser is sent back to, with its port; "" for a machine client.
func (g *OAuthGrant) RedirectHost() string {
	parsed, err := url.Parse(g.Spec.RedirectURI)
	if err != nil {
		return ""
	}
	return parsed.Host
}

// IsHeldBy says whether an App lets the client of the grant in: tokens may be issued for it, and are accepted. The App has the client that
// a person approved, and is the one that was approved; or it lists the key of the machine client.
func (g *OAuthGrant) IsHeldBy(app *App) bool {
	oauth := app.Spec.OAuth
	if oauth == nil || g.Namespace != app.Namespace || g.Spec.App != app.Name {
		return false
	}
	if g.Spec.Key != "" {
		machine := oauth.Machine(g.Spec.ClientID)
		return machine != nil && slices.Contains(machine.Keys, g.Spec.Key) && g.Status.Ended == nil && g.DeletionTimestamp.IsZero()
	}
	return g.IsApproved() && g.Spec.ClientID == oauth.ClientID && g.Spec.AppUID == string(app.UID)
}

// Backs says whether an issued token is of this grant, and the App lets the grant's client in. A token of a grant that went is not of one that
// has its name: of a later one, or of the same one from a backup.
func (g *OAuthGrant) Backs(app *App, token *ScimToken) bool {
	return token.Spec.Grant == g.Name && token.Namespace == g.Namespace && token.Spec.App == g.Spec.App && g.IsHeldBy(app) &&
		(g.Spec.Key == "" || token.Spec.Type == TokenTypeAccess) &&
		slices.ContainsFunc(token.OwnerReferences, func(owner metav1.OwnerReference) bool { return owner.Kind == "OAuthGrant" && owner.UID == g.UID })
}
