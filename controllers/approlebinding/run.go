package approlebinding

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
)

// Outcome is what became of one run of a key.
type Outcome struct {
	// Removal tells why users that lost the role may still be bound.
	Removal error
	// Grant tells why users that hold the role may not be bound.
	Grant error
	// Prune tells why bindings that bind no user wrongly, but are not needed any more, may still be there.
	Prune error
}

// Err returns the first of the errors.
func (o Outcome) Err() error { return cmp.Or(o.Removal, o.Grant, o.Prune) }

// kind is a word for what failed first.
func (o Outcome) kind() string {
	switch {
	case errors.Is(o.Grant, errInterrupted):
		return "interrupted"
	case o.Removal != nil:
		return "removal"
	case o.Grant != nil:
		return "grant"
	}
	return "prune"
}

// errInterrupted ends a run half-way: a removal waits, or what is left only grants, and nothing of that is urgent. The next run, which is
// about to begin, does what it left out: errStatusLeft says that there is nothing but the status.
var (
	errInterrupted = errors.New("interrupted by a removal")
	errStatusLeft  = fmt.Errorf("%w before the status was written", errInterrupted)
)

// writer is what native and AppRoleBinding writers share: the plan, and what exists by now.
type writer struct {
	plan    *plan
	objects *objects
	edits   *edits
	writes  *overlay.Writes
	live    liveReader
	// Client writes when it is the App's turn.
	Client client.Client
	// isInterrupted reports that a user must lose access: what only grants can wait.
	isInterrupted func() bool
	// yield has a write that takes nothing away wait, for a moment, while others lose access.
	yield func()
}

// run is one comparison of a key's bindings with the index, and the writes that follow from it.
type run struct {
	plan     *plan
	objects  *objects
	edits    *edits
	natives  nativeWriter
	bindings bindingWriter
	trailing *trailing
}

func newRun(w writer, trailing *trailing) *run {
	return &run{plan: w.plan, objects: w.objects, edits: w.edits, natives: nativeWriter{w}, bindings: bindingWriter{w, map[int32]bool{}}, trailing: trailing}
}

// write brings the bindings in line with the plan: removals of users first, then the AppRoleBindings, then grants, and last
// what is not needed any more, and AppRoleBindings that name leavers. It calls removed, at most once, as soon as no user is bound
// wrongly, or it is known why one is. A removal that one native binding refuses keeps no others waiting.
func (r *run) write(ctx context.Context, removed func(error)) Outcome {
	failure, isLocal := r.removeUsers(ctx)
	removed(failure)
	if failure != nil && !isLocal {
		return Outcome{Removal: failure, Grant: failure}
	}
	outcome := Outcome{Removal: failure}
	if r.plan.leavesGrants && r.grants() {
		outcome.Grant = errInterrupted
		return outcome
	}
	outcome.Grant = r.bindings.writeBindings(ctx, stageGrants)
	if outcome.Grant == nil {
		outcome.Grant = cmp.Or(r.plan.refused.err(), r.plan.unknown, r.natives.writeGrants(ctx))
	}
	if r.natives.isInterrupted() {
		outcome.Grant = errInterrupted
		return outcome
	}
	outcome.Prune = errors.Join(r.natives.pruneNatives(ctx), r.bindings.pruneBindings(ctx), r.bindings.writeTrailing(ctx))
	return outcome
}

// grants reports whether there is anything to write that only grants.
func (r *run) grants() bool { return r.bindings.grants() || r.natives.grants() }

// removeUsers takes users out of what they lost. It returns why one may still be bound, and whether that is no reason to leave
// everything else undone: then the AppRoleBindings of the native bindings at fault go on naming the users.
func (r *run) removeUsers(ctx context.Context) (failure error, local bool) {
	failed := r.natives.removeSubjects(ctx)
	for id, err := range failed {
		if !isLocal(err) {
			return joinByID(failed), false
		}
		if existing, found := r.plan.natives[id]; found {
			if c := r.plan.chunkOf(id, existing.roleRef); c != nil {
				r.bindings.stuck[c.Index] = true
			}
		}
	}
	for index, users := range r.plan.trails {
		if !r.bindings.stuck[index] {
			r.trailing.add(r.plan.key, users)
		}
	}
	failure = errors.Join(r.bindings.writeBindings(ctx, stageRemovals), r.bindings.pruneBindings(ctx))
	return cmp.Or(joinByID(failed), failure), failure == nil
}
