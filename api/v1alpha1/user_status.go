package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// UserStatus is written by the controller.
type UserStatus struct {
	// uid is the metadata.uid of the object that the status was written for. A status with another one was put back from a backup, and
	// counts as none.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`
	// conditions: AccessGranted and the summary Ready, both about observedGeneration; NameReserved where the name is not reserved; AccessRevoked and
	// ResidualAccess where the user is inactive, suspended or being deleted; AccessEnding where roles end within seven days, and
	// AccessEnded where roles have ended.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// kubernetesUsername is the RBAC subject that stands for the person.
	// +optional
	KubernetesUsername string `json:"kubernetesUsername,omitempty"`
	// boundAs is the RBAC subject that bindings of this App named last; it stays when the access ended. Requests are denied
	// to people that the App bound, and to no others.
	// +optional
	BoundAs string `json:"boundAs,omitempty"`
	// reservedKey is the userNameKey of the claim that was verified to name the user. Where it is spec.userNameKey and no condition
	// NameReserved says otherwise, the name is reserved.
	// +optional
	ReservedKey string `json:"reservedKey,omitempty"`
	// roles held, each with its scope and why it was earned.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4096
	Roles []EarnedRole `json:"roles,omitempty"`
	// roleNames lists the names of the roles held, for printing.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	RoleNames string `json:"roleNames,omitempty"`
	// inactiveSince is when the controller first saw the user without access.
	// +optional
	InactiveSince *metav1.Time `json:"inactiveSince,omitempty"`
	// residualAccess lists bindings that still name the user after the access was revoked, or a group that the user is
	// in: by other hands, or of another User of the same Kubernetes name; up to 32.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	ResidualAccess []ResidualAccess `json:"residualAccess,omitempty"`
	// residualAccessCount counts all of them.
	// +optional
	ResidualAccessCount int32 `json:"residualAccessCount,omitempty"`
	// lastRequest is the spec.lastRequest that the status speaks of: another one in spec is a request that is not evaluated yet. Absent
	// where observedGeneration is 1: the status speaks of the request that created the user.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	LastRequest string `json:"lastRequest,omitempty"`
}

// ResidualAccess is a binding that still gives access to a person after it was revoked: one by other hands, or one that
// this operator wrote for another User of the same Kubernetes name.
type ResidualAccess struct {
	// kind is RoleBinding or ClusterRoleBinding.
	// +required
	Kind string `json:"kind"`
	// namespace of a RoleBinding.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of the binding.
	// +required
	Name string `json:"name"`
	// role is what it binds, such as ClusterRole/edit.
	// +required
	Role string `json:"role"`
	// subject is the user or group that it names, such as User/okta:jane@example.com.
	// +required
	Subject string `json:"subject"`
	// app is the App that this operator wrote the binding for, as namespace/name. Empty: the binding is by other hands.
	// +optional
	App string `json:"app,omitempty"`
}

// EarnedRole is one role that a person holds in one scope.
type EarnedRole struct {
	// role is the name of a role of the App.
	// +required
	Role string `json:"role"`
	// scope is the name of a scope of the App.
	// +required
	Scope string `json:"scope"`
	// reasons tell why, such as `attribute role is "viewer"` or `default role of the App`.
	// +optional
	// +listType=atomic
	Reasons []string `json:"reasons,omitempty"`
	// until is when the role ends for the user. Absent: it has no end.
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
	// bound says how far bindings give the role where they do not in full: No where none does, since the App only observes or the
	// binding was refused; Partly where a part of it was refused. Absent where the role is bound.
	// +optional
	// +kubebuilder:validation:Enum=No;Partly
	Bound string `json:"bound,omitempty"`
}

// How far bindings give a role. The empty text stands for in full.
const (
	BoundNo     = "No"
	BoundPartly = "Partly"
)
