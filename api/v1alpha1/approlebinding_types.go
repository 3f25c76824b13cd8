package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AppRoleBindingSpec lists the people that have one role of one App in one scope. It is written by the controller; edits
// are undone.
type AppRoleBindingSpec struct {
	// app names the App, in the same namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable"
	App string `json:"app"`
	// roleRef names the role of the App.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable"
	RoleRef AppRoleRef `json:"roleRef"`
	// scope names the scope of the App.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable"
	Scope string `json:"scope"`
	// index tells the objects of one role and scope apart: each takes up to 1000 subjects.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable"
	Index int32 `json:"index"`
	// mode is the App's: Enforce, or Observe where no native binding is written.
	// +optional
	// +kubebuilder:default=Enforce
	// +kubebuilder:validation:Enum=Enforce;Observe
	Mode string `json:"mode,omitempty"`
	// subjects that hold the role.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	Subjects []AppRoleSubject `json:"subjects,omitempty"`
}

// AppRoleRef names a role of an App.
type AppRoleRef struct {
	// name of the role.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name"`
}

// AppRoleSubject is one person that holds a role.
type AppRoleSubject struct {
	// user names the User object.
	// +required
	// +kubebuilder:validation:MaxLength=253
	User string `json:"user"`
	// name is the RBAC subject that stands for the person. It must not begin with "system:". (A pattern says so, not a
	// rule: rules are evaluated for each of a thousand subjects at every write.)
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^[\s\p{Z}\p{C}]*(?:$|[^sS\s\p{Z}\p{C}]|[sS][\s\p{Z}\p{C}]*(?:$|[^yY\s\p{Z}\p{C}]|[yY][\s\p{Z}\p{C}]*(?:$|[^sS\s\p{Z}\p{C}]|[sS][\s\p{Z}\p{C}]*(?:$|[^tT\s\p{Z}\p{C}]|[tT][\s\p{Z}\p{C}]*(?:$|[^eE\s\p{Z}\p{C}]|[eE][\s\p{Z}\p{C}]*(?:$|[^mM\s\p{Z}\p{C}]|[mM][\s\p{Z}\p{C}]*(?:$|[^:\s\p{Z}\p{C}])))))))`
	Name string `json:"name"`
	// group is the Kubernetes group that native bindings name in the person's place (subjectMode Group). It must not begin
	// with "system:".
	// +optional
	// +kubebuilder:validation:MaxLength=1100
	// +kubebuilder:validation:Pattern=`^[\s\p{Z}\p{C}]*(?:$|[^sS\s\p{Z}\p{C}]|[sS][\s\p{Z}\p{C}]*(?:$|[^yY\s\p{Z}\p{C}]|[yY][\s\p{Z}\p{C}]*(?:$|[^sS\s\p{Z}\p{C}]|[sS][\s\p{Z}\p{C}]*(?:$|[^tT\s\p{Z}\p{C}]|[tT][\s\p{Z}\p{C}]*(?:$|[^eE\s\p{Z}\p{C}]|[eE][\s\p{Z}\p{C}]*(?:$|[^mM\s\p{Z}\p{C}]|[mM][\s\p{Z}\p{C}]*(?:$|[^:\s\p{Z}\p{C}])))))))`
	Group string `json:"group,omitempty"`
}

// AppRoleBindingStatus is written by the controller.
type AppRoleBindingStatus struct {
	// uid is the metadata.uid of the object that the status was written for. A status with another one was put back from a backup, and
	// counts as none.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`
	// conditions: Ready says whether the native bindings are in place.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// subjects counts the people that hold the role through this object.
	// +optional
	Subjects int32 `json:"subjects"`
	// nativeBindings lists up to 100 of the RoleBindings and ClusterRoleBindings made from this object.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	NativeBindings []NativeBinding `json:"nativeBindings,omitempty"`
	// nativeBindingCount counts all of them.
	// +optional
	NativeBindingCount int32 `json:"nativeBindingCount"`
}

// NativeBinding names one RoleBinding or ClusterRoleBinding.
type NativeBinding struct {
	// kind is RoleBinding or ClusterRoleBinding.
	// +required
	Kind string `json:"kind"`
	// namespace of a RoleBinding.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of the binding.
	// +required
	Name string `json:"name"`
}

// AppRoleBinding lists the people that have one role of one App in one scope.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=arb,categories=scim
// +kubebuilder:selectablefield:JSONPath=`.spec.app`
// +kubebuilder:selectablefield:JSONPath=`.spec.roleRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.scope`
// +kubebuilder:printcolumn:name="App",type=string,JSONPath=`.spec.app`
// +kubebuilder:printcolumn:name="Role",type=string,JSONPath=`.spec.roleRef.name`
// +kubebuilder:printcolumn:name="Scope",type=string,JSONPath=`.spec.scope`
// +kubebuilder:printcolumn:name="Subjects",type=integer,JSONPath=`.status.subjects`
// +kubebuilder:printcolumn:name="Native",type=integer,JSONPath=`.status.nativeBindingCount`
// +kubebuilder:printcolumn:name="Mode",type=string,priority=1,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AppRoleBinding struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	// +structType=atomic
	Spec AppRoleBindingSpec `json:"spec"`
	// +optional
	// +structType=atomic
	Status AppRoleBindingStatus `json:"status,omitzero"`
}

// AppRoleBindingList is a list of AppRoleBindings.
//
// +kubebuilder:object:root=true
type AppRoleBindingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AppRoleBinding `json:"items"`
}
