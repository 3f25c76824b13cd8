package approlebinding

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// native is a RoleBinding or ClusterRoleBinding as it is.
type native struct {
	object   client.Object
	roleRef  rbacv1.RoleRef
	subjects []rbacv1.Subject
}

func nativeOf(object client.Object) native {
	switch binding := object.(type) {
	case *rbacv1.RoleBinding:
		return native{object: binding, roleRef: binding.RoleRef, subjects: binding.Subjects}
	case *rbacv1.ClusterRoleBinding:
		return native{object: binding, roleRef: binding.RoleRef, subjects: binding.Subjects}
	}
	panic(fmt.Sprintf("no native binding: %T", object))
}

// buildNative returns the whole object with other subjects: a copy of what is there, or a new one.
func buildNative(k earned.RoleInScope, id overlay.ID, index int32, ref rbacv1.RoleRef, subjects []rbacv1.Subject, base client.Object) client.Object {
	var object client.Object
	switch id.Kind {
	case overlay.KindClusterRoleBinding:
		binding := &rbacv1.ClusterRoleBinding{}
		if base != nil {
			binding = base.(*rbacv1.ClusterRoleBinding).DeepCopy()
		}
		binding.RoleRef, binding.Subjects = ref, slices.Clone(subjects)
		object = binding
	default:
		binding := &rbacv1.RoleBinding{}
		if base != nil {
			binding = base.(*rbacv1.RoleBinding).DeepCopy()
		}
		binding.RoleRef, binding.Subjects = ref, slices.Clone(subjects)
		object = binding
	}
	object.SetNamespace(id.Namespace)
	object.SetName(id.Name)
	object.SetLabels(nativeLabels(k, index))
	object.SetAnnotations(nativeAnnotations(k))
	object.SetFinalizers(nil)
	object.SetOwnerReferences(nil)
	return object
}

// isMarkedFor reports whether a native binding has the labels and annotations of a chunk.
func isMarkedFor(k earned.RoleInScope, object client.Object, index int32) bool {
	return contains(object.GetLabels(), nativeLabels(k, index)) && contains(object.GetAnnotations(), nativeAnnotations(k))
}

func contains(have, want map[string]string) bool {
	for key, value := range want {
		if have[key] != value {
			return false
		}
	}
	return true
}

// concurrentWrites of one run.
const concurrentWrites = 8

// eachOf calls f for the natives of a set, some at a time, and joins the errors.
func eachOf[T any](set map[overlay.ID]T, f func(overlay.ID, T) error) error {
	return joinByID(failuresOf(set, f))
}

// failuresOf is eachOf, and returns the errors by native.
func failuresOf[T any](set map[overlay.ID]T, f func(overlay.ID, T) error) map[overlay.ID]error {
	var (
		group  errgroup.Group
		mutex  sync.Mutex
		failed = map[overlay.ID]error{}
	)
	group.SetLimit(concurrentWrites)
	for id, element := range set {
		group.Go(func() error {
			if err := f(id, element); err != nil {
				mutex.Lock()
				defer mutex.Unlock()
				failed[id] = placed(id, err)
			}
			return nil
		})
	}
	_ = group.Wait() // each error is in failed
	return failed
}

// placed says where a write failed: the API server names the object alone.
func placed(id overlay.ID, err error) error {
	if id.Namespace == "" {
		return err
	}
	return fmt.Errorf("in namespace %s: %w", id.Namespace, err)
}

// joinByID joins errors in a stable order: they go into conditions, which must not change from run to run.
func joinByID(failed map[overlay.ID]error) error {
	var errs []error
	for _, id := range slices.SortedFunc(maps.Keys(failed), overlay.Compare) {
		errs = append(errs, failed[id])
	}
	return joinErrors(errs)
}

func setSubjects(object client.Object, subjects []rbacv1.Subject) {
	switch binding := object.(type) {
	case *rbacv1.RoleBinding:
		binding.Subjects = subjects
	case *rbacv1.ClusterRoleBinding:
		binding.Subjects = subjects
	}
}

func emptyNative(id overlay.ID) client.Object {
	var object client.Object = &rbacv1.RoleBinding{}
	if id.Kind == overlay.KindClusterRoleBinding {
		object = &rbacv1.ClusterRoleBinding{}
	}
	object.SetNamespace(id.Namespace)
	object.SetName(id.Name)
	return object
}

// isFree says of an object that nothing of others decides when it ends: no finalizer, no owner. Nothing of this operator is on a
// native binding, either.
func isFree(object client.Object) bool {
	return len(object.GetFinalizers()) == 0 && len(object.GetOwnerReferences()) == 0 && object.GetDeletionTimestamp().IsZero()
}

// isSameNative says whether a native binding is what a write of this run asked for.
func isSameNative(live, wrote client.Object) bool {
	a, b := nativeOf(live), nativeOf(wrote)
	return a.roleRef == b.roleRef && slices.Equal(a.subjects, b.subjects) && isFree(live) &&
		contains(live.GetLabels(), wrote.GetLabels()) && contains(live.GetAnnotations(), wrote.GetAnnotations())
}

// joinErrors joins errors, a few of them: the text goes into a condition.
func joinErrors(errs []error) error {
	const shown = 3
	if len(errs) > shown {
		errs = append(errs[:shown:shown], fmt.Errorf("and %d more", len(errs)-shown))
	}
	return errors.Join(errs...)
}
