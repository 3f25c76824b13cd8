package approlebinding

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// native is a RoleBinding or ClusterRoleBinding as it is.
type native struct {
	object   client.Object
	roleRef  rbacv1.RoleRef
	subjects []rbacv1.Subject
}

// desiredNative is one as it should be.
type desiredNative struct {
	roleRef rbacv1.RoleRef
	chunk   *packing.Chunk
	// subjects are sorted and each there once.
	subjects []rbacv1.Subject
	// retiring says that the App does not ask for it any more: it is there for people who have not been evaluated for the App
	// as it is, and shrinks when everything else is done.
	retiring bool
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

// build returns the whole object with other subjects: a copy of what is there, or a new one.
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

// marked says whether a binding carries this operator's marks for a chunk.
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

// nativesOf returns the native bindings of a key in all namespaces, each at least as new as this process's last write.
func (s *Syncer) nativesOf(ctx context.Context, key earned.RoleInScope) (map[overlay.ID]native, error) {
	writes := s.writes.Snapshot(key)
	matching := client.MatchingFields{indexKey: key.String()}
	var roleBindings rbacv1.RoleBindingList
	if err := s.Client.List(ctx, &roleBindings, matching, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var clusterRoleBindings rbacv1.ClusterRoleBindingList
	if err := s.Client.List(ctx, &clusterRoleBindings, matching, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	cached := map[overlay.ID]client.Object{}
	for i := range roleBindings.Items {
		cached[overlay.IDOf(&roleBindings.Items[i])] = &roleBindings.Items[i]
	}
	for i := range clusterRoleBindings.Items {
		cached[overlay.IDOf(&clusterRoleBindings.Items[i])] = &clusterRoleBindings.Items[i]
	}
	natives := map[overlay.ID]native{}
	for id, object := range s.writes.Merge(cached, writes, overlay.KindRoleBinding, overlay.KindClusterRoleBinding) {
		natives[id] = nativeOf(object)
	}
	return natives, nil
}

// findUnlabelled adds native bindings of this key that the informers do not show under it, because somebody took away or
// changed the marks by which they are found: those that the last run left, and unlabelledBindings of this key. They count as any other:
// marked anew where they are wanted, and removed where not. Whose they are is told by their names, which are hashes of the
// key and the role.
func (r *run) findUnlabelled(ctx context.Context) error {
	unseen := map[overlay.ID]bool{}
	for id := range r.memory.natives {
		unseen[id] = true
	}
	for id, ref := range r.unlabelledBindings.all() {
		if r.isOwn(id, ref) {
			unseen[id] = true
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(unseen), overlay.Compare) {
		if _, shown := r.existing[id]; shown {
			continue
		}
		live, err := r.liveNative(ctx, id)
		if err != nil {
			return err
		}
		if live != nil && r.isOwn(id, nativeOf(live).roleRef) {
			r.existing[id] = nativeOf(live)
			r.unlabelled[id] = true
		}
	}
	return nil
}

// plan decides which native bindings there should be, and leaves alone what is not this key's or not looked at.
func (r *run) plan(ctx context.Context) error {
	r.known, r.waiting, r.byIndex = map[overlay.ID]bool{}, map[int32]bool{}, make(map[int32]*packing.Chunk, len(r.chunks))
	for i := range r.chunks {
		r.byIndex[r.chunks[i].Index] = &r.chunks[i]
	}
	for id, existing := range r.existing {
		if c := r.chunkOf(id, existing.roleRef); c != nil && !c.Touched {
			delete(r.existing, id)
		}
	}
	if err := r.planDesired(ctx); err != nil {
		return err
	}
	for id, existing := range r.existing {
		_, wanted := r.desired[id]
		if !wanted && !r.isOwn(id, existing.roleRef) {
			delete(r.existing, id) // its marks were changed: the key that its name stands for takes it back
			continue
		}
		r.known[id] = true
	}
	for id := range r.desired {
		r.known[id] = true
	}
	return nil
}

func (r *run) planDesired(ctx context.Context) error {
	r.desired = map[overlay.ID]desiredNative{}
	if r.frozen {
		// What is there stays, for those who stay. Where the App would bind them is not known.
		for id, existing := range r.existing {
			if c := r.chunkOf(id, existing.roleRef); c != nil {
				if remain, _ := c.Among(existing.subjects); len(remain) > 0 {
					r.desired[id] = desiredNative{roleRef: existing.roleRef, chunk: c, subjects: remain}
				}
			}
		}
		return nil
	}
	if r.policy == nil || r.policy.Mode() == v1alpha1.ModeObserve {
		return nil
	}
	namespaces, clusterWide, err := r.namespaces(ctx)
	if err != nil {
		return err
	}
	for i := range r.chunks {
		c := &r.chunks[i]
		if len(c.Members) == 0 {
			continue
		}
		for _, grant := range r.grants {
			ref := roleRef(grant)
			name := nativeName(r.key, c.Index, ref)
			if clusterWide {
				r.desire(ctx, overlay.ID{Kind: overlay.KindClusterRoleBinding, Name: name}, ref, c)
			}
			for _, namespace := range namespaces {
				r.desire(ctx, overlay.ID{Kind: overlay.KindRoleBinding, Namespace: namespace, Name: name}, ref, c)
			}
		}
	}
	r.planRetiring()
	return nil
}

// desire plans a native binding if this process was given the right to bind its role. Where that cannot be found out, a
// binding that is there stays, so that people can leave it, and none is added.
func (r *run) desire(ctx context.Context, id overlay.ID, ref rbacv1.RoleRef, c *packing.Chunk) {
	existing, found := r.existing[id]
	allowed, err := r.permissions.mayBind(ctx, r.Client, id.Namespace, ref)
	if err != nil {
		r.unknown = errors.Join(r.unknown, err)
		allowed = found
	} else if !allowed {
		r.refused.add(ref, id.Namespace)
	}
	if !allowed {
		return
	}
	if existing.roleRef != ref {
		existing.subjects = nil // another role's subjects are nobody's claim to this one
	}
	subjects, waiting := c.Wanted(existing.subjects)
	r.waiting[c.Index] = r.waiting[c.Index] || waiting
	if len(subjects) > 0 {
		r.desired[id] = desiredNative{roleRef: ref, chunk: c, subjects: subjects}
	}
}

// planRetiring keeps native bindings that the App does not ask for any more, for those of their people who were not
// evaluated for the App as it is: what they hold instead, if anything, is granted first.
func (r *run) planRetiring() {
	for id, existing := range r.existing {
		if _, wanted := r.desired[id]; wanted {
			continue
		}
		c := r.chunkOf(id, existing.roleRef)
		if c == nil || r.refused.includes(existing.roleRef) {
			continue
		}
		subjects, waiting := c.Retained(existing.subjects)
		r.waiting[c.Index] = r.waiting[c.Index] || waiting
		if len(subjects) > 0 {
			r.desired[id] = desiredNative{roleRef: existing.roleRef, chunk: c, subjects: subjects, retiring: true}
		}
	}
}

func roleRef(grant v1alpha1.Grant) rbacv1.RoleRef {
	if grant.ClusterRole != "" {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: grant.ClusterRole}
	}
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: grant.Role}
}

// chunkOf returns the chunk that a native binding of that name was made from.
func (r *run) chunkOf(id overlay.ID, ref rbacv1.RoleRef) *packing.Chunk {
	index, found := r.indexOf(id, ref)
	if !found {
		return nil
	}
	return r.byIndex[index]
}

// isOwn says whether a native binding of that name and role is one that this key makes, whatever its labels say.
func (r *run) isOwn(id overlay.ID, ref rbacv1.RoleRef) bool {
	_, found := r.indexOf(id, ref)
	return found
}

// indexOf returns the index of the chunk that a native binding was made from, which its name stands for.
func (r *run) indexOf(id overlay.ID, ref rbacv1.RoleRef) (int32, bool) {
	names := r.names[ref]
	if names == nil {
		last := int32(0)
		for i := range r.chunks {
			last = max(last, r.chunks[i].Index)
		}
		names = nativeNames(r.key, ref, last)
		r.names[ref] = names
	}
	index, found := names[id.Name]
	return index, found
}

// namespaces returns where the scope is: those of its namespaces that exist and are not being deleted, sorted.
func (r *run) namespaces(ctx context.Context) (names []string, clusterWide bool, err error) {
	scope, _ := r.policy.Scope(r.key.Scope)
	if scope.ClusterWide {
		return nil, true, nil
	}
	if scope.Selector != nil {
		var list metav1.PartialObjectMetadataList
		list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
		if err := r.Client.List(ctx, &list, client.MatchingLabelsSelector{Selector: scope.Selector}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, false, err
		}
		for i := range list.Items {
			if list.Items[i].DeletionTimestamp.IsZero() {
				names = append(names, list.Items[i].Name)
			}
		}
		slices.Sort(names)
		return names, false, nil
	}
	for _, name := range scope.Namespaces {
		namespace := namespaceMetadata()
		err := r.Client.Get(ctx, client.ObjectKey{Name: name}, namespace, client.UnsafeDisableDeepCopy)
		switch {
		case apierrors.IsNotFound(err):
			r.missing = append(r.missing, name)
		case err != nil:
			return nil, false, err
		case namespace.DeletionTimestamp.IsZero():
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), false, nil
}

// namespaceMetadata is a Namespace as the informer keeps it: nothing but metadata is needed.
func namespaceMetadata() *metav1.PartialObjectMetadata {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return namespace
}

// eachOf calls f for the natives of a set, some at a time, and joins the errors.
func eachOf[T any](set map[overlay.ID]T, f func(overlay.ID, T) error) error {
	var (
		group  sync.WaitGroup
		slots  = make(chan struct{}, concurrentWrites)
		mutex  sync.Mutex
		failed = map[overlay.ID]error{}
	)
	for id, element := range set {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := f(id, element); err != nil {
				mutex.Lock()
				defer mutex.Unlock()
				failed[id] = err
			}
		})
	}
	group.Wait()
	return joinByID(failed)
}

// joinByID joins errors in a stable order: they go into conditions, which must not change from run to run.
func joinByID(failed map[overlay.ID]error) error {
	var errs []error
	for _, id := range slices.SortedFunc(maps.Keys(failed), overlay.Compare) {
		errs = append(errs, failed[id])
	}
	return joinErrors(errs)
}
