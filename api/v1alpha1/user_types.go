package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// UserSpec is a SCIM user (RFC 7643 section 4), written by the SCIM server. The object's name is the SCIM id.
type UserSpec struct {
	// app names the App, in the same namespace, that the user belongs to.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable"
	App string `json:"app"`

	// userName as the client sent it (RFC 7643 section 4.1.1).
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.trim().lowerAscii().startsWith('system:')",message="must not begin with system:"
	UserName string `json:"userName"`

	// userNameKey is userName folded for comparison. The user is effective while the NameClaim of this key names it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	UserNameKey string `json:"userNameKey"`

	// pendingKey is the key that a rename in progress is about to take.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	PendingKey string `json:"pendingKey,omitempty"`

	// unseenWrites counts the writes of this spec that made no difference to SCIM clients: of pendingKey alone. meta.version
	// leaves them out, so that a rename that was refused makes no other version.
	// +optional
	// +kubebuilder:validation:Minimum=0
	UnseenWrites int64 `json:"unseenWrites,omitempty"`

	// externalId is the client's own identifier of the user; Okta's user id.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	ExternalID string `json:"externalId,omitempty"`

	// active is false for a leaver. An inactive user has no role.
	// +required
	Active bool `json:"active"`

	// suspended takes every role away whatever the client says. It is set in the cluster, and no SCIM request changes it.
	// +optional
	Suspended bool `json:"suspended,omitempty"`

	// displayName is the name that is shown to people.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	DisplayName string `json:"displayName,omitempty"`
	// name holds the components of the person's name.
	// +optional
	// +structType=atomic
	Name *Name `json:"name,omitempty"`
	// nickName is how the person is called in everyday life.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	NickName string `json:"nickName,omitempty"`
	// profileUrl is the address of a page about the person.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	ProfileURL string `json:"profileUrl,omitempty"`
	// title is the person's position, such as Vice President.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Title string `json:"title,omitempty"`
	// userType is the relation to the organization, such as Contractor or Employee.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	UserType string `json:"userType,omitempty"`
	// preferredLanguage is the language that the person reads, as in an Accept-Language header.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	PreferredLanguage string `json:"preferredLanguage,omitempty"`
	// locale formats dates, numbers and currency for the person, such as en-US.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Locale string `json:"locale,omitempty"`
	// timezone of the person, such as America/Los_Angeles.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Timezone string `json:"timezone,omitempty"`
	// emails of the person. The primary one, else the first, is what usernameFrom email takes.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Emails []MultiValue `json:"emails,omitempty"`
	// phoneNumbers of the person.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	PhoneNumbers []MultiValue `json:"phoneNumbers,omitempty"`
	// ims are instant messaging addresses of the person.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	IMs []MultiValue `json:"ims,omitempty"`
	// photos are addresses of pictures of the person.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Photos []MultiValue `json:"photos,omitempty"`
	// addresses are postal addresses of the person.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Addresses []Address `json:"addresses,omitempty"`
	// entitlements of the person, as the client names them. Roles can be earned by them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	Entitlements []MultiValue `json:"entitlements,omitempty"`
	// roles of the person, as the client names them. Roles of the App can be earned by them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	Roles []MultiValue `json:"roles,omitempty"`
	// x509Certificates of the person, each DER in base64. They are kept, and authenticate no request.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	X509Certificates []MultiValue `json:"x509Certificates,omitempty"`

	// enterprise is the extension urn:ietf:params:scim:schemas:extension:enterprise:2.0:User (RFC 7643 section 4.3).
	// +optional
	// +structType=atomic
	Enterprise *EnterpriseUser `json:"enterprise,omitempty"`

	// attributes holds custom attributes of the core namespace by name, such as role, as a JSON object.
	// +optional
	// +structType=atomic
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	Attributes *runtime.RawExtension `json:"attributes,omitempty"`

	// extensions holds other extensions, by the URN that they came under, as a JSON object of objects.
	// +optional
	// +structType=atomic
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	Extensions *runtime.RawExtension `json:"extensions,omitempty"`

	// containers remembers attributes of the core namespace that the client put under a URN, by attribute name, so
	// that answers put them there again.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MaxProperties=64
	Containers map[string]string `json:"containers,omitempty"`

	// createdAt is meta.created. Unlike the object's creation time it survives backup and restore.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|[0-9]{2}([2468][048]|0[48]|[13579][26])-02-29|([02468][048]|[13579][26])00-02-29)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]{6}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`
	CreatedAt *metav1.MicroTime `json:"createdAt,omitempty"`
	// lastModified is meta.lastModified: when a client last changed the user. Absent: none did since createdAt.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|[0-9]{2}([2468][048]|0[48]|[13579][26])-02-29|([02468][048]|[13579][26])00-02-29)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]{6}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`
	LastModified *metav1.MicroTime `json:"lastModified,omitempty"`
	// reactivatedAt is when the client last set active from false to true. Where the App does not update users, a push
	// within the hour that follows chooses the person's scopes anew, as an assignment after an unassignment does.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|[0-9]{2}([2468][048]|0[48]|[13579][26])-02-29|([02468][048]|[13579][26])00-02-29)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]{6}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`
	ReactivatedAt *metav1.MicroTime `json:"reactivatedAt,omitempty"`
	// lastRequest is the id of the SCIM request that last changed the user, as the server's audit line has it. The audit lines of
	// the access that follows repeat it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	LastRequest string `json:"lastRequest,omitempty"`
}

// Name is the components of a person's name (RFC 7643 section 4.1.1).
type Name struct {
	// formatted is the full name, ready to be shown.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Formatted string `json:"formatted,omitempty"`
	// familyName is the last name.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	FamilyName string `json:"familyName,omitempty"`
	// givenName is the first name.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	GivenName string `json:"givenName,omitempty"`
	// middleName is the middle name.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	MiddleName string `json:"middleName,omitempty"`
	// honorificPrefix is a title before the name, such as Ms.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	HonorificPrefix string `json:"honorificPrefix,omitempty"`
	// honorificSuffix follows the name, such as III.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	HonorificSuffix string `json:"honorificSuffix,omitempty"`
}

// MultiValue is one value of a multi-valued attribute (RFC 7643 section 2.4).
type MultiValue struct {
	// value itself.
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	Value string `json:"value,omitempty"`
	// display is the value as it is shown to people.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Display string `json:"display,omitempty"`
	// type is a label of the value, such as work or home.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Type string `json:"type,omitempty"`
	// primary marks the preferred value; one at most is.
	// +optional
	Primary bool `json:"primary,omitempty"`
}

// Address is one postal address (RFC 7643 section 4.1.2).
type Address struct {
	// formatted is the whole address, ready to be shown.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Formatted string `json:"formatted,omitempty"`
	// streetAddress has street, house number and the like.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	StreetAddress string `json:"streetAddress,omitempty"`
	// locality is the city.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Locality string `json:"locality,omitempty"`
	// region is the state or province.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Region string `json:"region,omitempty"`
	// postalCode of the city.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	PostalCode string `json:"postalCode,omitempty"`
	// country as in ISO 3166-1 alpha 2, such as US.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Country string `json:"country,omitempty"`
	// type is a label, such as work or home.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Type string `json:"type,omitempty"`
	// primary marks the preferred address; one at most is.
	// +optional
	Primary bool `json:"primary,omitempty"`
}

// EnterpriseUser is the enterprise extension (RFC 7643 section 4.3).
type EnterpriseUser struct {
	// employeeNumber is given by the organization.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	EmployeeNumber string `json:"employeeNumber,omitempty"`
	// costCenter of the person.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	CostCenter string `json:"costCenter,omitempty"`
	// organization of the person.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Organization string `json:"organization,omitempty"`
	// division of the person.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Division string `json:"division,omitempty"`
	// department of the person.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Department string `json:"department,omitempty"`
	// manager of the person.
	// +optional
	Manager *Manager `json:"manager,omitempty"`
}

// Manager of a person, as the client names them: the value is often no SCIM id and is never resolved.
type Manager struct {
	// value is the manager's identifier, as the client has it.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value,omitempty"`
	// $ref is the manager's address.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Ref string `json:"$ref,omitempty"`
	// displayName is the manager's name.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	DisplayName string `json:"displayName,omitempty"`
}

// User is a person as the SCIM client describes them.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=suser,categories=scim
// +kubebuilder:selectablefield:JSONPath=`.spec.app`
// +kubebuilder:selectablefield:JSONPath=`.spec.userNameKey`
// +kubebuilder:selectablefield:JSONPath=`.spec.externalId`
// +kubebuilder:selectablefield:JSONPath=`.spec.active`
// +kubebuilder:selectablefield:JSONPath=`.spec.userName`
// +kubebuilder:selectablefield:JSONPath=`.spec.suspended`
// +kubebuilder:printcolumn:name="UserName",type=string,JSONPath=`.spec.userName`
// +kubebuilder:printcolumn:name="Display Name",type=string,JSONPath=`.spec.displayName`
// +kubebuilder:printcolumn:name="Active",type=boolean,JSONPath=`.spec.active`
// +kubebuilder:printcolumn:name="App",type=string,JSONPath=`.spec.app`
// +kubebuilder:printcolumn:name="Roles",type=string,JSONPath=`.status.roleNames`
// +kubebuilder:printcolumn:name="Granted",type=string,JSONPath=`.status.conditions[?(@.type=="AccessGranted")].status`
// +kubebuilder:printcolumn:name="Revoked",type=string,JSONPath=`.status.conditions[?(@.type=="AccessRevoked")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="External ID",type=string,priority=1,JSONPath=`.spec.externalId`
// +kubebuilder:printcolumn:name="Kubernetes User",type=string,priority=1,JSONPath=`.status.kubernetesUsername`
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.spec.suspended`,priority=1
// +kubebuilder:printcolumn:name="Residual",type=integer,priority=1,JSONPath=`.status.residualAccessCount`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type User struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec UserSpec `json:"spec"`
	// +optional
	// +structType=atomic
	Status UserStatus `json:"status,omitzero"`
}

// UserList is a list of Users.
//
// +kubebuilder:object:root=true
type UserList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []User `json:"items"`
}
