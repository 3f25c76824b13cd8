package approlebinding

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
	"github.com/scim-operator/scim-operator/internal/clip"
)

// maxListed bounds status.nativeBindings.
const maxListed = 100

// writeStatus writes the status of the key's AppRoleBindings where it changed. It is interrupted by a removal: a role of many
// users has many of them.
func (w *bindingWriter) writeStatus(ctx context.Context, grant error) error {
	var errs []error
	natives := sync.OnceValue(w.nativesByChunk)
	for i := range w.plan.chunks {
		c := &w.plan.chunks[i]
		existing := w.objects.binding(c.Index)
		if !c.Touched || existing == nil || w.stillTrails(c, existing) {
			continue
		}
		object := existing.DeepCopy()
		w.setStatus(object, natives()[c], grant)
		if apiequality.Semantic.DeepEqual(object.Status, existing.Status) {
			continue
		}
		if w.yield(); w.isInterrupted() {
			return errInterrupted
		}
		err := w.Client.Status().Update(ctx, object)
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			continue // others wrote it: the event of that brings the key back here
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.writes.Remember(w.plan.key, overlay.IDOf(object), object)
		w.objects.setBinding(c.Index, object)
	}
	return joinErrors(errs)
}

// stillTrails reports whether an AppRoleBinding names leavers that its native bindings do not name: its status is written after that.
func (w *bindingWriter) stillTrails(c *packing.Chunk, existing *v1alpha1.AppRoleBinding) bool {
	lost := w.plan.trails[c.Index]
	return len(lost) > 0 && packing.Position(existing, lost[0]) >= 0
}

// nativesByChunk returns the native bindings that there are of each chunk, sorted. The nil chunk has those of none.
func (w *bindingWriter) nativesByChunk() map[*packing.Chunk][]v1alpha1.NativeBinding {
	natives := map[*packing.Chunk][]v1alpha1.NativeBinding{}
	existing := w.objects.allNatives()
	for _, id := range slices.SortedFunc(maps.Keys(existing), overlay.Compare) {
		c := w.plan.chunkOf(id, existing[id].roleRef)
		natives[c] = append(natives[c], v1alpha1.NativeBinding{Kind: id.Kind, Namespace: id.Namespace, Name: id.Name})
	}
	return natives
}

func (w *bindingWriter) setStatus(object *v1alpha1.AppRoleBinding, natives []v1alpha1.NativeBinding, grant error) {
	status := &object.Status
	status.UID, status.ObservedGeneration = string(object.UID), object.Generation
	status.Subjects = int32(len(object.Spec.Subjects))
	status.NativeBindingCount = int32(len(natives))
	status.NativeBindings = append([]v1alpha1.NativeBinding{}, natives[:min(len(natives), maxListed)]...) // a list, also of none
	meta.SetStatusCondition(&status.Conditions, w.plan.ready(object, grant, len(natives)))
}

func (p *plan) ready(object *v1alpha1.AppRoleBinding, grant error, natives int) metav1.Condition {
	condition := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: object.Generation,
		Reason: v1alpha1.ReasonReady, Message: fmt.Sprintf("%d people are bound by %d native bindings.", len(object.Spec.Subjects), natives),
	}
	refuse := func(reason, message string) {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, reason, message
	}
	switch {
	case grant != nil:
		refuse(FailureReason(grant), FailureMessage(grant))
	case p.dropped:
		refuse(v1alpha1.ReasonTooManyRemovals, "The App has no such role in this scope any more: people still bound are held by its spec.safety.")
	case p.frozen:
		refuse(v1alpha1.ReasonAppNotReady, "The App's specification is invalid: nothing new is granted until it is corrected.")
	case len(p.missing) > 0:
		refuse(v1alpha1.ReasonMissingScope, fmt.Sprintf("Scope %q names namespaces that do not exist: %s.", p.key.Scope, strings.Join(first(p.missing, 10), ", ")))
	case object.Spec.Mode == v1alpha1.ModeObserve:
		condition.Reason, condition.Message = v1alpha1.ReasonObserved, "The App's mode is Observe: nothing is bound."
	case natives == 0 && len(p.grants) == 0:
		condition.Message = "The role grants nothing."
	case natives == 0:
		condition.Message = "No namespace is in the scope yet."
	}
	return condition
}

func first(names []string, count int) []string {
	if len(names) > count {
		return append(slices.Clone(names[:count]), "…")
	}
	return names
}

// FailureReason is the condition reason of a failed grant.
func FailureReason(err error) string {
	var refused *refusal
	if errors.As(err, &refused) || apierrors.IsForbidden(err) {
		return v1alpha1.ReasonForbidden
	}
	return v1alpha1.ReasonBindingFailed
}

// FailureMessage is the condition message of a failed grant, of bounded length.
func FailureMessage(err error) string {
	const limit = 2048
	return clip.Text(strings.ReplaceAll(err.Error(), "\n", "; "), limit)
}
