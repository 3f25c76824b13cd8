package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RoleAssignment says how roles are earned apart from a role's own conditions.
type RoleAssignment struct {
	// fromAttributes names attributes that hold role names: role, roles, entitlements or a custom attribute. Values are
	// compared exactly, one role earned for each.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	FromAttributes []string `json:"fromAttributes,omitempty"`
	// default roles are held by every active person that earned no other role.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=128
	Default []string `json:"default,omitempty"`
}

// Role of an App.
// +kubebuilder:validation:XValidation:rule="!has(self.untilOptional) || !self.untilOptional || has(self.untilAttribute)",message="untilOptional says what an absent untilAttribute means: set that, too"
type Role struct {
	// name of the role, exactly as attributes hold it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name"`
	// displayName is shown to people.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	DisplayName string `json:"displayName,omitempty"`
	// description is shown to people.
	// +optional
	// +kubebuilder:validation:MaxLength=1000
	Description string `json:"description,omitempty"`
	// groups are display names or external ids of pushed groups. Their members earn the role.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	Groups []string `json:"groups,omitempty"`
	// when is a CEL expression that earns the role where it is true. user is the SCIM user; groups is the list of the
	// display names of the pushed groups that the person is a member of.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	When string `json:"when,omitempty"`
	// scopes restricts the role to these scopes of the App, whatever the person holds; empty: no restriction.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	Scopes []string `json:"scopes,omitempty"`
	// until is when the role ends, for all users. A later time gives it back. Empty: never.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$') && timestamp(self) >= timestamp('1970-01-01T00:00:00Z')",message="must be a time as in RFC 3339, such as 2027-02-01T00:00:00Z or 2027-02-01T01:00:00+01:00"
	Until *metav1.Time `json:"until,omitempty"`
	// untilAttribute names an attribute, such as contractEnd, that says when the role ends for a user: with until, the earlier of
	// both. It must be declared in attributes, with type dateTime and one value. A value without a zone is UTC; a date is the
	// beginning of that day. A value that is no time grants nothing. With subjectMode Group, users that hold the role are bound by
	// name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	UntilAttribute string `json:"untilAttribute,omitempty"`
	// untilOptional lets users without untilAttribute hold the role, until it ends for all. Otherwise they do not get it: an attribute
	// that the client sends no more must not make access endless.
	// +optional
	UntilOptional bool `json:"untilOptional,omitempty"`
	// grants are bound for all people that hold the role, in the namespaces of each scope held.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Grants []Grant `json:"grants,omitempty"`
}

// Grant names one native role.
// +kubebuilder:validation:XValidation:rule="has(self.clusterRole) != has(self.role)",message="exactly one of clusterRole and role must be set"
type Grant struct {
	// clusterRole is bound by a RoleBinding in each namespace of the scope, or by a ClusterRoleBinding where the scope is clusterWide.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClusterRole string `json:"clusterRole,omitempty"`
	// role is bound by a RoleBinding in each namespace of the scope; it must exist there. It grants nothing in a
	// clusterWide scope.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Role string `json:"role,omitempty"`
}

// Scopes of an App: where its roles can hold.
type Scopes struct {
	// fromAttribute names an attribute that chooses scopes by name: a string, comma-separated, or an array. Absent or
	// empty on the user: every scope. It must be one of RFC 7643 or be declared in attributes: of any other, every user
	// would be without it.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	FromAttribute string `json:"fromAttribute,omitempty"`
	// requireAll has a new user refused that would get a role in a scope without a namespace, also where the user's
	// attribute does not name the scope. Without it only a scope that the attribute names is a reason: people get access
	// where it can be had.
	// +optional
	RequireAll bool `json:"requireAll,omitempty"`
	// list of the scopes. An App without one grants in its own namespace, under the scope name "default".
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	List []Scope `json:"list,omitempty"`
}

// Scope names namespaces, or the whole cluster. Server-side apply owns each scope as a whole: to record the owners of its fields one by
// one cost the API server a third of a write of an App with many scopes.
//
// +structType=atomic
// +kubebuilder:validation:XValidation:rule="(has(self.namespaces) ? 1 : 0) + (has(self.namespaceSelector) ? 1 : 0) + (has(self.clusterWide) && self.clusterWide ? 1 : 0) == 1",message="exactly one of namespaces, namespaceSelector and clusterWide must be set"
type Scope struct {
	// name of the scope, as attributes hold it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!self.contains(',')",message="must not contain a comma: attributes list scopes separated by commas"
	Name string `json:"name"`
	// displayName is shown to people and to clients, in lists of entitlements and in what an error says.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	DisplayName string `json:"displayName,omitempty"`
	// namespaces by name.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Namespaces []string `json:"namespaces,omitempty"`
	// namespaceSelector chooses namespaces by label, also those that appear later.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// clusterWide binds cluster roles for the whole cluster.
	// +optional
	ClusterWide bool `json:"clusterWide,omitempty"`
}
