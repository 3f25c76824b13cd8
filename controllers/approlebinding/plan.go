package approlebinding

import (
	"errors"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// appState is what a run takes from the App.
type appState struct {
	// app as the informer shows it; nil where it is gone or being deleted.
	app *v1alpha1.App
	// generation of the App; zero where it is gone.
	generation earned.AppGeneration
	// policy of the App; nil where the App is gone or invalid.
	policy *access.Policy
	// grants of the role; empty where the App has no such role in that scope.
	grants []v1alpha1.Grant
	// frozen says that the App is invalid: users may leave, and nothing else changes.
	frozen bool
	// dropped says that the App no longer has the role in that scope: bound users leave once they have been evaluated, and
	// may be held until then.
	dropped bool
}

// mode of the AppRoleBinding that has one already; nil for none.
func (a *appState) mode(existing *v1alpha1.AppRoleBinding) string {
	switch {
	case a.policy != nil:
		return a.policy.Mode()
	case existing != nil:
		return existing.Spec.Mode
	}
	return v1alpha1.ModeEnforce
}

// input is all that a plan is made from.
type input struct {
	key earned.RoleInScope
	// full runs look at everything, others at the chunks of users with a standing that changed since the run before.
	full bool
	// status has the AppRoleBindings' status written, also of chunks where no standing changed.
	status bool
	// urgent says that a caller waits for a removal, prompt that it also waits for all AppRoleBindings.
	urgent, prompt bool
	// leavesGrants says that what only grants is the next run's: it waits for the App's other grants, and callers of this one for
	// removals alone.
	leavesGrants bool
	// trailing are leavers that AppRoleBindings name and native bindings do not, before the run.
	trailing map[string]bool
	appState
	// memory is what the run before left.
	memory memory
	// dirty are the users with a changed standing.
	dirty  []string
	chunks []packing.Chunk
	names  *nativeNames
	// natives are the native bindings that carry the key's labels, and unlabelled ones, as read.
	natives    map[overlay.ID]native
	unlabelled map[overlay.ID]bool
	// namespaces of the scope that exist, sorted; clusterWide in place of them. missing are named and do not exist.
	namespaces  []string
	clusterWide bool
	missing     []string
	// mayBind reports whether this process was given the right to bind a role in a namespace ("" for everywhere).
	mayBind func(namespace string, ref rbacv1.RoleRef) (bool, error)
}

// plan is what a run found and what there should be. It is computed once, before the first write, and read-only after that.
type plan struct {
	input
	byIndex map[int32]*packing.Chunk
	// desired native bindings of the chunks that the run looks at.
	desired map[overlay.ID]desiredNative
	// known are the native bindings that the run looks at: natives and desired.
	known map[overlay.ID]bool
	// waiting are chunks with a member that is left out of native bindings, or left in, until it has been evaluated for the
	// App's current generation.
	waiting map[int32]bool
	// refused are roles that this process has no right to bind; unknown tells why that could not be found out.
	refused refusal
	unknown error
	// trails are the users that AppRoleBindings are to lose which may be written last, by chunk.
	trails map[int32][]string
	// moved are RBAC subjects that come or go by this run itself; movedUsers are the users behind them.
	moved      map[rbacv1.Subject]bool
	movedUsers map[string]bool
}

// desiredNative is a native binding as it should be.
type desiredNative struct {
	roleRef rbacv1.RoleRef
	chunk   *packing.Chunk
	// subjects are sorted and without duplicates.
	subjects []rbacv1.Subject
	// retiring says that the App no longer asks for it: it stays for users not yet evaluated for the App's current
	// generation, and shrinks when everything else is done.
	retiring bool
}

// newPlan decides which native bindings there should be. It drops from the natives what is not this key's and what the run
// does not look at.
func newPlan(in input) *plan {
	p := &plan{
		input: in, byIndex: make(map[int32]*packing.Chunk, len(in.chunks)), desired: map[overlay.ID]desiredNative{},
		known: map[overlay.ID]bool{}, waiting: map[int32]bool{},
	}
	for i := range p.chunks {
		p.byIndex[p.chunks[i].Index] = &p.chunks[i]
	}
	for id, existing := range p.natives {
		if c := p.chunkOf(id, existing.roleRef); c != nil && !c.Touched {
			delete(p.natives, id)
		}
	}
	switch {
	case p.frozen:
		p.planFrozen()
	case p.binds():
		p.planGranted()
		p.planRetiring()
	}
	for id, existing := range p.natives {
		_, wanted := p.desired[id]
		if !wanted && !p.names.isOwn(id, existing.roleRef) {
			delete(p.natives, id) // its labels were changed: the key that its name stands for takes it back
			continue
		}
		p.known[id] = true
	}
	for id := range p.desired {
		p.known[id] = true
	}
	p.findMoved()
	p.findTrailing()
	return p
}

// binds reports whether native bindings are to be there at all.
func (a *appState) binds() bool {
	return !a.frozen && a.policy != nil && a.policy.Mode() != v1alpha1.ModeObserve
}

// planFrozen keeps what there is, for the members that stay. Where the App would bind them is not known.
func (p *plan) planFrozen() {
	for id, existing := range p.natives {
		if c := p.chunkOf(id, existing.roleRef); c != nil {
			if remain, _ := c.Among(existing.subjects); len(remain) > 0 {
				p.desired[id] = desiredNative{roleRef: existing.roleRef, chunk: c, subjects: remain}
			}
		}
	}
}

// planGranted adds what the App asks for: a native binding for each chunk, grant and namespace.
func (p *plan) planGranted() {
	for i := range p.chunks {
		c := &p.chunks[i]
		if len(c.Members) == 0 {
			continue
		}
		for _, grant := range p.grants {
			ref := grant.RoleRef()
			name := nativeName(p.key, c.Index, ref)
			if p.clusterWide {
				p.desire(overlay.ID{Kind: overlay.KindClusterRoleBinding, Name: name}, ref, c)
			}
			for _, namespace := range p.namespaces {
				p.desire(overlay.ID{Kind: overlay.KindRoleBinding, Namespace: namespace, Name: name}, ref, c)
			}
		}
	}
}

// desire plans a native binding if this process was given the right to bind its role. Where that cannot be found out, a
// binding that is there stays, so that users can leave it, and none is added.
func (p *plan) desire(id overlay.ID, ref rbacv1.RoleRef, c *packing.Chunk) {
	existing, found := p.natives[id]
	allowed, err := p.mayBind(id.Namespace, ref)
	if err != nil {
		p.unknown = errors.Join(p.unknown, err)
		allowed = found
	} else if !allowed {
		p.refused.add(ref, id.Namespace)
	}
	if !allowed {
		return
	}
	if existing.roleRef != ref {
		existing.subjects = nil // subjects of another role have no claim to this one
	}
	subjects, waiting := c.Wanted(existing.subjects)
	p.waiting[c.Index] = p.waiting[c.Index] || waiting
	if len(subjects) > 0 {
		p.desired[id] = desiredNative{roleRef: ref, chunk: c, subjects: subjects}
	}
}

// planRetiring keeps native bindings that the App no longer asks for, for their members that were not evaluated for the
// App's current generation: what they hold instead, if anything, is granted first.
func (p *plan) planRetiring() {
	for id, existing := range p.natives {
		if _, wanted := p.desired[id]; wanted {
			continue
		}
		c := p.chunkOf(id, existing.roleRef)
		if c == nil || p.refused.includes(existing.roleRef) {
			continue
		}
		subjects, waiting := c.Retained(existing.subjects)
		p.waiting[c.Index] = p.waiting[c.Index] || waiting
		if len(subjects) > 0 {
			p.desired[id] = desiredNative{roleRef: existing.roleRef, chunk: c, subjects: subjects, retiring: true}
		}
	}
}

// chunkOf returns the chunk that a native binding of that name was made from; nil for none.
func (p *plan) chunkOf(id overlay.ID, ref rbacv1.RoleRef) *packing.Chunk {
	index, found := p.names.indexOf(id, ref)
	if !found {
		return nil
	}
	return p.byIndex[index]
}

// isAsWanted reports whether a native binding needs no write.
func (p *plan) isAsWanted(existing native, want desiredNative) bool {
	return existing.roleRef == want.roleRef && slices.Equal(existing.subjects, want.subjects) &&
		isMarkedFor(p.key, existing.object, want.chunk.Index) && isFree(existing.object)
}

// isForeign reports whether an AppRoleBinding's specification differs from what this process wrote last.
func (in *input) isForeign(binding *v1alpha1.AppRoleBinding) bool {
	return in.memory.generations[binding.Name] != binding.Generation
}

// findMoved notes the subjects that come or go by this run: they are ordinary traffic, and no Event may call them an edit.
func (p *plan) findMoved() {
	p.moved, p.movedUsers = map[rbacv1.Subject]bool{}, map[string]bool{}
	for _, user := range p.dirty {
		p.movedUsers[user] = true
	}
	for i := range p.chunks {
		if p.chunks[i].Touched {
			p.findMovedIn(&p.chunks[i])
		}
	}
}

func (p *plan) findMovedIn(c *packing.Chunk) {
	before, after := map[string]bool{}, map[string]bool{}
	for j := range c.Members {
		after[c.Members[j].User] = true
	}
	if c.Existing != nil {
		isOwn := !p.isForeign(c.Existing)
		for _, subject := range c.Existing.Spec.Subjects {
			before[subject.User] = true
			if isOwn && !after[subject.User] {
				p.movedUsers[subject.User] = true
			}
			p.noteMoved(&packing.Member{AppRoleSubject: subject})
		}
	}
	for j := range c.Members {
		m := &c.Members[j]
		if !before[m.User] {
			p.movedUsers[m.User] = true
		}
		p.noteMoved(m)
	}
}

func (p *plan) noteMoved(m *packing.Member) {
	if !p.movedUsers[m.User] {
		return
	}
	for _, subject := range m.Natives() {
		p.moved[subject] = true
	}
}
