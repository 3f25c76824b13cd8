package oauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/retry"
	"github.com/scim-operator/scim-operator/internal/token"
)

var (
	// changeBackoff spreads writers of one grant out, such as a machine client that starts many times at once: within about two seconds.
	changeBackoff = wait.Backoff{Duration: 5 * time.Millisecond, Factor: 1.6, Jitter: 1, Steps: 11}
	// admissionBackoff is how long the API server's own watch may take to show it an App or a grant: about a second.
	admissionBackoff = wait.Backoff{Duration: 20 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 9}
)

// change changes the status of a grant by compare-and-swap. apply is called with the grant as it is, and again where it changed
// meanwhile; its error is returned with the grant that it was of.
func (s *Server) change(ctx context.Context, namespace, name string, apply func(*v1alpha1.OAuthGrant) error) (*v1alpha1.OAuthGrant, error) {
	var changed *v1alpha1.OAuthGrant
	err := retry.While(ctx, changeBackoff, apierrors.IsConflict, func(ctx context.Context) error {
		grant := &v1alpha1.OAuthGrant{}
		if err := s.options.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, grant); err != nil {
			changed = nil
			return err
		}
		changed = grant
		if err := apply(grant); err != nil {
			return err
		}
		grant.Status.UID = string(grant.UID)
		return s.options.Client.Status().Update(ctx, grant)
	})
	return changed, err
}

// tokenPair is an access token and a refresh token on their way to the client.
type tokenPair struct {
	access, refresh string
	// lifetime of the access token; expires is when the refresh token does.
	lifetime time.Duration
	expires  metav1.Time
	objects  []*v1alpha1.ScimToken
}

// makePair makes two tokens and their ScimTokens. The grant does not name them yet, so that a crash leaves tokens with a text that
// nothing knows.
func (s *Server) makePair(ctx context.Context, app *v1alpha1.App, grant *v1alpha1.OAuthGrant) (*tokenPair, error) {
	var err error
	pair := &tokenPair{}
	if pair.access, err = token.NewFor(idOf(grant)); err != nil {
		return nil, err
	}
	if pair.refresh, err = token.NewFor(idOf(grant)); err != nil {
		return nil, err
	}
	long := app.Spec.OAuth.RefreshLifetime()
	pair.expires, pair.lifetime = metav1.NewTime(s.options.Now().Add(long)), min(long, app.Spec.OAuth.AccessLifetime())
	pair.objects = []*v1alpha1.ScimToken{
		s.tokenOf(grant, v1alpha1.TokenTypeRefresh, pair.refresh, long),
		s.tokenOf(grant, v1alpha1.TokenTypeAccess, pair.access, pair.lifetime),
	}
	for _, object := range pair.objects {
		if err := s.createObject(ctx, object); err != nil {
			s.discard(ctx, pair)
			return nil, err
		}
	}
	return pair, nil
}

// createObject makes an object. Admission asks what the API server's own watch has seen of the App and of the grant, which may be a
// moment late.
func (s *Server) createObject(ctx context.Context, object client.Object) error {
	return retry.While(ctx, admissionBackoff, apierrors.IsForbidden, func(ctx context.Context) error {
		return s.options.Client.Create(ctx, object)
	})
}

func (s *Server) tokenOf(grant *v1alpha1.OAuthGrant, kind v1alpha1.TokenType, text string, lifetime time.Duration) *v1alpha1.ScimToken {
	digest, expires := token.Digest(text), metav1.NewTime(s.options.Now().Add(lifetime))
	return &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: grant.Namespace, Name: tokenName(grant, digest),
			Labels: map[string]string{
				v1alpha1.LabelApp: grant.Spec.App, v1alpha1.LabelGrant: grant.Name, v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue,
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "OAuthGrant", Name: grant.Name, UID: grant.UID,
			}},
		},
		Spec: v1alpha1.ScimTokenSpec{
			App: grant.Spec.App, Type: kind, Grant: grant.Name, Digest: digest, ExpiresAt: &expires, Scopes: grant.Spec.Scopes,
			Description: describe(grant),
		},
	}
}

// describe says which client an issued token is of, and by which authority.
func describe(grant *v1alpha1.OAuthGrant) string {
	if grant.Spec.Key != "" {
		return fmt.Sprintf("Issued to the machine client %s, by a key that the App lists", grant.Spec.ClientID)
	}
	return fmt.Sprintf("Issued to the OAuth client %s, approved by %s", grant.Spec.ClientID, grant.Spec.DecidedBy)
}

// tokenName of an issued ScimToken, which its digest tells.
func tokenName(grant *v1alpha1.OAuthGrant, digest string) string {
	return grant.Name + "-" + strings.TrimPrefix(digest, token.DigestPrefix)[:16]
}

// commit has a grant's status name a pair, for a code or refresh token with the given digest. A pair that replaces one which may not
// have been answered prolongs nothing.
func (p *tokenPair) commit(grant *v1alpha1.OAuthGrant, shown string, now time.Time) {
	next := &v1alpha1.OAuthRefresh{Digest: token.Digest(p.refresh), IssuedAt: metav1.NewTime(now), ExpiresAt: p.expires}
	if refresh := grant.Status.Refresh; refresh != nil {
		next.FormerDigest = shown
		if token.Equal(refresh.FormerDigest, shown) {
			next.IssuedAt = refresh.IssuedAt
		}
		used := slices.Concat(grant.Status.UsedRefreshDigests, []string{refresh.Digest})
		grant.Status.UsedRefreshDigests = used[max(0, len(used)-maxUsed):]
	}
	grant.Status.Refresh = next
}

// discard deletes the ScimTokens of a pair that was not answered; nil is none. What cannot be deleted expires.
func (s *Server) discard(ctx context.Context, pair *tokenPair) {
	if pair == nil {
		return
	}
	for _, object := range pair.objects {
		_ = s.options.Client.Delete(ctx, object.DeepCopy())
	}
}

// tidy deletes the ScimToken of a refresh token that was used, and access tokens of the grant that have expired.
func (s *Server) tidy(ctx context.Context, grant *v1alpha1.OAuthGrant, used string) {
	tokens, err := s.tokensOf(ctx, grant.Namespace, grant.Name)
	if err != nil {
		return // the next refresh tries again
	}
	for i := range tokens {
		object := &tokens[i]
		if object.Spec.Digest == used || object.Spec.ExpiresAt != nil && s.options.Now().After(object.Spec.ExpiresAt.Time) {
			_ = s.options.Client.Delete(ctx, object)
		}
	}
}

func (s *Server) tokensOf(ctx context.Context, namespace, grant string) ([]v1alpha1.ScimToken, error) {
	var list v1alpha1.ScimTokenList
	err := s.options.Client.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelGrant: grant})
	return list.Items, err
}

// end ends a grant, and deletes its ScimTokens. It may be called again.
func (s *Server) end(ctx context.Context, call *Call, namespace, name, reason string) error {
	grant, err := s.change(ctx, namespace, name, func(grant *v1alpha1.OAuthGrant) error {
		if grant.Status.Ended != nil {
			return errUnchanged
		}
		grant.Status.Ended = &v1alpha1.OAuthEnd{Reason: reason, Time: metav1.NewTime(s.options.Now())}
		return nil
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err == nil:
		call.Audit("end", name, "reason", reason)
	case !errors.Is(err, errUnchanged):
		return err
	}
	tokens, err := s.tokensOf(ctx, namespace, name)
	if err != nil {
		return err
	}
	for i := range tokens {
		if tokens[i].Spec.Grant != grant.Name {
			continue
		}
		if err := s.options.Client.Delete(ctx, &tokens[i]); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}
