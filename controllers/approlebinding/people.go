package approlebinding

import (
	"cmp"
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// packing gathers what is known of the people whom the run has to look at.
func (r *run) packing(ctx context.Context, bindings []*v1alpha1.AppRoleBinding) (packing, error) {
	if r.void() {
		return packing{decide: func(v1alpha1.AppRoleSubject) (member, bool) { return member{}, false }}, nil
	}
	candidates := r.candidates(bindings)
	var p packing
	looked := bindings
	if !r.full {
		looked = r.looked(bindings, len(candidates))
		p.touched = func(binding *v1alpha1.AppRoleBinding) bool { return slices.Contains(looked, binding) }
	}
	names := slices.Clone(candidates)
	for _, binding := range looked {
		for i := range binding.Spec.Subjects {
			names = append(names, binding.Spec.Subjects[i].User)
		}
	}
	standings := r.Index.Standings(r.key, names)
	subjects, err := r.subjects(ctx, looked, standings)
	if err != nil {
		return p, err
	}
	p.decide = func(subject v1alpha1.AppRoleSubject) (member, bool) {
		theirs := subjects[subject.User]
		if known := standings[subject.User]; known.Evaluated {
			m := member{AppRoleSubject: known.Subject, current: known.IsCurrent(r.generation), kept: known.Kept}
			if slices.Contains(theirs, subject.Name) {
				m.formerly = theirs
			}
			return m, known.Holds
		}
		return member{AppRoleSubject: subject, unevaluated: true}, slices.Contains(theirs, subject.Name)
	}
	p.newcomers, err = r.newcomers(ctx, candidates, standings)
	return p, err
}

// candidates are people who may hold the key and are not in any of its bindings.
func (r *run) candidates(bindings []*v1alpha1.AppRoleBinding) []string {
	if !r.full {
		return slices.DeleteFunc(slices.Clone(r.touched), func(name string) bool {
			return slices.ContainsFunc(bindings, func(b *v1alpha1.AppRoleBinding) bool { return isIn(b, name) })
		})
	}
	bound := map[string]bool{}
	for _, binding := range bindings {
		for i := range binding.Spec.Subjects {
			bound[binding.Spec.Subjects[i].User] = true
		}
	}
	return slices.DeleteFunc(r.Index.Holders(r.key), func(name string) bool { return bound[name] })
}

// isIn looks for a person in a binding as this process wrote it: sorted.
func isIn(binding *v1alpha1.AppRoleBinding, name string) bool {
	_, found := slices.BinarySearchFunc(binding.Spec.Subjects, name, func(s v1alpha1.AppRoleSubject, name string) int {
		return cmp.Compare(s.User, name)
	})
	return found
}

// looked are the bindings that a run looks at which is not full: those of people whose standing changed, or who had not
// been evaluated when a run looked last; those whose status is behind; and the first ones with room for newcomers.
func (r *run) looked(bindings []*v1alpha1.AppRoleBinding, newcomers int) []*v1alpha1.AppRoleBinding {
	slices.SortFunc(bindings, func(a, b *v1alpha1.AppRoleBinding) int { return cmp.Compare(a.Spec.Index, b.Spec.Index) })
	var looked []*v1alpha1.AppRoleBinding
	for _, binding := range bindings {
		room := maxSubjects - len(binding.Spec.Subjects)
		if newcomers > 0 && room > 0 {
			newcomers -= room
			looked = append(looked, binding)
			continue
		}
		if r.memory.unevaluated[binding.Spec.Index] || r.status && binding.Status.ObservedGeneration != binding.Generation ||
			slices.ContainsFunc(r.touched, func(name string) bool { return isIn(binding, name) }) {
			looked = append(looked, binding)
		}
	}
	return looked
}

// subjects returns the RBAC user names of people who were not evaluated yet since this process began, and of those who are
// bound by another name than the one by which they are kept.
//
// The first stay bound, if the User object as such allows it: to prune from a state that is half known would take access from
// people who have earned it. The others stay in the native bindings in which they are. The name may be one by which the App
// called them before it was edited; it is not one that they gave away.
func (r *run) subjects(ctx context.Context, bindings []*v1alpha1.AppRoleBinding, standings map[string]earned.Standing) (map[string][]string, error) {
	subjects := map[string][]string{}
	for _, binding := range bindings {
		for i := range binding.Spec.Subjects {
			bound := &binding.Spec.Subjects[i]
			known := standings[bound.User]
			if known.Evaluated && (!known.Kept || known.Subject.Name == bound.Name) {
				continue
			}
			user, err := r.activeUser(ctx, bound.User)
			if err != nil {
				return nil, err
			}
			if user != nil {
				subjects[bound.User] = access.Subjects(r.app.Spec.Kubernetes, user)
			}
		}
	}
	return subjects, nil
}

// newcomers returns those of the candidates who are to be bound: who was evaluated for the App as it is, and holds the
// key. They are checked against their User object once more: the index may be older than a deactivation that waits in
// the queue.
func (r *run) newcomers(ctx context.Context, candidates []string, standings map[string]earned.Standing) (map[string]member, error) {
	if r.policy == nil {
		return nil, nil
	}
	newcomers := map[string]member{}
	for _, name := range candidates {
		known := standings[name]
		if !known.Holds || !known.IsCurrent(r.generation) {
			continue
		}
		user, err := r.activeUser(ctx, name)
		if err != nil {
			return nil, err
		}
		if user == nil {
			// Who has access again before their deactivation was evaluated holds what they held.
			r.Index.MarkDirty(r.key, []string{name})
			continue
		}
		newcomers[name] = member{AppRoleSubject: known.Subject, current: true}
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
