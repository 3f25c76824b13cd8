package approlebinding

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
)

// edit is a change of one native binding by others, from when a run finds it until an Event tells of it.
type edit struct {
	reason string
	// version is the resourceVersion that the binding was expected to have; "" where none was.
	version string
	// described says that who and what are set: before the first write, since that overwrites both.
	described bool
	who, what string
	// undone says that a write of this run succeeded.
	undone bool
	// about is the AppRoleBinding that the Event is about.
	about *v1alpha1.AppRoleBinding
}

// findMoved notes the subjects that come or go by this run: they are ordinary traffic, and no Event may call them an edit.
func (r *run) findMoved() {
	r.moved, r.movedUsers = map[rbacv1.Subject]bool{}, map[string]bool{}
	for _, user := range r.touched {
		r.movedUsers[user] = true
	}
	for i := range r.chunks {
		c := &r.chunks[i]
		if !c.Touched {
			continue
		}
		before, after := map[string]bool{}, map[string]bool{}
		for j := range c.Members {
			after[c.Members[j].User] = true
		}
		if c.Existing != nil {
			isOwn := !r.isForeign(c.Existing)
			for _, subject := range c.Existing.Spec.Subjects {
				before[subject.User] = true
				if isOwn && !after[subject.User] {
					r.movedUsers[subject.User] = true
				}
				r.noteMoved(&packing.Member{AppRoleSubject: subject})
			}
		}
		for j := range c.Members {
			m := &c.Members[j]
			if !before[m.User] {
				r.movedUsers[m.User] = true
			}
			r.noteMoved(m)
		}
	}
}

func (r *run) noteMoved(m *packing.Member) {
	if !r.movedUsers[m.User] {
		return
	}
	for _, subject := range m.Natives() {
		r.moved[subject] = true
	}
}

// findEdits compares what there is with what the last run left. It must come before the first write: from then on what
// differs may be this run's own.
func (r *run) findEdits() {
	r.edits = map[overlay.ID]*edit{}
	for id, existing := range r.existing {
		version := r.memory.natives[id]
		if r.unlabelled[id] || version != "" && version != existing.object.GetResourceVersion() {
			r.edits[id] = &edit{reason: reasonChanged, version: version, about: r.bindingMadeFrom(id)}
		}
	}
	for id := range r.desired {
		if _, found := r.existing[id]; !found && r.memory.natives[id] != "" {
			r.edits[id] = &edit{reason: reasonDeleted, version: r.memory.natives[id], about: r.bindingMadeFrom(id)}
		}
	}
}

// describeEdit notes who made an edit, as far as managed fields tell, and how the binding differs from what it should be. It
// must come before the binding is written.
func (r *run) describeEdit(ctx context.Context, id overlay.ID, object client.Object) {
	e := r.editOf(id)
	if e == nil || e.described || e.reason == reasonDeleted {
		return
	}
	if live, err := r.liveNative(ctx, id); err == nil && live != nil {
		object = live // the informers keep no managed fields
	}
	if object != nil {
		e.described, e.who, e.what = true, editor(object.GetManagedFields()), r.differences(id, object)
	}
}

// meetEdit notes an edit that a write of this run met: live is what others made of the binding since this run read it, or
// nil.
func (r *run) meetEdit(id overlay.ID, live client.Object) {
	r.editMutex.Lock()
	defer r.editMutex.Unlock()
	if r.edits[id] != nil || r.uncertain[id] || r.memory.natives[id] == "" {
		return
	}
	met := &edit{reason: reasonDeleted, version: r.memory.natives[id]}
	if want, wanted := r.desired[id]; wanted {
		met.about = want.chunk.Existing
	}
	if live != nil {
		met.reason, met.described = reasonChanged, true
		met.who, met.what = editor(live.GetManagedFields()), r.differences(id, live)
	}
	r.edits[id] = met
}

func (r *run) editOf(id overlay.ID) *edit {
	r.editMutex.Lock()
	defer r.editMutex.Unlock()
	return r.edits[id]
}

func (r *run) undidEdit(id overlay.ID) {
	if e := r.editOf(id); e != nil {
		e.undone = true
	}
}

// noteOutcome notes whether a write of an object has a certain outcome. Without an answer it may have happened or not, and the
// next run must not take it for somebody else's.
func (r *run) noteOutcome(id overlay.ID, err error) {
	r.editMutex.Lock()
	defer r.editMutex.Unlock()
	if isCertain(err) {
		delete(r.uncertain, id)
	} else {
		r.uncertain[id] = true
	}
}

func (r *run) noteUncertain(id overlay.ID) {
	r.editMutex.Lock()
	defer r.editMutex.Unlock()
	r.uncertain[id] = true
}

// isCertain says of the answer to a write whether it tells if the object was written.
func isCertain(err error) bool {
	if err == nil {
		return true
	}
	switch apierrors.ReasonForError(err) {
	case metav1.StatusReasonConflict, metav1.StatusReasonNotFound, metav1.StatusReasonAlreadyExists, metav1.StatusReasonForbidden,
		metav1.StatusReasonInvalid, metav1.StatusReasonBadRequest, metav1.StatusReasonUnauthorized, metav1.StatusReasonTooManyRequests,
		metav1.StatusReasonRequestEntityTooLarge:
		return true
	}
	return false
}

// expectEdits corrects the versions that the next run expects: an edit that this run could not undo is found again, and what has no
// certain state is expected to be anything.
func (r *run) expectEdits(versions map[overlay.ID]string) {
	r.editMutex.Lock()
	defer r.editMutex.Unlock()
	for id, e := range r.edits {
		if !e.undone && e.version != "" {
			versions[id] = e.version
		}
	}
	for id := range r.uncertain {
		delete(versions, id)
	}
}

// tellEdits writes an Event for each edit that this run undid, at its end: only then is it known what became of the binding.
func (r *run) tellEdits(ctx context.Context) {
	for _, id := range slices.SortedFunc(maps.Keys(r.edits), overlay.Compare) {
		e := r.edits[id]
		about := cmp.Or(r.bindingMadeFrom(id), e.about)
		if !e.undone || about == nil {
			continue
		}
		how, who := "changed", e.who
		if e.reason == reasonDeleted {
			how = "deleted"
		}
		if who == "" {
			who = someone
		}
		what := "it was restored"
		if _, wanted := r.desired[id]; !wanted {
			what = "it is not needed any more and was removed"
		}
		if !r.isRestored(id) {
			what = "what had been added to it was removed, and the rest follows"
		}
		// The recorder merges Events that refer to the same versions, and keeps the first one's text: each repair has its own.
		related := emptyNative(id)
		if existing, found := r.existing[id]; found {
			related.SetResourceVersion(existing.object.GetResourceVersion())
		}
		r.tellRepair(ctx, about, related, e.reason,
			fmt.Sprintf("%s %s was %s by %s; %s%s", id.Kind, client.ObjectKeyFromObject(emptyNative(id)), how, who, what, e.what))
	}
}

// isRestored says whether a native binding is, after the writes of this run, as it should be.
func (r *run) isRestored(id overlay.ID) bool {
	want, wanted := r.desired[id]
	existing, found := r.existing[id]
	if !wanted || !found {
		return wanted == found
	}
	return r.isAsWanted(existing, want)
}

// isAsWanted says whether a native binding needs no write.
func (r *run) isAsWanted(existing native, want desiredNative) bool {
	return existing.roleRef == want.roleRef && slices.Equal(existing.subjects, want.subjects) &&
		isMarkedFor(r.key, existing.object, want.chunk.Index) && isFree(existing.object)
}

// isFree says of an object that nothing of others decides when it ends: no finalizer, no owner. Nothing of this operator is on a
// native binding, either.
func isFree(object client.Object) bool {
	return len(object.GetFinalizers()) == 0 && len(object.GetOwnerReferences()) == 0 && object.GetDeletionTimestamp().IsZero()
}

// isSameNative says whether a native binding is what a write of this run asked for.
func isSameNative(live, wrote client.Object) bool {
	a, b := nativeOf(live), nativeOf(wrote)
	return a.roleRef == b.roleRef && slices.Equal(a.subjects, b.subjects) && isFree(live) &&
		contains(live.GetLabels(), wrote.GetLabels()) && contains(live.GetAnnotations(), wrote.GetAnnotations())
}

// bindingMadeFrom returns the AppRoleBinding that a native binding belongs to; nil where there is none.
func (r *run) bindingMadeFrom(id overlay.ID) *v1alpha1.AppRoleBinding {
	if c := r.chunkMadeFrom(id); c != nil {
		return c.Existing
	}
	return nil
}

func (r *run) chunkMadeFrom(id overlay.ID) *packing.Chunk {
	if want, found := r.desired[id]; found {
		return want.chunk
	}
	if existing, found := r.existing[id]; found {
		return r.chunkOf(id, existing.roleRef)
	}
	return nil
}

// differences says how a native binding differs from what this operator made of it, subjects apart that come or go by this run
// itself.
func (r *run) differences(id overlay.ID, object client.Object) string {
	want, found := r.desired[id]
	have := nativeOf(object)
	var texts []string
	if found && have.roleRef != want.roleRef {
		texts = append(texts, fmt.Sprintf("it bound %s %s", have.roleRef.Kind, have.roleRef.Name))
	}
	texts = append(texts, r.lacking("%s %s had been added", have.subjects, want.subjects)...)
	texts = append(texts, r.lacking("%s %s was missing", want.subjects, have.subjects)...)
	if found && !isMarkedFor(r.key, object, want.chunk.Index) {
		texts = append(texts, "its labels or annotations had been changed")
	}
	return listed(append(texts, held(object)...))
}

// held says by what others decide when an object ends.
func held(object client.Object) []string {
	var texts []string
	for _, finalizer := range object.GetFinalizers() {
		if finalizer != v1alpha1.FinalizerBindings {
			texts = append(texts, "finalizer "+finalizer+" had been added")
		}
	}
	for _, owner := range object.GetOwnerReferences() {
		texts = append(texts, fmt.Sprintf("%s %s had been made its owner", owner.Kind, owner.Name))
	}
	if !object.GetDeletionTimestamp().IsZero() {
		texts = append(texts, "it was being deleted")
	}
	return texts
}

func (r *run) lacking(format string, subjects, others []rbacv1.Subject) []string {
	known := packing.SetOf(others)
	var texts []string
	for _, subject := range subjects {
		if !known[subject] && !r.moved[subject] {
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
