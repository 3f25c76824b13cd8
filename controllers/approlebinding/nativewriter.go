package approlebinding

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
)

// attempts of one write against concurrent writers of the same object.
const attempts = 5

// nativeWriter writes the native bindings of a key.
type nativeWriter struct{ writer }

// removeSubjects takes out of native bindings the subjects that should not be in them, before anything else is written. It
// returns when this process's informers show that, and live reads after it: the API server's authorizer is fed by a watch as well, so that it
// denies by the time that a condition says so. It returns, by native binding, why a subject may still be bound.
func (w *nativeWriter) removeSubjects(ctx context.Context) map[overlay.ID]error {
	removals := map[overlay.ID]removal{}
	for id, existing := range w.objects.allNatives() {
		want, wanted := w.plan.desired[id]
		c := want.chunk
		if !wanted {
			c = w.plan.chunkOf(id, existing.roleRef)
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
		w.edits.describe(ctx, id, existing.object)
	}
	return failuresOf(removals, func(id overlay.ID, remove removal) error {
		existing, _ := w.objects.native(id)
		return w.removeAndConfirm(ctx, id, existing, remove)
	})
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

// removeAndConfirm takes subjects out of a native binding, and reads it back: what others wrote in the meantime is undone and told, too.
func (w *nativeWriter) removeAndConfirm(ctx context.Context, id overlay.ID, existing native, remove removal) error {
	for range attempts {
		object, err := w.removeFrom(ctx, id, existing, remove)
		if err != nil {
			return err
		}
		w.objects.setNative(id, object)
		w.edits.undid(id, object)
		written, err := w.readBack(ctx, id)
		if err != nil {
			return err
		}
		if written == nil {
			if object != nil {
				w.edits.meet(id, object.GetResourceVersion(), nil)
				w.objects.setNative(id, nil)
			}
			return nil
		}
		existing = nativeOf(written)
		if _, others := remove.chunk.Among(existing.subjects); !others {
			return nil
		}
		if object != nil {
			w.edits.meet(id, object.GetResourceVersion(), written)
		}
	}
	return fmt.Errorf("%s %s: %w", id.Kind, id.Name, errStillNamed)
}

// readBack returns a native binding as it is after this run wrote it, or later: by a live read, once the informer shows the write. The API
// server's authorizer follows a watch of its own, which may be behind this process's by as long as such a read takes. One that lost its labels is
// in no informer.
func (w *nativeWriter) readBack(ctx context.Context, id overlay.ID) (client.Object, error) {
	waiting, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	w.writes.Wait(waiting, []overlay.ID{id}, func(id overlay.ID) client.Object { return w.cached(waiting, id) })
	return w.live.native(ctx, id)
}

// removeFrom writes a native binding with the subjects that remain, or deletes it where it is not needed. To change a binding
// needs the right to bind its role, and what policies of the cluster ask of bindings; to delete it does not. So where the change is
// refused the binding goes as a whole, rather than keep a subject that left.
func (w *nativeWriter) removeFrom(ctx context.Context, id overlay.ID, existing native, remove removal) (client.Object, error) {
	if remove.keep {
		object, err := w.update(ctx, id, existing.object, remove.index, remove.ref, remove.remain)
		if err == nil || !isRefused(err) {
			return object, err
		}
	}
	return nil, w.delete(ctx, id, existing.object)
}

// isRefused reports whether the API server refuses a write for what it says: by RBAC, a policy or a webhook, with the code that
// those choose. To repeat it would be in vain.
func isRefused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

// isLocal reports whether a removal failed for reasons of its own binding, so that other bindings of the key need not wait for it:
// the API server answered, and is not overloaded, or others keep undoing the removal.
func isLocal(err error) bool {
	var status apierrors.APIStatus
	switch {
	case errors.Is(err, errStillNamed):
		return true
	case !errors.As(err, &status), apierrors.IsTooManyRequests(err), apierrors.IsServiceUnavailable(err), apierrors.IsServerTimeout(err),
		apierrors.IsTimeout(err), apierrors.IsUnauthorized(err):
		return false
	}
	return true
}

// writeGrants creates and completes native bindings.
func (w *nativeWriter) writeGrants(ctx context.Context) error {
	return eachOf(w.plan.desired, func(id overlay.ID, want desiredNative) error {
		if !w.isMissing(id, want) {
			return nil
		}
		if w.yield(); w.isInterrupted() {
			return nil
		}
		existing, _ := w.objects.native(id)
		object, err := w.grant(ctx, id, existing.object, want)
		if err != nil || object == nil {
			return err
		}
		w.edits.undid(id, object)
		w.objects.setNative(id, object)
		return nil
	})
}

// grants reports whether writeGrants has anything to write.
func (w *nativeWriter) grants() bool {
	for id, want := range w.plan.desired {
		if w.isMissing(id, want) {
			return true
		}
	}
	return false
}

// isMissing reports whether a native binding is to be created or completed.
func (w *nativeWriter) isMissing(id overlay.ID, want desiredNative) bool {
	existing, found := w.objects.native(id)
	return !want.retiring && (!found || !w.plan.isAsWanted(existing, want))
}

// grant writes one native binding. It returns nil where its namespace is on its way out.
func (w *nativeWriter) grant(ctx context.Context, id overlay.ID, existing client.Object, want desiredNative) (client.Object, error) {
	w.edits.describe(ctx, id, existing)
	if existing != nil && nativeOf(existing).roleRef != want.roleRef {
		// The labels are this operator's, the role is not: others replaced the binding. A roleRef cannot be changed.
		if err := w.delete(ctx, id, existing); err != nil {
			return nil, err
		}
		existing = nil
	}
	if existing != nil {
		return w.update(ctx, id, existing, want.chunk.Index, want.roleRef, want.subjects)
	}
	object := buildNative(w.plan.key, id, want.chunk.Index, want.roleRef, want.subjects, nil)
	err := w.Client.Create(ctx, object)
	w.edits.noteOutcome(id, err)
	switch {
	case apierrors.IsAlreadyExists(err):
		return w.takeOver(ctx, id, want)
	case isNamespaceGone(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil, nil // the informer is about to say so, too
	case err != nil:
		return nil, err
	}
	w.writes.Remember(w.plan.key, id, object)
	return object, nil
}

// takeOver makes a binding this operator's again that has its name without its labels: others stripped them, so that informers
// do not show it. The name is a hash that includes the role; a binding of another role is not taken.
func (w *nativeWriter) takeOver(ctx context.Context, id overlay.ID, want desiredNative) (client.Object, error) {
	object := emptyNative(id)
	if err := w.live.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return nil, err
	}
	if nativeOf(object).roleRef != want.roleRef {
		return nil, fmt.Errorf("%s %s exists, binds another role and is not this operator's: delete it", id.Kind, id.Name)
	}
	return w.update(ctx, id, object, want.chunk.Index, want.roleRef, want.subjects)
}

// pruneNatives deletes native bindings that are not needed any more: of namespaces that left the scope, of grants
// that left the role. From retiring ones it takes the subjects that no longer need them.
func (w *nativeWriter) pruneNatives(ctx context.Context) error {
	surplus := map[overlay.ID]native{}
	for id, existing := range w.objects.allNatives() {
		want, wanted := w.plan.desired[id]
		if !wanted || want.retiring && !slices.Equal(existing.subjects, want.subjects) {
			surplus[id] = existing
		}
	}
	return eachOf(surplus, func(id overlay.ID, existing native) error {
		remove := removal{ref: existing.roleRef}
		if want, wanted := w.plan.desired[id]; wanted {
			remove.remain, remove.index, remove.keep = want.subjects, want.chunk.Index, true
		}
		w.edits.describe(ctx, id, existing.object)
		object, err := w.removeFrom(ctx, id, existing, remove)
		if err != nil {
			return err
		}
		w.edits.undid(id, object)
		w.objects.setNative(id, object)
		return nil
	})
}

// update writes a native binding whole, over what others may have written in the meantime. Where it is gone it is
// created.
func (w *nativeWriter) update(ctx context.Context, id overlay.ID, base client.Object, index int32, ref rbacv1.RoleRef, subjects []rbacv1.Subject) (client.Object, error) {
	for attempt := 0; ; attempt++ {
		if base != nil && !base.GetDeletionTimestamp().IsZero() {
			// It ends as soon as no finalizer holds it, and another one takes its place.
			if err := w.delete(ctx, id, base); err != nil {
				return nil, err
			}
			base = nil
		}
		object := buildNative(w.plan.key, id, index, ref, subjects, base)
		var err error
		if base == nil {
			object.SetResourceVersion("")
			err = w.Client.Create(ctx, object)
		} else {
			err = w.Client.Update(ctx, object)
		}
		w.edits.noteOutcome(id, err)
		if err == nil {
			w.writes.Remember(w.plan.key, id, object)
			return object, nil
		}
		if attempt == attempts || !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && !apierrors.IsAlreadyExists(err) {
			return nil, err
		}
		wasThere := base != nil
		if base, err = w.live.native(ctx, id); err != nil {
			return nil, err
		}
		if base != nil && isSameNative(base, object) {
			w.writes.Remember(w.plan.key, id, base) // the answer to an earlier attempt of this very write was lost
			return base, nil
		}
		if wasThere {
			w.edits.meet(id, w.plan.memory.natives[id], base)
		}
		if base != nil && nativeOf(base).roleRef != ref {
			return nil, fmt.Errorf("%s %s was replaced by one that binds another role: delete it", id.Kind, id.Name)
		}
	}
}

// delete removes a native binding and anything that others put in its place under this operator's labels. It returns nil only
// where the binding is gone: one that a finalizer of others would hold loses its subjects and the finalizer first.
func (w *nativeWriter) delete(ctx context.Context, id overlay.ID, object client.Object) error {
	for attempt := 0; ; attempt++ {
		w.writes.RememberDeleted(w.plan.key, id, object.GetUID())
		uid := object.GetUID()
		err := w.deleteAsRead(ctx, object.DeepCopyObject().(client.Object))
		w.edits.noteOutcome(id, client.IgnoreNotFound(err))
		if client.IgnoreNotFound(err) == nil {
			return nil
		}
		w.writes.Remember(w.plan.key, id, object) // it may be there yet
		if attempt == attempts || !apierrors.IsConflict(err) {
			return err
		}
		live, err := w.live.native(ctx, id)
		if err != nil {
			return err
		}
		if live == nil {
			w.writes.RememberDeleted(w.plan.key, id, uid)
			return nil
		}
		object = live
	}
}

// deleteAsRead deletes a native binding if it is as it was read. A version without finalizers is gone at once.
func (w *nativeWriter) deleteAsRead(ctx context.Context, object client.Object) error {
	if len(object.GetFinalizers()) > 0 {
		isTerminating := !object.GetDeletionTimestamp().IsZero()
		if err := w.release(ctx, object); err != nil || isTerminating {
			return err
		}
	}
	uid, version := object.GetUID(), object.GetResourceVersion()
	return w.Client.Delete(ctx, object, client.Preconditions{UID: &uid, ResourceVersion: &version})
}

// release takes subjects and finalizers off a native binding. Where subjects cannot be written, since the right to bind the role was
// taken away, finalizers may be.
func (w *nativeWriter) release(ctx context.Context, object client.Object) error {
	emptied := object.DeepCopyObject().(client.Object)
	emptied.SetFinalizers(nil)
	setSubjects(emptied, nil)
	err := w.Client.Update(ctx, emptied)
	if isRefused(err) {
		setSubjects(emptied, nativeOf(object).subjects)
		err = w.Client.Update(ctx, emptied)
	}
	object.SetFinalizers(nil)
	object.SetResourceVersion(emptied.GetResourceVersion())
	return err
}

// cached returns a native binding as the informer shows it; nil for none.
func (w *nativeWriter) cached(ctx context.Context, id overlay.ID) client.Object {
	object := emptyNative(id)
	if err := w.Client.Get(ctx, client.ObjectKeyFromObject(object), object, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	return object
}

// isNamespaceGone tells a missing namespace from a missing role.
func isNamespaceGone(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil &&
		status.Status().Details.Kind == "namespaces"
}
