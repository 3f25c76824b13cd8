package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// RevocationListName is the name of the one RevocationList, in the operator's own namespace.
	RevocationListName = "revoked"
	// MaxRevocations of a RevocationList: each costs every write in the cluster a little.
	MaxRevocations = 1000
)

// RevocationListSpec names people with denied requests. It is written by the controller, and read by the
// ValidatingAdmissionPolicy scim-operator-revoked and by the authorizer.
type RevocationListSpec struct {
	// users maps Kubernetes user names to when the entry expires, as RFC 3339. Up to 1000: where more people were revoked
	// within a day, those longest ago are left out, and the list says how many.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MaxProperties=1000
	Users map[string]metav1.Time `json:"users,omitempty"`
	// omitted counts people that are left out.
	// +optional
	Omitted int32 `json:"omitted,omitempty"`
}

// RevocationList names people with access that was revoked in the last 24 hours.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=scim
// +kubebuilder:printcolumn:name="Omitted",type=integer,JSONPath=`.spec.omitted`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RevocationList struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec RevocationListSpec `json:"spec,omitzero"`
}

// RevocationListList is a list of RevocationLists.
//
// +kubebuilder:object:root=true
type RevocationListList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RevocationList `json:"items"`
}
