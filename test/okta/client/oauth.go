package okta

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// OAuth plays Okta's mode OAuth2: the browser of the Okta admin that configures the app, and Okta's own calls of the token endpoint. It
// knows what an admin types into the wizard, and no more.
type OAuth struct {
	// AuthorizeURL and TokenURL are the endpoints; RevokeURL is none of Okta's.
	AuthorizeURL, TokenURL, RevokeURL string
	ClientID, ClientSecret            string
	// RedirectURI that Okta sends, with what it expects back.
	RedirectURI, State string
	// InForm sends the client's secret in the form, and not by Basic.
	InForm bool
	// HTTP is the transport; nil for the default.
	HTTP http.RoundTripper
}

// NewOAuth returns the client of an App with the authorization server at base, such as https://scim.example.com/apps/directory/okta.
func NewOAuth(base, clientID, secret, redirect string) *OAuth {
	return &OAuth{
		AuthorizeURL: base + "/oauth/authorize", TokenURL: base + "/oauth/token", RevokeURL: base + "/oauth/revoke",
		ClientID: clientID, ClientSecret: secret, RedirectURI: redirect, State: "okta-state-" + clientID,
	}
}

// Page is what a browser got.
type Page struct {
	Status   int
	Header   http.Header
	Body     string
	Location *url.URL
}

// Browser holds cookies, and follows no redirect by itself.
type Browser struct{ client *http.Client }

// NewBrowser returns a browser without cookies. The error is that of the cookie jar.
func (o *OAuth) NewBrowser() (*Browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &Browser{&http.Client{
		Jar: jar, Transport: o.HTTP, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Open reads a page. It fails where there is no answer; a page that refuses is none.
func (b *Browser) Open(ctx context.Context, address string) (*Page, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	return pageOf(b.client.Do(request)) //nolint:bodyclose // pageOf closes it
}

func pageOf(response *http.Response, err error) (*Page, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	page := &Page{Status: response.StatusCode, Header: response.Header, Body: string(body)}
	if response.Header.Get("Location") != "" {
		page.Location, err = response.Location()
	}
	return page, err
}

// Address is where Okta sends the browser: the authorize endpoint with Okta's parameters; more replaces or, with an empty value, removes some.
func (o *OAuth) Address(more url.Values) string {
	parsed, err := url.Parse(o.AuthorizeURL)
	if err != nil {
		return o.AuthorizeURL
	}
	query := parsed.Query()
	query.Set("response_type", "code")
	query.Set("client_id", o.ClientID)
	query.Set("redirect_uri", o.RedirectURI)
	query.Set("state", o.State)
	for name, values := range more {
		query.Del(name)
		for _, value := range values {
			if value != "" {
				query.Add(name, value)
			}
		}
	}
	parsed.RawQuery = query.Encode()
	return parsed.String()
}

var userCode = regexp.MustCompile(`\b[B-Z]{4}-[B-Z]{4}\b`)

// Begin opens the authorize endpoint and the page that it leads to, and returns that page's address and the code on it. It
// fails where it is led nowhere or the page has no code.
func (o *OAuth) Begin(ctx context.Context, browser *Browser, more url.Values) (address, code string, err error) {
	answer, err := browser.Open(ctx, o.Address(more))
	if err != nil {
		return "", "", err
	}
	if answer.Location == nil {
		return "", "", fmt.Errorf("the authorize endpoint answered %d and sent the browser nowhere: %s", answer.Status, answer.Body)
	}
	page, err := browser.Open(ctx, answer.Location.String())
	if err != nil {
		return "", "", err
	}
	if code = userCode.FindString(page.Body); page.Status != http.StatusOK || code == "" {
		return "", "", fmt.Errorf("the page of consent answered %d without a code: %s", page.Status, page.Body)
	}
	return answer.Location.String(), code, nil
}

// Return opens the page again once the request was approved, and returns the authorization code that the browser takes to Okta. It
// fails where the browser is sent elsewhere, or without code, state or issuer.
func (o *OAuth) Return(ctx context.Context, browser *Browser, address, issuer string) (string, error) {
	page, err := browser.Open(ctx, address)
	if err != nil {
		return "", err
	}
	if page.Location == nil {
		return "", fmt.Errorf("the page answered %d and did not send the browser back: %s", page.Status, page.Body)
	}
	back := page.Location.Query()
	if target, _, _ := strings.Cut(page.Location.String(), "?"); target != o.RedirectURI {
		return "", fmt.Errorf("the browser is sent to %s", target)
	}
	if back.Get("state") != o.State || back.Get("iss") != issuer || back.Get("code") == "" {
		return "", fmt.Errorf("the browser brings %v, and not a code with state %q of issuer %q", back, o.State, issuer)
	}
	return back.Get("code"), nil
}

// Tokens are an answer of the token endpoint.
type Tokens struct {
	Status  int    `json:"-"`
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Type    string `json:"token_type"`
	Expires int    `json:"expires_in"`
	Scope   string `json:"scope"`
	Error   string `json:"error"`
	Text    string `json:"error_description"`
	Header  http.Header
}

// Redeem sends an authorization code. more replaces or removes parameters. It fails without an answer in JSON; a refusal is one.
func (o *OAuth) Redeem(ctx context.Context, code string, more url.Values) (*Tokens, error) {
	return o.call(ctx, o.TokenURL, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {o.RedirectURI}}, more)
}

// RefreshWith sends a refresh token. It fails as Redeem does.
func (o *OAuth) RefreshWith(ctx context.Context, refresh string, more url.Values) (*Tokens, error) {
	return o.call(ctx, o.TokenURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}, more)
}

// Revoke sends a token to the revocation endpoint. It fails as Redeem does.
func (o *OAuth) Revoke(ctx context.Context, token string) (*Tokens, error) {
	return o.call(ctx, o.RevokeURL, url.Values{"token": {token}}, nil)
}

func (o *OAuth) call(ctx context.Context, address string, form, more url.Values) (*Tokens, error) {
	for name, values := range more {
		form[name] = values
	}
	if o.InForm {
		form.Set("client_id", o.ClientID)
		form.Set("client_secret", o.ClientSecret)
	}
	return post(ctx, o.HTTP, address, form, func(request *http.Request) {
		if !o.InForm {
			request.SetBasicAuth(url.QueryEscape(o.ClientID), url.QueryEscape(o.ClientSecret))
		}
	})
}

// post sends a form, and reads the answer of an authorization server.
func post(ctx context.Context, transport http.RoundTripper, address string, form url.Values, change func(*http.Request)) (*Tokens, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if change != nil {
		change(request)
	}
	page, err := pageOf((&http.Client{Transport: transport}).Do(request)) //nolint:bodyclose // pageOf closes it
	if err != nil {
		return nil, err
	}
	tokens := &Tokens{Status: page.Status, Header: page.Header}
	if len(page.Body) > 0 {
		if err := json.Unmarshal([]byte(page.Body), tokens); err != nil {
			return nil, fmt.Errorf("the answer %d is no JSON: %s", page.Status, page.Body)
		}
	}
	tokens.Status = page.Status
	return tokens, nil
}
