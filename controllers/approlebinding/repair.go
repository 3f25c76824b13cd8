package approlebinding

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// FieldOwner is the field manager under which this operator's controllers write: other managers' edits are others'.
const FieldOwner = "scim-operator-controller"

// Reasons of events about what others did. An event of the same reason and objects is counted, not written anew;
// the log has each.
const (
	reasonChanged = "BindingChanged"
	reasonDeleted = "BindingDeleted"
	actionRepair  = "Repair"

	// unknownEditor stands for the editor that managed fields do not name: they name managers and not users, and keep nothing
	// of a deletion.
	unknownEditor = "another client"
	// maxNamed differences are named in an event.
	maxNamed = 5
)

// editorOf returns the manager that wrote last, this operator apart, quoted.
func editorOf(fields []metav1.ManagedFieldsEntry) string {
	editor, latest := unknownEditor, time.Time{}
	for _, entry := range fields {
		if entry.Manager == FieldOwner || entry.Manager == "" || entry.Subresource != "" || entry.Time == nil {
			continue
		}
		if editor == unknownEditor || entry.Time.After(latest) {
			editor, latest = fmt.Sprintf("%q", entry.Manager), entry.Time.Time
		}
	}
	return editor
}

// reportBinding notes that others edited an AppRoleBinding that is about to be restored. It returns what writes the Event once
// that is done; nil for nothing to tell.
func (e *edits) reportBinding(ctx context.Context, before, want *v1alpha1.AppRoleBinding) func(after *v1alpha1.AppRoleBinding) {
	generation, known := e.plan.memory.generations[want.Name]
	switch {
	case !known:
		return nil
	case before == nil:
		return func(after *v1alpha1.AppRoleBinding) {
			e.emit(ctx, after, nil, reasonDeleted, "The binding was deleted by "+unknownEditor+"; it was restored")
		}
	case before.Generation == generation && isMarkedBinding(before, want):
		return nil
	}
	if live, err := e.live.binding(ctx, before); err == nil && live != nil {
		before = live // the informers keep no managed fields
	}
	by := editorOf(before.ManagedFields)
	return func(after *v1alpha1.AppRoleBinding) {
		e.emit(ctx, after, nil, reasonChanged, fmt.Sprintf("The binding was changed by %s; it was restored%s", by, e.plan.bindingDifferences(before, after)))
	}
}

func (e *edits) emit(ctx context.Context, binding *v1alpha1.AppRoleBinding, related client.Object, reason, note string) {
	log.FromContext(ctx).Info("Repaired a binding", "reason", reason, "note", note)
	if related == nil {
		e.recorder.Eventf(binding, nil, corev1.EventTypeWarning, reason, actionRepair, "%s", note)
		return
	}
	e.recorder.Eventf(binding, related, corev1.EventTypeWarning, reason, actionRepair, "%s", note)
}
