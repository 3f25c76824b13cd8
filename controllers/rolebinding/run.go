package rolebinding

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/access"
)

// run is one comparison of a key's bindings with the index, and the writes that follow from it.
type run struct {
	*Syncer
	key Key

	// app as the informer shows it; nil where it is gone.
	app *v1alpha1.App
	// policy of the App; nil where the App is gone or wrong.
	policy *access.Policy
	// grants of the role; empty where it holds in no such scope.
	grants []v1alpha1.Grant
	// frozen says that the App is wrong: people may leave, and nothing else changes.
	frozen bool

	chunks   []chunk
	existing map[objectID]native
	desired  map[objectID]desiredNative
	// refused are roles that this process has no right to bind; unknown tells why that could not be found out.
	refused refusal
	unknown error
	// missing are namespaces that the scope names and that do not exist.
	missing []string
	memory  memory
	// names of native bindings by role, and the index of the chunk that each stands for.
	names map[rbacv1.RoleRef]map[string]int32

	// deletedMutex guards deleted: native bindings that this run deleted.
	deletedMutex sync.Mutex
	deleted      map[objectID]bool
}

// run does what Sync promises. It calls removed exactly once: as soon as nobody is bound who should not be.
func (s *Syncer) run(ctx context.Context, key Key, status bool, removed func(error)) Outcome {
	r := &run{Syncer: s, key: key, deleted: map[objectID]bool{}, names: map[rbacv1.RoleRef]map[string]int32{}}
	if err := r.load(ctx); err != nil {
		removed(err)
		return Outcome{Removal: err, Grant: err}
	}
	removal := r.removePeople(ctx)
	if removal != nil {
		removed(removal)
		return Outcome{Removal: removal, Grant: removal}
	}
	bindings := errors.Join(r.writeBindings(ctx), r.pruneBindings(ctx))
	removed(bindings)
	if bindings != nil {
		return Outcome{Removal: bindings, Grant: bindings}
	}
	outcome := Outcome{Grant: cmp.Or(r.refused.err(), r.unknown, r.writeGrants(ctx))}
	outcome.Prune = errors.Join(r.pruneNatives(ctx), r.pruneBindings(ctx))
	r.remember()
	if status {
		outcome.Prune = errors.Join(outcome.Prune, r.writeStatus(ctx, outcome.Grant))
	}
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
	view := r.Index.view(r.key, bindings)
	decide, err := r.decider(ctx, bindings, view)
	if err != nil {
		return err
	}
	newcomers, err := r.newcomers(ctx, bindings, view)
	if err != nil {
		return err
	}
	r.chunks = pack(bindings, newcomers, decide)
	if r.existing, err = r.nativesOf(ctx, r.key); err != nil {
		return err
	}
	r.mutex.Lock()
	r.memory = *r.memoryOf(r.key)
	r.mutex.Unlock()
	return r.plan(ctx)
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
	r.app = app
	policy, fieldErrors := r.Policies.Compile(app)
	if len(fieldErrors) > 0 {
		r.frozen = true
		return nil
	}
	if grants, found := policy.Grants(r.key.Role, r.key.Scope); found {
		r.policy, r.grants = policy, grants
	}
	return nil
}

// void says that nobody can hold the key: its App, role or scope is no more.
func (r *run) void() bool { return r.policy == nil && !r.frozen }

// decider returns the verdict on people who are bound now.
func (r *run) decider(ctx context.Context, bindings []*v1alpha1.AppRoleBinding, view keyView) (func(v1alpha1.AppRoleSubject) string, error) {
	if r.void() {
		return func(v1alpha1.AppRoleSubject) string { return "" }, nil
	}
	// Who was not evaluated yet since this process began stays bound, if the User object as such allows it: to prune
	// from a state that is half known would take access from people who have earned it.
	unevaluated := map[string]string{}
	for _, binding := range bindings {
		for i := range binding.Spec.Subjects {
			name := binding.Spec.Subjects[i].User
			if view.evaluated[name] {
				continue
			}
			user, err := r.activeUser(ctx, name)
			if err != nil {
				return nil, err
			}
			if user != nil {
				if subject, err := access.Subject(r.app.Spec.Kubernetes, &user.Spec); err == nil {
					unevaluated[name] = subject
				}
			}
		}
	}
	return func(subject v1alpha1.AppRoleSubject) string {
		if view.evaluated[subject.User] {
			return view.holders[subject.User]
		}
		if unevaluated[subject.User] == subject.Name {
			return subject.Name
		}
		return ""
	}, nil
}

// newcomers returns the holders who are to be bound. Those who are not bound yet are checked against their User object
// once more: the index may be older than a deactivation that waits in the queue.
func (r *run) newcomers(ctx context.Context, bindings []*v1alpha1.AppRoleBinding, view keyView) (map[string]string, error) {
	if r.policy == nil {
		return nil, nil
	}
	bound := map[string]bool{}
	for _, binding := range bindings {
		for i := range binding.Spec.Subjects {
			bound[binding.Spec.Subjects[i].User] = true
		}
	}
	newcomers := map[string]string{}
	for name, subject := range view.holders {
		if bound[name] {
			continue
		}
		user, err := r.activeUser(ctx, name)
		if err != nil {
			return nil, err
		}
		if user != nil {
			newcomers[name] = subject
		}
	}
	return newcomers, nil
}

// activeUser returns a User of the key's App that may have access; nil where there is none.
func (r *run) activeUser(ctx context.Context, name string) (*v1alpha1.User, error) {
	user := &v1alpha1.User{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.key.Namespace, Name: name}, user, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !user.MayHaveAccess() || user.Spec.App != r.key.App {
		return nil, nil
	}
	return user, nil
}

// bindingsOf returns the AppRoleBindings of a key, each at least as new as this process's last write of it. What
// somebody else created under another name is none of them: it binds nobody.
func (s *Syncer) bindingsOf(ctx context.Context, key Key) ([]*v1alpha1.AppRoleBinding, error) {
	writes := s.writes.snapshot(key)
	var list v1alpha1.AppRoleBindingList
	if err := s.Client.List(ctx, &list, client.InNamespace(key.Namespace),
		client.MatchingFields{indexKey: key.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	cached := map[objectID]client.Object{}
	for i := range list.Items {
		cached[idOf(&list.Items[i])] = &list.Items[i]
	}
	s.writes.expire(writes, cached)
	var bindings []*v1alpha1.AppRoleBinding
	for _, object := range merge(cached, writes, kindAppRoleBinding) {
		binding := object.(*v1alpha1.AppRoleBinding)
		if binding.Name == key.bindingName(binding.Spec.Index) {
			bindings = append(bindings, binding)
		}
	}
	return bindings, nil
}

// merge puts the last writes over the informers' copies.
func merge(cached map[objectID]client.Object, writes map[objectID]*lastWrite, kinds ...string) map[objectID]client.Object {
	merged := make(map[objectID]client.Object, len(cached))
	for id, object := range cached {
		merged[id] = object
	}
	for id, write := range writes {
		if !slices.Contains(kinds, id.kind) {
			continue
		}
		if object := write.latest(cached[id]); object != nil {
			merged[id] = object
		} else {
			delete(merged, id)
		}
	}
	return merged
}

const (
	kindAppRoleBinding     = "AppRoleBinding"
	kindRoleBinding        = "RoleBinding"
	kindClusterRoleBinding = "ClusterRoleBinding"
)

func idOf(object client.Object) objectID {
	id := objectID{namespace: object.GetNamespace(), name: object.GetName()}
	switch object.(type) {
	case *v1alpha1.AppRoleBinding:
		id.kind = kindAppRoleBinding
	case *rbacv1.RoleBinding:
		id.kind = kindRoleBinding
	case *rbacv1.ClusterRoleBinding:
		id.kind = kindClusterRoleBinding
	default:
		panic(fmt.Sprintf("no binding: %T", object))
	}
	return id
}

// remember keeps what the next run needs to tell edits by others from this run's own writes.
func (r *run) remember() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	m := r.memoryOf(r.key)
	m.natives, m.generations = map[objectID]string{}, map[string]int64{}
	for id, existing := range r.existing {
		m.natives[id] = existing.object.GetResourceVersion()
	}
	for i := range r.chunks {
		if existing := r.chunks[i].existing; existing != nil {
			m.generations[existing.Name] = existing.Generation
		}
	}
}
