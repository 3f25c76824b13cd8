package oauth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

// callFor is a request to an App with the client okta. The server has no client of the API server: what these tests ask for needs none.
func callFor(method, target, body string) *Call {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	app := &v1alpha1.App{}
	app.Namespace, app.Name = "directory", "okta"
	app.Spec.OAuth = &v1alpha1.OAuth{ClientID: "okta", OktaAppName: "acme_1", ClientSecret: v1alpha1.OAuthClientSecret{Name: "secret"}}
	return &Call{
		Request: r, App: app, Issuer: issuer, From: netip.MustParseAddr("192.0.2.1"), Network: netip.MustParsePrefix("192.0.2.1/32"),
		Audit: func(string, string, ...any) {},
	}
}

func newServer() *Server {
	return New(Options{Now: time.Now, Secrets: func(*v1alpha1.App) []string { return []string{token.Digest("right")} }})
}

func TestAnswerKnowsItsEndpoints(t *testing.T) {
	s := newServer()
	if _, err := s.Answer(t.Context(), "keys", callFor(http.MethodGet, "/keys", "")); !errors.Is(err, ErrNoPage) {
		t.Errorf("an unknown endpoint: %v", err)
	}
	for endpoint, method := range map[string]string{"token": http.MethodGet, "revoke": http.MethodGet, "authorize": http.MethodPost, "metadata": http.MethodPut, "consent": http.MethodPost} {
		var refused *MethodError
		if _, err := s.Answer(t.Context(), endpoint, callFor(method, "/"+endpoint, "")); !errors.As(err, &refused) || refused.Allowed == method {
			t.Errorf("%s %s: %v", method, endpoint, err)
		}
	}
}

func TestFormsThatAreRefused(t *testing.T) {
	s := newServer()
	for name, test := range map[string]struct {
		target, body, contentType string
		status                    int
		want                      string
		failed                    bool
	}{
		"JSON":                {"/token", `{"grant_type":"x"}`, "application/json", 400, "x-www-form-urlencoded", false},
		"no type":             {"/token", "a=b", "-", 400, "x-www-form-urlencoded", false},
		"a query":             {"/token?a=b", "grant_type=refresh_token", "", 400, "parameters belong into the body", false},
		"too large":           {"/token", "a=" + strings.Repeat("x", maxBody), "", 400, "too large", false},
		"twice":               {"/token", "a=b&a=c", "", 400, "more than once", false},
		"no grant type":       {"/token", "a=b", "", 400, "grant_type missing", false},
		"another grant":       {"/token", "grant_type=password&client_id=okta&client_secret=right", "", 400, "unsupported_grant_type", false},
		"no client":           {"/token", "grant_type=refresh_token&refresh_token=x", "", 400, "invalid_request", false},
		"a wrong secret":      {"/token", "grant_type=refresh_token&refresh_token=x&client_id=okta&client_secret=wrong", "", 401, "invalid_client", true},
		"no secret":           {"/token", "grant_type=refresh_token&refresh_token=x&client_id=okta", "", 401, "invalid_client", true},
		"an unknown client":   {"/token", "grant_type=refresh_token&refresh_token=x&client_id=other&client_secret=right", "", 401, "invalid_client", true},
		"a token of no grant": {"/token", "grant_type=refresh_token&refresh_token=x&client_id=okta&client_secret=right", "", 400, "invalid_grant", true},
		"a machine's grant":   {"/token", "grant_type=client_credentials&client_id=okta&client_secret=right", "", 400, "unauthorized_client", false},
		"an assertion":        {"/token", "grant_type=client_credentials&client_assertion=x.y.z&client_assertion_type=" + url.QueryEscape("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), "", 401, "not signed by a key", true},
		"a type of assertion": {"/token", "grant_type=client_credentials&client_id=okta&client_assertion_type=x", "", 401, "not signed by a key", true},
		"two ways at once": {
			"/token", "grant_type=client_credentials&client_secret=right&client_assertion=x.y.z&client_assertion_type=" + url.QueryEscape("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
			"", 400, "more than one method", false,
		},
		"revoke without a client": {"/revoke", "token=x", "", 400, "invalid_request", false},
	} {
		t.Run(name, func(t *testing.T) {
			call := callFor(http.MethodPost, test.target, test.body)
			switch test.contentType {
			case "":
			case "-":
				call.Request.Header.Del("Content-Type")
			default:
				call.Request.Header.Set("Content-Type", test.contentType)
			}
			answer, err := s.Answer(t.Context(), strings.TrimPrefix(call.Request.URL.Path, "/"), call)
			if err != nil {
				t.Fatal(err)
			}
			if answer.Status != test.status || !strings.Contains(string(answer.Body), test.want) || answer.Failed != test.failed || answer.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("answered %d %s (failed: %t)", answer.Status, answer.Body, answer.Failed)
			}
			if strings.Contains(string(answer.Body), "right") || strings.Contains(string(answer.Body), "wrong\"") && strings.Contains(string(answer.Body), "client_secret=") {
				t.Errorf("the answer holds what was sent: %s", answer.Body)
			}
		})
	}
}

func TestAuthorizeKeepsTheBrowser(t *testing.T) {
	s := newServer()
	good := url.Values{"response_type": {"code"}, "client_id": {"okta"}, "redirect_uri": {"https://system-admin.okta.com/admin/app/cpc/acme_1/oauth/callback"}}
	for name, change := range map[string]func(url.Values){
		"an unknown client":   func(q url.Values) { q.Set("client_id", "other") },
		"no client":           func(q url.Values) { q.Del("client_id") },
		"another address":     func(q url.Values) { q.Set("redirect_uri", "https://evil.example.com/") },
		"a long state":        func(q url.Values) { q.Set("state", strings.Repeat("x", maxState+1)) },
		"a parameter twice":   func(q url.Values) { q.Add("client_id", "okta") },
		"more than there may": func(q url.Values) { q.Set("x", strings.Repeat("x", maxQuery)) },
	} {
		query := url.Values{}
		for key, values := range good {
			query[key] = slices.Clone(values)
		}
		change(query)
		answer, err := s.Answer(t.Context(), "authorize", callFor(http.MethodGet, "/authorize?"+query.Encode(), ""))
		if err != nil || answer.Status < 400 || answer.Header.Get("Location") != "" || answer.Header.Get("Content-Security-Policy") != policy {
			t.Errorf("%s: %+v, %v", name, answer, err)
		}
	}
	// An App with machine clients alone has no client for browsers, of whatever ID.
	call := callFor(http.MethodGet, "/authorize?response_type=code&client_id=&redirect_uri=https://evil.example.com/", "")
	call.App = appWith("other", "key")
	if answer, err := s.Answer(t.Context(), "authorize", call); err != nil || answer.Status != http.StatusBadRequest {
		t.Errorf("without a client: %+v, %v", answer, err)
	}
}

func TestMetadataTellsWhatTheAppHas(t *testing.T) {
	s := newServer()
	read := func(change func(*v1alpha1.OAuth)) map[string]any {
		call := callFor(http.MethodGet, "/metadata", "")
		change(call.App.Spec.OAuth)
		answer, err := s.Answer(t.Context(), "metadata", call)
		if err != nil {
			t.Fatal(err)
		}
		document := map[string]any{}
		if err := json.Unmarshal(answer.Body, &document); err != nil {
			t.Fatal(err)
		}
		return document
	}
	has := func(document map[string]any, name, value string) bool {
		list, _ := document[name].([]any)
		return slices.Contains(list, any(value))
	}
	okta := read(func(*v1alpha1.OAuth) {})
	both := read(func(o *v1alpha1.OAuth) { o.MachineClients = []v1alpha1.MachineClient{{ClientID: "hr"}} })
	machine := read(func(o *v1alpha1.OAuth) {
		*o = v1alpha1.OAuth{MachineClients: []v1alpha1.MachineClient{{ClientID: "hr"}}}
	})
	for name, test := range map[string]struct {
		document        map[string]any
		browser, signed bool
	}{"okta": {okta, true, false}, "both": {both, true, true}, "machine": {machine, false, true}} {
		d := test.document
		if d["issuer"] != issuer || d["token_endpoint"] != issuer+"/oauth/token" || !has(d, "scopes_supported", "scim") ||
			(d["authorization_endpoint"] != nil) != test.browser || has(d, "grant_types_supported", "authorization_code") != test.browser ||
			has(d, "token_endpoint_auth_methods_supported", "client_secret_basic") != test.browser ||
			has(d, "grant_types_supported", "client_credentials") != test.signed ||
			has(d, "token_endpoint_auth_methods_supported", "private_key_jwt") != test.signed ||
			has(d, "token_endpoint_auth_signing_alg_values_supported", "ES256") != test.signed || d["response_types_supported"] == nil {
			t.Errorf("%s: %v", name, d)
		}
	}
}

func TestSecrets(t *testing.T) {
	digests := []string{token.Digest("former"), token.Digest("newest")}
	for secret, want := range map[string]bool{"former": true, "newest": true, "other": false, "": false} {
		if got := hasSecret(secret, digests); got != want {
			t.Errorf("%q: %t", secret, got)
		}
	}
	if hasSecret("", []string{token.Digest("")}) || hasSecret("former", nil) {
		t.Error("no secret is taken")
	}
}

func TestScopes(t *testing.T) {
	for asked, want := range map[string]string{
		"": "scim", "scim": "scim", "scim read": "scim", "read": "read", "groups users": "users groups", "users users": "users", "admin": "scim",
	} {
		if got := strings.Join(scopeText(scopesOf(strings.Fields(asked))), " "); got != want {
			t.Errorf("%q: %q, want %q", asked, got, want)
		}
	}
	for scope, want := range map[string]bool{"scim": true, "read": true, "users": true, "groups": true, "": false, "admin": false, "offline_access": false, "SCIM": false} {
		if got := isScope(scope); got != want {
			t.Errorf("%q: %t", scope, got)
		}
	}
}

func TestStateComesBackFromTheCookie(t *testing.T) {
	for _, state := range []string{"", "plain", "a.b=c&d", "\x00é"} {
		if got := stateIn("secret." + base64.RawURLEncoding.EncodeToString([]byte(state))); got != state {
			t.Errorf("%q: %q", state, got)
		}
	}
	for _, cookie := range []string{"", "secret", "secret.!"} {
		if got := stateIn(cookie); got != "" {
			t.Errorf("%q: %q", cookie, got)
		}
	}
}

func TestWithParameter(t *testing.T) {
	for address, want := range map[string]string{
		"https://a.example.com/b":       "https://a.example.com/b?iss=x%26y",
		"https://a.example.com/b?c=d":   "https://a.example.com/b?c=d&iss=x%26y",
		"https://a.example.com/?iss=z":  "https://a.example.com/?iss=x%26y",
		"https://a.example.com/%zz?c=d": "https://a.example.com/%zz?c=d",
	} {
		if got := withParameter(address, "iss", "x&y"); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
}

func TestCookieFollowsTheIssuer(t *testing.T) {
	s, call := newServer(), callFor(http.MethodGet, "/authorize", "")
	if cookie := s.cookieFor(call, "BCDFGHJK", "x"); !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || !strings.HasPrefix(cookie.Name, "__Host-") {
		t.Errorf("with TLS: %+v", cookie)
	}
	call.Issuer = "http://localhost:8080/apps/directory/okta"
	if cookie := s.cookieFor(call, "BCDFGHJK", "x"); cookie.Secure || strings.HasPrefix(cookie.Name, "__Host-") {
		t.Errorf("without: %+v", cookie)
	}
}

func TestStateOfARequest(t *testing.T) {
	now := noon
	s := at(&now)
	used := &v1alpha1.OAuthCode{}
	used.UsedAt = &used.ExpiresAt
	for want, change := range map[string]func(*v1alpha1.OAuthGrant){
		statePending:   func(*v1alpha1.OAuthGrant) {},
		stateApproved:  func(g *v1alpha1.OAuthGrant) { g.Spec.Decision = v1alpha1.DecisionApproved },
		stateDenied:    func(g *v1alpha1.OAuthGrant) { g.Spec.Decision = v1alpha1.DecisionDenied },
		stateConnected: func(g *v1alpha1.OAuthGrant) { g.Spec.Decision, g.Status.Code = v1alpha1.DecisionApproved, used },
		stateEnded:     func(g *v1alpha1.OAuthGrant) { g.Status.Ended = &v1alpha1.OAuthEnd{} },
		stateExpired:   func(g *v1alpha1.OAuthGrant) { g.Spec.ExpiresAt.Time = now },
	} {
		grant := &v1alpha1.OAuthGrant{}
		grant.Spec.ExpiresAt.Time = now.Add(time.Second)
		change(grant)
		if got := s.stateOf(grant); got != want {
			t.Errorf("%s: %s", want, got)
		}
	}
}

// The pair of tokens that a retried refresh replaces prolongs nothing, and what is remembered is bounded.
func TestCommitRemembersUsedTokens(t *testing.T) {
	grant, now := &v1alpha1.OAuthGrant{}, noon
	for i := range maxUsed + 10 {
		pair := &tokenPair{refresh: strings.Repeat("x", i+1)}
		shown := ""
		if grant.Status.Refresh != nil {
			shown = grant.Status.Refresh.Digest
		}
		pair.commit(grant, shown, now)
		now = now.Add(time.Minute)
	}
	refresh := grant.Status.Refresh
	if len(grant.Status.UsedRefreshDigests) != maxUsed || grant.Status.UsedRefreshDigests[maxUsed-1] != refresh.FormerDigest || refresh.Digest != token.Digest(strings.Repeat("x", maxUsed+10)) {
		t.Errorf("%d are remembered, the last is %+v", len(grant.Status.UsedRefreshDigests), refresh)
	}
	issued, former := refresh.IssuedAt, refresh.FormerDigest
	(&tokenPair{refresh: "again"}).commit(grant, former, now.Add(time.Hour))
	if grant.Status.Refresh.IssuedAt != issued || grant.Status.Refresh.FormerDigest != former {
		t.Errorf("a retry prolongs: %+v", grant.Status.Refresh)
	}
}

func TestLimiters(t *testing.T) {
	limiters := newLimiters(1e-9, 2)
	for i, want := range []bool{true, true, false, false} {
		if got := limiters.allow("a"); got != want {
			t.Errorf("request %d: %t", i, got)
		}
	}
	if !limiters.allow("b") {
		t.Error("one source costs another")
	}
}
