package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// MaxRevocations of a RevocationList: each costs every write in the cluster a little.
	MaxRevocations = 1000
	// MaxRevocationText is the length of a RevocationList's entries in bytes.
	MaxRevocationText = 128 << 10
	// MaxRevokedName is the length of a name on a RevocationList in bytes: CEL bounds what the search for one may cost.
	MaxRevokedName = 512
)

// RevocationListSpec names people of one App with denied requests. It is written by the controller, and read by the
// ValidatingAdmissionPolicy scim-operator-revoked and by the authorizer.
type RevocationListSpec struct {
	// app is the App of these people. The list is named after it: <namespace>.<name>. Another list means nothing.
	App RevocationListApp `json:"app"`
	// prefix of the App's user names when the list was written.
	// +optional
	Prefix string `json:"prefix,omitempty"`
	// entries are lines, each of when the entry expires, as RFC 3339, a tab and a Kubernetes user name. Up to 1000: where more
	// people of the App were revoked within a day, those longest ago are left out, and the list says how many. One text and
	// not a map, since the API server decodes the whole list at every write in the cluster.
	// +optional
	// +kubebuilder:validation:MaxLength=131072
	Entries string `json:"entries,omitempty"`
	// omitted counts people that are left out.
	// +optional
	Omitted int32 `json:"omitted,omitempty"`
}

// RevocationListApp names an App.
type RevocationListApp struct {
	// namespace of the App.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// name of the App.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
}

// RevocationList names people of one App with access that was revoked in the last 24 hours.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=scim
// +kubebuilder:printcolumn:name="Prefix",type=string,JSONPath=`.spec.prefix`
// +kubebuilder:printcolumn:name="Omitted",type=integer,JSONPath=`.spec.omitted`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RevocationList struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec RevocationListSpec `json:"spec"`
}

// RevocationListList is a list of RevocationLists.
//
// +kubebuilder:object:root=true
type RevocationListList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RevocationList `json:"items"`
}
