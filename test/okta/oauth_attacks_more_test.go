package okta_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// moreAttacks on the authorization server, by what looks like something else.
var moreAttacks = []struct {
	name string
	run  func(*testing.T, *attacker)
}{
	{"redirects that a browser reads as another host", func(t *testing.T, a *attacker) {
		replaced := func(old, changed string) string { return strings.Replace(a.okta.RedirectURI, old, changed, 1) }
		for _, uri := range []string{
			replaced("system-admin.okta.com", "system-admin.okta.com."), replaced("okta.com", "okta.com:443"), replaced("okta.com", "okta%2ecom"), replaced("okta.com", "okta\u3002com"),
			replaced("okta.com", "\u043ekta.com"), replaced("https://", "https:\\\\"), replaced("https://", "https:/\\"), replaced("https://", "https:///"), replaced("https://", "//"),
			replaced("https://", "HTTPS://"), replaced("https://system", "https://x:y@system"), replaced("/oauth/callback", "%2Foauth%2Fcallback"), replaced("/oauth/callback", "/oauth%2Fcallback"),
			replaced("/oauth/callback", "//oauth/callback"), replaced("/oauth/callback", "/oauth/callback/."), replaced("/oauth/callback", "/oauth/callback%00"), replaced("/oauth/callback", "/oauth/callback\t"),
			replaced("/oauth/callback", "/oauth/callback;x"), " " + a.okta.RedirectURI, a.okta.RedirectURI + "\r\nSet-Cookie: x=y", "data:text/html,x", "https:" + strings.TrimPrefix(a.okta.RedirectURI, "https://"),
		} {
			goesNowhere(t, a.answered(t, url.Values{"redirect_uri": {uri}}))
		}
	}},
	{"tokens and codes at the authorize endpoint and on the page", func(t *testing.T, a *attacker) {
		tokens := a.connect(t, nil)
		address, _, err := a.okta.Begin(t.Context(), a.browser, url.Values{
			"refresh_token": {tokens.Refresh}, "code": {tokens.Refresh}, "id_token_hint": {tokens.Access}, "login_hint": {tokens.Refresh}, "client_secret": {a.okta.ClientSecret},
		})
		must(t, err)
		page, err := a.browser.Open(t.Context(), address)
		must(t, err)
		for _, secret := range []string{tokens.Refresh, tokens.Access, a.okta.ClientSecret} {
			if page.Location != nil || strings.Contains(page.Body, secret) || strings.Contains(address, secret) || strings.Contains(operator.ServerLog.String(), secret) {
				t.Errorf("a credential of the request is on the page, in its address or in the log; answered %d, to %v", page.Status, page.Location)
			}
		}
		for _, request := range []string{tokens.Refresh, tokens.Access, "BCDFGHJK", "../" + a.Name, "bcdfghjk", "BCDF-GHJK", "%00", strings.Repeat("B", 9000)} {
			page, err := a.browser.Open(t.Context(), a.issuer+"/oauth/consent?request="+url.QueryEscape(request))
			must(t, err)
			if page.Location != nil || page.Status < 400 || page.Status >= 500 || strings.Contains(page.Body, request) {
				t.Errorf("the page of %.20q is answered %d, to %v", request, page.Status, page.Location)
			}
		}
		issued(t)(a.okta.RefreshWith(t.Context(), tokens.Refresh, nil)) // it was not used up by that
	}},
	{"request objects, and addresses to fetch", func(t *testing.T, a *attacker) {
		for _, parameter := range []string{"request_uri", "request"} {
			a.goesBack(t, a.answered(t, url.Values{parameter: {"https://evil.example.com/request"}}), "request_not_supported")
		}
		for _, name := range []string{"redirect_uri\x00", "Redirect_URI", "redirect_uri[]"} {
			page := a.answered(t, url.Values{name: {"https://evil.example.com/"}})
			if page.Location != nil && strings.Contains(page.Location.String(), "evil") {
				t.Errorf("%q leads to %v", name, page.Location)
			}
		}
	}},
	{"verifiers of PKCE that are none", func(t *testing.T, a *attacker) {
		for _, text := range []string{challenge + "=", challenge[:42], challenge + "A", strings.Replace(challenge, "-", "+", 1), strings.Repeat("!", 43), challenge[:42] + "N"} {
			page := a.answered(t, url.Values{"code_challenge": {text}, "code_challenge_method": {"S256"}})
			a.goesBack(t, page, "invalid_request")
		}
		a.goesBack(t, a.answered(t, url.Values{"code_challenge": {challenge}, "code_challenge_method": {"s256"}}), "invalid_request")
		code := a.code(t, url.Values{"code_challenge": {challenge}, "code_challenge_method": {"S256"}})
		for _, guess := range []string{verifier + "=", strings.ToLower(verifier), verifier[:42], " " + verifier, strings.Repeat("x", 4<<10)} {
			answer, err := a.okta.Redeem(t.Context(), code, url.Values{"code_verifier": {guess}})
			must(t, err)
			if answer.Access != "" || answer.Status < 400 || answer.Status >= 500 {
				t.Errorf("the verifier %.12q is answered %d", guess, answer.Status)
			}
		}
		issued(t)(a.okta.Redeem(t.Context(), code, url.Values{"code_verifier": {verifier}}))
	}},
	{"look-alikes of a code, a token and a client", func(t *testing.T, a *attacker) {
		tokens := a.connect(t, nil)
		for _, text := range lookAlikes(tokens.Refresh) {
			refuses(t, "invalid_grant")(a.okta.RefreshWith(t.Context(), text, nil))
		}
		for _, text := range lookAlikes(tokens.Access) {
			if answer, err := a.okta.Revoke(t.Context(), text); err != nil || answer.Status != http.StatusOK {
				t.Errorf("a revocation of what is no token is answered %v, %v", answer, err)
			}
		}
		if got := a.status(t, tokens.Access); got != http.StatusOK {
			t.Errorf("a revocation of look-alikes ended the token: %d", got)
		}
		for _, id := range []string{strings.ToUpper(a.okta.ClientID), a.okta.ClientID + " ", a.okta.ClientID + "\x00", strings.Replace(a.okta.ClientID, "o", "\u043e", 1)} {
			other := *a.okta
			other.ClientID, other.InForm = id, true
			refuses(t, "invalid_client")(other.RefreshWith(t.Context(), tokens.Refresh, nil))
		}
		issued(t)(a.okta.RefreshWith(t.Context(), tokens.Refresh, nil))
	}},
	{"a forged Host, and forwarded ones", func(t *testing.T, a *attacker) {
		for _, path := range []string{"/.well-known/oauth-authorization-server" + strings.TrimPrefix(a.issuer, originOf(t, a.issuer)), strings.TrimPrefix(a.issuer, originOf(t, a.issuer)) + "/oauth/authorize?" + strings.SplitN(a.okta.Address(nil), "?", 2)[1]} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, originOf(t, a.issuer)+path, nil)
			must(t, err)
			request.Host = "evil.example.com"
			request.Header.Set("X-Forwarded-Host", "evil.example.com")
			request.Header.Set("Forwarded", "host=evil.example.com;proto=http")
			answer, err := a.okta.HTTP.RoundTrip(request)
			must(t, err)
			var metadata map[string]any
			_ = json.NewDecoder(answer.Body).Decode(&metadata)
			must(t, answer.Body.Close())
			if text := fmt.Sprint(metadata, answer.Header); answer.StatusCode >= 400 || strings.Contains(text, "evil") {
				t.Errorf("%.60s is answered %d %s", path, answer.StatusCode, text)
			}
		}
	}},
}

func originOf(t *testing.T, address string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	must(t, err)
	return parsed.Scheme + "://" + parsed.Host
}

// lookAlikes of a token that was made here: other letters of Unicode, other cases, and characters that are not seen.
func lookAlikes(text string) []string {
	other := []byte(text)
	if other[len("scim_")] ^= 1; other[len("scim_")] == '_' {
		other[len("scim_")] = 'B'
	}
	return []string{
		strings.Replace(text, "s", "\u0455", 1), strings.Replace(text, "c", "\u0441", 1), strings.Replace(text, "_", "\uff3f", 1), strings.Replace(text, "scim", "SCIM", 1),
		text + "\u200b", "\ufeff" + text, text + "\x00", text[:len(text)-1], text + text[len(text)-1:], string(other), strings.ToUpper(text), "scim_" + text,
	}
}

// Tokens and Basic credentials that look like those of an App, or are of another one.
func TestTokensThatLookAlike(t *testing.T) {
	one, app := ownApp(t, okta.AppWizard)
	_, other := ownApp(t, okta.AppWizard)
	made := func(of string, spec v1alpha1.ScimTokenSpec) string {
		t.Helper()
		text, err := token.New()
		must(t, err)
		spec.Digest = token.Digest(text)
		owner := app
		if of == "other" {
			owner = other
		}
		operator.CreateToken(t, owner, spec)
		opened := owner
		opened.Token = text
		operator.Opens(t, operator.Server, opened)
		return text
	}
	mine := made("one", v1alpha1.ScimTokenSpec{Basic: &v1alpha1.BasicAuthentication{UserName: "j\u00fcrgen"}})
	second := made("one", v1alpha1.ScimTokenSpec{Basic: &v1alpha1.BasicAuthentication{UserName: "okta"}})
	byID := made("one", v1alpha1.ScimTokenSpec{Basic: &v1alpha1.BasicAuthentication{}})
	theirs := made("other", v1alpha1.ScimTokenSpec{Basic: &v1alpha1.BasicAuthentication{UserName: "theirs"}})
	at := func(path, header string) int {
		t.Helper()
		return do(t, one, http.MethodGet, path+"?count=1", "", okta.WithHeader("Authorization", header)).Status
	}
	id := func(text string) string { return token.ID(token.Digest(text)) }
	named := "/apps/" + app.Namespace + "/" + app.Name + "/scim/v2/Users"
	for _, header := range []string{basic("j\u00fcrgen", mine), basic("okta", second), basic(id(byID), byID), "bearer " + mine} {
		if got := at("/Users", header); got != http.StatusOK {
			t.Errorf("the right credential is answered %d", got)
		}
	}
	refused := map[string]string{
		"another token's user name":               basic("okta", mine),
		"another token's ID":                      basic(id(mine), byID),
		"its ID where it has a name":              basic(id(mine), mine),
		"the name in another form of Unicode":     basic("ju\u0308rgen", mine),
		"the name in other letters":               basic("J\u00dcRGEN", mine),
		"the name with a space":                   basic("j\u00fcrgen ", mine),
		"the name with a colon":                   basic("okta:"+second[:4], second[4:]),
		"the name in ISO 8859-1":                  basic("j\xfcrgen", mine),
		"the user name of another App":            basic("theirs", mine),
		"no user name":                            basic("", second),
		"the password twice":                      basic("okta", second+second),
		"a token in the place of the user":        basic(second, second),
		"two schemes":                             "Basic " + strings.TrimPrefix(basic("okta", second), "Basic ") + ", Bearer " + second,
		"base64 of URLs":                          strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(basic("okta", second+"\xff\xfe")),
		"a token of this App as another's digest": "Bearer " + token.Digest(mine),
	}
	for i, text := range lookAlikes(mine) {
		if !strings.ContainsAny(text, "\x00") { // no client of HTTP sends that
			refused[fmt.Sprintf("look-alike %d", i)] = "Bearer " + text
		}
		refused[fmt.Sprintf("look-alike %d as a password", i)] = basic("j\u00fcrgen", text)
	}
	for name, header := range refused {
		if got := at("/Users", header); got != http.StatusUnauthorized {
			t.Errorf("%s is answered %d", name, got)
		}
	}
	// At the URL of this App, the credentials of the other one open nothing.
	root := *one
	root.BaseURL = operator.Server.URL
	for name, header := range map[string]string{"its token": "Bearer " + theirs, "its Basic credentials": basic("theirs", theirs)} {
		if got := do(t, &root, http.MethodGet, named+"?count=1", "", okta.WithHeader("Authorization", header)).Status; got != http.StatusUnauthorized {
			t.Errorf("%s at another App's URL: %d", name, got)
		}
	}
	if got := do(t, &root, http.MethodGet, named+"?count=1", "", okta.WithHeader("Authorization", basic("okta", second))).Status; got != http.StatusOK {
		t.Errorf("the App's own at its URL: %d", got)
	}
}

// What was approved for an App is of no use once the App was deleted and made anew, nor is a request that waits.
func TestGrantsOfAnAppMadeAnew(t *testing.T) {
	m := newMachineApp(t, operator.Server.URL, "anew", nil, "ES256", newECKey(t), "")
	once := m.signed(t, nil)
	tokens := m.issued(t)(m.machine.TokenBy(t.Context(), once, nil))
	app := &v1alpha1.App{}
	must(t, operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: m.Namespace, Name: m.Name}, app))
	again := &v1alpha1.App{Spec: app.Spec}
	again.Namespace, again.Name = app.Namespace, app.Name
	must(t, operator.Env.Client.Delete(t.Context(), app))
	m.opensNot(t, tokens.Access)
	must(t, operator.Env.Client.DeleteAllOf(t.Context(), &v1alpha1.OAuthGrant{}, client.InNamespace(m.Namespace)))
	soon(t, "the App anew", func(ctx context.Context) error { return operator.Env.Client.Create(ctx, again.DeepCopy()) })
	soon(t, "a token of the App anew", func(ctx context.Context) error {
		answer, err := m.machine.TokenBy(ctx, m.signed(t, nil), nil)
		if err == nil && answer.Access == "" {
			err = fmt.Errorf("answered %d %s", answer.Status, answer.Text)
		}
		return err
	})
	refuses(t, "invalid_client")(m.machine.TokenBy(t.Context(), once, nil)) // used at the former App
}
