package rolebinding

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// attempts of one write against others who write the same object.
const attempts = 5

// removePeople takes everybody out of native bindings who should not be in them, before anything else is written. It
// returns when the informers show it, too: the API server's authorizer is fed by the same watch, so that it denies by
// the time that a condition says so.
func (r *run) removePeople(ctx context.Context) error {
	type removal struct {
		ref    rbacv1.RoleRef
		index  int32
		remain []rbacv1.Subject
	}
	removals := map[objectID]removal{}
	for id, existing := range r.existing {
		want, wanted := r.desired[id]
		c := want.chunk
		if !wanted {
			c = r.chunkOf(id, existing.roleRef)
		}
		subjects, others := existing.among(c)
		if !others {
			continue
		}
		remove := removal{ref: existing.roleRef}
		if wanted && want.roleRef == existing.roleRef {
			remove.remain, remove.index = subjects, c.index
		}
		removals[id] = remove
		r.describeEdit(ctx, id)
	}
	if len(removals) == 0 {
		return nil
	}
	var mutex sync.Mutex
	err := eachOf(removals, func(id objectID, remove removal) error {
		mutex.Lock()
		existing := r.existing[id]
		mutex.Unlock()
		object, err := r.removeFrom(ctx, id, existing, remove.index, remove.ref, remove.remain)
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
	ids := make([]objectID, 0, len(removals))
	for id := range removals {
		ids = append(ids, id)
	}
	waiting, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	r.writes.wait(waiting, ids, func(id objectID) client.Object { return r.cached(waiting, id) })
	return nil
}

// removeFrom writes a native binding with the people who remain, or deletes it where none does. To change a binding
// needs the right to bind its role; to delete it does not. So where that right was taken away the binding goes as a
// whole, rather than keep somebody who left.
func (r *run) removeFrom(ctx context.Context, id objectID, existing native, index int32, ref rbacv1.RoleRef, remain []rbacv1.Subject) (client.Object, error) {
	if len(remain) > 0 {
		object, err := r.update(ctx, id, existing.object, index, ref, remain)
		if err == nil || !apierrors.IsForbidden(err) {
			return object, err
		}
	}
	return nil, r.delete(ctx, id, existing.object)
}

// writeGrants creates and completes native bindings.
func (r *run) writeGrants(ctx context.Context) error {
	var mutex sync.Mutex
	return eachOf(r.desired, func(id objectID, want desiredNative) error {
		if want.retiring || r.isInterrupted() {
			return nil
		}
		mutex.Lock()
		existing, found := r.existing[id]
		mutex.Unlock()
		if found && existing.roleRef == want.roleRef && slices.Equal(existing.subjects, want.subjects) &&
			r.key.marked(existing.object, want.chunk.index) {
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
func (r *run) grant(ctx context.Context, id objectID, existing client.Object, want desiredNative) (client.Object, error) {
	r.describeEdit(ctx, id)
	if existing != nil && nativeOf(existing).roleRef != want.roleRef {
		// The marks are this operator's, the role is not: somebody replaced the binding. A roleRef cannot be changed.
		if err := r.delete(ctx, id, existing); err != nil {
			return nil, err
		}
		existing = nil
	}
	if existing != nil {
		return r.update(ctx, id, existing, want.chunk.index, want.roleRef, want.subjects)
	}
	object := r.key.build(id, want.chunk.index, want.roleRef, want.subjects, nil)
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
	r.writes.remember(r.key, id, object)
	return object, nil
}

// takeOver makes a binding this operator's again that has its name but not its marks: somebody stripped the labels, by
// which informers know it. The name is a hash that includes the role; a binding of another role is not taken.
func (r *run) takeOver(ctx context.Context, id objectID, want desiredNative) (client.Object, error) {
	object := emptyNative(id)
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return nil, err
	}
	if nativeOf(object).roleRef != want.roleRef {
		return nil, fmt.Errorf("%s %s exists, binds another role and is not this operator's: delete it", id.kind, client.ObjectKeyFromObject(object))
	}
	return r.update(ctx, id, object, want.chunk.index, want.roleRef, want.subjects)
}

// pruneNatives deletes native bindings that are not needed any more: of namespaces that left the scope, of grants
// that left the role. From those that are retiring it takes who does not need them any more.
func (r *run) pruneNatives(ctx context.Context) error {
	surplus := map[objectID]native{}
	for id, existing := range r.existing {
		want, wanted := r.desired[id]
		if !wanted || want.retiring && !slices.Equal(existing.subjects, want.subjects) {
			surplus[id] = existing
		}
	}
	var mutex sync.Mutex
	return eachOf(surplus, func(id objectID, existing native) error {
		var remain []rbacv1.Subject
		var index int32
		if want, wanted := r.desired[id]; wanted {
			remain, index = want.subjects, want.chunk.index
		}
		object, err := r.removeFrom(ctx, id, existing, index, existing.roleRef, remain)
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
		return nil
	})
}

// update writes a native binding whole, over what others may have written in the meantime. Where it is gone it is
// created.
func (r *run) update(ctx context.Context, id objectID, base client.Object, index int32, ref rbacv1.RoleRef, subjects []rbacv1.Subject) (client.Object, error) {
	for attempt := 0; ; attempt++ {
		object := r.key.build(id, index, ref, subjects, base)
		var err error
		if base == nil {
			object.SetResourceVersion("")
			err = r.Client.Create(ctx, object)
		} else {
			err = r.Client.Update(ctx, object)
		}
		r.noteOutcome(id, err)
		if err == nil {
			r.writes.remember(r.key, id, object)
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
			r.writes.remember(r.key, id, base) // the answer to an earlier attempt of this very write was lost
			return base, nil
		}
		if wasThere {
			r.meetEdit(id, base)
		}
		if base != nil && nativeOf(base).roleRef != ref {
			return nil, fmt.Errorf("%s %s was replaced by one that binds another role: delete it", id.kind, client.ObjectKeyFromObject(base))
		}
	}
}

// delete removes a native binding and anything that somebody put in its place under this operator's marks.
func (r *run) delete(ctx context.Context, id objectID, object client.Object) error {
	for attempt := 0; ; attempt++ {
		r.writes.rememberDeleted(r.key, id, object.GetUID())
		uid := object.GetUID()
		err := r.Client.Delete(ctx, object.DeepCopyObject().(client.Object), client.Preconditions{UID: &uid})
		r.noteOutcome(id, client.IgnoreNotFound(err))
		if client.IgnoreNotFound(err) == nil {
			return nil
		}
		r.writes.remember(r.key, id, object) // it may be there yet
		if attempt == attempts || !apierrors.IsConflict(err) {
			return err
		}
		live, err := r.liveNative(ctx, id)
		if err != nil {
			return err
		}
		if live == nil {
			r.writes.rememberDeleted(r.key, id, uid)
			return nil
		}
		object = live
	}
}

func (r *run) liveNative(ctx context.Context, id objectID) (client.Object, error) {
	object := emptyNative(id)
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(object), object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return object, err
}

// cached returns a native binding as the informer shows it; nil for none.
func (r *run) cached(ctx context.Context, id objectID) client.Object {
	object := emptyNative(id)
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(object), object, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	return object
}

func emptyNative(id objectID) client.Object {
	var object client.Object = &rbacv1.RoleBinding{}
	if id.kind == kindClusterRoleBinding {
		object = &rbacv1.ClusterRoleBinding{}
	}
	object.SetNamespace(id.namespace)
	object.SetName(id.name)
	return object
}

// isNamespaceGone tells a missing namespace from a missing role.
func isNamespaceGone(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil &&
		status.Status().Details.Kind == "namespaces"
}

func compareIDs(a, b objectID) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}

// joinErrors joins errors, a few of them: the text goes into a condition.
func joinErrors(errs []error) error {
	const shown = 3
	if len(errs) > shown {
		errs = append(errs[:shown:shown], fmt.Errorf("and %d more", len(errs)-shown))
	}
	return errors.Join(errs...)
}
