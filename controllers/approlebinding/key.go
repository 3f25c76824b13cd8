package approlebinding

import (
	"fmt"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/internal/earned"
	"github.com/scim-operator/scim-operator/internal/names"
)

// keyOfNative returns the key that a RoleBinding or ClusterRoleBinding says it was made for. Labels hold what is valid
// as a label; role and scope may be any text, so annotations hold them.
func keyOfNative(object client.Object) (earned.RoleInScope, bool) {
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	key := earned.RoleInScope{
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
func bindingName(k earned.RoleInScope, index int32) string {
	return bindingPrefix(k) + fmt.Sprint(index)
}

// isNamedForKey reports whether an AppRoleBinding has the name that its key gives it. One that others created under another name
// binds no user.
func isNamedForKey(binding *v1alpha1.AppRoleBinding) bool {
	return binding.Name == bindingName(earned.RoleInScopeOf(binding), binding.Spec.Index)
}

// bindingPrefix begins the names of the key's AppRoleBindings.
func bindingPrefix(k earned.RoleInScope) string {
	return fmt.Sprintf("%s-%s-", k.App, hash(10, k.App, k.Role, k.Scope))
}

// nativeName names a native binding of one chunk. It includes the roleRef, which cannot be changed in place.
func nativeName(k earned.RoleInScope, index int32, ref rbacv1.RoleRef) string {
	return "scim-" + hash(20, k.Namespace, k.App, k.Role, k.Scope, fmt.Sprint(index), ref.Kind, ref.Name)
}

// surplusIndexes is how far beyond the present chunks indexes are looked for: of bindings without an AppRoleBinding any
// more.
const surplusIndexes = 64

// nativeNames tells by its name which chunk of a key a native binding was made from, for the chunks up to the last one and
// some beyond. Names are hashes, so that each role's are computed once, when it is asked for first.
type nativeNames struct {
	key  earned.RoleInScope
	last int32

	mutex sync.Mutex
	byRef map[rbacv1.RoleRef]map[string]int32
}

func newNativeNames(key earned.RoleInScope, last int32) *nativeNames {
	return &nativeNames{key: key, last: last, byRef: map[rbacv1.RoleRef]map[string]int32{}}
}

// indexOf returns the index of the chunk, and whether the name and role are ones that the key makes.
func (n *nativeNames) indexOf(id overlay.ID, ref rbacv1.RoleRef) (int32, bool) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	names := n.byRef[ref]
	if names == nil {
		names = make(map[string]int32, n.last+surplusIndexes)
		for index := range n.last + surplusIndexes {
			names[nativeName(n.key, index, ref)] = index
		}
		n.byRef[ref] = names
	}
	index, found := names[id.Name]
	return index, found
}

// isOwn reports whether the key makes native bindings of that name and role, whatever the labels say.
func (n *nativeNames) isOwn(id overlay.ID, ref rbacv1.RoleRef) bool {
	_, found := n.indexOf(id, ref)
	return found
}

// bindingLabels mark an AppRoleBinding.
func bindingLabels(k earned.RoleInScope) map[string]string {
	return map[string]string{
		v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue,
		v1alpha1.LabelApp:       k.App,
		v1alpha1.LabelRole:      labelValue(k.Role),
		v1alpha1.LabelScope:     labelValue(k.Scope),
	}
}

// nativeLabels mark a native binding of one chunk.
func nativeLabels(k earned.RoleInScope, index int32) map[string]string {
	labels := bindingLabels(k)
	labels[v1alpha1.LabelAppNamespace] = k.Namespace
	labels[v1alpha1.LabelBinding] = labelValue(bindingName(k, index))
	return labels
}

func nativeAnnotations(k earned.RoleInScope) map[string]string {
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
	return nativeName(earned.RoleInScopeOf(binding), binding.Spec.Index, ref)
}
