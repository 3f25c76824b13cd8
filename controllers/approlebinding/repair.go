package approlebinding

import (
	"context"
	"fmt"
	"slices"
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
func (r *run) reportBindingEdit(ctx context.Context, before, want *v1alpha1.AppRoleBinding) func(after *v1alpha1.AppRoleBinding) {
	generation, known := r.memory.generations[want.Name]
	switch {
	case !known:
		return nil
	case before == nil:
		return func(after *v1alpha1.AppRoleBinding) {
			r.tellRepair(ctx, after, nil, reasonDeleted, "The binding was deleted by "+someone+"; it was restored")
		}
	case before.Generation == generation && r.isMarkedBinding(before, want):
		return nil
	}
	if live, err := r.liveBinding(ctx, before); err == nil && live != nil {
		before = live // the informers keep no managed fields
	}
	who := editor(before.ManagedFields)
	return func(after *v1alpha1.AppRoleBinding) {
		r.tellRepair(ctx, after, nil, reasonChanged, fmt.Sprintf("The binding was changed by %s; it was restored%s", who, r.bindingDifferences(before, after)))
	}
}

// bindingDifferences says how an AppRoleBinding differed from what this operator made of it, subjects apart that come or go by
// this run itself.
func (r *run) bindingDifferences(have, want *v1alpha1.AppRoleBinding) string {
	var texts []string
	lacks := func(format string, subjects, others []v1alpha1.AppRoleSubject) {
		for _, subject := range subjects {
			if !slices.Contains(others, subject) && !r.movedUsers[subject.User] {
				texts = append(texts, fmt.Sprintf(format, subject.User, subject.Name))
			}
		}
	}
	lacks("%s as %s had been added", have.Spec.Subjects, want.Spec.Subjects)
	lacks("%s as %s was missing", want.Spec.Subjects, have.Spec.Subjects)
	if !contains(have.Labels, want.Labels) || !slices.Contains(have.Finalizers, v1alpha1.FinalizerBindings) {
		texts = append(texts, "its labels or finalizers had been changed")
	}
	return listed(append(texts, held(have)...))
}

func (r *run) tellRepair(ctx context.Context, binding *v1alpha1.AppRoleBinding, related client.Object, reason, note string) {
	log.FromContext(ctx).Info("Repaired a binding", "reason", reason, "note", note)
	if related == nil {
		r.Recorder.Eventf(binding, nil, corev1.EventTypeWarning, reason, actionRepair, "%s", note)
		return
	}
	r.Recorder.Eventf(binding, related, corev1.EventTypeWarning, reason, actionRepair, "%s", note)
}
