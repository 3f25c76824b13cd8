package scimtoken

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// opensApps says whether a token is one that requests carry: at a URL that names no App, its digest belongs to one App.
func opensApps(object *v1alpha1.ScimToken) bool {
	return object.Spec.Type != v1alpha1.TokenTypeClientSecret && object.Spec.Type != v1alpha1.TokenTypeRefresh
}

// acceptedAs says what a token that the App takes is accepted as.
func acceptedAs(object *v1alpha1.ScimToken) string {
	switch object.Spec.Type {
	case v1alpha1.TokenTypeClientSecret:
		return "The App takes it as the secret of its OAuth client. It opens nothing by itself."
	case v1alpha1.TokenTypeRefresh:
		return "The OAuth client may use it once, for the next access token."
	default:
		return "The token is accepted."
	}
}

// grantProblem returns the verdict on an issued token without a grant that gives access; nil where there is one.
func (r *Reconciler) grantProblem(ctx context.Context, app *v1alpha1.App, object *v1alpha1.ScimToken) (*verdict, error) {
	grant := &v1alpha1.OAuthGrant{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: object.Spec.Grant}, grant, client.UnsafeDisableDeepCopy)
	switch {
	case apierrors.IsNotFound(err):
		problem := invalid(v1alpha1.ReasonNotAccepted, "The OAuthGrant "+object.Spec.Grant+" that it was issued for does not exist.")
		return &problem, nil
	case err != nil:
		return nil, err
	case !grant.Backs(app, object):
		problem := invalid(v1alpha1.ReasonNotAccepted, "The OAuthGrant "+grant.Name+" that it was issued for was denied, has ended or was made anew, or the App does not have its client or the client's key any more.")
		return &problem, nil
	}
	return nil, nil
}

// tokensOfGrant brings back the tokens of a grant that changed.
func (r *Reconciler) tokensOfGrant(ctx context.Context, grant *v1alpha1.OAuthGrant) []reconcile.Request {
	return r.find(ctx, grant.Namespace, indexGrant, grant.Name)
}
