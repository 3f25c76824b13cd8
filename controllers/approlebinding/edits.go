package approlebinding

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/recorder"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
)

// edit is a change of one native binding by others, from when a run finds it until an Event tells of it.
type edit struct {
	reason string
	// version is the resourceVersion that the binding was expected to have; "" where none was.
	version string
	// described says that editor and what are set: before the first write, since that overwrites both.
	described    bool
	editor, what string
	// undone says that a write of this run succeeded; restored is the resourceVersion that it made, "" for a deletion.
	undone   bool
	restored string
	// about is the AppRoleBinding that the Event is about.
	about *v1alpha1.AppRoleBinding
}

// edits are changes of a key's bindings by others, and what this run's own writes left uncertain.
type edits struct {
	plan     *plan
	objects  *objects
	live     liveReader
	recorder recorder.EventRecorder

	mutex sync.Mutex
	// byID are the edits of native bindings, found before this run wrote anything or met while it wrote, in their order: each of
	// them but the last is undone.
	byID map[overlay.ID][]*edit
	// uncertain are objects that this run wrote without a certain outcome: nothing is claimed of their next state.
	uncertain map[overlay.ID]bool
}

// newEdits compares what there is with what the last run left. It must come before the first write: from then on what
// differs may be this run's own.
func newEdits(p *plan, o *objects, live liveReader, recorder recorder.EventRecorder) *edits {
	e := &edits{plan: p, objects: o, live: live, recorder: recorder, byID: map[overlay.ID][]*edit{}, uncertain: map[overlay.ID]bool{}}
	for id, existing := range p.natives {
		version := p.memory.natives[id]
		if p.unlabelled[id] || version != "" && version != existing.object.GetResourceVersion() {
			e.byID[id] = []*edit{{reason: reasonChanged, version: version, about: e.bindingMadeFrom(id)}}
		}
	}
	for id := range p.desired {
		if _, found := p.natives[id]; !found && p.memory.natives[id] != "" {
			e.byID[id] = []*edit{{reason: reasonDeleted, version: p.memory.natives[id], about: e.bindingMadeFrom(id)}}
		}
	}
	return e
}

// describe notes the editor, as far as managed fields tell, and how the binding differs from what it should be. It
// must come before the binding is written.
func (e *edits) describe(ctx context.Context, id overlay.ID, object client.Object) {
	one := e.of(id)
	if one == nil || one.described || one.reason == reasonDeleted {
		return
	}
	if live, err := e.live.native(ctx, id); err == nil && live != nil {
		object = live // the informers keep no managed fields
	}
	if object != nil {
		one.described, one.editor, one.what = true, editorOf(object.GetManagedFields()), e.plan.differences(id, object)
	}
}

// meet notes an edit that a write of this run met, or that came after one: live is what others made of the binding since this run
// read or wrote it, or nil. version is the resourceVersion that it had before. Until an edit is undone, another one of the same
// binding is a part of it.
func (e *edits) meet(id overlay.ID, version string, live client.Object) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	last := e.last(id)
	switch {
	case e.uncertain[id], last == nil && e.plan.memory.natives[id] == "":
		return
	case last == nil || last.undone:
		last = &edit{reason: reasonDeleted, version: version}
		if want, wanted := e.plan.desired[id]; wanted {
			last.about = e.objects.binding(want.chunk.Index)
		}
		e.byID[id] = append(e.byID[id], last)
	}
	if live != nil {
		last.reason, last.described = reasonChanged, true
		last.editor, last.what = editorOf(live.GetManagedFields()), e.plan.differences(id, live)
	}
}

// of returns the edit of a binding that is not undone yet, or the last one; nil for none.
func (e *edits) of(id overlay.ID) *edit {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.last(id)
}

func (e *edits) last(id overlay.ID) *edit {
	all := e.byID[id]
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// undid notes that this run wrote a binding, over what others had made of it; nil for its deletion.
func (e *edits) undid(id overlay.ID, written client.Object) {
	one := e.of(id)
	if one == nil || one.undone {
		return
	}
	one.undone = true
	if written != nil {
		one.restored = written.GetResourceVersion()
	}
}

// noteOutcome notes whether a write of an object has a certain outcome. Without an answer it may have happened or not, and the
// next run must not take it for a write by others.
func (e *edits) noteOutcome(id overlay.ID, err error) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if isCertain(err) {
		delete(e.uncertain, id)
	} else {
		e.uncertain[id] = true
	}
}

// isUncertain reports whether the last write of an object has no certain outcome.
func (e *edits) isUncertain(id overlay.ID) bool {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.uncertain[id]
}

func (e *edits) noteUncertain(id overlay.ID) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.uncertain[id] = true
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

// expect corrects the versions that the next run expects: an edit that this run could not undo is found again, and what has no
// certain state is expected to be anything.
func (e *edits) expect(versions map[overlay.ID]string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	for id := range e.byID {
		if one := e.last(id); !one.undone && one.version != "" {
			versions[id] = one.version
		}
	}
	for id := range e.uncertain {
		delete(versions, id)
	}
}

// tell writes an Event for each edit that this run undid, at its end: only then is it known what became of the binding.
func (e *edits) tell(ctx context.Context) {
	for _, id := range slices.SortedFunc(maps.Keys(e.byID), overlay.Compare) {
		for _, one := range e.byID[id] {
			e.tellOf(ctx, id, one)
		}
	}
}

func (e *edits) tellOf(ctx context.Context, id overlay.ID, one *edit) {
	about := cmp.Or(e.bindingMadeFrom(id), one.about)
	if !one.undone || about == nil {
		return
	}
	// The recorder merges Events that refer to the same versions, and keeps the first one's text: each repair has its own.
	related := emptyNative(id)
	related.SetResourceVersion(one.restored)
	e.emit(ctx, about, related, one.reason, e.textOf(id, one))
}

// textOf says what others did, and what became of it.
func (e *edits) textOf(id overlay.ID, one *edit) string {
	how, by := "changed", one.editor
	if one.reason == reasonDeleted {
		how = "deleted"
	}
	if by == "" {
		by = unknownEditor
	}
	what := "it was restored"
	if _, wanted := e.plan.desired[id]; !wanted {
		what = "it is not needed any more and was removed"
	}
	if !e.isRestored(id) {
		what = "what had been added to it was removed, and the rest follows"
	}
	return fmt.Sprintf("%s %s was %s by %s; %s%s", id.Kind, client.ObjectKeyFromObject(emptyNative(id)), how, by, what, one.what)
}

// isRestored says whether a native binding is, after the writes of this run, as it should be.
func (e *edits) isRestored(id overlay.ID) bool {
	want, wanted := e.plan.desired[id]
	existing, found := e.objects.native(id)
	if !wanted || !found {
		return wanted == found
	}
	return e.plan.isAsWanted(existing, want)
}

// bindingMadeFrom returns the AppRoleBinding that a native binding belongs to; nil where there is none.
func (e *edits) bindingMadeFrom(id overlay.ID) *v1alpha1.AppRoleBinding {
	if c := e.chunkMadeFrom(id); c != nil {
		return e.objects.binding(c.Index)
	}
	return nil
}

func (e *edits) chunkMadeFrom(id overlay.ID) *packing.Chunk {
	if want, found := e.plan.desired[id]; found {
		return want.chunk
	}
	if existing, found := e.objects.native(id); found {
		return e.plan.chunkOf(id, existing.roleRef)
	}
	return nil
}
