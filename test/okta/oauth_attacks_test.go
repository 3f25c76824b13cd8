package okta_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// from is a client at an address of its own, behind a proxy that the server trusts.
type from struct {
	address string
	next    http.RoundTripper
}

func (f from) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("X-Forwarded-For", f.address)
	return f.next.RoundTrip(request)
}

// overTLS runs another server, with TLS and behind a trusted proxy, and returns its URL and what reaches it.
func overTLS(t *testing.T) (string, http.RoundTripper) {
	t.Helper()
	sample := httptest.NewTLSServer(http.NotFoundHandler())
	pair, roots := sample.TLS.Certificates[0], sample.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	sample.Close()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	must(t, err)
	files := map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key},
	}
	dir := t.TempDir()
	for name, block := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	server, err := operator.RunServerWith(t.Context(), "--trusted-proxies=127.0.0.0/8",
		"--tls-cert-file="+filepath.Join(dir, "tls.crt"), "--tls-key-file="+filepath.Join(dir, "tls.key"))
	must(t, err)
	harness.StopAtEnd(t, server)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return strings.Replace(server.URL, "http://", "https://", 1), transport
}

// attacker is one test's App and its place on the network.
type attacker struct {
	*oauthApp
	browser *okta.Browser
}

// answered sends the browser to the authorize endpoint with parameters changed.
func (a *attacker) answered(t *testing.T, more url.Values) *okta.Page {
	t.Helper()
	page, err := a.browser.Open(t.Context(), a.okta.Address(more))
	must(t, err)
	return page
}

// goesNowhere fails the test unless the browser is kept where it is and told why.
func goesNowhere(t *testing.T, page *okta.Page) {
	t.Helper()
	if page.Location != nil || page.Status < 400 || page.Status >= 500 || page.Header.Get("Set-Cookie") != "" || !strings.Contains(page.Body, "<main") {
		t.Errorf("answered %d, to %v: %s", page.Status, page.Location, page.Body)
	}
}

// goesBack fails the test unless the browser goes back to Okta with an error, its state and the issuer.
func (a *attacker) goesBack(t *testing.T, page *okta.Page, code string) {
	t.Helper()
	if page.Location == nil || !strings.HasPrefix(page.Location.String(), a.okta.RedirectURI+"?") {
		t.Fatalf("answered %d, to %v: %s", page.Status, page.Location, page.Body)
	}
	query := page.Location.Query()
	if query.Get("error") != code || query.Get("state") != a.okta.State || query.Get("iss") != a.issuer || query.Has("code") {
		t.Errorf("the browser brings %v, want error %s", query, code)
	}
}

// refuses fails the test unless the token endpoint refuses.
func refuses(t *testing.T, code string) func(*okta.Tokens, error) {
	return func(tokens *okta.Tokens, err error) {
		t.Helper()
		must(t, err)
		if tokens.Error != code || tokens.Access != "" || tokens.Refresh != "" || tokens.Status < 400 || tokens.Status >= 500 {
			t.Errorf("answered %d %q %q, want %s", tokens.Status, tokens.Error, tokens.Text, code)
		}
	}
}

func issued(t *testing.T) func(*okta.Tokens, error) *okta.Tokens {
	return func(tokens *okta.Tokens, err error) *okta.Tokens {
		t.Helper()
		must(t, err)
		if tokens.Status != http.StatusOK || tokens.Access == "" || tokens.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("answered %d %q %q", tokens.Status, tokens.Error, tokens.Text)
		}
		return tokens
	}
}

const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // of RFC 7636 appendix B
)

// attacks on the authorization server, each with what it is answered.
var attacks = []struct {
	name string
	run  func(*testing.T, *attacker)
}{
	{"open redirect", func(t *testing.T, a *attacker) {
		for _, uri := range []string{
			"https://evil.example.com/", a.okta.RedirectURI + "/", a.okta.RedirectURI + "?x=1", a.okta.RedirectURI + "#x",
			strings.Replace(a.okta.RedirectURI, "https", "http", 1), strings.Replace(a.okta.RedirectURI, "system-admin.okta.com", "system-admin.okta.com@evil.example.com", 1),
			strings.Replace(a.okta.RedirectURI, "okta.com", "okta.com.evil.example.com", 1), strings.Replace(a.okta.RedirectURI, oktaAppName, "another_app_1", 1),
			strings.Replace(a.okta.RedirectURI, "system-admin", "SYSTEM-ADMIN", 1), strings.Replace(a.okta.RedirectURI, "/oauth/", "/../oauth/", 1), "javascript:alert(1)", "",
		} {
			goesNowhere(t, a.answered(t, url.Values{"redirect_uri": {uri}}))
		}
	}},
	{"unknown client", func(t *testing.T, a *attacker) {
		goesNowhere(t, a.answered(t, url.Values{"client_id": {"another"}}))
		goesNowhere(t, a.answered(t, url.Values{"client_id": {""}}))
	}},
	{"huge state, and parameters twice", func(t *testing.T, a *attacker) {
		goesNowhere(t, a.answered(t, url.Values{"state": {strings.Repeat("x", 1025)}}))
		goesNowhere(t, a.answered(t, url.Values{"state": {strings.Repeat("x", 16<<10)}}))
		goesNowhere(t, a.answered(t, url.Values{"redirect_uri": {a.okta.RedirectURI, "https://evil.example.com/"}}))
		goesNowhere(t, a.answered(t, url.Values{"client_id": {a.okta.ClientID, "another"}}))
	}},
	{"other flows than the code's", func(t *testing.T, a *attacker) {
		a.goesBack(t, a.answered(t, url.Values{"response_type": {"token"}}), "unauthorized_client")
		a.goesBack(t, a.answered(t, url.Values{"response_mode": {"fragment"}}), "invalid_request")
		a.goesBack(t, a.answered(t, url.Values{"prompt": {"none"}}), "interaction_required")
		a.goesBack(t, a.answered(t, url.Values{"request": {"e30.e30."}}), "request_not_supported")
		a.goesBack(t, a.answered(t, url.Values{"scope": {"admin"}}), "invalid_scope")
		refuses(t, "unauthorized_client")(a.okta.Redeem(t.Context(), "x", url.Values{"grant_type": {"client_credentials"}}))
		refuses(t, "unsupported_grant_type")(a.okta.Redeem(t.Context(), "x", url.Values{"grant_type": {"password"}}))
	}},
	{"downgrade of PKCE", func(t *testing.T, a *attacker) {
		a.goesBack(t, a.answered(t, url.Values{"code_challenge": {challenge}, "code_challenge_method": {"plain"}}), "invalid_request")
		a.goesBack(t, a.answered(t, url.Values{"code_challenge": {challenge}}), "invalid_request")
		a.goesBack(t, a.answered(t, url.Values{"code_challenge_method": {"S256"}}), "invalid_request")
		code := a.code(t, url.Values{"code_challenge": {challenge}, "code_challenge_method": {"S256"}})
		refuses(t, "invalid_request")(a.okta.Redeem(t.Context(), code, nil))
		refuses(t, "invalid_grant")(a.okta.Redeem(t.Context(), code, url.Values{"code_verifier": {challenge}}))
		issued(t)(a.okta.Redeem(t.Context(), code, url.Values{"code_verifier": {verifier}}))
		refuses(t, "invalid_request")(a.okta.Redeem(t.Context(), a.code(t, nil), url.Values{"code_verifier": {verifier}}))
	}},
	{"crossed codes and tokens", func(t *testing.T, a *attacker) {
		other := newOAuthApp(t, strings.TrimSuffix(a.issuer, "/apps/"+a.Namespace+"/"+a.Name), "crossed", a.okta.HTTP)
		code := a.code(t, nil)
		refuses(t, "invalid_grant")(other.okta.Redeem(t.Context(), code, nil))
		refuses(t, "invalid_grant")(a.okta.Redeem(t.Context(), code, url.Values{"redirect_uri": {strings.Replace(a.okta.RedirectURI, "okta.com", "okta-emea.com", 1)}}))
		tokens := issued(t)(a.okta.Redeem(t.Context(), code, nil))
		refuses(t, "invalid_grant")(other.okta.RefreshWith(t.Context(), tokens.Refresh, nil))
		refuses(t, "invalid_grant")(a.okta.RefreshWith(t.Context(), tokens.Access, nil))
		refuses(t, "invalid_grant")(a.okta.Redeem(t.Context(), tokens.Refresh, nil))
		for what, text := range map[string]string{"a refresh token": tokens.Refresh, "the client's secret": a.okta.ClientSecret, "a code": code} {
			if got := a.status(t, text); got != http.StatusUnauthorized {
				t.Errorf("%s as a bearer token is answered %d", what, got)
			}
		}
		named := a.App
		named.Token = tokens.Access
		atOther := operator.Client(operator.Server, "/apps/"+other.Namespace+"/"+other.Name+"/scim/v2", named, okta.AppWizard)
		if got := do(t, atOther, http.MethodGet, "/Users?count=1", "").Status; got != http.StatusUnauthorized {
			t.Errorf("a token of another App is answered %d", got)
		}
		issued(t)(a.okta.RefreshWith(t.Context(), tokens.Refresh, nil))
	}},
	{"code used twice", func(t *testing.T, a *attacker) {
		code := a.code(t, nil)
		tokens := issued(t)(a.okta.Redeem(t.Context(), code, nil))
		refuses(t, "invalid_grant")(a.okta.Redeem(t.Context(), code, nil))
		refuses(t, "invalid_grant")(a.okta.RefreshWith(t.Context(), tokens.Refresh, nil))
		a.opensNot(t, tokens.Access)
	}},
	{"guessed codes", func(t *testing.T, a *attacker) {
		code := a.code(t, nil)
		for _, guess := range []string{"", "x", code[:len(code)-1], newText(t), strings.Repeat("x", 8<<10)} {
			want := "invalid_grant"
			if guess == "" {
				want = "invalid_request"
			}
			refuses(t, want)(a.okta.Redeem(t.Context(), guess, nil))
		}
		issued(t)(a.okta.Redeem(t.Context(), code, nil))
	}},
	{"consent in another browser", func(t *testing.T, a *attacker) {
		address, shown, err := a.okta.Begin(t.Context(), a.browser, nil)
		must(t, err)
		other, err := a.okta.NewBrowser()
		must(t, err)
		look := func() {
			t.Helper()
			page, err := other.Open(t.Context(), address)
			must(t, err)
			if page.Status != http.StatusNotFound || page.Location != nil || strings.Contains(page.Body, shown) {
				t.Errorf("another browser is answered %d, to %v", page.Status, page.Location)
			}
		}
		look()
		_, second, err := a.okta.Begin(t.Context(), other, nil) // it has a cookie of a request of its own
		must(t, err)
		look()
		a.decide(t, shown, v1alpha1.DecisionApproved)
		look()
		a.decide(t, second, v1alpha1.DecisionDenied)
		code, err := a.okta.Return(t.Context(), a.browser, address, a.issuer)
		must(t, err)
		again, err := a.okta.Return(t.Context(), a.browser, address, a.issuer) // a double click
		must(t, err)
		refuses(t, "invalid_grant")(a.okta.Redeem(t.Context(), code, nil))
		issued(t)(a.okta.Redeem(t.Context(), again, nil))
		page, err := a.browser.Open(t.Context(), address)
		must(t, err)
		if page.Location != nil || !strings.Contains(page.Body, "Connected") {
			t.Errorf("the page of a finished request is answered %d, to %v: %s", page.Status, page.Location, page.Body)
		}
	}},
	{"clickjacking, scripts and foreign Hosts", func(t *testing.T, a *attacker) {
		address, _, err := a.okta.Begin(t.Context(), a.browser, url.Values{"state": {`"><script>alert(1)</script>`}})
		must(t, err)
		page, err := a.browser.Open(t.Context(), address)
		must(t, err)
		policy := page.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "script-src 'self'", "form-action 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("the policy lacks %q: %s", want, policy)
			}
		}
		if page.Header.Get("X-Frame-Options") != "DENY" || page.Header.Get("Referrer-Policy") != "no-referrer" || strings.Contains(policy, "unsafe") ||
			strings.Contains(page.Body, "alert(1)") {
			t.Errorf("headers %v, page %s", page.Header, page.Body)
		}
		cookie := a.answered(t, nil).Header.Get("Set-Cookie")
		for _, want := range []string{"__Host-", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"} {
			if !strings.Contains(cookie, want) {
				t.Errorf("the cookie lacks %q: %s", want, cookie)
			}
		}
	}},
	{"denied and expired requests", func(t *testing.T, a *attacker) {
		address, shown, err := a.okta.Begin(t.Context(), a.browser, nil)
		must(t, err)
		a.decide(t, shown, v1alpha1.DecisionDenied)
		page, err := a.browser.Open(t.Context(), address)
		must(t, err)
		if page.Location != nil || !strings.Contains(page.Body, "denied the request") || !strings.Contains(page.Body, "error=access_denied") {
			t.Errorf("a denied request is answered %d, to %v: %s", page.Status, page.Location, page.Body)
		}
		address, shown, err = a.okta.Begin(t.Context(), a.browser, nil)
		must(t, err)
		a.expire(t, shown, time.Minute)
		a.decide(t, shown, v1alpha1.DecisionApproved)
		page, err = a.browser.Open(t.Context(), address)
		must(t, err)
		if page.Location != nil || !strings.Contains(page.Body, "was not approved within 10 minutes") {
			t.Errorf("an expired request is answered %d, to %v: %s", page.Status, page.Location, page.Body)
		}
	}},
	{"refresh token used twice", func(t *testing.T, a *attacker) {
		first := a.connect(t, nil)
		second := issued(t)(a.okta.RefreshWith(t.Context(), first.Refresh, nil))
		third := issued(t)(a.okta.RefreshWith(t.Context(), second.Refresh, nil))
		refuses(t, "invalid_grant")(a.okta.RefreshWith(t.Context(), first.Refresh, nil))
		refuses(t, "invalid_grant")(a.okta.RefreshWith(t.Context(), third.Refresh, nil))
		for _, access := range []string{first.Access, second.Access, third.Access} {
			a.opensNot(t, access)
		}
		soon(t, "an Event", func(ctx context.Context) error {
			var events eventsv1.EventList
			must(t, operator.Env.Client.List(ctx, &events, client.InNamespace(a.Namespace)))
			for i := range events.Items {
				if events.Items[i].Reason == v1alpha1.ReasonRefreshTokenReused && events.Items[i].Type == "Warning" {
					return nil
				}
			}
			return fmt.Errorf("none of %d says RefreshTokenReused", len(events.Items))
		})
		if !strings.Contains(operator.ServerLog.String(), `"reason":"`+v1alpha1.ReasonRefreshTokenReused+`"`) {
			t.Error("the audit trail does not tell of it")
		}
	}},
	{"refresh token sent again for want of an answer, and the unanswered one stolen", func(t *testing.T, a *attacker) {
		first := a.connect(t, nil)
		lost := issued(t)(a.okta.RefreshWith(t.Context(), first.Refresh, nil))
		again := issued(t)(a.okta.RefreshWith(t.Context(), first.Refresh, nil))
		if got := a.status(t, again.Access); got != http.StatusOK {
			t.Errorf("the token of a second attempt is answered %d", got)
		}
		refuses(t, "invalid_grant")(a.okta.RefreshWith(t.Context(), lost.Refresh, nil))
		refuses(t, "invalid_grant")(a.okta.RefreshWith(t.Context(), again.Refresh, nil))
		a.opensNot(t, again.Access)
	}},
	{"tokens after their end by kubectl and by revocation", func(t *testing.T, a *attacker) {
		tokens := a.connect(t, nil)
		if answer, err := a.okta.Revoke(t.Context(), tokens.Access); err != nil || answer.Status != http.StatusOK {
			t.Errorf("a revocation is answered %v, %v", answer, err)
		}
		a.opensNot(t, tokens.Access)
		tokens = issued(t)(a.okta.RefreshWith(t.Context(), tokens.Refresh, nil))
		if answer, err := a.okta.Revoke(t.Context(), tokens.Refresh); err != nil || answer.Status != http.StatusOK {
			t.Errorf("a revocation is answered %v, %v", answer, err)
		}
		a.opensNot(t, tokens.Access)
		refuses(t, "invalid_grant")(a.okta.RefreshWith(t.Context(), tokens.Refresh, nil))

		tokens = a.connect(t, nil)
		var list v1alpha1.ScimTokenList
		must(t, operator.Env.Client.List(t.Context(), &list, client.InNamespace(a.Namespace)))
		for i := range list.Items {
			if list.Items[i].Spec.Type == v1alpha1.TokenTypeRefresh {
				must(t, operator.Env.Client.Delete(t.Context(), &list.Items[i]))
			}
		}
		refuses(t, "invalid_grant")(a.okta.RefreshWith(t.Context(), tokens.Refresh, nil))
	}},
	{"secrets in the URL, twice, or wrong", func(t *testing.T, a *attacker) {
		wrong := *a.okta
		wrong.ClientSecret = newText(t)
		refuses(t, "invalid_client")(wrong.Redeem(t.Context(), "x", nil))
		wrong.ClientSecret, wrong.ClientID = a.okta.ClientSecret, "another"
		refuses(t, "invalid_client")(wrong.Redeem(t.Context(), "x", nil))
		wrong.InForm = true
		refuses(t, "invalid_client")(wrong.Redeem(t.Context(), "x", nil))
		inURL := *a.okta
		inURL.TokenURL += "?client_secret=" + a.okta.ClientSecret
		refuses(t, "invalid_request")(inURL.Redeem(t.Context(), "x", nil))
		refuses(t, "invalid_request")(a.okta.Redeem(t.Context(), "x", url.Values{"client_id": {a.okta.ClientID}, "client_secret": {a.okta.ClientSecret}}))
		refuses(t, "invalid_request")(a.okta.Redeem(t.Context(), "x", url.Values{"code": {"x", "y"}}))
		form := *a.okta
		form.InForm = true
		refuses(t, "invalid_grant")(form.RefreshWith(t.Context(), newText(t), nil))
	}},
	{"guesses of the client's secret", func(t *testing.T, a *attacker) {
		text := newText(t)
		limited(t, func(i int64) (*okta.Tokens, error) {
			wrong := *a.okta
			wrong.HTTP = from{"198.51.100.200", a.okta.HTTP.(from).next}
			wrong.ClientSecret = fmt.Sprintf("guess-%d", i)
			return wrong.RefreshWith(t.Context(), text, nil)
		})
		issued(t)(a.okta.Redeem(t.Context(), a.code(t, nil), nil)) // the client itself, at its own address, is let in
	}},
	{"a flood of requests", func(t *testing.T, a *attacker) {
		for range 20 {
			if page := a.answered(t, nil); page.Status == http.StatusTooManyRequests {
				return
			}
		}
		t.Error("20 requests of one address are taken")
	}},
}

// limited fails the test where requests of one address without end meet no limit: many at a time, so that a slow machine is faster than the
// limit, too.
func limited(t *testing.T, ask func(i int64) (*okta.Tokens, error)) {
	t.Helper()
	const most = 2000
	var serial, refused atomic.Int64
	var asking errgroup.Group
	for range 16 {
		asking.Go(func() error {
			for refused.Load() == 0 && serial.Load() < most {
				answer, err := ask(serial.Add(1))
				if err != nil {
					return err
				}
				if answer.Status == http.StatusTooManyRequests && answer.Header.Get("Retry-After") != "" {
					refused.Add(1)
				}
			}
			return nil
		})
	}
	must(t, asking.Wait())
	if refused.Load() == 0 {
		t.Errorf("%d requests of one address are answered", serial.Load())
	}
}

// Attacks on the authorization server, over TLS, each at an address and with an App of its own; the tokens are then shown to another
// replica than the one that issued them.
func TestOAuthUnderAttack(t *testing.T) {
	server, transport := overTLS(t)
	for i, attack := range slices.Concat(attacks, moreAttacks) {
		t.Run(attack.name, func(t *testing.T) {
			o := newOAuthApp(t, server, "attacked", from{fmt.Sprintf("198.51.100.%d", i+1), transport})
			browser, err := o.okta.NewBrowser()
			must(t, err)
			attack.run(t, &attacker{o, browser})
		})
	}
}

// An App without spec.oauth has no authorization server.
func TestOAuthIsOffByDefault(t *testing.T) {
	_, app := ownApp(t, okta.AppWizard)
	browser, err := (&okta.OAuth{}).NewBrowser()
	must(t, err)
	for _, path := range []string{
		"/apps/" + app.Namespace + "/" + app.Name + "/oauth/authorize?client_id=x", "/apps/" + app.Namespace + "/" + app.Name + "/oauth/token",
		"/apps/" + app.Namespace + "/" + app.Name + "/oauth/consent?request=BCDFGHJK", "/apps/" + app.Namespace + "/" + app.Name + "/oauth/revoke",
		"/.well-known/oauth-authorization-server/apps/" + app.Namespace + "/" + app.Name, "/apps/nowhere/none/oauth/authorize", "/oauth/authorize",
	} {
		page, err := browser.Open(t.Context(), operator.Server.URL+path)
		must(t, err)
		if page.Status != http.StatusNotFound || !strings.Contains(page.Body, "urn:ietf:params:scim:api:messages:2.0:Error") {
			t.Errorf("%s is answered %d %s", path, page.Status, page.Body)
		}
	}
}
