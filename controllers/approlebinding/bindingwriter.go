package approlebinding

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
)

// bindingWriter writes the AppRoleBindings of a key.
type bindingWriter struct {
	writer
	// stuck are chunks with a native binding that names users which the chunk lost: the AppRoleBinding names them, too, until it
	// does not.
	stuck map[int32]bool
}

// stage of a run in which an AppRoleBinding is written.
type stage int

const (
	// stageRemovals has AppRoleBindings that users leave, before the run tells of its removals.
	stageRemovals stage = iota
	// stageGrants has those that no user leaves.
	stageGrants
	// stageTrailing has those that lose leavers alone. It comes last, or in another run.
	stageTrailing
)

func (p *plan) stageOf(c *packing.Chunk) stage {
	switch {
	case len(p.trails[c.Index]) > 0:
		return stageTrailing
	case c.HasRemovals:
		return stageRemovals
	}
	return stageGrants
}

// writeTrailing writes the AppRoleBindings that lose leavers alone, at least one of them where a removal waits. The others wait for
// the next run.
func (w *bindingWriter) writeTrailing(ctx context.Context) error {
	if w.plan.isLate() {
		return nil
	}
	var errs []error
	for i := range w.plan.chunks {
		c := &w.plan.chunks[i]
		if w.plan.stageOf(c) != stageTrailing {
			continue
		}
		if w.yield(); len(errs) > 0 && w.isInterrupted() {
			break
		}
		errs = append(errs, w.writeBinding(ctx, c))
	}
	return joinErrors(errs)
}

// writeBindings writes the AppRoleBindings of chunks with members, before a native binding grants to them: so at every moment,
// whatever crashes, each user in a native binding is in its AppRoleBinding, too. It fails with errInterrupted where a removal waits,
// and with what the API server refused.
func (w *bindingWriter) writeBindings(ctx context.Context, which stage) error {
	var errs []error
	for i := range w.plan.chunks {
		c := &w.plan.chunks[i]
		if len(c.Members) == 0 || w.plan.stageOf(c) != which {
			continue
		}
		if which == stageGrants {
			if !w.isMissing(c) {
				continue
			}
			if w.yield(); w.isInterrupted() {
				return errInterrupted
			}
		}
		if existing := w.objects.binding(c.Index); existing != nil && !existing.DeletionTimestamp.IsZero() {
			// Others deleted it while it is needed. Its native bindings stay: their names do not depend on it.
			if err := w.releaseBinding(ctx, existing); err != nil {
				errs = append(errs, err)
				continue
			}
			w.objects.setBinding(c.Index, nil)
		}
		if err := w.writeBinding(ctx, c); err != nil {
			errs = append(errs, err)
		}
	}
	return joinErrors(errs)
}

// grants reports whether writeBindings has anything to write in stageGrants.
func (w *bindingWriter) grants() bool {
	for i := range w.plan.chunks {
		c := &w.plan.chunks[i]
		if len(c.Members) > 0 && w.plan.stageOf(c) == stageGrants && w.isMissing(c) {
			return true
		}
	}
	return false
}

// isMissing reports whether the AppRoleBinding of a chunk is to be created or changed.
func (w *bindingWriter) isMissing(c *packing.Chunk) bool {
	existing := w.objects.binding(c.Index)
	return existing == nil || !existing.DeletionTimestamp.IsZero() || !bindingIsAsWanted(existing, w.buildBinding(c, existing))
}

func (w *bindingWriter) writeBinding(ctx context.Context, c *packing.Chunk) error {
	base := w.objects.binding(c.Index)
	want := w.buildBinding(c, base)
	if base != nil && bindingIsAsWanted(base, want) {
		return nil
	}
	tell := w.edits.reportBinding(ctx, base, want)
	for attempt := 0; ; attempt++ {
		object := want.DeepCopy()
		var err error
		if base == nil {
			err = w.Client.Create(ctx, object)
		} else {
			object = base.DeepCopy()
			object.Spec.Mode, object.Spec.Subjects = want.Spec.Mode, want.Spec.Subjects
			object.Labels = merged(object.Labels, want.Labels)
			object.Finalizers, object.OwnerReferences = want.Finalizers, nil
			err = w.Client.Update(ctx, object)
		}
		w.edits.noteOutcome(overlay.IDOf(want), err)
		if err == nil {
			if tell != nil {
				tell(object)
			}
			w.writes.Remember(w.plan.key, overlay.IDOf(object), object)
			w.objects.setBinding(c.Index, object)
			return nil
		}
		if attempt == attempts || !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) ||
			apierrors.IsNotFound(err) && base == nil {
			return err
		}
		if base, err = w.live.binding(ctx, want); err != nil {
			return err
		}
		if base != nil && bindingIsAsWanted(base, want) {
			w.writes.Remember(w.plan.key, overlay.IDOf(base), base) // the answer to an earlier attempt of this very write was lost
			w.objects.setBinding(c.Index, base)
			return nil
		}
		if tell == nil {
			tell = w.edits.reportBinding(ctx, base, want)
		}
	}
}

func (w *bindingWriter) buildBinding(c *packing.Chunk, existing *v1alpha1.AppRoleBinding) *v1alpha1.AppRoleBinding {
	return &v1alpha1.AppRoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:  w.plan.key.Namespace,
			Name:       bindingName(w.plan.key, c.Index),
			Labels:     bindingLabels(w.plan.key),
			Finalizers: []string{v1alpha1.FinalizerBindings},
		},
		Spec: v1alpha1.AppRoleBindingSpec{
			App:      w.plan.key.App,
			RoleRef:  v1alpha1.AppRoleRef{Name: w.plan.key.Role},
			Scope:    w.plan.key.Scope,
			Index:    c.Index,
			Mode:     w.plan.mode(existing),
			Subjects: w.subjectsOf(c, existing),
		},
	}
}

// subjectsOf returns the members of a chunk, sorted by user. Where it is stuck, those that it lost are among them, and members that were
// renamed have their former names.
func (w *bindingWriter) subjectsOf(c *packing.Chunk, existing *v1alpha1.AppRoleBinding) []v1alpha1.AppRoleSubject {
	subjects := c.Subjects()
	if !w.stuck[c.Index] || existing == nil {
		return subjects
	}
	byUser := func(a, b v1alpha1.AppRoleSubject) int { return cmp.Compare(a.User, b.User) }
	members := subjects[:len(subjects):len(subjects)]
	for _, subject := range existing.Spec.Subjects {
		switch i, isMember := slices.BinarySearchFunc(members, subject, byUser); {
		case !isMember:
			subjects = append(subjects, subject)
		case members[i].Name != subject.Name:
			members[i], subjects[i] = subject, subject
		}
	}
	slices.SortFunc(subjects, byUser)
	return subjects
}

func bindingIsAsWanted(have, want *v1alpha1.AppRoleBinding) bool {
	return have.Spec.Mode == want.Spec.Mode && slices.Equal(have.Spec.Subjects, want.Spec.Subjects) && isMarkedBinding(have, want)
}

func isMarkedBinding(have, want *v1alpha1.AppRoleBinding) bool {
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

// pruneBindings removes AppRoleBindings without members. Their native bindings are gone by now; where one is not, because
// pruneNatives failed, its AppRoleBinding stays.
func (w *bindingWriter) pruneBindings(ctx context.Context) error {
	var errs []error
	natives := sync.OnceValue(w.nativesByChunk)
	for i := range w.plan.chunks {
		c := &w.plan.chunks[i]
		existing := w.objects.binding(c.Index)
		if !c.Touched || len(c.Members) > 0 || existing == nil || w.stuck[c.Index] || len(natives()[c]) > 0 {
			continue
		}
		if err := w.releaseBinding(ctx, existing); err != nil {
			w.edits.noteUncertain(overlay.IDOf(existing)) // its deletion may be under way, by this operator's own hand
			errs = append(errs, err)
			continue
		}
		w.objects.setBinding(c.Index, nil)
	}
	return joinErrors(errs)
}

// releaseBinding deletes an AppRoleBinding and takes every finalizer off it: one of others would keep the name of what later
// grants of the key need.
func (w *bindingWriter) releaseBinding(ctx context.Context, binding *v1alpha1.AppRoleBinding) error {
	id := overlay.IDOf(binding)
	for attempt := 0; ; attempt++ {
		err := w.releaseBindingAsRead(ctx, binding)
		if client.IgnoreNotFound(err) == nil {
			return nil
		}
		w.writes.Remember(w.plan.key, id, binding)
		if attempt == attempts || !apierrors.IsConflict(err) {
			return err
		}
		live, err := w.live.binding(ctx, binding)
		if err != nil {
			return err
		}
		if live == nil {
			w.writes.RememberDeleted(w.plan.key, id, binding.UID)
			return nil
		}
		binding = live
	}
}

func (w *bindingWriter) releaseBindingAsRead(ctx context.Context, binding *v1alpha1.AppRoleBinding) error {
	object := binding.DeepCopy()
	w.writes.RememberDeleted(w.plan.key, overlay.IDOf(binding), binding.UID)
	if len(object.Finalizers) > 0 {
		object.Finalizers = nil
		if err := w.Client.Update(ctx, object); err != nil {
			return err
		}
	}
	if !object.DeletionTimestamp.IsZero() {
		return nil // the last finalizer held it
	}
	return w.Client.Delete(ctx, object, client.Preconditions{UID: &object.UID, ResourceVersion: &object.ResourceVersion})
}
