// Package oauth is the authorization server of Apps with spec.oauth (RFC 6749): a client such as Okta's app wizard asks for access, a
// person approves it in the cluster, and the client gets an access token and a refresh token, which are ScimTokens.
//
// What goes over HTTP is parsed, checked and answered by github.com/zitadel/oidc; what is stored is decided here. All state is in an
// OAuthGrant for each connection and in the ScimTokens issued for it, by digests alone, so that any replica goes on with what another
// one began. Each change of a grant is a compare-and-swap: a code or a refresh token is used once, whichever replica is asked.
//
// The package knows no SCIM. Package scimserver routes requests here, counts failures, and writes the log and the audit trail.
package oauth

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	// maxBody of a form.
	maxBody = 16 << 10
	// maxQuery of a request to authorize.
	maxQuery = 8 << 10
	// maxState is how long the client's state may be: the browser keeps it in a cookie.
	maxState = 1024
	// requestTime is how long a request can be approved, and the browser be sent back.
	requestTime = 10 * time.Minute
	// codeTime is how long an authorization code can be redeemed.
	codeTime = time.Minute
	// retryTime is how long a used refresh token may be used again by a client that got no answer.
	retryTime = 30 * time.Second
	// maxUsed refresh tokens of a grant are remembered.
	maxUsed = 64
)

// Options of a Server.
type Options struct {
	// Client reads from the API server itself and writes there.
	Client client.Client
	// Secrets returns the digests of an App's client secret that are accepted now: two while it is rotated.
	Secrets func(app *v1alpha1.App) []string
	// Grants returns the OAuthGrants of an App as a watch last told.
	Grants func(app types.NamespacedName) []*v1alpha1.OAuthGrant
	// Spent remembers the JWTs of machine clients that were used.
	Spent *Spent
	// Opens says whether this replica accepts an access token by its digest.
	Opens func(digest string) bool
	// Now is the time.
	Now func() time.Time
}

// Server answers requests of OAuth clients and of the browsers that they send. Make one with New. Safe for concurrent use.
type Server struct {
	options Options
	library http.Handler
	limits  *limits
}

// New returns a Server.
func New(options Options) *Server {
	s := &Server{options: options, limits: newLimits()}
	s.library = op.RegisterServer(&endpoints{server: s}, op.Endpoints{
		Authorization: op.NewEndpoint("authorize"), Token: op.NewEndpoint("token"), Revocation: op.NewEndpoint("revoke"),
	}, op.WithServerCORSOptions(nil))
	return s
}

// Call is one request.
type Call struct {
	Request *http.Request
	// App of the request, which has spec.oauth.
	App *v1alpha1.App
	// Issuer is the URL that names the authorization server of the App, without a slash at the end.
	Issuer string
	// From is the address of the client or browser, and Network what requests are counted by.
	From    netip.Addr
	Network netip.Prefix
	// Audit writes a line of the audit trail: what was done to which object.
	Audit func(action, id string, more ...any)
	// Refused writes a line of the audit trail about what was not done.
	Refused func(action, id string, more ...any)
	// Replayed counts a JWT that came a second time.
	Replayed func()

	// err is what a method has met that the library has no answer for; failed says that a credential was wrong.
	err    error
	failed bool
	// cookie is to be set.
	cookie *http.Cookie
	// mode is the response_mode that was asked for.
	mode oidc.ResponseMode
}

// Answer to a request.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Failed says that the request had a wrong credential, which counts against its source.
	Failed bool
}

// ErrNoPage is that of a path without an endpoint.
var ErrNoPage = errors.New("there is no such endpoint of the authorization server")

// ErrBusy refuses a request that its App or its source sends too many of.
var ErrBusy = errors.New("too many requests")

type callKey struct{}

func callOf(ctx context.Context) *Call { return ctx.Value(callKey{}).(*Call) }

// Answer answers a request to one endpoint of the App's authorization server. The error is ErrNoPage, ErrBusy, a *MethodError, or that
// of the API server.
func (s *Server) Answer(ctx context.Context, endpoint string, call *Call) (*Answer, error) {
	handlers := map[string]struct {
		method string
		answer func(context.Context, *Call) (*Answer, error)
	}{
		"authorize":  {http.MethodGet, s.authorize},
		"token":      {http.MethodPost, s.form},
		"revoke":     {http.MethodPost, s.form},
		"consent":    {http.MethodGet, s.consent},
		"state":      {http.MethodGet, s.state},
		"metadata":   {http.MethodGet, s.metadata},
		"consent.js": {http.MethodGet, asset("text/javascript; charset=utf-8", pageJS)}, "consent.css": {http.MethodGet, asset("text/css; charset=utf-8", pageCSS)},
	}
	handler, found := handlers[endpoint]
	if !found {
		return nil, ErrNoPage
	}
	if call.Request.Method != handler.method {
		return nil, &MethodError{Allowed: handler.method}
	}
	return handler.answer(context.WithValue(ctx, callKey{}, call), call)
}

// MethodError refuses a method that an endpoint does not have.
type MethodError struct{ Allowed string }

func (e *MethodError) Error() string { return "the endpoint has " + e.Allowed + " alone" }

// form answers a request of the client itself.
func (s *Server) form(ctx context.Context, call *Call) (*Answer, error) {
	r := call.Request
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/x-www-form-urlencoded" {
		return refusedForm("the body must be application/x-www-form-urlencoded"), nil //nolint:nilerr // it is the answer
	}
	if r.URL.RawQuery != "" {
		return refusedForm("parameters belong into the body: a URL is written into logs"), nil
	}
	r.Body = http.MaxBytesReader(nil, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		return refusedForm("the body is no form, or too large"), nil //nolint:nilerr // it is the answer
	}
	if name := repeated(r.PostForm); name != "" {
		return refusedForm("a parameter is there more than once"), nil
	}
	if !s.limits.source.allow(call.Network.String()) {
		return nil, ErrBusy
	}
	return s.byLibrary(ctx, call)
}

// repeated returns the name of a parameter that is there more than once (RFC 6749 section 3.1), or "".
func repeated(form url.Values) string {
	for name, values := range form {
		if len(values) > 1 {
			return name
		}
	}
	return ""
}

// byLibrary has the library answer a request, whose form was parsed.
func (s *Server) byLibrary(ctx context.Context, call *Call) (*Answer, error) {
	r := call.Request.Clone(ctx)
	r.URL.Path, r.URL.RawPath = r.URL.Path[strings.LastIndexByte(r.URL.Path, '/'):], ""
	w := &recorder{Answer: Answer{Status: http.StatusOK, Header: http.Header{}}}
	s.library.ServeHTTP(w, r)
	if call.err != nil {
		return nil, call.err
	}
	answer := &w.Answer
	answer.Failed = call.failed
	if call.failed && answer.Status == http.StatusBadRequest && strings.Contains(string(answer.Body), `"invalid_client"`) {
		answer.Status = http.StatusUnauthorized
		if r.Header.Get("Authorization") != "" {
			answer.Header.Set("WWW-Authenticate", `Basic realm="oauth", charset="UTF-8"`)
		}
	}
	answer.Header.Set("Cache-Control", "no-store")
	answer.Header.Set("X-Content-Type-Options", "nosniff")
	return answer, nil
}

// recorder takes what a handler writes.
type recorder struct {
	Answer
	begun bool
}

func (r *recorder) Header() http.Header { return r.Answer.Header }

func (r *recorder) WriteHeader(status int) {
	if !r.begun {
		r.begun, r.Status = true, status
	}
}

func (r *recorder) Write(data []byte) (int, error) {
	r.begun = true
	r.Body = append(r.Body, data...)
	return len(data), nil
}
