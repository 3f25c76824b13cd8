package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AppSpec describes one Okta app integration: which provisioning actions it takes, which attributes it adds to
// RFC 7643, which roles its people earn and where those hold.
//
// +kubebuilder:validation:XValidation:rule="!has(self.roles) || self.roles.map(role, has(role.scopes) && size(role.scopes) > 0 ? size(role.scopes) : has(self.scopes) && has(self.scopes.list) && size(self.scopes.list) > 0 ? size(self.scopes.list) : 1).sum() <= 1024 || oldSelf.hasValue() && has(oldSelf.value().roles) && self.roles.map(role, has(role.scopes) && size(role.scopes) > 0 ? size(role.scopes) : has(self.scopes) && has(self.scopes.list) && size(self.scopes.list) > 0 ? size(self.scopes.list) : 1).sum() <= oldSelf.value().roles.map(role, has(role.scopes) && size(role.scopes) > 0 ? size(role.scopes) : has(oldSelf.value().scopes) && has(oldSelf.value().scopes.list) && size(oldSelf.value().scopes.list) > 0 ? size(oldSelf.value().scopes.list) : 1).sum()",optionalOldSelf=true,message="the roles hold in more than 1024 pairs of role and scope, and each pair is bound apart for every user: name fewer scopes in roles[].scopes, or join scopes that go together"
type AppSpec struct {
	// displayName is shown to people in place of the object's name.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	DisplayName string `json:"displayName,omitempty"`

	// tokens are the ScimTokens that open the App; no other one does. Only an author that is able to bind what the App
	// grants may add one. The list is atomic: applying it replaces the whole of it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tokens []AcceptedToken `json:"tokens,omitempty"`

	// oauth has a client get its tokens by OAuth 2, as Okta's mode OAuth2 does. Absent: it is off. Only an author that is able to bind
	// what the App grants may set it.
	// +optional
	OAuth *OAuth `json:"oauth,omitempty"`

	// oidc has tokens of an OpenID Connect issuer open the App, too. Only an author that is able to bind what the App grants may
	// set or change it; to take it away is free.
	// +optional
	OIDC *ForeignIssuer `json:"oidc,omitempty"`

	// provisioning says which provisioning actions of the Okta app are on. A client that asks for one that is off
	// gets a SCIM error that names the switch; the connection test passes all the same.
	// +optional
	Provisioning Provisioning `json:"provisioning,omitzero"`

	// identifier is what Okta calls the unique identifier field for users. With email or externalId, the filter userName eq finds a
	// user by that attribute, too, and a POST with the email or externalId of another user is refused.
	// +optional
	// +kubebuilder:default=userName
	// +kubebuilder:validation:Enum=userName;email;externalId
	Identifier string `json:"identifier,omitempty"`

	// kubernetes maps SCIM users and groups to the names that the cluster's authenticator shows.
	// +optional
	Kubernetes KubernetesMapping `json:"kubernetes,omitzero"`

	// attributes are declared beyond RFC 7643. They appear in /Schemas. Undeclared attributes are kept as well.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Attributes []CustomAttribute `json:"attributes,omitempty"`

	// roleAssignment says how roles are earned by attributes and by default.
	// +optional
	RoleAssignment RoleAssignment `json:"roleAssignment,omitzero"`

	// roles of the App, by name. A name is what an attribute must hold to earn the role. All roles together hold in 1024 pairs
	// of role and scope at most: in the scopes that each names, or in all of them.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=128
	Roles []Role `json:"roles,omitempty"`

	// scopes say where a role holds.
	// +optional
	Scopes Scopes `json:"scopes,omitzero"`

	// subjectMode chooses what native bindings name: each person, or, Group, the Kubernetes group (groupPrefix and
	// display name) of the pushed group by which a person earned the role. A person that earned it otherwise is named all
	// the same. A token that was issued with a group keeps it until it expires: with Group, nothing but the end of that
	// token, or deactivation.denyRequests, ends the access of a leaver.
	// +optional
	// +kubebuilder:default=Users
	// +kubebuilder:validation:Enum=Users;Group
	SubjectMode string `json:"subjectMode,omitempty"`

	// deactivation says what happens when a person leaves.
	// +optional
	Deactivation Deactivation `json:"deactivation,omitzero"`

	// safety holds bulk loss of roles that comes from group changes or App edits. Single deactivations are never held.
	// +optional
	Safety *Safety `json:"safety,omitempty"`

	// deletionPolicy says what becomes of the App's users and groups when the App is deleted. Its bindings go either
	// way. Retain keeps the objects, without access; Delete deletes them before the App goes.
	// +optional
	// +kubebuilder:default=Retain
	// +kubebuilder:validation:Enum=Retain;Delete
	DeletionPolicy string `json:"deletionPolicy,omitempty"`

	// externalURL is the base URL that clients use, put before locations in answers. Empty: the server's own flag,
	// else the request's host.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self == '' || isURL(self) && self.matches('^https?://[^/@?#]+(/[^?#]*)?$')",message="must be an http or https URL without user, query and fragment, such as https://scim.example.com/scim/v2"
	ExternalURL string `json:"externalURL,omitempty"`

	// limits bound what the App's clients ask of each replica of the server. A request beyond them is answered 429 with
	// Retry-After; deactivations and deletions have limits of the same size of their own.
	// +optional
	Limits Limits `json:"limits,omitzero"`

	// mode Enforce writes bindings; Observe computes and shows everything and binds nothing.
	// +optional
	// +kubebuilder:default=Enforce
	// +kubebuilder:validation:Enum=Enforce;Observe
	Mode string `json:"mode,omitempty"`
}

// Provisioning actions of an Okta app. Every one is on unless it is set to false.
type Provisioning struct {
	// importUsers lets the client list users.
	// +optional
	// +kubebuilder:default=true
	ImportUsers *bool `json:"importUsers,omitempty"`
	// createUsers lets the client create users.
	// +optional
	// +kubebuilder:default=true
	CreateUsers *bool `json:"createUsers,omitempty"`
	// updateUsers lets the client change users. Where it is false, profile updates are answered 200 and change
	// nothing but active.
	// +optional
	// +kubebuilder:default=true
	UpdateUsers *bool `json:"updateUsers,omitempty"`
	// deactivateUsers lets the client set active to false and delete users.
	// +optional
	// +kubebuilder:default=true
	DeactivateUsers *bool `json:"deactivateUsers,omitempty"`
	// pushGroups lets the client create and change groups.
	// +optional
	// +kubebuilder:default=true
	PushGroups *bool `json:"pushGroups,omitempty"`
	// dropAttributes lists attributes of users that are not to be stored: what a client sends of them is left out, at top
	// level and in every extension, without regard to case. Undeclared attributes are stored as they come, also where an
	// identity provider maps a secret to one. The attributes of scopes.fromAttribute and roles[].untilAttribute cannot be left out.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.all(name, !(name.lowerAscii() in ['schemas', 'id', 'meta', 'username', 'active', 'externalid']))",message="schemas, id, meta, userName, active and externalId cannot be dropped"
	DropAttributes []string `json:"dropAttributes,omitempty"`
}

// KubernetesMapping makes the RBAC subject of a person: prefix + the chosen attribute, in its exact case.
type KubernetesMapping struct {
	// usernamePrefix is put before every user name. It must equal the prefix that the API server's authenticator
	// puts before this identity provider's names.
	// +optional
	// +kubebuilder:default="okta:"
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="!self.trim().lowerAscii().startsWith('system:') && self.trim() == self && !self.matches('[[:cntrl:]]')",message="must not begin with system:, nor hold blanks at its ends or control characters"
	UsernamePrefix *string `json:"usernamePrefix,omitempty"`
	// usernameFrom names the attribute that the authenticator shows as the user's name.
	// +optional
	// +kubebuilder:default=userName
	// +kubebuilder:validation:Enum=userName;email;externalId
	UsernameFrom string `json:"usernameFrom,omitempty"`
	// groupPrefix is put before every group name.
	// +optional
	// +kubebuilder:default="okta:"
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="!self.trim().lowerAscii().startsWith('system:') && self.trim() == self && !self.matches('[[:cntrl:]]')",message="must not begin with system:, nor hold blanks at its ends or control characters"
	GroupPrefix *string `json:"groupPrefix,omitempty"`
}

// CustomAttribute declares an attribute beyond RFC 7643 (RFC 7643 section 7 gives the fields their meaning). One that the RFC defines
// can be declared to make it required or to bound its values, with the type that the RFC gives it.
//
// +kubebuilder:validation:XValidation:rule="!(self.name.lowerAscii() in ['password', 'id', 'schemas', 'meta', 'externalid', 'groups'])",message="this name is reserved"
// +kubebuilder:validation:XValidation:rule="!has(self.schema) || !(self.schema.lowerAscii() in ['urn:ietf:params:scim:schemas:core:2.0', 'urn:ietf:params:scim:schemas:core:2.0:user']) || !(self.name.lowerAscii() in ['username', 'displayname', 'nickname', 'title', 'usertype', 'preferredlanguage', 'locale', 'timezone', 'profileurl', 'active', 'name', 'emails', 'phonenumbers', 'ims', 'photos', 'addresses', 'entitlements', 'roles', 'x509certificates']) || !(has(self.multiValued) && self.multiValued) && (self.name.lowerAscii() == 'active' ? self.type == 'boolean' : self.name.lowerAscii() == 'profileurl' ? self.type == 'reference' : self.type == 'string' && !(self.name.lowerAscii() in ['name', 'emails', 'phonenumbers', 'ims', 'photos', 'addresses', 'entitlements', 'roles', 'x509certificates']))",message="RFC 7643 defines this attribute otherwise: declare it with the RFC's type and one value, or not at all"
// +kubebuilder:validation:XValidation:rule="!has(self.schema) || self.schema.lowerAscii() != 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:user' || !(self.name.lowerAscii() in ['employeenumber', 'costcenter', 'organization', 'division', 'department', 'manager']) || self.name.lowerAscii() != 'manager' && self.type == 'string' && !(has(self.multiValued) && self.multiValued)",message="RFC 7643 defines this attribute otherwise: declare it with the RFC's type and one value, or not at all"
type CustomAttribute struct {
	// name of the attribute, as the client sends it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9_$-]*$`
	Name string `json:"name"`
	// schema is the URN of the attribute's namespace. The core User URN, also in the spellings
	// urn:ietf:params:scim:schemas:core:2.0 and …:2.0:user, puts it beside userName.
	// +optional
	// +kubebuilder:default="urn:ietf:params:scim:schemas:core:2.0:User"
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.startsWith('urn:')",message="must be a URN, such as urn:example:2.0:User"
	Schema string `json:"schema,omitempty"`
	// type of the value.
	// +optional
	// +kubebuilder:default=string
	// +kubebuilder:validation:Enum=string;boolean;decimal;integer;dateTime;reference
	Type string `json:"type,omitempty"`
	// multiValued says that the value is an array.
	// +optional
	MultiValued bool `json:"multiValued,omitempty"`
	// required says that a user cannot be created without the attribute. Updates are never refused for it.
	// +optional
	Required bool `json:"required,omitempty"`
	// canonicalValues are the values that a user can be created with; empty: any. Updates are never refused for it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=256
	CanonicalValues []string `json:"canonicalValues,omitempty"`
	// description is shown in /Schemas.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`
}

// Deactivation says what happens when a person leaves.
type Deactivation struct {
	// confirmWithin is how long the answer to a deactivation waits for the access to be gone: at most 30s, 0s for not
	// at all.
	// +optional
	// +kubebuilder:default="2s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="(self == '0' || self != '' && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,8}([.][0-9]{1,9})?s)?([0-9]{1,9}([.][0-9]{1,9})?ms)?$')) && duration(self) <= duration('30s')",message="must be a duration between 0s and 30s, such as 2s or 500ms"
	ConfirmWithin *metav1.Duration `json:"confirmWithin,omitempty"`
	// deleteAfter removes a User object this long after it became inactive. Empty: never.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="(self == '0' || self != '' && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,8}([.][0-9]{1,9})?s)?([0-9]{1,9}([.][0-9]{1,9})?ms)?$')) && duration(self) >= duration('1h')",message="must be a duration of at least 1h in hours and minutes, such as 720h for 30 days: days have no unit"
	DeleteAfter *metav1.Duration `json:"deleteAfter,omitempty"`
	// denyRequests has requests of deactivated people denied whatever binding still names them: their writes for 24
	// hours by an admission policy, and everything for as long as they are inactive where the API server asks the
	// authorizer. It reaches beyond this App's bindings, so an App may set it only if its author holds the verb
	// revoke on usernameprefixes.scim-operator.io of that prefix.
	// +optional
	DenyRequests bool `json:"denyRequests,omitempty"`
}

// App is one Okta app integration. Its namespace is its directory's.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sapp,categories=scim
// +kubebuilder:printcolumn:name="Users",type=integer,JSONPath=`.status.users`
// +kubebuilder:printcolumn:name="Active",type=integer,JSONPath=`.status.activeUsers`
// +kubebuilder:printcolumn:name="Tokens",type=integer,JSONPath=`.status.tokens`
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Held",type=integer,JSONPath=`.status.removals.held`
// +kubebuilder:printcolumn:name="Missing",type=string,JSONPath=`.status.missingScopes[*].name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name of an App must be at most 63 characters: it is used as a label"
type App struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec AppSpec `json:"spec"`
	// +optional
	Status AppStatus `json:"status,omitzero"`
}

// AppList is a list of Apps.
//
// +kubebuilder:object:root=true
type AppList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []App `json:"items"`
}
