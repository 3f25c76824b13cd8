package bystander

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// editEvery is how often an attack by edits of the App writes it.
const editEvery = 200 * time.Millisecond

// Edit is one of the edits of an App that an attack makes again and again; i counts them. Namespace is the App's.
type Edit func(i int, namespace string, spec *v1alpha1.AppSpec)

// ExpensiveExpressions gives the App 127 roles without grants, each earned by an expression of a loop within a loop, so that all users
// are evaluated anew.
func ExpensiveExpressions(i int, _ string, spec *v1alpha1.AppSpec) {
	list := "[0" + strings.Repeat(",1", 249) + "]"
	when := list + ".all(a, " + list + ".all(b, a >= 0 && b >= %d))"
	spec.Roles = spec.Roles[:1]
	for j := range 127 {
		spec.Roles = append(spec.Roles, v1alpha1.Role{
			Name: fmt.Sprintf("role-%d-%d", i%2, j), When: fmt.Sprintf(when, -i*127-j), // each a text of its own
		})
	}
}

// ManyPairs has each user hold one role in 256 scopes, then four roles.
func ManyPairs(i int, namespace string, spec *v1alpha1.AppSpec) {
	spec.Roles, spec.Scopes.List = spec.Roles[:1], nil
	for j := range 3 {
		spec.Roles = append(spec.Roles, v1alpha1.Role{Name: fmt.Sprint("role-", j), Grants: spec.Roles[0].Grants})
		if i%2 == 0 {
			spec.Roles[j+1].When = "true"
		}
	}
	for j := range 256 {
		spec.Scopes.List = append(spec.Scopes.List, v1alpha1.Scope{Name: fmt.Sprint("scope-", j), Namespaces: []string{namespace}})
	}
}

// Edits is an attack by edits of the App, again and again. It leaves the App as it was.
func (t *Tenant) Edits(edit Edit) Attack {
	return func(ctx context.Context) error {
		app := &v1alpha1.App{}
		if err := t.Admin.Get(ctx, client.ObjectKeyFromObject(t.App), app); err != nil {
			return err
		}
		before := app.Spec.DeepCopy()
		for i := 0; ctx.Err() == nil; i++ {
			err := t.edit(ctx, func(spec *v1alpha1.AppSpec) { edit(i, t.Namespace, spec) })
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("edit %d of the App: %w", i, err)
			}
			sleep(ctx, editEvery)
		}
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), setupTimeout)
		defer cancel()
		return t.edit(after, func(spec *v1alpha1.AppSpec) { *spec = *before })
	}
}

func (t *Tenant) edit(ctx context.Context, change func(*v1alpha1.AppSpec)) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		app := &v1alpha1.App{}
		if err := t.Admin.Get(ctx, client.ObjectKeyFromObject(t.App), app); err != nil {
			return err
		}
		change(&app.Spec)
		return t.Admin.Update(ctx, app)
	})
}
