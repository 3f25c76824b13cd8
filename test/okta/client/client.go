// Package okta speaks SCIM 2.0 as Okta's provisioning does, over HTTP and with no knowledge of the server: the headers,
// the percent-encoding of queries and the order of keys are those of Okta's own requests. Client sends single requests
// and holds every answer against what Okta needs of it; conversation.go plays what an administrator's action in Okta
// sends, in the dialect of either kind of Okta app.
//
// It stands outside the operator, at the far end of HTTP.
package okta

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Dialect is how one kind of Okta app writes changes.
type Dialect string

const (
	// AppWizard apps (a SAML or SWA integration with SCIM provisioning enabled) read a user and PUT it back whole.
	AppWizard Dialect = "AppWizard"
	// Template apps ("SCIM 2.0 Test App") send PATCH requests without a path.
	Template Dialect = "Template"
)

// Dialects lists both, for table tests.
var Dialects = []Dialect{AppWizard, Template}

const (
	userAgent   = "Okta SCIM Client 1.0.0"
	contentType = "application/scim+json; charset=utf-8"
	// answerTimeout is how long Okta waits before it closes the connection.
	answerTimeout = 60 * time.Second
	// retryLimit bounds one wait for Retry-After.
	retryLimit = 30 * time.Second
)

// Client is one Okta app integration: a base URL and a credential. Use New. It may be used by several goroutines.
type Client struct {
	// BaseURL goes before every path, as it is configured in Okta.
	BaseURL string
	// Authorization is the header's whole value, e.g. "Bearer abc"; empty sends none.
	Authorization string
	Dialect       Dialect
	// Retries is how often a request answered 429 is sent again after its Retry-After.
	Retries int
	// OnPassword is told every password before it is sent. It may be nil.
	OnPassword func(password string)

	http *http.Client
}

// New returns a client. Connections are kept and shared by its requests.
func New(baseURL, authorization string, dialect Dialect) *Client {
	return &Client{
		BaseURL:       baseURL,
		Authorization: authorization,
		Dialect:       dialect,
		http: &http.Client{
			Timeout: answerTimeout,
			// Tests make many clients, and a server lets one address have so many connections.
			Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, IdleConnTimeout: 15 * time.Second},
			// A redirected POST would arrive as a GET: Okta shows an error instead.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close ends connections that no request uses: a server that stops would wait for those that never carried one.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// UseTransport sends all further requests by another transport, which may count them. Call it before the first request.
func (c *Client) UseTransport(transport http.RoundTripper) { c.http.Transport = transport }

// Edit changes a request just before it is sent.
type Edit func(*http.Request)

// WithHeader sets one header; an empty value removes it.
func WithHeader(name, value string) Edit {
	return func(r *http.Request) {
		if value == "" {
			r.Header.Del(name)
			return
		}
		r.Header.Set(name, value)
	}
}

// Do sends one request to the base URL followed by target, with Okta's headers. The error is a *ViolationError where the
// answer is none that Okta can use, whatever was asked; the exchange is returned with it.
func (c *Client) Do(ctx context.Context, method, target string, body []byte, edits ...Edit) (*Exchange, error) {
	for attempt := 0; ; attempt++ {
		exchange, err := c.once(ctx, method, target, body, edits)
		if err != nil || exchange.Status != http.StatusTooManyRequests || attempt >= c.Retries {
			return exchange, err
		}
		if err := wait(ctx, exchange.RetryAfter()); err != nil {
			return exchange, err
		}
	}
}

func (c *Client) once(ctx context.Context, method, target string, body []byte, edits []Edit) (*Exchange, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.BaseURL+target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body == nil {
		request.Body, request.GetBody = http.NoBody, nil
	}
	request.Header = http.Header{
		"Accept":          {"application/scim+json"},
		"Accept-Charset":  {"utf-8"},
		"Accept-Encoding": {"gzip,deflate"},
		"User-Agent":      {userAgent},
		"Connection":      {"Keep-Alive"},
	}
	if c.Authorization != "" {
		request.Header.Set("Authorization", c.Authorization)
	}
	if body != nil {
		request.Header.Set("Content-Type", contentType)
	}
	for _, edit := range edits {
		edit(request)
	}
	exchange := &Exchange{Method: method, URL: request.URL.String(), RequestHeader: request.Header, RequestBody: body}
	begun := time.Now()
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s %s: no answer after %s: %w", method, exchange.URL, time.Since(begun).Round(time.Millisecond), err)
	}
	defer func() { _ = response.Body.Close() }()
	exchange.Status, exchange.Header = response.StatusCode, response.Header
	exchange.Body, err = readBody(response)
	exchange.Duration = time.Since(begun)
	if err != nil {
		return nil, fmt.Errorf("%s %s: half an answer: %w", method, exchange.URL, err)
	}
	return exchange, exchange.check()
}

func readBody(response *http.Response) ([]byte, error) {
	reader := io.Reader(response.Body)
	if response.Header.Get("Content-Encoding") == "gzip" {
		unzip, err := gzip.NewReader(reader)
		if err != nil {
			return nil, err
		}
		reader = unzip
	}
	return io.ReadAll(reader)
}

func wait(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(min(duration, retryLimit))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Exchange is one request and its answer.
type Exchange struct {
	Method, URL   string
	RequestHeader http.Header
	RequestBody   []byte

	Status int
	Header http.Header
	// Body is the answer's, uncompressed.
	Body []byte
	// Document is the body as decoded JSON, numbers as json.Number; nil where the body is empty.
	Document any
	Duration time.Duration
}

// RetryAfter is what the answer asks the client to wait; Okta takes five minutes where it names no whole seconds.
func (e *Exchange) RetryAfter() time.Duration {
	seconds, err := strconv.Atoi(e.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 5 * time.Minute
	}
	return time.Duration(seconds) * time.Second
}

// String shows the request and the answer, without the credential.
func (e *Exchange) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  > %s %s\n", e.Method, e.URL)
	for _, name := range []string{"Accept", "Content-Type", "User-Agent"} {
		if value := e.RequestHeader.Get(name); value != "" {
			fmt.Fprintf(&b, "  > %s: %s\n", name, value)
		}
	}
	if len(e.RequestBody) > 0 {
		fmt.Fprintf(&b, "  > %s\n", shorten(e.RequestBody))
	}
	fmt.Fprintf(&b, "  < %d after %s\n", e.Status, e.Duration.Round(time.Millisecond))
	for _, name := range []string{"Content-Type", "Location", "Allow", "Retry-After", "WWW-Authenticate"} {
		if value := e.Header.Get(name); value != "" {
			fmt.Fprintf(&b, "  < %s: %s\n", name, value)
		}
	}
	fmt.Fprintf(&b, "  < %s", shorten(e.Body))
	return b.String()
}

func shorten(body []byte) string {
	const limit = 4096
	if len(body) > limit {
		return fmt.Sprintf("%s… (%d bytes)", body[:limit], len(body))
	}
	return string(body)
}

// Escape percent-encodes one value of a query as Okta does: spaces are %20, a plus is %2B.
func Escape(value string) string {
	return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}

// FilterQuery is the query of Okta's look-ups: "?filter=…&startIndex=1&count=100".
func FilterQuery(filter string) string {
	return "?filter=" + Escape(filter) + "&startIndex=1&count=100"
}

// Equals writes the filter `attribute eq "value"` (RFC 7644 section 3.4.2.2).
func Equals(attribute, value string) string {
	return attribute + " eq " + string(quote(value))
}
