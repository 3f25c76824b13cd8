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

// Reasons of events about what somebody else did. An event of the same reason and objects is counted, not written anew;
// the log has each.
const (
	reasonChanged = "BindingChanged"
	reasonDeleted = "BindingDeleted"
	actionRepair  = "Repair"

	// someone is who did what managed fields do not tell: they know managers and not users, and of a deletion nothing.
	someone = "someone else"
	// maxNamed differences are named in an event.
	maxNamed = 5
)

// editor is who wrote last, this operator apart.
func editor(fields []metav1.ManagedFieldsEntry) string {
	who, latest := someone, time.Time{}
	for _, entry := range fields {
		if entry.Manager == FieldOwner || entry.Manager == "" || entry.Subresource != "" || entry.Time == nil {
			continue
		}
		if who == someone || entry.Time.After(latest) {
			who, latest = fmt.Sprintf("%q", entry.Manager), entry.Time.Time
		}
	}
	return who
}

// reportBindingEdit tells that an AppRoleBinding itself was edited by somebody else and is about to be put right. It
// returns what is to be told once that was done; nil for nothing.
func (e *edits) reportBinding(ctx context.Context, before, want *v1alpha1.AppRoleBinding) func(after *v1alpha1.AppRoleBinding) {
	generation, known := e.plan.memory.generations[want.Name]
	switch {
	case !known:
		return nil
	case before == nil:
		return func(after *v1alpha1.AppRoleBinding) {
			e.emit(ctx, after, nil, reasonDeleted, "The binding was deleted by "+someone+"; it was restored")
		}
	case before.Generation == generation && isMarkedBinding(before, want):
		return nil
	}
	if live, err := e.live.binding(ctx, before); err == nil && live != nil {
		before = live // the informers keep no managed fields
	}
	who := editor(before.ManagedFields)
	return func(after *v1alpha1.AppRoleBinding) {
		e.emit(ctx, after, nil, reasonChanged, fmt.Sprintf("The binding was changed by %s; it was restored%s", who, e.plan.bindingDifferences(before, after)))
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
