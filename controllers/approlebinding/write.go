package approlebinding

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
)

// attempts of one write against others who write the same object.
const attempts = 5

// removePeople takes everybody out of native bindings who should not be in them, before anything else is written. It
// returns when live reads show that, and the informers, too: the API server's authorizer is fed by the same watch, so that it
// denies by the time that a condition says so.
func (r *run) removePeople(ctx context.Context) error {
	removals := map[overlay.ID]removal{}
	for id, existing := range r.existing {
		want, wanted := r.desired[id]
		c := want.chunk
		if !wanted {
			c = r.chunkOf(id, existing.roleRef)
		}
		subjects, others := c.Among(existing.subjects)
		if !others {
			continue
		}
		remove := removal{ref: existing.roleRef, chunk: c}
		if wanted && want.roleRef == existing.roleRef {
			remove.remain, remove.index, remove.keep = subjects, c.Index, true
		}
		removals[id] = remove
		r.describeEdit(ctx, id, existing.object)
	}
	if len(removals) == 0 {
		return nil
	}
	var mutex sync.Mutex
	err := eachOf(removals, func(id overlay.ID, remove removal) error {
		mutex.Lock()
		existing := r.existing[id]
		mutex.Unlock()
		object, err := r.removeAndConfirm(ctx, id, existing, remove)
		if err != nil {
			return err
		}
		mutex.Lock()
		defer mutex.Unlock()
		if object == nil {
			delete(r.existing, id)
		} else {
			r.existing[id] = nativeOf(object)
		}
		r.undidEdit(id)
		return nil
	})
	if err != nil {
		return err
	}
	ids := make([]overlay.ID, 0, len(removals))
	for id := range removals {
		ids = append(ids, id)
	}
	waiting, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	r.writes.Wait(waiting, ids, func(id overlay.ID) client.Object { return r.cached(waiting, id) })
	return nil
}

// removal is what a native binding keeps of its subjects.
type removal struct {
	ref   rbacv1.RoleRef
	index int32
	// chunk tells which subjects the binding may name; nil for none.
	chunk *packing.Chunk
	// keep says that the binding is needed, be it without subjects for the moment.
	keep   bool
	remain []rbacv1.Subject
}

// errStillNamed says that a native binding names a subject again as often as it is taken out.
var errStillNamed = errors.New("others keep putting a subject back")

// removeAndConfirm takes subjects out of a native binding, and reads it live: what others wrote in the meantime is undone, too.
func (r *run) removeAndConfirm(ctx context.Context, id overlay.ID, existing native, remove removal) (client.Object, error) {
	for range attempts {
		object, err := r.removeFrom(ctx, id, existing, remove)
		if err != nil {
			return nil, err
		}
		live, err := r.liveNative(ctx, id)
		if err != nil {
			return nil, err
		}
		if live == nil {
			return nil, nil
		}
		existing = nativeOf(live)
		if _, others := remove.chunk.Among(existing.subjects); !others {
			return object, nil
		}
	}
	return nil, fmt.Errorf("%s %s: %w", id.Kind, client.ObjectKeyFromObject(emptyNative(id)), errStillNamed)
}

// removeFrom writes a native binding with the subjects that remain, or deletes it where it is not needed. To change a binding
// needs the right to bind its role; to delete it does not. So where that right was taken away the binding goes as a
// whole, rather than keep a subject that left.
func (r *run) removeFrom(ctx context.Context, id overlay.ID, existing native, remove removal) (client.Object, error) {
	if remove.keep {
		object, err := r.update(ctx, id, existing.object, remove.index, remove.ref, remove.remain)
		if err == nil || !apierrors.IsForbidden(err) {
			return object, err
		}
	}
	return nil, r.delete(ctx, id, existing.object)
}

// writeGrants creates and completes native bindings.
func (r *run) writeGrants(ctx context.Context) error {
	var mutex sync.Mutex
	return eachOf(r.desired, func(id overlay.ID, want desiredNative) error {
		if want.retiring || r.isInterrupted() {
			return nil
		}
		mutex.Lock()
		existing, found := r.existing[id]
		mutex.Unlock()
		if found && r.isAsWanted(existing, want) {
			return nil
		}
		object, err := r.grant(ctx, id, existing.object, want)
		if err != nil || object == nil {
			return err
		}
		r.undidEdit(id)
		mutex.Lock()
		defer mutex.Unlock()
		r.existing[id] = nativeOf(object)
		return nil
	})
}

// grant writes one native binding. It returns nil where its namespace is on its way out.
func (r *run) grant(ctx context.Context, id overlay.ID, existing client.Object, want desiredNative) (client.Object, error) {
	r.describeEdit(ctx, id, existing)
	if existing != nil && nativeOf(existing).roleRef != want.roleRef {
		// The marks are this operator's, the role is not: somebody replaced the binding. A roleRef cannot be changed.
		if err := r.delete(ctx, id, existing); err != nil {
			return nil, err
		}
		existing = nil
	}
	if existing != nil {
		return r.update(ctx, id, existing, want.chunk.Index, want.roleRef, want.subjects)
	}
	object := buildNative(r.key, id, want.chunk.Index, want.roleRef, want.subjects, nil)
	err := r.Client.Create(ctx, object)
	r.noteOutcome(id, err)
	switch {
	case apierrors.IsAlreadyExists(err):
		return r.takeOver(ctx, id, want)
	case isNamespaceGone(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil, nil // the informer is about to say so, too
	case err != nil:
		return nil, err
	}
	r.writes.Remember(r.key, id, object)
	return object, nil
}

// takeOver makes a binding this operator's again that has its name but not its marks: somebody stripped the labels, by
// which informers know it. The name is a hash that includes the role; a binding of another role is not taken.
func (r *run) takeOver(ctx context.Context, id overlay.ID, want desiredNative) (client.Object, error) {
	object := emptyNative(id)
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return nil, err
	}
	if nativeOf(object).roleRef != want.roleRef {
		return nil, fmt.Errorf("%s %s exists, binds another role and is not this operator's: delete it", id.Kind, client.ObjectKeyFromObject(object))
	}
	return r.update(ctx, id, object, want.chunk.Index, want.roleRef, want.subjects)
}

// pruneNatives deletes native bindings that are not needed any more: of namespaces that left the scope, of grants
// that left the role. From those that are retiring it takes who does not need them any more.
func (r *run) pruneNatives(ctx context.Context) error {
	surplus := map[overlay.ID]native{}
	for id, existing := range r.existing {
		want, wanted := r.desired[id]
		if !wanted || want.retiring && !slices.Equal(existing.subjects, want.subjects) {
			surplus[id] = existing
		}
	}
	var mutex sync.Mutex
	return eachOf(surplus, func(id overlay.ID, existing native) error {
		remove := removal{ref: existing.roleRef}
		if want, wanted := r.desired[id]; wanted {
			remove.remain, remove.index, remove.keep = want.subjects, want.chunk.Index, true
		}
		r.describeEdit(ctx, id, existing.object)
		object, err := r.removeFrom(ctx, id, existing, remove)
		if err != nil {
			return err
		}
		r.undidEdit(id)
		mutex.Lock()
		defer mutex.Unlock()
		if object == nil {
			delete(r.existing, id)
		} else {
			r.existing[id] = nativeOf(object)
		}
		return nil
	})
}

// update writes a native binding whole, over what others may have written in the meantime. Where it is gone it is
// created.
func (r *run) update(ctx context.Context, id overlay.ID, base client.Object, index int32, ref rbacv1.RoleRef, subjects []rbacv1.Subject) (client.Object, error) {
	for attempt := 0; ; attempt++ {
		if base != nil && !base.GetDeletionTimestamp().IsZero() {
			// It ends as soon as no finalizer holds it, and another one takes its place.
			if err := r.delete(ctx, id, base); err != nil {
				return nil, err
			}
			base = nil
		}
		object := buildNative(r.key, id, index, ref, subjects, base)
		var err error
		if base == nil {
			object.SetResourceVersion("")
			err = r.Client.Create(ctx, object)
		} else {
			err = r.Client.Update(ctx, object)
		}
		r.noteOutcome(id, err)
		if err == nil {
			r.writes.Remember(r.key, id, object)
			return object, nil
		}
		if attempt == attempts || !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && !apierrors.IsAlreadyExists(err) {
			return nil, err
		}
		wasThere := base != nil
		if base, err = r.liveNative(ctx, id); err != nil {
			return nil, err
		}
		if base != nil && isSameNative(base, object) {
			r.writes.Remember(r.key, id, base) // the answer to an earlier attempt of this very write was lost
			return base, nil
		}
		if wasThere {
			r.meetEdit(id, base)
		}
		if base != nil && nativeOf(base).roleRef != ref {
			return nil, fmt.Errorf("%s %s was replaced by one that binds another role: delete it", id.Kind, client.ObjectKeyFromObject(base))
		}
	}
}

// delete removes a native binding and anything that others put in its place under this operator's marks. It returns nil only
// where the binding is gone: one that a finalizer of others would hold loses its subjects and the finalizer first.
func (r *run) delete(ctx context.Context, id overlay.ID, object client.Object) error {
	for attempt := 0; ; attempt++ {
		r.writes.RememberDeleted(r.key, id, object.GetUID())
		uid := object.GetUID()
		err := r.deleteAsRead(ctx, object.DeepCopyObject().(client.Object))
		r.noteOutcome(id, client.IgnoreNotFound(err))
		if client.IgnoreNotFound(err) == nil {
			return nil
		}
		r.writes.Remember(r.key, id, object) // it may be there yet
		if attempt == attempts || !apierrors.IsConflict(err) {
			return err
		}
		live, err := r.liveNative(ctx, id)
		if err != nil {
			return err
		}
		if live == nil {
			r.writes.RememberDeleted(r.key, id, uid)
			return nil
		}
		object = live
	}
}

// deleteAsRead deletes a native binding if it is as it was read. A version without finalizers is gone at once.
func (r *run) deleteAsRead(ctx context.Context, object client.Object) error {
	if len(object.GetFinalizers()) > 0 {
		isTerminating := !object.GetDeletionTimestamp().IsZero()
		if err := r.release(ctx, object); err != nil || isTerminating {
			return err
		}
	}
	uid, version := object.GetUID(), object.GetResourceVersion()
	return r.Client.Delete(ctx, object, client.Preconditions{UID: &uid, ResourceVersion: &version})
}

// release takes subjects and finalizers off a native binding. Where the right to bind the role was taken away, subjects cannot
// be written, finalizers can.
func (r *run) release(ctx context.Context, object client.Object) error {
	emptied := object.DeepCopyObject().(client.Object)
	emptied.SetFinalizers(nil)
	setSubjects(emptied, nil)
	err := r.Client.Update(ctx, emptied)
	if apierrors.IsForbidden(err) {
		setSubjects(emptied, nativeOf(object).subjects)
		err = r.Client.Update(ctx, emptied)
	}
	object.SetFinalizers(nil)
	object.SetResourceVersion(emptied.GetResourceVersion())
	return err
}

func setSubjects(object client.Object, subjects []rbacv1.Subject) {
	switch binding := object.(type) {
	case *rbacv1.RoleBinding:
		binding.Subjects = subjects
	case *rbacv1.ClusterRoleBinding:
		binding.Subjects = subjects
	}
}

func (r *run) liveNative(ctx context.Context, id overlay.ID) (client.Object, error) {
	object := emptyNative(id)
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(object), object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return object, err
}

// cached returns a native binding as the informer shows it; nil for none.
func (r *run) cached(ctx context.Context, id overlay.ID) client.Object {
	object := emptyNative(id)
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(object), object, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	return object
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

// isNamespaceGone tells a missing namespace from a missing role.
func isNamespaceGone(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil &&
		status.Status().Details.Kind == "namespaces"
}

// joinErrors joins errors, a few of them: the text goes into a condition.
func joinErrors(errs []error) error {
	const shown = 3
	if len(errs) > shown {
		errs = append(errs[:shown:shown], fmt.Errorf("and %d more", len(errs)-shown))
	}
	return errors.Join(errs...)
}
