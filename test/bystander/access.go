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

// ExpensiveExpressions gives the App 127 roles without grants, each earned by an expression of a loop within a loop, and edits the App
// again and again, so that all users are evaluated anew.
func (t *Tenant) ExpensiveExpressions() Attack {
	list := "[0" + strings.Repeat(",1", 249) + "]"
	when := list + ".all(a, " + list + ".all(b, a >= 0 && b >= %d))"
	return t.edits(func(i int, spec *v1alpha1.AppSpec) {
		spec.Roles = spec.Roles[:1]
		for j := range 127 {
			spec.Roles = append(spec.Roles, v1alpha1.Role{
				Name: fmt.Sprintf("role-%d-%d", i%2, j), When: fmt.Sprintf(when, -i*127-j), // each a text of its own
			})
		}
	})
}

// ManyPairs has each user hold one role in 256 scopes, then four roles, again and again.
func (t *Tenant) ManyPairs() Attack {
	return t.edits(func(i int, spec *v1alpha1.AppSpec) {
		spec.Roles, spec.Scopes.List = spec.Roles[:1], nil
		for j := range 3 {
			spec.Roles = append(spec.Roles, v1alpha1.Role{Name: fmt.Sprint("role-", j), Grants: spec.Roles[0].Grants})
			if i%2 == 0 {
				spec.Roles[j+1].When = "true"
			}
		}
		for j := range 256 {
			spec.Scopes.List = append(spec.Scopes.List, v1alpha1.Scope{Name: fmt.Sprint("scope-", j), Namespaces: []string{t.Namespace}})
		}
	})
}

// edits is an attack by edits of the App. It leaves the App as it was.
func (t *Tenant) edits(change func(i int, spec *v1alpha1.AppSpec)) Attack {
	return func(ctx context.Context) error {
		app := &v1alpha1.App{}
		if err := t.Admin.Get(ctx, client.ObjectKeyFromObject(t.App), app); err != nil {
			return err
		}
		before := app.Spec.DeepCopy()
		for i := 0; ctx.Err() == nil; i++ {
			err := t.edit(ctx, func(spec *v1alpha1.AppSpec) { change(i, spec) })
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
