// Package v1alpha1 holds the custom resources of scim-operator: the directory that SCIM clients write
// (User, Group, MemberShard, NameClaim), what people declare (App, ScimToken), the connections of
// OAuth clients (OAuthGrant), and the access that the
// controller derives from both (AppRoleBinding).
//
// It is the lowest package of the project. Names follow
// RFC 7643 where SCIM has one, and Kubernetes' API conventions elsewhere.
//
// +kubebuilder:object:generate=true
// +groupName=scim-operator.io
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package="applyconfiguration"
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of every kind in this package.
const GroupName = "scim-operator.io"

var (
	// GroupVersion is the group and version of the kinds in this package.
	GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}

	// SchemeGroupVersion is GroupVersion under the name that generated apply configurations use.
	SchemeGroupVersion = GroupVersion

	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme registers the kinds of this package.
	AddToScheme = schemeBuilder.AddToScheme
)

// Resource returns the group-qualified name of one of this group's resources.
func Resource(resource string) schema.GroupResource {
	return GroupVersion.WithResource(resource).GroupResource()
}

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&App{}, &AppList{},
		&User{}, &UserList{},
		&Group{}, &GroupList{},
		&MemberShard{}, &MemberShardList{},
		&NameClaim{}, &NameClaimList{},
		&ScimToken{}, &ScimTokenList{},
		&AppRoleBinding{}, &AppRoleBindingList{},
		&RevocationList{}, &RevocationListList{},
		&OAuthGrant{}, &OAuthGrantList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
