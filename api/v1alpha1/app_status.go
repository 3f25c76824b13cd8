package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AppStatus is written by the controller, but for oidc.
type AppStatus struct {
	// uid is the metadata.uid of the object that the status was written for. A status with another one was put back from a backup, and
	// counts as none.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`
	// conditions: Ready says whether the specification is sound and honoured.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// enforced says that the App has been in mode Enforce at some time. Such an App is deleted, and what decides about its access
	// changed, only by an author that is able to bind what it grants.
	// +optional
	Enforced bool `json:"enforced,omitempty"`
	// users counts the App's users.
	// +optional
	Users int32 `json:"users"`
	// activeUsers counts those of them that are active.
	// +optional
	ActiveUsers int32 `json:"activeUsers"`
	// tokens counts the tokens that open the App now.
	// +optional
	Tokens int32 `json:"tokens"`
	// oidc tells of the issuer that spec.oidc names. The SCIM servers write it; the condition IssuerReachable sums it up.
	// +optional
	OIDC *ForeignIssuerStatus `json:"oidc,omitempty"`
	// evaluation tells how far the evaluation of the App's users has come since its specification changed.
	// +optional
	Evaluation *Evaluation `json:"evaluation,omitempty"`
	// removals tells what spec.safety counted, and how many people it holds.
	// +optional
	Removals *Removals `json:"removals,omitempty"`
	// missingScopes are scopes that hold nowhere, since no namespace is in them; up to 32. Users that would need one are
	// not created.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	MissingScopes []MissingScope `json:"missingScopes,omitempty"`
}

// Evaluation is the progress of the evaluation of an App's users.
type Evaluation struct {
	// generation of the App that users are evaluated for.
	// +required
	Generation int64 `json:"generation"`
	// users to evaluate.
	// +required
	Users int32 `json:"users"`
	// done counts those that were evaluated.
	// +required
	Done int32 `json:"done"`
	// lastError is the last error met, if there was one.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastError string `json:"lastError,omitempty"`
}

// Removals is what spec.safety counted.
type Removals struct {
	// since is when the window began that count belongs to.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// count of people that lost a role in the window by group changes or App edits.
	// +required
	Count int32 `json:"count"`
	// held counts people that keep roles which they no longer earn, until a release.
	// +required
	Held int32 `json:"held"`
	// released is the value of the annotation scim-operator.io/release-removals that was last acted upon.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Released string `json:"released,omitempty"`
}

// MissingScope is a scope that holds nowhere.
type MissingScope struct {
	// name of the scope.
	// +required
	Name string `json:"name"`
	// message tells what is missing.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
}
