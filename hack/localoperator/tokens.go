package localoperator

import (
	"context"
	"slices"

	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// AcceptToken has the App of a ScimToken, which must exist, list it with its digest, in place of a former digest. Errors are
// the API server's.
func AcceptToken(ctx context.Context, c client.Client, token *v1alpha1.ScimToken) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		app := &v1alpha1.App{}
		if err := c.Get(ctx, client.ObjectKey{Namespace: token.Namespace, Name: token.Spec.App}, app); err != nil {
			return err
		}
		accepted := v1alpha1.AcceptedToken{Name: token.Name, Digest: token.Spec.Digest}
		if slices.ContainsFunc(app.Spec.Tokens, func(entry v1alpha1.AcceptedToken) bool {
			return entry.Name == accepted.Name && entry.Digest == accepted.Digest
		}) {
			return nil
		}
		others := slices.DeleteFunc(app.Spec.Tokens, func(entry v1alpha1.AcceptedToken) bool { return entry.Name == token.Name })
		app.Spec.Tokens = slices.Concat(others, []v1alpha1.AcceptedToken{accepted})
		return c.Update(ctx, app)
	})
}
