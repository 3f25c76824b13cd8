package approlebinding

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// manyTouched people are not looked for one by one: the run looks at everything.
const manyTouched = 1000

// run is one comparison of a key's bindings with the index, and the writes that follow from it.
type run struct {
	*Syncer
	// Client writes when it is the App's turn, in place of the Syncer's.
	Client client.Client
	key    earned.RoleInScope
	// full runs look at everything, others at the chunks of people whose standing changed since the run before.
	full bool
	// status has the AppRoleBindings' status written, also of chunks where nobody's standing changed.
	status bool
	// isInterrupted says that somebody must lose access: what only grants can wait.
	isInterrupted func() bool

	// app as the informer shows it; nil where it is gone.
	app *v1alpha1.App
	// generation of the App; zero where it is gone.
	generation earned.AppGeneration
	// policy of the App; nil where the App is gone or wrong.
	policy *access.Policy
	// grants of the role; empty where it holds in no such scope.
	grants []v1alpha1.Grant
	// frozen says that the App is wrong: people may leave, and nothing else changes.
	frozen bool
	// dropped says that the App has no such role or scope any more: who is bound leaves when they have been evaluated, and
	// may be held until then.
	dropped bool

	// touched are the people whose standing changed.
	touched []string
	chunks  []packing.Chunk
	byIndex map[int32]*packing.Chunk
	// existing and desired native bindings of the chunks that the run looks at.
	existing map[overlay.ID]native
	desired  map[overlay.ID]desiredNative
	// unlabelled are existing ones that somebody took the marks from.
	unlabelled map[overlay.ID]bool
	// known are all of them that the run has seen so far.
	known map[overlay.ID]bool
	// waiting are chunks with people who are left out of native bindings, or left in, until they have been evaluated for the
	// App as it is.
	waiting map[int32]bool
	// refused are roles that this process has no right to bind; unknown tells why that could not be found out.
	refused refusal
	unknown error
	// missing are namespaces that the scope names and that do not exist.
	missing []string
	memory  memory
	// names of native bindings by role, and the index of the chunk that each stands for.
	names map[rbacv1.RoleRef]map[string]int32

	// editMutex guards edits and uncertain.
	editMutex sync.Mutex
	// edits are changes of native bindings by others, found before this run wrote anything or met while it wrote.
	edits map[overlay.ID]*edit
	// uncertain are objects whose last write by this run has no certain outcome: nothing is claimed of their next state.
	uncertain map[overlay.ID]bool
	// moved are RBAC subjects that come or go by this run itself; movedUsers are the users behind them.
	moved      map[rbacv1.Subject]bool
	movedUsers map[string]bool
}

// errInterrupted ends a run half-way. The next one, which is about to begin, does what it left out: errStatusLeft says that there
// is nothing but the status.
var (
	errInterrupted = errors.New("interrupted by a removal")
	errStatusLeft  = fmt.Errorf("%w before the status was written", errInterrupted)
)

// run does what Sync promises. It calls removed, at most once, as soon as nobody is bound who should not be.
func (r *run) run(ctx context.Context, removed func(error)) Outcome {
	failed := func(err error) Outcome {
		r.Index.MarkDirty(r.key, r.touched)
		if r.known != nil {
			r.remember(false)
		}
		removed(err)
		return Outcome{Removal: err, Grant: err}
	}
	if err := r.load(ctx); err != nil {
		return failed(err)
	}
	defer r.tellEdits(ctx)
	if err := r.removePeople(ctx); err != nil {
		return failed(err)
	}
	if err := errors.Join(r.writeBindings(ctx, true), r.pruneBindings(ctx)); err != nil {
		return failed(err)
	}
	removed(nil)
	outcome := Outcome{Grant: r.writeBindings(ctx, false)}
	if outcome.Grant == nil {
		outcome.Grant = cmp.Or(r.refused.err(), r.unknown, r.writeGrants(ctx))
	}
	if r.isInterrupted() {
		r.Index.MarkDirty(r.key, r.touched)
		r.remember(r.memory.clean && !r.full)
		return Outcome{Grant: errInterrupted}
	}
	outcome.Prune = errors.Join(r.pruneNatives(ctx), r.pruneBindings(ctx))
	r.remember(outcome.Err() == nil)
	if !r.status {
		return outcome
	}
	err := r.writeStatus(ctx, outcome.Grant)
	if errors.Is(err, errInterrupted) {
		return Outcome{Grant: errStatusLeft}
	}
	outcome.Prune = errors.Join(outcome.Prune, err)
	return outcome
}

// load reads everything that the run decides from.
func (r *run) load(ctx context.Context) error {
	if err := r.loadPolicy(ctx); err != nil {
		return err
	}
	bindings, err := r.bindingsOf(ctx, r.key)
	if err != nil {
		return err
	}
	r.mutex.Lock()
	if r.status {
		r.memoryOf(r.key).statusDue = time.Time{}
	}
	r.memory = *r.memoryOf(r.key)
	r.mutex.Unlock()
	r.touched = r.Index.DrainDirty(r.key)
	r.full = r.full || !r.memory.clean || r.memory.app != r.generation || time.Since(r.memory.lastFull) > recheckEvery ||
		len(r.touched) > manyTouched || slices.ContainsFunc(bindings, r.isForeign)
	in, err := r.packing(ctx, bindings)
	if err != nil {
		return err
	}
	r.chunks = packing.Pack(bindings, in)
	if r.existing, err = r.nativesOf(ctx, r.key); err != nil {
		return err
	}
	if err := r.findUnlabelled(ctx); err != nil {
		return err
	}
	if err := r.plan(ctx); err != nil {
		return err
	}
	r.findMoved()
	r.findEdits()
	return nil
}

// isForeign says of an AppRoleBinding that its specification is not what this process wrote last.
func (r *run) isForeign(binding *v1alpha1.AppRoleBinding) bool {
	return r.memory.generations[binding.Name] != binding.Generation
}

func (r *run) loadPolicy(ctx context.Context) error {
	app := &v1alpha1.App{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.key.Namespace, Name: r.key.App}, app, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !app.DeletionTimestamp.IsZero() {
		return nil
	}
	r.app, r.generation = app, earned.AppGenerationOf(app, r.Policies)
	policy, fieldErrors := r.Policies.Compile(app)
	if len(fieldErrors) > 0 {
		r.frozen = true
		return nil
	}
	// Of a role or scope that is no more nothing is granted; who is bound leaves when they have been evaluated.
	grants, found := policy.Grants(r.key.Role, r.key.Scope)
	r.policy, r.grants, r.dropped = policy, grants, !found
	return nil
}

// void says that nobody can hold the key: its App is no more.
func (r *run) void() bool { return r.app == nil }

// bindingsOf returns the AppRoleBindings of a key, each at least as new as this process's last write of it. What
// somebody else created under another name is none of them: it binds nobody.
func (s *Syncer) bindingsOf(ctx context.Context, key earned.RoleInScope) ([]*v1alpha1.AppRoleBinding, error) {
	writes := s.writes.Snapshot(key)
	var list v1alpha1.AppRoleBindingList
	if err := s.Client.List(ctx, &list, client.InNamespace(key.Namespace),
		client.MatchingFields{indexKey: key.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	cached := map[overlay.ID]client.Object{}
	for i := range list.Items {
		cached[overlay.IDOf(&list.Items[i])] = &list.Items[i]
	}
	var bindings []*v1alpha1.AppRoleBinding
	for _, object := range s.writes.Merge(cached, writes, overlay.KindAppRoleBinding) {
		binding := object.(*v1alpha1.AppRoleBinding)
		if binding.Name == bindingName(key, binding.Spec.Index) {
			bindings = append(bindings, binding)
		}
	}
	return bindings, nil
}

// remember keeps what the next run needs: to tell edits by others from this run's own writes, and to look at no more than
// it has to.
func (r *run) remember(clean bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	m := r.memoryOf(r.key)
	m.clean, m.app = clean, r.generation
	if r.full {
		m.lastFull = time.Now()
		m.natives, m.generations, m.waiting, m.unevaluated = nil, nil, nil, nil
	}
	if m.natives == nil {
		m.natives, m.generations = map[overlay.ID]string{}, map[string]int64{}
		m.waiting, m.unevaluated = map[int32]bool{}, map[int32]bool{}
	}
	for id := range r.known {
		delete(m.natives, id)
	}
	for id, existing := range r.existing {
		m.natives[id] = existing.object.GetResourceVersion()
	}
	r.expectEdits(m.natives)
	for i := range r.chunks {
		c := &r.chunks[i]
		if !c.Touched {
			continue
		}
		name := bindingName(r.key, c.Index)
		switch {
		case r.uncertain[overlay.ID{Kind: overlay.KindAppRoleBinding, Namespace: r.key.Namespace, Name: name}]:
			delete(m.generations, name)
		case c.Existing != nil:
			m.generations[name] = c.Existing.Generation
		case len(c.Members) == 0:
			delete(m.generations, name)
		}
		note(m.waiting, c.Index, r.waiting[c.Index])
		note(m.unevaluated, c.Index, c.HasUnevaluated())
	}
}

func note(set map[int32]bool, index int32, is bool) {
	if is {
		set[index] = true
	} else {
		delete(set, index)
	}
}
