package scimserver

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/flowcontrol"
	"github.com/scim-operator/scim-operator/scimserver/oauth"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// The authorization server of Apps with spec.oauth (package oauth), below /apps/{namespace}/{name}/oauth. For other Apps nothing is
// there: the answers are those of any path that does not exist.

// What the server makes for OAuth clients; admission bounds it (config/policies/oauth.yaml).
//
// +kubebuilder:rbac:groups=scim-operator.io,resources=oauthgrants,verbs=get;list;watch;create,roleName=scim-operator-server
// +kubebuilder:rbac:groups=scim-operator.io,resources=oauthgrants/status,verbs=update,roleName=scim-operator-server
// +kubebuilder:rbac:groups=scim-operator.io,resources=scimtokens,verbs=create;delete,roleName=scim-operator-server

// oauthRetry is the Retry-After of a refused request.
const oauthRetry = 10 * time.Second

// newAuthorization returns the authorization server, which reads and writes by live.
func (s *Server) newAuthorization(live client.Client) *oauth.Server {
	return oauth.New(oauth.Options{
		Client: live, Secrets: s.credentials.clientSecrets, Grants: s.grants.of, Now: time.Now,
		Opens: s.credentials.opens, Spent: s.grants.spent,
	})
}

// authorization answers a request to the authorization server of an App.
func (s *Server) authorization(x *exchange) error {
	app, issuer := s.authorizing(x.route.app)
	if app == nil {
		return s.anonymous(x, errNoEndpoint())
	}
	x.credential.app = x.route.app
	from := s.options.TrustedProxies.ClientAddress(x.request)
	call := &oauth.Call{
		Request: x.request, App: app, Issuer: issuer, From: from, Network: flowcontrol.Network(from),
		Audit: func(action, id string, more ...any) {
			x.writeAudit("oauth-"+action, "OAuthGrant", id, append(more, "result", "done")...)
		},
		Refused: func(action, id string, more ...any) {
			x.writeAudit("oauth-"+action, "OAuthGrant", id, append(more, "result", "refused")...)
		},
		Replayed: func() { replayedAssertions.WithLabelValues(app.Namespace, app.Name).Inc() },
	}
	answer, err := s.oauth.Answer(x.context(), x.route.id, call)
	var method *oauth.MethodError
	switch {
	case errors.Is(err, oauth.ErrNoPage):
		return s.anonymous(x, errNoEndpoint())
	case errors.As(err, &method):
		x.writer.Header().Set("Allow", method.Allowed)
		return s.anonymous(x, protocol.MethodNotAllowed("%s is not allowed on this endpoint.", x.request.Method))
	case errors.Is(err, oauth.ErrBusy):
		x.writer.Header().Set("Retry-After", retryAfterSeconds(oauthRetry))
		return protocol.TooManyRequests("Too many requests to connect came from this address or for this App. Wait a little, and begin again.")
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err):
		return err
	case err != nil:
		return &directory.UnavailableError{RetryAfter: oauthRetry, Cause: err}
	}
	if answer.Failed {
		if refused := s.anonymous(x, nil); refused != nil {
			return refused
		}
	}
	x.answerAs(answer)
	return nil
}

func errNoEndpoint() error {
	return protocol.NotFound("There is no SCIM endpoint at this path. A base URL ends before /Users, for example in /scim/v2.")
}

// authorizing returns an App that has OAuth on, and the issuer that names its authorization server; nil for any other. The issuer is
// never the Host header, which the client chooses.
func (s *Server) authorizing(name types.NamespacedName) (*v1alpha1.App, string) {
	app, found := s.directory.App(name)
	if s.oauth == nil || !found || app.Spec.OAuth == nil || !app.DeletionTimestamp.IsZero() {
		return nil, ""
	}
	origin := originOf(app.Spec.ExternalURL)
	if origin == "" {
		origin = originOf(s.options.ExternalURL)
	}
	if origin == "" {
		s.options.Log.Info("OAuth is off for want of an external URL: set --external-url, or spec.externalURL of the App", "app", name.String())
		return nil, ""
	}
	return app, origin + "/apps/" + url.PathEscape(name.Namespace) + "/" + url.PathEscape(name.Name)
}

// originOf returns scheme and host of a URL, or "".
func originOf(address string) string {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return ""
	}
	return parsed.Scheme + "://" + strings.ToLower(parsed.Host)
}

// answerAs writes an answer that is no SCIM.
func (x *exchange) answerAs(answer *oauth.Answer) {
	header := x.writer.Header()
	for name, values := range answer.Header {
		header[name] = values
	}
	header.Set("Content-Length", strconv.Itoa(len(answer.Body)))
	x.status = answer.Status
	x.writer.WriteHeader(answer.Status)
	if x.request.Method == http.MethodHead {
		return
	}
	if err := x.send(answer.Body); err != nil {
		x.abort(err)
	}
}

// clientSecrets returns the digests of an App's client secret that are accepted now.
func (c *credentials) clientSecrets(app *v1alpha1.App) []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t := c.secrets[types.NamespacedName{Namespace: app.Namespace, Name: app.Spec.OAuth.ClientSecret.Name}]
	if t == nil || t.Spec.App != app.Name || !c.usable(t) {
		return nil
	}
	var accepted []string
	for _, digest := range digestsOf(t) {
		if c.standsFor(t, digest) && app.Spec.Takes(t, digest) {
			accepted = append(accepted, digest)
		}
	}
	return accepted
}

// opens says whether an issued access token is accepted here.
func (c *credentials) opens(digest string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, t := range c.byID[token.ID(digest)] {
		if t.Spec.Type == v1alpha1.TokenTypeAccess && c.standsFor(t, digest) {
			return true
		}
	}
	return false
}
