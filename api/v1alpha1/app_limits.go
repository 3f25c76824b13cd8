package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Limits of the requests that an App's clients send. They hold in each replica of the server. The server's own flag
// --max-requests-per-second goes first where it is lower.
type Limits struct {
	// requestsPerSecond is how many requests a second are taken for long. Each operation of a bulk request counts as one.
	// Okta and Entra send fewer than 25. Default: 50.
	// +optional
	// +kubebuilder:validation:Minimum=25
	// +kubebuilder:validation:Maximum=10000
	RequestsPerSecond *int32 `json:"requestsPerSecond,omitempty"`
	// burst is how many requests are taken at once after a pause. Default: twice requestsPerSecond.
	// +optional
	// +kubebuilder:validation:Minimum=25
	// +kubebuilder:validation:Maximum=100000
	Burst *int32 `json:"burst,omitempty"`
}

// Safety holds bulk removals.
type Safety struct {
	// maxRemovals is how many people may lose a role within the window.
	// +required
	// +kubebuilder:validation:Minimum=1
	MaxRemovals int32 `json:"maxRemovals"`
	// window over which removals are counted: between 1m and 8760h.
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="(self == '0' || self != '' && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,8}([.][0-9]{1,9})?s)?([0-9]{1,9}([.][0-9]{1,9})?ms)?$')) && duration(self) >= duration('1m') && duration(self) <= duration('8760h')",message="must be a duration between 1m and 8760h, such as 1h, or 24h for a day: days have no unit"
	Window *metav1.Duration `json:"window,omitempty"`
}
