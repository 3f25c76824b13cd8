package approlebinding

import (
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/names"
)

// Key is one role of one App in one scope. All bindings of a key are written by one run at a time.
type Key struct {
	Namespace string
	App       string
	Role      string
	Scope     string
}

// String serves logs.
func (k Key) String() string {
	return fmt.Sprintf("%s/%s role %q scope %q", k.Namespace, k.App, k.Role, k.Scope)
}

// KeyOf returns the key that an AppRoleBinding belongs to.
func KeyOf(binding *v1alpha1.AppRoleBinding) Key {
	return Key{
		Namespace: binding.Namespace,
		App:       binding.Spec.App,
		Role:      binding.Spec.RoleRef.Name,
		Scope:     binding.Spec.Scope,
	}
}

// keyOfNative returns the key that a RoleBinding or ClusterRoleBinding says it was made for. Labels hold what is valid
// as a label; role and scope may be any text, so annotations hold them.
func keyOfNative(object client.Object) (Key, bool) {
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	key := Key{
		Namespace: labels[v1alpha1.LabelAppNamespace],
		App:       labels[v1alpha1.LabelApp],
		Role:      annotations[annotationRole],
		Scope:     annotations[annotationScope],
	}
	return key, key.Namespace != "" && key.App != "" && key.Role != "" && key.Scope != ""
}

const (
	annotationRole  = v1alpha1.LabelRole
	annotationScope = v1alpha1.LabelScope
)

// bindingName names the AppRoleBinding of one chunk.
func (k Key) bindingName(index int32) string {
	return k.bindingPrefix() + fmt.Sprint(index)
}

// bindingPrefix begins the names of the key's AppRoleBindings.
func (k Key) bindingPrefix() string {
	return fmt.Sprintf("%s-%s-", k.App, hash(10, k.App, k.Role, k.Scope))
}

// nativeName names a native binding of one chunk. It includes the roleRef, which cannot be changed in place.
func (k Key) nativeName(index int32, ref rbacv1.RoleRef) string {
	return "scim-" + hash(20, k.Namespace, k.App, k.Role, k.Scope, fmt.Sprint(index), ref.Kind, ref.Name)
}

// surplusIndexes is how far beyond the present chunks indexes are looked for: of bindings whose AppRoleBinding is gone.
const surplusIndexes = 64

// namesOf returns the names of native bindings to a role, with the index of the chunk that each stands for, up to some beyond
// the last one that there is.
func (k Key) namesOf(ref rbacv1.RoleRef, last int32) map[string]int32 {
	names := make(map[string]int32, last+surplusIndexes)
	for index := range last + surplusIndexes {
		names[k.nativeName(index, ref)] = index
	}
	return names
}

// bindingLabels mark an AppRoleBinding.
func (k Key) bindingLabels() map[string]string {
	return map[string]string{
		v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue,
		v1alpha1.LabelApp:       k.App,
		v1alpha1.LabelRole:      labelValue(k.Role),
		v1alpha1.LabelScope:     labelValue(k.Scope),
	}
}

// nativeLabels mark a native binding of one chunk.
func (k Key) nativeLabels(index int32) map[string]string {
	labels := k.bindingLabels()
	labels[v1alpha1.LabelAppNamespace] = k.Namespace
	labels[v1alpha1.LabelBinding] = labelValue(k.bindingName(index))
	return labels
}

func (k Key) nativeAnnotations() map[string]string {
	return map[string]string{annotationRole: k.Role, annotationScope: k.Scope}
}

// labelValue returns text where it is a valid label value, else a hash of it.
func labelValue(text string) string {
	if len(validation.IsValidLabelValue(text)) == 0 {
		return text
	}
	return "hash-" + hash(20, text)
}

// hash returns the first characters of a hash of parts.
func hash(length int, parts ...string) string {
	return names.Hash(parts...)[:length]
}

// NativeName returns the name of the native bindings to a role that are made from an AppRoleBinding, in whatever namespace.
func NativeName(binding *v1alpha1.AppRoleBinding, ref rbacv1.RoleRef) string {
	return KeyOf(binding).nativeName(binding.Spec.Index, ref)
}
