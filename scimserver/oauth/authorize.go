package oauth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

// endpoints are what the library asks of an authorization server.
type endpoints struct {
	op.UnimplementedServer
	server *Server
}

// authorize begins a flow: the browser of a person who configures the client comes from there, and goes on to the page of consent.
func (s *Server) authorize(ctx context.Context, call *Call) (*Answer, error) {
	r := call.Request
	if len(r.URL.RawQuery) > maxQuery {
		return refusedPage(http.StatusRequestURITooLong, "The request is too long."), nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	switch {
	case err != nil:
		return refusedPage(http.StatusBadRequest, "The query of the request cannot be read."), nil //nolint:nilerr // it is the answer
	case repeated(query) != "":
		return refusedPage(http.StatusBadRequest, "The request has a parameter more than once."), nil
	case len(query.Get("state")) > maxState:
		return refusedPage(http.StatusBadRequest, "The parameter state is too long."), nil
	}
	answer, err := s.byLibrary(ctx, call)
	if err != nil {
		return nil, err
	}
	if answer.Status != http.StatusFound {
		// The library answers the browser with JSON where it must not send it anywhere.
		page := refusedPage(http.StatusBadRequest, "The client_id or the redirect_uri of this request is not one that the App has: spec.oauth of the App "+
			call.App.Name+" says which client asks and where it is sent back to.")
		page.Failed = true
		return page, nil
	}
	location := answer.Header.Get("Location")
	if !strings.HasPrefix(location, call.Issuer+"/") {
		location = withParameter(location, "iss", call.Issuer)
	}
	return redirect(location, call.cookie), nil
}

// withParameter adds a parameter to a URL.
func withParameter(location, name, value string) string {
	parsed, err := url.Parse(location)
	if err != nil {
		return location
	}
	query := parsed.Query()
	query.Set(name, value)
	parsed.RawQuery = query.Encode()
	return parsed.String()
}

// redirect sends a browser on by GET, and tells the next site nothing of this one's address.
func redirect(location string, cookie *http.Cookie) *Answer {
	header := http.Header{"Location": {location}}
	protect(header)
	if cookie != nil {
		header.Set("Set-Cookie", cookie.String())
	}
	return &Answer{Status: http.StatusSeeOther, Header: header}
}

// VerifyAuthRequest finds the client of a request.
func (e *endpoints) VerifyAuthRequest(ctx context.Context, r *op.Request[oidc.AuthRequest]) (*op.ClientRequest[oidc.AuthRequest], error) {
	call := callOf(ctx)
	asking := oauthClient{call.App}
	call.mode, r.Data.ResponseMode = r.Data.ResponseMode, "" // errors go into the query
	if !asking.is(r.Data.ClientID) {
		return nil, oidc.ErrInvalidRequestRedirectURI().WithDescription("unknown client_id")
	}
	if len(r.Data.Scopes) == 0 {
		r.Data.Scopes = oidc.SpaceDelimitedArray{scopeAll, oidc.ScopeOfflineAccess}
	}
	return &op.ClientRequest[oidc.AuthRequest]{Request: r, Client: asking}, nil
}

// Authorize makes the OAuthGrant of a request with a valid client and redirect_uri. Errors are sent back to the client.
func (e *endpoints) Authorize(ctx context.Context, r *op.ClientRequest[oidc.AuthRequest]) (*op.Redirect, error) {
	call, asked := callOf(ctx), r.Data
	scopes := slices.DeleteFunc(slices.Clone([]string(asked.Scopes)), func(scope string) bool { return !isScope(scope) })
	switch {
	case asked.RequestParam != "" || call.Request.URL.Query().Has("request_uri"):
		return nil, oidc.ErrRequestNotSupported()
	case call.mode != "" && call.mode != oidc.ResponseModeQuery:
		return nil, oidc.ErrInvalidRequest().WithDescription("response_mode must be query")
	case asked.CodeChallenge != "" && asked.CodeChallengeMethod != oidc.CodeChallengeMethodS256:
		return nil, oidc.ErrInvalidRequest().WithDescription("code_challenge_method must be S256")
	case asked.CodeChallenge == "" && asked.CodeChallengeMethod != "":
		return nil, oidc.ErrInvalidRequest().WithDescription("code_challenge_method without code_challenge")
	case asked.CodeChallenge != "" && !isChallenge(asked.CodeChallenge):
		return nil, oidc.ErrInvalidRequest().WithDescription("code_challenge is no SHA-256 in base64url")
	case slices.Contains(asked.Prompt, oidc.PromptNone):
		return nil, oidc.ErrInteractionRequired().WithDescription("a person has to approve the request")
	case len(scopes) == 0 && !onlyOffline(call.Request.URL.Query().Get("scope")):
		return nil, oidc.ErrInvalidScope().WithDescription("scopes are scim, read, users and groups")
	}
	return e.server.begin(ctx, call, asked, scopesOf(scopes))
}

// onlyOffline says whether a request names no scope but offline_access: Okta's guide has it added to the address.
func onlyOffline(scope string) bool {
	return strings.TrimSpace(scope) == "" || strings.TrimSpace(scope) == oidc.ScopeOfflineAccess
}

func isChallenge(text string) bool {
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(decoded) == 32
}

// begin stores a request and sends the browser to the page of consent, with a cookie that makes it the browser of the request.
func (s *Server) begin(ctx context.Context, call *Call, asked *oidc.AuthRequest, scopes []v1alpha1.TokenScope) (*op.Redirect, error) {
	if !s.limits.begin.allow(call.Network.String()) || s.pending(call.App) >= maxPending {
		call.err = ErrBusy
		return nil, op.NewStatusError(oidc.ErrServerError(), http.StatusTooManyRequests)
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, call.broken(err)
	}
	cookie := base64.RawURLEncoding.EncodeToString(secret) + "." + base64.RawURLEncoding.EncodeToString([]byte(asked.State))
	grant := &v1alpha1.OAuthGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: call.App.Namespace},
		Spec: v1alpha1.OAuthGrantSpec{
			App: call.App.Name, AppUID: string(call.App.UID), ClientID: asked.ClientID, RedirectURI: asked.RedirectURI, RequestedFrom: call.From.String(), Scopes: scopes,
			CodeChallenge: asked.CodeChallenge, BrowserDigest: token.Digest(cookie), ExpiresAt: metav1.NewTime(s.options.Now().Add(requestTime)),
		},
	}
	if err := s.create(ctx, grant); err != nil {
		return nil, call.broken(err)
	}
	call.Audit("request", grant.Name, "redirect", grant.RedirectHost())
	call.cookie = s.cookieFor(call, idOf(grant), cookie)
	return op.NewRedirect(call.Issuer + "/oauth/consent?request=" + idOf(grant)), nil
}

// create makes a grant under a code that is free.
func (s *Server) create(ctx context.Context, grant *v1alpha1.OAuthGrant) error {
	for range 5 {
		id, err := newID()
		if err != nil {
			return err
		}
		grant.Name, grant.Spec.UserCode = nameOf(grant.Spec.App, id), id[:4]+"-"+id[4:]
		grant.Labels = map[string]string{
			v1alpha1.LabelApp: grant.Spec.App, v1alpha1.LabelGrant: grant.Name, v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue,
		}
		err = s.createObject(ctx, grant)
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return ErrBusy
}

// pending counts the requests of an App that wait for a decision.
func (s *Server) pending(app *v1alpha1.App) int {
	count := 0
	for _, grant := range s.options.Grants(types.NamespacedName{Namespace: app.Namespace, Name: app.Name}) {
		if grant.Spec.Decision == "" && s.options.Now().Before(grant.Spec.ExpiresAt.Time) {
			count++
		}
	}
	return count
}

// letters of a code: no vowels, so that no code is a word, and no digits to be taken for letters.
const letters = "BCDFGHJKLMNPQRSTVWXZ"

// newID returns 8 random letters. They name a grant and are no secret.
func newID() (string, error) {
	id := make([]byte, 8)
	for i := range id {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(letters))))
		if err != nil {
			return "", err
		}
		id[i] = letters[n.Int64()]
	}
	return string(id), nil
}

// isID says whether text has the form of a grant's id.
func isID(text string) bool {
	return len(text) == 8 && strings.Trim(text, letters) == ""
}

func idOf(grant *v1alpha1.OAuthGrant) string { return strings.ReplaceAll(grant.Spec.UserCode, "-", "") }

// nameOf a grant of an App.
func nameOf(app, id string) string { return app + "-" + strings.ToLower(id) }

// broken keeps an error for the caller of Answer, and returns one for the library.
func (c *Call) broken(err error) error {
	c.err = err
	return op.NewStatusError(oidc.ErrServerError(), http.StatusInternalServerError)
}
