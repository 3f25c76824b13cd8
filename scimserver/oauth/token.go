package oauth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

// VerifyClient authenticates a client, by its secret or, a machine client, by a JWT that it signed. Unknown clients take as much work as known ones, and get the same answer.
func (e *endpoints) VerifyClient(ctx context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	call := callOf(ctx)
	if r.Data.ClientAssertion != "" || r.Data.ClientAssertionType != "" {
		return e.server.verifyMachine(ctx, call, r.Data)
	}
	asking := oauthClient{call.App}
	known := asking.is(r.Data.ClientID)
	proved := hasSecret(r.Data.ClientSecret, e.server.options.Secrets(call.App))
	if !known || !proved {
		call.failed = true
		return nil, oidc.ErrInvalidClient().WithDescription("the client_id or the client_secret is wrong")
	}
	if !e.server.limits.client.allow(appKey(call.App)) {
		return nil, call.broken(ErrBusy)
	}
	return asking, nil
}

// errGrant is all that a client learns of a code or token that is not taken.
func errGrant(call *Call) error {
	call.failed = true
	return oidc.ErrInvalidGrant().WithDescription("the code or token is wrong, used or expired")
}

// Reasons why a change of a grant is not made.
var (
	errUnchanged = errors.New("the grant stays as it is")
	// errReused says that a code or refresh token was used a second time.
	errReused = errors.New("used a second time")
)

// CodeExchange redeems an authorization code. A second time ends what the first one began.
func (e *endpoints) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	call, s := callOf(ctx), e.server
	digest := token.Digest(r.Data.Code)
	var refused error
	return s.issue(ctx, call, r.Data.Code, func(grant *v1alpha1.OAuthGrant) error {
		code := grant.Status.Code
		switch {
		case code == nil || !token.Equal(code.Digest, digest) || grant.Spec.ClientID != r.Client.GetID():
			return errUnchanged
		case code.UsedAt != nil:
			return errReused
		case !s.options.Now().Before(code.ExpiresAt.Time) || r.Data.RedirectURI != grant.Spec.RedirectURI:
			return errUnchanged
		}
		if refused = op.AuthorizeCodeChallenge(r.Data.CodeVerifier, challengeOf(grant)); refused != nil {
			return errUnchanged
		}
		now := metav1.NewTime(s.options.Now())
		grant.Status.Code.UsedAt = &now
		return nil
	}, v1alpha1.ReasonCodeReused, &refused)
}

// challengeOf returns the PKCE challenge of a grant, or nil.
func challengeOf(grant *v1alpha1.OAuthGrant) *oidc.CodeChallenge {
	if grant.Spec.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: grant.Spec.CodeChallenge, Method: oidc.CodeChallengeMethodS256}
}

// RefreshToken issues the next pair of tokens. A refresh token that was used before ends the grant, unless it is the last one that was
// used and its client may have got no answer: then the pair that was not answered is replaced.
func (e *endpoints) RefreshToken(ctx context.Context, r *op.ClientRequest[oidc.RefreshTokenRequest]) (*op.Response, error) {
	call, s := callOf(ctx), e.server
	digest := token.Digest(r.Data.RefreshToken)
	if slices.ContainsFunc([]string(r.Data.Scopes), func(scope string) bool { return !isScope(scope) && scope != oidc.ScopeOfflineAccess }) {
		return nil, oidc.ErrInvalidScope().WithDescription("a refreshed token has the scopes of the first one: leave scope out")
	}
	var refused error
	return s.issue(ctx, call, r.Data.RefreshToken, func(grant *v1alpha1.OAuthGrant) error {
		refresh := grant.Status.Refresh
		if refresh == nil || grant.Spec.ClientID != r.Client.GetID() {
			return errUnchanged
		}
		retried := refresh.FormerDigest != "" && token.Equal(refresh.FormerDigest, digest) && s.options.Now().Before(refresh.IssuedAt.Add(retryTime))
		if retried || token.Equal(refresh.Digest, digest) {
			return s.mayRefresh(ctx, call.App, grant, refresh.Digest)
		}
		if slices.ContainsFunc(grant.Status.UsedRefreshDigests, func(used string) bool { return token.Equal(used, digest) }) {
			return errReused
		}
		return errUnchanged
	}, v1alpha1.ReasonRefreshTokenReused, &refused)
}

// mayRefresh looks at the ScimToken of a grant's refresh token: it may have been deleted or suspended, or have expired.
func (s *Server) mayRefresh(ctx context.Context, app *v1alpha1.App, grant *v1alpha1.OAuthGrant, digest string) error {
	object := &v1alpha1.ScimToken{}
	err := s.options.Client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: tokenName(grant, digest)}, object)
	switch {
	case apierrors.IsNotFound(err):
		return errUnchanged
	case err != nil:
		return err
	case object.Spec.Type != v1alpha1.TokenTypeRefresh || !grant.Backs(app, object) || !token.Equal(object.Spec.Digest, digest) || object.Spec.Suspended ||
		!object.DeletionTimestamp.IsZero() || object.Spec.ExpiresAt == nil || !s.options.Now().Before(object.Spec.ExpiresAt.Time):
		return errUnchanged
	}
	return nil
}

// issue issues a pair of tokens for the grant that a code or refresh token names, if use takes it. use is called with the grant as it is
// and changes its status; it may be called again where another process changed the grant meanwhile. *refused is answered in place of
// invalid_grant.
func (s *Server) issue(ctx context.Context, call *Call, shown string, use func(*v1alpha1.OAuthGrant) error, reused string, refused *error) (*op.Response, error) {
	id, ok := token.Identifier(shown)
	if !ok || !isID(id) {
		return nil, errGrant(call)
	}
	var pair *tokenPair
	former, digest := "", token.Digest(shown)
	grant, err := s.change(ctx, call.App.Namespace, nameOf(call.App.Name, id), func(grant *v1alpha1.OAuthGrant) error {
		if !grant.IsApproved() || !grant.IsHeldBy(call.App) {
			return errUnchanged
		}
		if err := use(grant); err != nil {
			return err
		}
		if pair == nil {
			var err error
			if pair, err = s.makePair(ctx, call.App, grant); err != nil {
				return err
			}
		}
		former = ""
		if grant.Status.Refresh != nil {
			former = grant.Status.Refresh.Digest
		}
		pair.commit(grant, digest, s.options.Now())
		return nil
	})
	switch {
	case err == nil:
	case errors.Is(err, errReused):
		s.discard(ctx, pair)
		return nil, s.endReused(ctx, call, grant, reused)
	case errors.Is(err, errUnchanged) || apierrors.IsNotFound(err):
		s.discard(ctx, pair)
		if *refused != nil {
			call.failed = true
			return nil, *refused
		}
		return nil, errGrant(call)
	default:
		// Whether the change was made is open where the API server did not answer: the tokens stay, and the client may try again.
		return nil, call.broken(err)
	}
	s.tidy(ctx, grant, former)
	call.Audit("issue", grant.Name, "tokenIDs", []string{token.ID(token.Digest(pair.access)), token.ID(token.Digest(pair.refresh))})
	s.awaitOpening(ctx, token.Digest(pair.access))
	return op.NewResponse(&oidc.AccessTokenResponse{
		AccessToken: pair.access, TokenType: oidc.BearerToken, RefreshToken: pair.refresh,
		ExpiresIn: uint64(pair.lifetime / time.Second), Scope: scopeText(grant.Spec.Scopes),
	}), nil
}

// endReused ends a grant after a code or refresh token was used twice: it may be in other hands.
func (s *Server) endReused(ctx context.Context, call *Call, grant *v1alpha1.OAuthGrant, reason string) error {
	if err := s.end(ctx, call, grant.Namespace, grant.Name, reason); err != nil {
		return call.broken(err)
	}
	return errGrant(call)
}

// awaitOpening waits for this replica's watch to show an access token, so that the client's next request here is let in.
func (s *Server) awaitOpening(ctx context.Context, digest string) {
	_ = wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, 2*time.Second, true, func(context.Context) (bool, error) {
		return s.options.Opens(digest), nil
	})
}

// Revocation ends an access token, or with a refresh token the whole grant (RFC 7009). Unknown tokens are answered alike.
func (e *endpoints) Revocation(ctx context.Context, r *op.ClientRequest[oidc.RevocationRequest]) (*op.Response, error) {
	call, s := callOf(ctx), e.server
	if machine, ok := r.Client.(machineClient); ok {
		if _, err := s.spend(ctx, call, machine.assertion, nil); err != nil {
			return nil, err
		}
	}
	nothing := op.NewResponse(struct{}{})
	id, ok := token.Identifier(r.Data.Token)
	if !ok || !isID(id) {
		return nothing, nil
	}
	grant, err := s.find(ctx, call.App, id)
	if err != nil {
		return nil, call.broken(err)
	}
	if grant == nil || grant.Spec.ClientID != r.Client.GetID() {
		return nothing, nil
	}
	digest := token.Digest(r.Data.Token)
	if refresh := grant.Status.Refresh; refresh != nil && (token.Equal(refresh.Digest, digest) || slices.Contains(grant.Status.UsedRefreshDigests, digest)) {
		if err := s.end(ctx, call, grant.Namespace, grant.Name, v1alpha1.ReasonRevoked); err != nil {
			return nil, call.broken(err)
		}
		return nothing, nil
	}
	object := &v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: grant.Namespace, Name: tokenName(grant, digest)}}
	switch err := s.options.Client.Delete(ctx, object); {
	case err == nil:
		call.Audit("revoke", grant.Name, "tokenIDs", []string{token.ID(digest)})
	case !apierrors.IsNotFound(err):
		return nil, call.broken(err)
	}
	return nothing, nil
}
