package rolebinding

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
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

// editedByOthers says whether somebody else wrote a native binding since the last run, or took its marks from it before.
func (r *run) editedByOthers(id objectID, object client.Object) bool {
	version := r.memory.natives[id]
	return version != "" && version != object.GetResourceVersion() || r.unmarked[id]
}

// reportRepair tells on the AppRoleBinding that a native binding was edited by somebody else and is put right: by whom,
// as far as the object's managed fields tell, and what differs from what should be. object is nil where it is gone.
func (r *run) reportRepair(ctx context.Context, id objectID, object client.Object, reason string) {
	c := r.chunkMadeFrom(id)
	if c == nil || c.existing == nil || r.isReported(id) {
		return
	}
	how, who, what := "deleted", someone, ""
	if reason == reasonChanged {
		how = "changed"
		if live, err := r.liveNative(ctx, id); err == nil && live != nil {
			object = live // the informers keep no managed fields
		}
		who, what = editor(object.GetManagedFields()), r.differences(id, object)
	}
	r.tellRepair(ctx, c.existing, emptyNative(id), reason,
		fmt.Sprintf("%s %s was %s by %s; it was restored%s", id.kind, client.ObjectKeyFromObject(emptyNative(id)), how, who, what))
}

// isReported says whether this run told of a native binding before: it may take two writes to put one right.
func (r *run) isReported(id objectID) bool {
	r.noteMutex.Lock()
	defer r.noteMutex.Unlock()
	before := r.reported[id]
	r.reported[id] = true
	return before
}

func (r *run) chunkMadeFrom(id objectID) *chunk {
	if want, found := r.desired[id]; found {
		return want.chunk
	}
	if existing, found := r.existing[id]; found {
		return r.chunkOf(id, existing.roleRef)
	}
	return nil
}

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

// differences says how a native binding differs from what it should be.
func (r *run) differences(id objectID, object client.Object) string {
	want, found := r.desired[id]
	have := nativeOf(object)
	var texts []string
	if found && have.roleRef != want.roleRef {
		texts = append(texts, fmt.Sprintf("it bound %s %s", have.roleRef.Kind, have.roleRef.Name))
	}
	texts = append(texts, missing("%s %s had been added", have.subjects, want.subjects)...)
	texts = append(texts, missing("%s %s was missing", want.subjects, have.subjects)...)
	if found && !r.key.marked(object, want.chunk.index) {
		texts = append(texts, "its labels or annotations had been changed")
	}
	return listed(texts)
}

func missing(format string, subjects, others []rbacv1.Subject) []string {
	known := setOf(others)
	var texts []string
	for _, subject := range subjects {
		if !known[subject] {
			texts = append(texts, fmt.Sprintf(format, subject.Kind, subject.Name))
		}
	}
	return texts
}

func listed(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	if len(texts) > maxNamed {
		texts = append(texts[:maxNamed:maxNamed], fmt.Sprintf("and %d more", len(texts)-maxNamed))
	}
	return ": " + strings.Join(texts, ", ")
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
	case before.Generation == generation:
		return nil
	}
	if live, err := r.liveBinding(ctx, before); err == nil && live != nil {
		before = live // the informers keep no managed fields
	}
	who := editor(before.ManagedFields)
	return func(after *v1alpha1.AppRoleBinding) {
		r.tellRepair(ctx, after, nil, reasonChanged, fmt.Sprintf("The binding was changed by %s; it was restored%s", who, subjectDifferences(before, after)))
	}
}

func subjectDifferences(have, want *v1alpha1.AppRoleBinding) string {
	var texts []string
	for _, subject := range have.Spec.Subjects {
		if !slices.Contains(want.Spec.Subjects, subject) {
			texts = append(texts, fmt.Sprintf("%s as %s had been added", subject.User, subject.Name))
		}
	}
	for _, subject := range want.Spec.Subjects {
		if !slices.Contains(have.Spec.Subjects, subject) {
			texts = append(texts, fmt.Sprintf("%s as %s was missing", subject.User, subject.Name))
		}
	}
	return listed(texts)
}

func (r *run) tellRepair(ctx context.Context, binding *v1alpha1.AppRoleBinding, related client.Object, reason, note string) {
	log.FromContext(ctx).Info("Repaired a binding", "reason", reason, "note", note)
	if related == nil {
		r.Recorder.Eventf(binding, nil, corev1.EventTypeWarning, reason, actionRepair, "%s", note)
		return
	}
	r.Recorder.Eventf(binding, related, corev1.EventTypeWarning, reason, actionRepair, "%s", note)
}
