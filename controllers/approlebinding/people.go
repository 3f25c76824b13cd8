package approlebinding

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
	"github.com/scim-operator/scim-operator/internal/access"
)

// packing gathers what is known of the users that the run looks at.
func (g *gatherer) packing(ctx context.Context, bindings []*v1alpha1.AppRoleBinding) (packing.Input, error) {
	if g.app == nil {
		return packing.Input{Decide: func(v1alpha1.AppRoleSubject) (packing.Member, bool) { return packing.Member{}, false }}, nil
	}
	candidates := g.candidates(bindings)
	var in packing.Input
	looked := bindings
	if !g.full {
		looked = packing.Looked(bindings, g.dirty, len(candidates), func(binding *v1alpha1.AppRoleBinding) bool {
			return g.memory.unevaluated[binding.Spec.Index] || g.status && binding.Status.ObservedGeneration != binding.Generation ||
				!g.isLate() && g.namesTrailing(binding)
		})
		in.Touched = func(binding *v1alpha1.AppRoleBinding) bool { return slices.Contains(looked, binding) }
	}
	names := slices.Clone(candidates)
	for _, binding := range looked {
		for i := range binding.Spec.Subjects {
			names = append(names, binding.Spec.Subjects[i].User)
		}
	}
	facts := packing.Facts{App: g.generation, Standings: g.index.Standings(g.key, names)}
	if err := g.addNames(ctx, looked, &facts); err != nil {
		return in, err
	}
	away, err := g.awayAgain(ctx, looked, facts)
	if err != nil {
		return in, err
	}
	in.Decide = func(bound v1alpha1.AppRoleSubject) (packing.Member, bool) {
		m, stays := facts.Decide(bound)
		return m, stays && !away[bound.User]
	}
	in.Newcomers, err = g.newcomers(ctx, candidates, facts)
	return in, err
}

// namesTrailing reports whether an AppRoleBinding names a leaver that native bindings do not name any more.
func (g *gatherer) namesTrailing(binding *v1alpha1.AppRoleBinding) bool {
	for user := range g.trailing {
		if packing.IsIn(binding, user) {
			return true
		}
	}
	return false
}

// awayAgain returns the leavers that AppRoleBindings still name, that hold the key again by the index, and that may have no access
// by now. No native binding names them, so that they are checked as newcomers are.
func (g *gatherer) awayAgain(ctx context.Context, bindings []*v1alpha1.AppRoleBinding, facts packing.Facts) (map[string]bool, error) {
	away := map[string]bool{}
	for name := range g.trailing {
		isNamed := func(binding *v1alpha1.AppRoleBinding) bool { return packing.Position(binding, name) >= 0 }
		if !facts.Standings[name].Holds || !slices.ContainsFunc(bindings, isNamed) {
			continue
		}
		user, err := g.activeUser(ctx, name)
		if err != nil {
			return nil, err
		}
		if user == nil {
			g.index.MarkDirty(g.key, []string{name})
			away[name] = true
		}
	}
	return away, nil
}

// candidates are users that may hold the key and that none of its bindings names.
func (g *gatherer) candidates(bindings []*v1alpha1.AppRoleBinding) []string {
	if g.full {
		return packing.Unbound(bindings, g.index.Holders(g.key))
	}
	return slices.DeleteFunc(slices.Clone(g.dirty), func(name string) bool {
		return slices.ContainsFunc(bindings, func(b *v1alpha1.AppRoleBinding) bool { return packing.IsIn(b, name) })
	})
}

// addNames adds the RBAC user names of users for which the facts need them. A user that was not evaluated yet has none under a
// role that was to end by now: no controller ran when it did.
func (g *gatherer) addNames(ctx context.Context, bindings []*v1alpha1.AppRoleBinding, facts *packing.Facts) error {
	facts.Names = map[string][]string{}
	now := time.Now()
	for _, binding := range bindings {
		for i := range binding.Spec.Subjects {
			bound := binding.Spec.Subjects[i]
			if !facts.NeedsNames(bound) {
				continue
			}
			user, err := g.activeUser(ctx, bound.User)
			if err != nil {
				return err
			}
			if user != nil && !access.HadEnded(user, g.key.Role, g.key.Scope, now) {
				facts.Names[bound.User] = access.Subjects(g.app.Spec.Kubernetes, user)
			}
		}
	}
	return nil
}

// newcomers returns the candidates that are to be bound. Each is checked against its User object once more: the index may be
// older than a deactivation that waits in the queue.
func (g *gatherer) newcomers(ctx context.Context, candidates []string, facts packing.Facts) (map[string]packing.Member, error) {
	if g.policy == nil {
		return nil, nil
	}
	newcomers := map[string]packing.Member{}
	for _, name := range candidates {
		m, joins := facts.Newcomer(name)
		if !joins {
			continue
		}
		user, err := g.activeUser(ctx, name)
		if err != nil {
			return nil, err
		}
		if user == nil {
			// A user that has access again before its deactivation was evaluated holds what it held.
			g.index.MarkDirty(g.key, []string{name})
			continue
		}
		newcomers[name] = m
	}
	return newcomers, nil
}

// activeUser returns a User of the key's App that may have access; nil where there is none.
func (g *gatherer) activeUser(ctx context.Context, name string) (*v1alpha1.User, error) {
	user := &v1alpha1.User{}
	err := g.client.Get(ctx, client.ObjectKey{Namespace: g.key.Namespace, Name: name}, user, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !user.MayHaveAccess() || user.Spec.App != g.key.App {
		return nil, nil
	}
	return user, nil
}
