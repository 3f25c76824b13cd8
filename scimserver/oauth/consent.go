package oauth

import (
	"bytes"
	"context"
	_ "embed" // the page's parts
	"encoding/base64"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

var (
	//go:embed consent.html
	pageHTML string
	//go:embed consent.css
	pageCSS string
	//go:embed consent.js
	pageJS string

	page = template.Must(template.New("consent").Parse(pageHTML))
)

// policy of the page: its own style and script, questions to its own server, and no place in a frame.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// protect sets what a browser is to know of every answer.
func protect(header http.Header) {
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Frame-Options", "DENY")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
}

// States of a request, as the page shows them.
const (
	statePending   = "pending"
	stateApproved  = "approved"
	stateDenied    = "denied"
	stateExpired   = "expired"
	stateConnected = "connected"
	stateEnded     = "ended"
	stateUnknown   = "unknown"
	stateRefused   = "refused"
)

// view is what the page shows.
type view struct {
	State, Reason                   string
	App, Namespace, DisplayName     string
	Code, Command                   string
	Org, OktaApp, RedirectHost, URI string
	Scopes                          string
	Expires, Minutes                string
	Back                            string
	Request                         string
	Waiting                         bool
}

func (v view) answer(status int) *Answer {
	var out bytes.Buffer
	if err := page.Execute(&out, v); err != nil {
		return refusedText(err)
	}
	header := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	protect(header)
	return &Answer{Status: status, Header: header, Body: out.Bytes()}
}

func refusedText(err error) *Answer {
	header := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	protect(header)
	return &Answer{Status: http.StatusInternalServerError, Header: header, Body: []byte("The page could not be made: " + err.Error())}
}

// refusedPage says why a request goes no further. It sends the browser nowhere.
func refusedPage(status int, reason string) *Answer {
	return view{State: stateRefused, Reason: reason}.answer(status)
}

// consent shows the browser's request, and sends the browser back to the client once it was approved.
func (s *Server) consent(ctx context.Context, call *Call) (*Answer, error) {
	grant, cookie, err := s.requestOf(ctx, call)
	if err != nil {
		return nil, err
	}
	if grant == nil {
		return view{State: stateUnknown}.answer(http.StatusNotFound), nil
	}
	if s.stateOf(grant) == stateApproved {
		return s.sendBack(ctx, call, grant.Name, cookie)
	}
	return s.viewOf(call, grant, cookie).answer(http.StatusOK), nil
}

// state tells the page's script whether to read the page again.
func (s *Server) state(ctx context.Context, call *Call) (*Answer, error) {
	grant, _, err := s.requestOf(ctx, call)
	if err != nil {
		return nil, err
	}
	state := stateUnknown
	if grant != nil {
		state = s.stateOf(grant)
	}
	body, err := json.Marshal(map[string]string{"state": state})
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	protect(header)
	return &Answer{Status: http.StatusOK, Header: header, Body: body}, nil
}

// requestOf returns the grant that a page is about, and the cookie of the browser that it belongs to; nil where there is none, or
// the browser is another one.
func (s *Server) requestOf(ctx context.Context, call *Call) (*v1alpha1.OAuthGrant, string, error) {
	if !s.limits.page.allow(call.Network.String()) {
		return nil, "", ErrBusy
	}
	id := call.Request.URL.Query().Get("request")
	if !isID(id) {
		return nil, "", nil
	}
	cookie, err := call.Request.Cookie(cookieName(call, id))
	if err != nil {
		return nil, "", nil //nolint:nilerr // without its cookie a browser has no request
	}
	grant, err := s.find(ctx, call.App, id)
	if err != nil || grant == nil || !token.Equal(token.Digest(cookie.Value), grant.Spec.BrowserDigest) {
		return nil, "", err
	}
	return grant, cookie.Value, nil
}

// find returns a grant of an App as it is now, or nil.
func (s *Server) find(ctx context.Context, app *v1alpha1.App, id string) (*v1alpha1.OAuthGrant, error) {
	grant := &v1alpha1.OAuthGrant{}
	err := s.options.Client.Get(ctx, types.NamespacedName{Namespace: app.Namespace, Name: nameOf(app.Name, id)}, grant)
	if apierrors.IsNotFound(err) || err == nil && grant.Spec.App != app.Name {
		return nil, nil
	}
	return grant, err
}

func (s *Server) stateOf(grant *v1alpha1.OAuthGrant) string {
	switch {
	case grant.Status.Ended != nil || !grant.DeletionTimestamp.IsZero():
		return stateEnded
	case grant.Spec.Decision == v1alpha1.DecisionDenied:
		return stateDenied
	case grant.Status.Code != nil && grant.Status.Code.UsedAt != nil:
		return stateConnected
	case !s.options.Now().Before(grant.Spec.ExpiresAt.Time):
		return stateExpired
	case grant.Spec.Decision == v1alpha1.DecisionApproved:
		return stateApproved
	}
	return statePending
}

// sendBack gives the browser a code for the client. A browser that asks twice gets another one, and the former one is worth nothing:
// one code at most is redeemed.
func (s *Server) sendBack(ctx context.Context, call *Call, name, cookie string) (*Answer, error) {
	code := ""
	grant, err := s.change(ctx, call.App.Namespace, name, func(grant *v1alpha1.OAuthGrant) error {
		if s.stateOf(grant) != stateApproved || isAnother(call.App, grant) {
			return errUnchanged
		}
		var err error
		if code, err = token.NewFor(idOf(grant)); err != nil {
			return err
		}
		grant.Status.Code = &v1alpha1.OAuthCode{Digest: token.Digest(code), ExpiresAt: metav1.NewTime(s.options.Now().Add(codeTime))}
		return nil
	})
	switch {
	case errors.Is(err, errUnchanged) && grant != nil && isAnother(call.App, grant):
		return refusedPage(http.StatusConflict, "The App was made anew since this request: begin again."), nil
	case errors.Is(err, errUnchanged) && grant != nil:
		return s.viewOf(call, grant, cookie).answer(http.StatusOK), nil
	case client.IgnoreNotFound(err) != nil:
		return nil, err
	case err != nil || grant == nil:
		return view{State: stateUnknown}.answer(http.StatusNotFound), nil //nolint:nilerr // NotFound is the answer
	}
	call.Audit("code", grant.Name)
	return redirect(back(call, grant, cookie, "code", code), nil), nil
}

// isAnother says whether an App is another one than a request was made for, under the same name: the approval was about that one.
func isAnother(app *v1alpha1.App, grant *v1alpha1.OAuthGrant) bool {
	return grant.Spec.AppUID != string(app.UID)
}

// back is the address of the client, with what it is to know, its own state, and the issuer (RFC 9207).
func back(call *Call, grant *v1alpha1.OAuthGrant, cookie, name, value string) string {
	address := withParameter(grant.Spec.RedirectURI, name, value)
	if state := stateIn(cookie); state != "" {
		address = withParameter(address, "state", state)
	}
	return withParameter(address, "iss", call.Issuer)
}

// stateIn returns the client's state, which the browser keeps.
func stateIn(cookie string) string {
	_, encoded, _ := strings.Cut(cookie, ".")
	state, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	return string(state)
}

func cookieName(call *Call, id string) string {
	if strings.HasPrefix(call.Issuer, "https://") {
		return "__Host-scim-oauth-" + id
	}
	return "scim-oauth-" + id
}

// cookieFor binds a request to its browser.
func (s *Server) cookieFor(call *Call, id, value string) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure follows the issuer: without TLS a browser would drop the cookie
		Name: cookieName(call, id), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(call.Issuer, "https://"), MaxAge: int(2 * requestTime / time.Second),
	}
}

func (s *Server) viewOf(call *Call, grant *v1alpha1.OAuthGrant, cookie string) view {
	app, state := call.App, s.stateOf(grant)
	v := view{
		State: state, App: app.Name, Namespace: app.Namespace, DisplayName: app.Spec.DisplayName,
		Code: grant.Spec.UserCode, Command: "kubectl scim oauth approve " + grant.Spec.UserCode + " -n " + app.Namespace,
		Org: environmentOf(grant.Spec.RedirectURI), OktaApp: app.Spec.OAuth.OktaAppName,
		RedirectHost: grant.RedirectHost(), URI: grant.Spec.RedirectURI,
		Scopes: strings.Join(scopeText(grant.Spec.Scopes), ", "), Expires: grant.Spec.ExpiresAt.UTC().Format("15:04 UTC"),
		Request: idOf(grant), Waiting: state == statePending,
	}
	switch state {
	case stateDenied:
		v.Back = back(call, grant, cookie, "error", "access_denied")
	case stateExpired:
		v.Back = withParameter(back(call, grant, cookie, "error", "access_denied"), "error_description", "the request was not approved in time")
	case stateEnded:
		v.Reason = "it ended"
		if end := grant.Status.Ended; end != nil {
			v.Reason = end.Reason
		}
	}
	return v
}

// environmentOf says which of Okta's environments an address is of, as far as the address tells.
func environmentOf(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	switch parsed.Host {
	case "system-admin.okta.com":
		return "Okta"
	case "system-admin.okta-emea.com":
		return "Okta EMEA"
	case "system-admin.oktapreview.com":
		return "Okta Preview"
	}
	return parsed.Host
}
