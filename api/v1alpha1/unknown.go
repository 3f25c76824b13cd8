package v1alpha1

// UnknownMembers is the value of AnnotationUnknownMembers, as JSON: members that a client asked for, and that were left
// out because they are no users of the App.
// +kubebuilder:object:generate=false
type UnknownMembers struct {
	Count int `json:"count"`
	// IDs are ten of them at most.
	IDs []string `json:"ids"`
}
