package approlebinding

import (
	"context"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
)

// writeBindings writes the AppRoleBindings of chunks that hold somebody, before any native binding grants to them: so
// at every moment, whatever crashes, who is in a native binding is in its AppRoleBinding, too. Those that somebody left
// come first and by themselves.
func (r *run) writeBindings(ctx context.Context, withRemovals bool) error {
	var errs []error
	for i := range r.chunks {
		c := &r.chunks[i]
		if len(c.Members) == 0 || c.HasRemovals != withRemovals {
			continue
		}
		if !withRemovals && r.isInterrupted() {
			return errInterrupted
		}
		if c.Existing != nil && !c.Existing.DeletionTimestamp.IsZero() {
			// Somebody deleted it while it is needed. Its native bindings stay: their names do not depend on it.
			if err := r.releaseBinding(ctx, c.Existing); err != nil {
				errs = append(errs, err)
				continue
			}
			c.Existing = nil
		}
		if err := r.writeBinding(ctx, c); err != nil {
			errs = append(errs, err)
		}
	}
	return joinErrors(errs)
}

func (r *run) writeBinding(ctx context.Context, c *packing.Chunk) error {
	want := r.buildBinding(c)
	if c.Existing != nil && r.bindingIsAsWanted(c.Existing, want) {
		return nil
	}
	base := c.Existing
	tell := r.reportBindingEdit(ctx, base, want)
	for attempt := 0; ; attempt++ {
		object := want.DeepCopy()
		var err error
		if base == nil {
			err = r.Client.Create(ctx, object)
		} else {
			object = base.DeepCopy()
			object.Spec.Mode, object.Spec.Subjects = want.Spec.Mode, want.Spec.Subjects
			object.Labels = merged(object.Labels, want.Labels)
			object.Finalizers, object.OwnerReferences = want.Finalizers, nil
			err = r.Client.Update(ctx, object)
		}
		r.noteOutcome(overlay.IDOf(want), err)
		if err == nil {
			if tell != nil {
				tell(object)
			}
			r.writes.Remember(r.key, overlay.IDOf(object), object)
			c.Existing = object
			return nil
		}
		if attempt == attempts || !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) ||
			apierrors.IsNotFound(err) && base == nil {
			return err
		}
		if base, err = r.liveBinding(ctx, want); err != nil {
			return err
		}
		if base != nil && r.bindingIsAsWanted(base, want) {
			r.writes.Remember(r.key, overlay.IDOf(base), base) // the answer to an earlier attempt of this very write was lost
			c.Existing = base
			return nil
		}
		if tell == nil {
			tell = r.reportBindingEdit(ctx, base, want)
		}
	}
}

func (r *run) buildBinding(c *packing.Chunk) *v1alpha1.AppRoleBinding {
	mode := v1alpha1.ModeEnforce
	if r.policy != nil {
		mode = r.policy.Mode()
	} else if c.Existing != nil {
		mode = c.Existing.Spec.Mode
	}
	return &v1alpha1.AppRoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:  r.key.Namespace,
			Name:       bindingName(r.key, c.Index),
			Labels:     bindingLabels(r.key),
			Finalizers: []string{v1alpha1.FinalizerBindings},
		},
		Spec: v1alpha1.AppRoleBindingSpec{
			App:      r.key.App,
			RoleRef:  v1alpha1.AppRoleRef{Name: r.key.Role},
			Scope:    r.key.Scope,
			Index:    c.Index,
			Mode:     mode,
			Subjects: c.Subjects(),
		},
	}
}

func (r *run) bindingIsAsWanted(have, want *v1alpha1.AppRoleBinding) bool {
	return have.Spec.Mode == want.Spec.Mode && slices.Equal(have.Spec.Subjects, want.Spec.Subjects) && r.isMarkedBinding(have, want)
}

func (r *run) isMarkedBinding(have, want *v1alpha1.AppRoleBinding) bool {
	return contains(have.Labels, want.Labels) && slices.Equal(have.Finalizers, want.Finalizers) && len(have.OwnerReferences) == 0
}

func merged(have, want map[string]string) map[string]string {
	merged := maps.Clone(have)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, want)
	return merged
}

// pruneBindings removes AppRoleBindings that name nobody any more. Their native bindings are gone by now, or
// pruneNatives failed and there is nobody in them.
func (r *run) pruneBindings(ctx context.Context) error {
	var errs []error
	for i := range r.chunks {
		c := &r.chunks[i]
		if !c.Touched || len(c.Members) > 0 || c.Existing == nil {
			continue
		}
		if r.hasNatives(c) {
			continue
		}
		if err := r.releaseBinding(ctx, c.Existing); err != nil {
			r.noteUncertain(overlay.IDOf(c.Existing)) // its deletion may be under way, by this operator's own hand
			errs = append(errs, err)
			continue
		}
		c.Existing = nil
	}
	return joinErrors(errs)
}

func (r *run) hasNatives(c *packing.Chunk) bool {
	for id, existing := range r.existing {
		if r.chunkOf(id, existing.roleRef) == c {
			return true
		}
	}
	return false
}

// releaseBinding deletes an AppRoleBinding and takes every finalizer off it: one of others would keep the name of what later
// grants of the key need.
func (r *run) releaseBinding(ctx context.Context, binding *v1alpha1.AppRoleBinding) error {
	id := overlay.IDOf(binding)
	for attempt := 0; ; attempt++ {
		err := r.releaseBindingAsRead(ctx, binding)
		if client.IgnoreNotFound(err) == nil {
			return nil
		}
		r.writes.Remember(r.key, id, binding)
		if attempt == attempts || !apierrors.IsConflict(err) {
			return err
		}
		live, err := r.liveBinding(ctx, binding)
		if err != nil {
			return err
		}
		if live == nil {
			r.writes.RememberDeleted(r.key, id, binding.UID)
			return nil
		}
		binding = live
	}
}

func (r *run) releaseBindingAsRead(ctx context.Context, binding *v1alpha1.AppRoleBinding) error {
	object := binding.DeepCopy()
	r.writes.RememberDeleted(r.key, overlay.IDOf(binding), binding.UID)
	if len(object.Finalizers) > 0 {
		object.Finalizers = nil
		if err := r.Client.Update(ctx, object); err != nil {
			return err
		}
	}
	if !object.DeletionTimestamp.IsZero() {
		return nil // the last finalizer held it
	}
	return r.Client.Delete(ctx, object, client.Preconditions{UID: &object.UID, ResourceVersion: &object.ResourceVersion})
}

func (r *run) liveBinding(ctx context.Context, binding *v1alpha1.AppRoleBinding) (*v1alpha1.AppRoleBinding, error) {
	live := &v1alpha1.AppRoleBinding{}
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(binding), live)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return live, err
}
