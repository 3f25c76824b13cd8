package app

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/fair"
)

// CompileInTurn compiles the policy of an App when it is the App's turn: to compile 128 expressions takes as long as to evaluate them for
// dozens of users, and an App can be edited again and again. What is compiled already needs no turn. The error is
// access.ErrInterrupted where the App was edited in the meantime, giveUp is closed before its turn (nil: never), or ctx has ended: the
// caller comes back with the App as it is.
func CompileInTurn(ctx context.Context, informers client.Reader, policies *access.Cache, turns *fair.Slots, app *v1alpha1.App,
	giveUp <-chan struct{},
) (*access.Policy, []access.FieldError, error) {
	if hasExpressions(app) && !policies.IsCompiled(app) {
		name := client.ObjectKeyFromObject(app)
		release := turns.Acquire(ctx, name, giveUp)
		if release == nil {
			return nil, nil, access.ErrInterrupted
		}
		defer release()
		current := &v1alpha1.App{}
		if err := informers.Get(ctx, name, current, client.UnsafeDisableDeepCopy); err != nil || current.UID != app.UID || current.Generation > app.Generation {
			return nil, nil, access.ErrInterrupted
		}
	}
	policy, fieldErrors := policies.Compile(app)
	return policy, fieldErrors, nil
}

// atOnce is a giveUp for callers that do not wait: the worker of this controller serves all Apps.
var atOnce = func() <-chan struct{} {
	closed := make(chan struct{})
	close(closed)
	return closed
}()

func hasExpressions(app *v1alpha1.App) bool {
	for i := range app.Spec.Roles {
		if app.Spec.Roles[i].When != "" {
			return true
		}
	}
	return false
}
