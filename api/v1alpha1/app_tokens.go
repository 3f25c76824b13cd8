package v1alpha1

// AcceptedToken names one ScimToken, in the App's namespace, that opens the App.
type AcceptedToken struct {
	// name of the ScimToken.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// digest that the ScimToken must stand for: sha256: and 64 hexadecimal digits. A ScimToken that holds a digest is
	// accepted only with it. Empty for one with secretRef or generate: any token that its Secret holds.
	// +optional
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Digest string `json:"digest,omitempty"`
}
