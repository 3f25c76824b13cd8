package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Attributes that are unique in an App.
const (
	ClaimUserName    = "userName"
	ClaimDisplayName = "displayName"
	// ClaimEmail and ClaimExternalID are claimed where the App tells users apart by them, or makes Kubernetes names of them.
	ClaimEmail      = IdentifierEmail
	ClaimExternalID = IdentifierExternalID
)

// NameClaimSpec names the holder of one name of one App. The object's name is a hash of app, attribute and value, so that
// the API server itself admits one holder only.
// +kubebuilder:validation:XValidation:rule="self.app == oldSelf.app && self.attribute == oldSelf.attribute && self.value == oldSelf.value && self.holder == oldSelf.holder",message="a claim is immutable but for touches"
type NameClaimSpec struct {
	// app names the App that the name is claimed in.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	App string `json:"app"`
	// attribute that the name is a value of.
	// +required
	// +kubebuilder:validation:Enum=userName;displayName;email;externalId
	Attribute string `json:"attribute"`
	// value is the name, folded unless the attribute is externalId, which is compared exactly.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Value string `json:"value"`
	// holder names the Group (attribute displayName) or the User (any other attribute) that holds the name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Holder string `json:"holder"`
	// touches is raised by a holder that adopts its own claim, so that a deletion decided on an older reading fails.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Touches int64 `json:"touches,omitempty"`
}

// NameClaim reserves one userName or group display name of one App, or one address or externalId where those are unique in it.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=scim-internal
// +kubebuilder:selectablefield:JSONPath=`.spec.attribute`
// +kubebuilder:selectablefield:JSONPath=`.spec.holder`
// +kubebuilder:printcolumn:name="App",type=string,JSONPath=`.spec.app`
// +kubebuilder:printcolumn:name="Attribute",type=string,JSONPath=`.spec.attribute`
// +kubebuilder:printcolumn:name="Value",type=string,JSONPath=`.spec.value`
// +kubebuilder:printcolumn:name="Holder",type=string,JSONPath=`.spec.holder`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type NameClaim struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	// +structType=atomic
	Spec NameClaimSpec `json:"spec"`
}

// NameClaimList is a list of NameClaims.
//
// +kubebuilder:object:root=true
type NameClaimList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NameClaim `json:"items"`
}
