package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

const (
	// maxAssertions of a machine client that are remembered at a time, so that its OAuthGrant stays small.
	maxAssertions = 256
	// maxMachineTokens are the access tokens that a key of a machine client has at a time: the oldest one ends for another.
	maxMachineTokens = 100
	// unseenTime is how long a request waits for the watch to show a new OAuthGrant.
	unseenTime = 2 * time.Second
)

// machineClient is a client that authenticated itself by a JWT.
type machineClient struct {
	oauthClient
	assertion *assertion
}

// GetID implements op.Client.
func (c machineClient) GetID() string { return c.assertion.clientID }

// RedirectURIs implements op.Client: there is no browser.
func (c machineClient) RedirectURIs() []string { return nil }

// AuthMethod implements op.Client.
func (c machineClient) AuthMethod() oidc.AuthMethod { return oidc.AuthMethodPrivateKeyJWT }

// ResponseTypes implements op.Client.
func (c machineClient) ResponseTypes() []oidc.ResponseType { return nil }

// GrantTypes implements op.Client.
func (c machineClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeClientCredentials}
}

// verifyMachine authenticates a machine client. Its assertion is spent by what the client asks for.
func (s *Server) verifyMachine(ctx context.Context, call *Call, shown *op.ClientCredentials) (op.Client, error) {
	if shown.ClientSecret != "" {
		return nil, oidc.ErrInvalidRequest().WithDescription("client authentication must not use more than one method")
	}
	proved, err := verifyAssertion(call.App, call.Issuer, shown.ClientAssertion, s.options.Now())
	if err == nil && shown.ClientID != "" && shown.ClientID != proved.clientID {
		err = errors.New("client_id is not that of the client_assertion")
	}
	if err != nil {
		return nil, errAssertion(call, err)
	}
	if s.options.Spent.has(proved.spender(call.App), token.Digest(proved.id)) {
		// Before the client's rate: a JWT in other hands holds no client back.
		return nil, s.refuseReplay(ctx, call, proved.grantOf(call.App), proved)
	}
	if !s.limits.client.allow(appKey(call.App)) {
		return nil, call.broken(ErrBusy)
	}
	return machineClient{oauthClient{call.App}, proved}, nil
}

func errAssertion(call *Call, reason error) error {
	call.failed = true
	return oidc.ErrInvalidClient().WithDescription("%s", reason)
}

var (
	// errReplayed refuses an assertion that was spent.
	errReplayed = errors.New("the client_assertion was used before: each needs a claim jti of its own")
	// errTooOld refuses an assertion that may have been spent before there was a grant to remember it.
	errTooOld = errors.New("the client_assertion was signed before the server had a record of this key, so that it may have been used: sign another one. " +
		"If the client's clock is behind the server's, that one is taken when as much time has passed")
	// errUnseen says that a grant is newer than what this replica's watch has shown.
	errUnseen = errors.New("the watch has not shown the grant")
)

// ClientCredentialsExchange issues an access token to a machine client (RFC 6749 section 4.4). There is no refresh token: the client signs
// another assertion.
func (e *endpoints) ClientCredentialsExchange(ctx context.Context, r *op.ClientRequest[oidc.ClientCredentialsRequest]) (*op.Response, error) {
	call, s := callOf(ctx), e.server
	machine, ok := r.Client.(machineClient)
	if !ok {
		return nil, oidc.ErrUnauthorizedClient().WithDescription("the grant is for machine clients")
	}
	asked := []string(r.Data.Scope)
	if slices.ContainsFunc(asked, func(scope string) bool { return !isScope(scope) }) {
		return nil, oidc.ErrInvalidScope().WithDescription("scopes are scim, read, users and groups")
	}
	now, lifetime := s.options.Now(), call.App.Spec.OAuth.AccessLifetime()
	grant, err := s.spend(ctx, call, machine.assertion, &v1alpha1.OAuthAccess{RequestedAt: metav1.NewTime(now), ExpiresAt: metav1.NewTime(now.Add(lifetime))})
	if err != nil {
		return nil, err
	}
	text, err := token.NewFor(idOf(grant))
	if err != nil {
		return nil, call.broken(err)
	}
	object := s.tokenOf(grant, v1alpha1.TokenTypeAccess, text, lifetime)
	object.Spec.Scopes = scopesOf(asked)
	if err := s.createObject(ctx, object); err != nil {
		return nil, call.broken(err)
	}
	s.tidyMachine(ctx, grant, object.Name)
	call.Audit("issue", grant.Name, "tokenIDs", []string{token.ID(object.Spec.Digest)}, "machineClient", grant.Spec.ClientID)
	s.awaitOpening(ctx, object.Spec.Digest)
	return op.NewResponse(&oidc.AccessTokenResponse{
		AccessToken: text, TokenType: oidc.BearerToken, ExpiresIn: uint64(lifetime / time.Second), Scope: scopeText(object.Spec.Scopes),
	}), nil
}

// grantOf names the OAuthGrant of the assertion's client and key, which is the same for each replica.
func (a *assertion) grantOf(app *v1alpha1.App) types.NamespacedName {
	return types.NamespacedName{Namespace: app.Namespace, Name: nameOf(app.Name, machineID(a.clientID, a.key))}
}

func (a *assertion) spender(app *v1alpha1.App) spender {
	return spender{types.NamespacedName{Namespace: app.Namespace, Name: app.Name}, a.clientID}
}

// spend writes an assertion into the OAuthGrant of its client and key, by compare-and-swap, so that no replica takes it again, and says
// there which access is asked for; nil is none. It makes the grant where there is none. The error is for the library.
func (s *Server) spend(ctx context.Context, call *Call, shown *assertion, access *v1alpha1.OAuthAccess) (*v1alpha1.OAuthGrant, error) {
	name := shown.grantOf(call.App)
	grant, err := s.recorded(ctx, call.App, name, shown, access)
	switch {
	case err == nil:
		return grant, nil
	case errors.Is(err, errReplayed):
		return nil, s.refuseReplay(ctx, call, name, shown)
	case errors.Is(err, errTooOld):
		return nil, errAssertion(call, err)
	case errors.Is(err, errUnchanged):
		return nil, errAssertion(call, errUnproved)
	case errors.Is(err, errUnseen):
		return nil, call.broken(ErrBusy)
	}
	return nil, call.broken(err)
}

// recorded has a grant hold an assertion, or returns why it does not. It waits for this replica's watch to show a grant that is new.
func (s *Server) recorded(ctx context.Context, app *v1alpha1.App, name types.NamespacedName, shown *assertion, access *v1alpha1.OAuthAccess) (*v1alpha1.OAuthGrant, error) {
	record := func(grant *v1alpha1.OAuthGrant) error { return s.record(app, grant, shown, access) }
	grant, err := s.change(ctx, name.Namespace, name.Name, record)
	if apierrors.IsNotFound(err) {
		err = s.createObject(ctx, machineGrant(app, shown))
		if err == nil || apierrors.IsAlreadyExists(err) {
			grant, err = s.change(ctx, name.Namespace, name.Name, record)
		}
	}
	if !errors.Is(err, errUnseen) {
		return grant, err
	}
	_ = wait.PollUntilContextTimeout(ctx, 25*time.Millisecond, unseenTime, true, func(context.Context) (bool, error) {
		grant, err = s.change(ctx, name.Namespace, name.Name, record)
		return !errors.Is(err, errUnseen), nil
	})
	return grant, err
}

// record changes the status of a grant so that it has an assertion. Those that have expired are forgotten; those that a former grant of the
// client held are taken over.
func (s *Server) record(app *v1alpha1.App, grant *v1alpha1.OAuthGrant, shown *assertion, access *v1alpha1.OAuthAccess) error {
	if !grant.DeletionTimestamp.IsZero() {
		return ErrBusy // once it is gone, there is another one
	}
	if grant.Spec.ClientID != shown.clientID || grant.Spec.Key != shown.key || !grant.IsHeldBy(app) {
		return errUnchanged
	}
	digest, past := token.Digest(shown.id), s.options.Spent.before(grant)
	known := unexpired(grant.Status.Assertions, s.options.Now())
	for _, lost := range past.lost {
		if !holds(known, lost.Digest) {
			known = append(known, lost)
		}
	}
	switch {
	case holds(known, digest), s.options.Spent.has(shown.spender(app), digest):
		return errReplayed
	case !past.known:
		return errUnseen
	case !past.whole && shown.issued.Before(grant.CreationTimestamp.Add(-freshLeeway)):
		return errTooOld
	case len(known) >= maxAssertions:
		return ErrBusy
	}
	// A time is written in whole seconds: the next one is never too early.
	until := metav1.NewTime(shown.until.Add(time.Second).Truncate(time.Second))
	known = append(known, v1alpha1.OAuthAssertion{Digest: digest, Until: until})
	grant.Status.Assertions = known
	if access != nil {
		grant.Status.Access = access
	}
	return nil
}

// machineID returns the code of a machine client's grant, which its ID and key tell: every replica finds the same one.
func machineID(clientID, key string) string {
	sum := sha256.Sum256([]byte(clientID + "\x00" + key))
	id := make([]byte, 8)
	for i := range id {
		id[i] = letters[int(sum[i])%len(letters)]
	}
	return string(id)
}

// machineGrant is the OAuthGrant of a machine client and one of its keys. It needs no approval: the App lists the key.
func machineGrant(app *v1alpha1.App, shown *assertion) *v1alpha1.OAuthGrant {
	id := machineID(shown.clientID, shown.key)
	name := nameOf(app.Name, id)
	return &v1alpha1.OAuthGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: name, Labels: map[string]string{
			v1alpha1.LabelApp: app.Name, v1alpha1.LabelGrant: name, v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue,
		}},
		Spec: v1alpha1.OAuthGrantSpec{App: app.Name, ClientID: shown.clientID, Key: shown.key, UserCode: id[:4] + "-" + id[4:]},
	}
}

// tidyMachine deletes the tokens of a machine client that have expired, and the oldest ones where there are too many; not the newest.
func (s *Server) tidyMachine(ctx context.Context, grant *v1alpha1.OAuthGrant, newest string) {
	tokens, err := s.tokensOf(ctx, grant.Namespace, grant.Name)
	if err != nil {
		return // the next request tries again
	}
	slices.SortFunc(tokens, func(a, b v1alpha1.ScimToken) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	kept := 0
	for i := range tokens {
		object := &tokens[i]
		expired := object.Spec.ExpiresAt != nil && s.options.Now().After(object.Spec.ExpiresAt.Time)
		if !expired {
			kept++
		}
		if expired || kept > maxMachineTokens && object.Name != newest {
			_ = s.options.Client.Delete(ctx, object)
		}
	}
}
