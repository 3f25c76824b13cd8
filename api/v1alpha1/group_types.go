package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// GroupSpec is a SCIM group (RFC 7643 section 4.2), written by the SCIM server. The object's name is the SCIM id.
// +kubebuilder:validation:XValidation:rule="!has(self.sharding) || !has(self.members) || size(self.members) == 0",message="members must be empty where sharding is set"
type GroupSpec struct {
	// app names the App, in the same namespace, that the group belongs to.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable"
	App string `json:"app"`
	// displayName as the client sent it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	DisplayName string `json:"displayName"`
	// displayNameKey is displayName folded for comparison. The group is effective while the NameClaim of this key names it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	DisplayNameKey string `json:"displayNameKey"`
	// pendingKey is the key that a rename in progress is about to take.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	PendingKey string `json:"pendingKey,omitempty"`
	// unseenWrites counts the writes of this spec that made no difference to SCIM clients: of pendingKey alone. meta.version
	// leaves them out, so that a rename that was refused makes no other version.
	// +optional
	// +kubebuilder:validation:Minimum=0
	UnseenWrites int64 `json:"unseenWrites,omitempty"`
	// externalId is the client's own identifier of the group.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	ExternalID string `json:"externalId,omitempty"`

	// attributes holds what else the client sent of the core namespace, by name, as a JSON object.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	Attributes *runtime.RawExtension `json:"attributes,omitempty"`
	// extensions holds extensions, by the URN that they came under, as a JSON object of objects.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	Extensions *runtime.RawExtension `json:"extensions,omitempty"`
	// containers remembers attributes of the core namespace that the client put under a URN, by attribute name, so
	// that answers put them there again.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Containers map[string]string `json:"containers,omitempty"`

	// members are SCIM ids of users: up to 500. Larger groups keep them in MemberShards.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:MaxLength=253
	Members []string `json:"members,omitempty"`
	// sharding says that the members are in MemberShards.
	// +optional
	Sharding *Sharding `json:"sharding,omitempty"`
	// createdAt is meta.created; it survives backup and restore.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|[0-9]{2}([2468][048]|0[48]|[13579][26])-02-29|([02468][048]|[13579][26])00-02-29)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]{6}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`
	CreatedAt *metav1.MicroTime `json:"createdAt,omitempty"`
	// lastModified is meta.lastModified.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|[0-9]{2}([2468][048]|0[48]|[13579][26])-02-29|([02468][048]|[13579][26])00-02-29)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]{6}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`
	LastModified *metav1.MicroTime `json:"lastModified,omitempty"`
	// lastRequests are the ids of the SCIM requests behind the write at lastModified, as the server's audit lines have them;
	// several where requests that came at once were written together. Empty where the controller removed deleted users.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	LastRequests []string `json:"lastRequests,omitempty"`
}

// Sharding of a large group's members.
type Sharding struct {
	// epoch is the random part of the shards' names. Shards of another epoch are never read.
	// +required
	// +kubebuilder:validation:Pattern=`^[a-z2-7]{10}$`
	Epoch string `json:"epoch"`
	// count of the shards. A member's shard is a pure function of its id.
	// +required
	// +kubebuilder:validation:Enum=128
	Count int32 `json:"count"`
}

// GroupStatus is written by the controller.
type GroupStatus struct {
	// uid is the metadata.uid of the object that the status was written for. A status with another one was put back from a backup, and
	// counts as none.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`
	// conditions: NameReserved, MembersKnown and the summary Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// reservedKey is the displayNameKey that NameReserved was verified for.
	// +optional
	ReservedKey string `json:"reservedKey,omitempty"`
	// members counts the group's members.
	// +optional
	Members int32 `json:"members"`
	// roles that membership of the group confers.
	// +optional
	// +listType=atomic
	Roles []string `json:"roles,omitempty"`
}

// Group is a pushed group.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sgroup,categories=scim
// +kubebuilder:selectablefield:JSONPath=`.spec.app`
// +kubebuilder:selectablefield:JSONPath=`.spec.displayNameKey`
// +kubebuilder:selectablefield:JSONPath=`.spec.externalId`
// +kubebuilder:printcolumn:name="Display Name",type=string,JSONPath=`.spec.displayName`
// +kubebuilder:printcolumn:name="Members",type=integer,JSONPath=`.status.members`
// +kubebuilder:printcolumn:name="Roles",type=string,JSONPath=`.status.roles[*]`
// +kubebuilder:printcolumn:name="App",type=string,JSONPath=`.spec.app`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Group struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec GroupSpec `json:"spec"`
	// +optional
	// +structType=atomic
	Status GroupStatus `json:"status,omitzero"`
}

// GroupList is a list of Groups.
//
// +kubebuilder:object:root=true
type GroupList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Group `json:"items"`
}
