// Package scimserver is the HTTP side of scim-operator: a SCIM 2.0 service provider (RFC 7644) with Kubernetes as its
// directory. It authenticates a request by its App's token, takes the path apart, and leaves what SCIM means to package
// protocol and what is stored to package directory. It knows no RBAC, reads no Secret, and writes nothing but the
// directory, into ScimTokens when they were last used, and into Apps what it saw of their issuers.
//
// Every answer on every path is SCIM JSON, errors, unknown routes and panics included.
package scimserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/pace"
	"github.com/scim-operator/scim-operator/internal/tracing"
	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/flowcontrol"
	"github.com/scim-operator/scim-operator/scimserver/issuers"
	"github.com/scim-operator/scim-operator/scimserver/oauth"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// A request ends after requestTimeout, or largeRequestTimeout where it can be about many resources; Okta waits 60 seconds.
// What a request began and did not acknowledge is repaired by the next attempt or by the reaper, which waits far longer.
const (
	requestTimeout      = 30 * time.Second
	largeRequestTimeout = 55 * time.Second
)

// Options of a Server.
type Options struct {
	// ExternalURL begins the locations in answers, such as https://scim.example.com: for servers behind a proxy. An
	// App's own spec.externalURL goes first; without either the request's Host is used.
	ExternalURL string
	// LogBodies adds the bodies of requests to the log, with credentials masked. They hold personal data.
	LogBodies bool
	// TrustedProxies are the proxies that may tell by X-Forwarded-For where a request came from.
	TrustedProxies flowcontrol.Proxies
	// MaxRequestsPerSecond bounds every App's spec.limits; 0: no bound.
	MaxRequestsPerSecond float64
	// Pace follows the requests of the directory's client; nil for none.
	Pace *pace.Pace
	// Log takes a line for every request.
	Log logr.Logger
	// Statuses writes into ScimTokens and Apps when a token was last used, and what was seen of issuers; nil: nothing does.
	Statuses client.StatusClient
	// Live reads from the API server itself and writes there, for Apps with spec.oauth; nil: OAuth is off for all of them.
	Live client.Client
	// IssuerNetworks are where issuers of tokens may be, beside public addresses.
	IssuerNetworks issuers.Networks
}

// Server answers SCIM requests. Make one with New; it is an http.Handler.
type Server struct {
	options     Options
	directory   *directory.Directory
	credentials *credentials
	grants      *grants
	// oauth is nil where OAuth is off.
	oauth  *oauth.Server
	synced []toolscache.InformerSynced
	// apps share this process; failures back off sources without a valid token.
	apps     *flowcontrol.Apps
	failures *flowcontrol.Failures
	refusals flowcontrol.Tally[refusedKey]
	// foreign has what is accepted beside ScimTokens.
	foreign *foreignTokens
	// uses and reports are nil where nothing is written of them.
	uses    *tokenUses
	reports *issuerReports
}

// Credentials; of a token only the time of its last use is written, and of an App only status.oidc (policy scim-operator-directory).
//
// +kubebuilder:rbac:groups=scim-operator.io,resources=scimtokens,verbs=get;list;watch,roleName=scim-operator-server
// +kubebuilder:rbac:groups=scim-operator.io,resources=scimtokens/status;apps/status,verbs=patch,roleName=scim-operator-server

// New returns a Server over a directory, with its ScimTokens watched through the given cache. It fails where the cache has
// no informer for them.
func New(ctx context.Context, people *directory.Directory, from cache.Cache, options Options) (*Server, error) {
	s := &Server{
		options: options, directory: people, credentials: newCredentials(people.App),
		apps: flowcontrol.NewApps(options.MaxRequestsPerSecond, flowcontrol.DefaultMemory), failures: flowcontrol.NewFailures(),
		grants: newGrants(), foreign: &foreignTokens{issuers.New(ctx, options.IssuerNetworks, countRead), people.App},
	}
	s.credentials.backed = func(issued *v1alpha1.ScimToken) bool {
		app, found := people.App(types.NamespacedName{Namespace: issued.Namespace, Name: issued.Spec.App})
		return found && s.grants.back(app, issued)
	}
	if options.Pace != nil {
		s.apps.Pace = options.Pace
	}
	s.summarise(ctx)
	if options.ExternalURL == "" {
		options.Log.Info("No external URL is set: meta.location begins with each request's Host header, but for Apps with spec.externalURL")
	}
	if options.Statuses != nil {
		s.uses = newTokenUses(options.Statuses, func(used usedToken) *v1alpha1.ScimToken { return s.credentials.token(used.id, used.name) }, options.Log)
		go s.uses.run(ctx)
		s.reports = newIssuerReports(options.Statuses, s.foreign.issuers, people.App, options.Log)
		go s.reports.run(ctx)
	}
	var err error
	if s.synced, err = s.watch(ctx, from); err != nil || options.Live == nil {
		return s, err
	}
	granted, err := s.grants.watch(ctx, from)
	s.synced, s.oauth = append(s.synced, granted...), s.newAuthorization(options.Live)
	return s, err
}

// watch feeds tokens and issuers from the cache's informers, and returns what tells whether they have caught up.
func (s *Server) watch(ctx context.Context, from cache.Cache) ([]toolscache.InformerSynced, error) {
	return informers.Feed(ctx,
		informers.Of(from, &v1alpha1.ScimToken{}, informers.Changes(s.credentials.replace)),
		informers.Of(from, &v1alpha1.App{}, informers.Changes(s.foreign.issuers.Replace)),
	)
}

// Ready fails until the tokens and the directory's read model have caught up with the API server.
func (s *Server) Ready() error {
	for _, synced := range s.synced {
		if !synced() {
			return errors.New("ScimTokens and the issuers of Apps are not in sync yet")
		}
	}
	if !s.directory.Synced() {
		return errors.New("the directory is not in sync yet")
	}
	return nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	requestID := newRequestID()
	log := s.options.Log.WithValues("requestID", requestID)
	x := &exchange{server: s, requestID: requestID, writer: w, log: log, begun: started, progress: progress}
	var known bool
	x.route, known = parseRoute(r.URL.EscapedPath())
	timeout := requestTimeout
	if x.route.endpoint == endpointGroups || x.route.endpoint == endpointBulk {
		timeout = largeRequestTimeout
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	ctx, x.span = tracing.Request(ctx, requestID, r.Header)
	x.request = r.WithContext(directory.WithRequest(logr.NewContext(ctx, log), requestID))

	defer func() {
		if cause := recover(); cause != nil {
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause)
			}
			logPanic(log, cause)
			if x.status == 0 {
				x.fail(protocol.Internal("The server failed to answer this request. Its log tells why."))
			}
		}
		x.finish()
		s.record(x, time.Since(started))
		x.endSpan()
		if x.aborted {
			panic(http.ErrAbortHandler)
		}
	}()
	if len(r.TransferEncoding) > 0 {
		// Beside a Content-Length, which net/http takes away, the connection must be closed (RFC 9112 section 6.1).
		w.Header().Set("Connection", "close")
	}
	x.extend((*http.ResponseController).SetWriteDeadline, answerTimeout) // an earlier request's has passed
	if err := s.handle(x, known); err != nil {
		x.fail(err)
	}
}

// logPanic logs the stack only: the cause's text could carry values of the request.
func logPanic(log logr.Logger, cause any) {
	log.Error(fmt.Errorf("panic of type %T", cause), "Request panicked", "stack", string(debug.Stack()))
}

// handle routes a request: the path first, then the token, then the operation.
func (s *Server) handle(x *exchange, known bool) error {
	if known && x.route.endpoint == endpointOAuth {
		return s.authorization(x)
	}
	err := s.admit(x)
	if !known {
		err = errNoEndpoint()
	}
	switch {
	case x.app == nil && err != nil:
		return s.anonymous(x, err)
	case err != nil:
		return err
	}
	x.limits = limitsOf(x.app)
	handlers := s.handlers(x.route)
	method := x.request.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	handler, allowed := handlers[method]
	if !allowed {
		x.writer.Header().Set("Allow", allowHeader(handlers))
		return protocol.MethodNotAllowed("%s is not allowed on this endpoint.", x.request.Method)
	}
	if err := x.permit(); err != nil {
		return err
	}
	_, waits := tracing.Begin(x.context(), "wait for a turn")
	leave, err := s.enter(x)
	waits.End()
	if err != nil {
		return err
	}
	defer leave()
	return handler(x)
}

// admit authenticates a request and finds its App: the token decides, and a path that names an App must agree.
func (s *Server) admit(x *exchange) error {
	if len(x.request.Header.Values("Authorization")) > 1 {
		return protocol.InvalidSyntax("The request has several Authorization headers: send one.")
	}
	opened, err := s.authenticate(x, s.options.TrustedProxies.ClientAddress(x.request))
	x.credential = opened
	var later *issuers.UnavailableError
	switch {
	case errors.As(err, &later):
		return x.unavailable(later)
	case err != nil:
		return unauthorized(x, err)
	}
	app, found := s.directory.App(opened.app)
	if !found {
		return protocol.Forbidden("The App %s in namespace %s, which this token opens, does not exist.", opened.app.Name, opened.app.Namespace)
	}
	x.app = app
	if s.uses != nil {
		s.uses.note(opened)
		s.reports.note(opened)
	}
	return nil
}

// authenticate finds what a request's token opens for a client at an address: a ScimToken's App, or that of an issuer.
func (s *Server) authenticate(x *exchange, from netip.Addr) (credential, error) {
	opened, err := s.credentials.authenticate(x.request, from, x.route.app)
	if !errors.Is(err, errBadCredentials) {
		return opened, err
	}
	if shown, _ := presentedBy(x.request); !shown.basic && issuers.LooksLikeToken(shown.token) {
		return s.foreign.authenticate(x, shown.token, from)
	}
	return opened, err
}

// rejudge holds the credential of a request that is under way against its App, its ScimTokens and the clock as they are now.
func (x *exchange) rejudge() error {
	held, err := x.credential.judge()
	if err != nil {
		return unauthorized(x, fmt.Errorf("the token was accepted when the request began, and is not any more: %w", err))
	}
	x.credential.scopes = held
	return nil
}

func unauthorized(x *exchange, reason error) error {
	x.writer.Header().Set("WWW-Authenticate", `Bearer realm="scim"`)
	if errors.Is(reason, errNoBasic) || errors.Is(reason, errBadBasic) {
		x.writer.Header().Add("WWW-Authenticate", `Basic realm="scim", charset="UTF-8"`)
	}
	text := reason.Error()
	return protocol.Unauthorized("%s.", strings.ToUpper(text[:1])+text[1:])
}

type handler func(x *exchange) error

// handlers lists what each endpoint does, by method.
func (s *Server) handlers(r route) map[string]handler {
	users, groups := userHandlers{s}, groupHandlers{s}
	if r.id == "" {
		switch r.endpoint {
		case endpointUsers:
			return map[string]handler{http.MethodGet: users.listUsers, http.MethodPost: users.createUser}
		case endpointGroups:
			return map[string]handler{http.MethodGet: groups.listGroups, http.MethodPost: groups.createGroup}
		case endpointServiceProviderConfig:
			return map[string]handler{http.MethodGet: s.serviceProviderConfig}
		case endpointResourceTypes:
			return map[string]handler{http.MethodGet: s.listResourceTypes}
		case endpointSchemas:
			return map[string]handler{http.MethodGet: s.listSchemas}
		case endpointRoles:
			return map[string]handler{http.MethodGet: s.listRoles}
		case endpointEntitlements:
			return map[string]handler{http.MethodGet: s.listEntitlements}
		case endpointBulk:
			return map[string]handler{http.MethodPost: s.bulk}
		case endpointSearch:
			return map[string]handler{http.MethodPost: s.searchAll}
		case endpointMe:
			return map[string]handler{
				http.MethodGet: s.me, http.MethodPost: s.me, http.MethodPut: s.me, http.MethodPatch: s.me, http.MethodDelete: s.me,
			}
		}
		return nil
	}
	switch r.endpoint {
	case endpointUsers:
		if r.id == searchPath {
			return map[string]handler{http.MethodPost: s.searchUsers}
		}
		return map[string]handler{
			http.MethodGet: users.getUser, http.MethodPut: users.replaceUser,
			http.MethodPatch: users.patchUser, http.MethodDelete: users.deleteUser,
		}
	case endpointGroups:
		if r.id == searchPath {
			return map[string]handler{http.MethodPost: s.searchGroups}
		}
		return map[string]handler{
			http.MethodGet: groups.getGroup, http.MethodPut: groups.replaceGroup,
			http.MethodPatch: groups.patchGroup, http.MethodDelete: groups.deleteGroup,
		}
	case endpointResourceTypes:
		return map[string]handler{http.MethodGet: s.getResourceType}
	case endpointSchemas:
		return map[string]handler{http.MethodGet: s.getSchema}
	case endpointRoles:
		return map[string]handler{http.MethodGet: s.getRole}
	case endpointEntitlements:
		return map[string]handler{http.MethodGet: s.getEntitlement}
	}
	return nil
}

func allowHeader(handlers map[string]handler) string {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if _, ok := handlers[method]; ok {
			allowed = append(allowed, method)
		}
	}
	return strings.Join(allowed, ", ")
}

// baseURL begins the locations in answers to this request, without a slash at the end.
func (s *Server) baseURL(x *exchange) string {
	if external := x.app.Spec.ExternalURL; external != "" {
		return strings.TrimRight(external, "/")
	}
	if s.options.ExternalURL != "" {
		return strings.TrimRight(s.options.ExternalURL, "/") + x.route.base
	}
	scheme := "http"
	if x.request.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + x.request.Host + x.route.base
}
