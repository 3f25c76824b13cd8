package inventory

import (
	"context"
	"fmt"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Request is the last one for which a credential opened an App, as far as objects tell.
type Request struct {
	// At is when, to a quarter of an hour.
	At metav1.Time
	// By names the credential.
	By string
}

// requests are the last ones by App.
type requests map[types.NamespacedName]Request

// note keeps the later one of two.
func (r requests) note(namespace, app string, at *metav1.Time, by func() string) {
	name := types.NamespacedName{Namespace: namespace, Name: app}
	if last := r[name]; at != nil && last.At.Before(at) {
		r[name] = Request{*at, by()}
	}
}

// LastRequests returns the last request to each App that had one: by a ScimToken, a token of its issuer, or an OAuth client. The tokens of
// an OAuth client go when they expire, so that its requests for them count, too. It fails where ctx ends.
func (i *Inventory) LastRequests(ctx context.Context) (map[types.NamespacedName]Request, error) {
	last := requests{}
	tokens, err := i.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	for _, token := range tokens {
		last.note(token.Namespace, token.Spec.App, token.Status.LastUsedTime, func() string {
			return fmt.Sprintf("token %s (%s)", token.Name, token.Status.TokenID)
		})
	}
	grants := &v1alpha1.OAuthGrantList{}
	if err := i.reader.List(ctx, grants, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	for n := range grants.Items {
		grant := &grants.Items[n]
		last.note(grant.Namespace, grant.Spec.App, grant.Status.LastContact(), func() string { return "OAuth client " + grant.Spec.ClientID })
	}
	apps := &v1alpha1.AppList{}
	if err := i.reader.List(ctx, apps, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	there := map[types.NamespacedName]bool{}
	for n := range apps.Items {
		app := &apps.Items[n]
		there[client.ObjectKeyFromObject(app)] = true
		if app.Status.OIDC != nil {
			last.note(app.Namespace, app.Name, app.Status.OIDC.LastUsedTime, func() string {
				return "a token of the issuer for " + app.Status.OIDC.LastSubject
			})
		}
	}
	maps.DeleteFunc(last, func(app types.NamespacedName, _ Request) bool { return !there[app] })
	return last, nil
}
