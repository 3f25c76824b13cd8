package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MemberShardSpec is one part of a large group's members.
type MemberShardSpec struct {
	// app names the App that the group belongs to.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable"
	App string `json:"app"`
	// group names the Group.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable"
	Group string `json:"group"`
	// epoch of the group's sharding that this shard belongs to.
	// +required
	// +kubebuilder:validation:Pattern=`^[a-z2-7]{10}$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable"
	Epoch string `json:"epoch"`
	// index of the shard: 0 to 127.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=127
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable"
	Index int32 `json:"index"`
	// members are the SCIM ids of the users in this shard.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8192
	// +kubebuilder:validation:items:MaxLength=253
	Members []string `json:"members,omitempty"`
	// lastModified is when the members last changed.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|[0-9]{2}([2468][048]|0[48]|[13579][26])-02-29|([02468][048]|[13579][26])00-02-29)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]{6}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`
	LastModified *metav1.MicroTime `json:"lastModified,omitempty"`
	// lastRequests are the ids of the SCIM requests behind that write, as in a Group.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	LastRequests []string `json:"lastRequests,omitempty"`
}

// MemberShard holds one of the 128 parts of a large group's members.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=scim-internal
// +kubebuilder:selectablefield:JSONPath=`.spec.app`
// +kubebuilder:selectablefield:JSONPath=`.spec.group`
// +kubebuilder:printcolumn:name="Group",type=string,JSONPath=`.spec.group`
// +kubebuilder:printcolumn:name="Index",type=integer,JSONPath=`.spec.index`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MemberShard struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	// +structType=atomic
	Spec MemberShardSpec `json:"spec"`
}

// MemberShardList is a list of MemberShards.
//
// +kubebuilder:object:root=true
type MemberShardList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MemberShard `json:"items"`
}
