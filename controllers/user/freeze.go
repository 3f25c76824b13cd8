package user

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// freeze is for users of an App with a wrong specification: they keep what they hold until the end that their status tells, and
// nothing is added.
func (e *evaluation) freeze(ctx context.Context, message string) (reconcile.Result, error) {
	bound, err := e.Syncer.Bound(ctx, e.name)
	if err != nil {
		return reconcile.Result{}, err
	}
	// The edit that made it wrong, or one just before, may have the App call its people by other names.
	names := e.namesAmong(bound)
	held, announced := map[earned.RoleInScope]bool{}, e.announcedEnds()
	for key, name := range bound {
		if key.App == e.user.Spec.App && slices.Contains(names, name) && !announced[key] {
			held[key] = true
		}
	}
	if len(names) > 0 {
		e.verdict.subject = names[0]
	}
	if len(names) > 1 {
		// The user was about to be renamed. Until it is evaluated, bindings may use either name.
		e.Index.Forget(e.name)
	} else if _, err := e.bind(ctx, held, e.groupsBefore()); err != nil {
		return reconcile.Result{}, err
	}
	var roles, ended []v1alpha1.EarnedRole
	for _, role := range e.user.Status.Roles {
		switch key := e.keyOf(role); {
		case held[key]:
			roles = append(roles, role)
		case announced[key]:
			ended = append(ended, role)
		}
	}
	e.watchEnds(roles)
	e.verdict.frozen(roles, message)
	e.verdict.setEnds(ended, true)
	return reconcile.Result{}, e.writeStatus(ctx)
}

// namesAmong returns the RBAC user names of the person by which AppRoleBindings of their App name them, the one that their status
// tells first.
func (e *evaluation) namesAmong(bound map[earned.RoleInScope]string) []string {
	names := slices.DeleteFunc(access.Subjects(e.app.Spec.Kubernetes, e.user), func(name string) bool {
		for key, boundAs := range bound {
			if key.App == e.user.Spec.App && boundAs == name {
				return false
			}
		}
		return true
	})
	if i := slices.Index(names, e.user.Status.KubernetesUsername); i > 0 {
		names[0], names[i] = names[i], names[0]
	}
	return names
}

// groupsBefore are the Kubernetes groups that bound the person's roles in their place, by role.
func (e *evaluation) groupsBefore() map[string]string {
	before, _ := e.Index.Get(e.name)
	groups := map[string]string{}
	for key, group := range before.Groups {
		groups[key.Role] = group
	}
	return groups
}
