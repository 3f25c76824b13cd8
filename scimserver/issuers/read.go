package issuers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/scim-operator/scim-operator/internal/clip"
)

const (
	// readTimeout bounds the two requests of one read; maxDocument what each answers, in bytes.
	readTimeout = 10 * time.Second
	maxDocument = 256 << 10
	// maxNamed bounds what an issuer's document names and an error repeats.
	maxNamed = 200
)

// readError says why keys could not be read, for people. It holds no address and nothing of an answer but what discovery names.
type readError struct{ text string }

func (e *readError) Error() string { return e.text }

func unreadable(format string, args ...any) error { return &readError{fmt.Sprintf(format, args...)} }

// reader reads one issuer's keys.
type reader struct {
	issuer string
	client *http.Client
}

// newReader returns a reader that trusts an authority in PEM, or, where that is "", the system's. It fails where authority holds no
// certificate.
func newReader(issuer, authority string, networks Networks) (*reader, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if authority != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(authority)) {
			return nil, unreadable("spec.oidc.certificateAuthority holds no certificate that can be read")
		}
	}
	dialer := &net.Dialer{Timeout: readTimeout, Control: networks.control}
	return &reader{issuer: issuer, client: &http.Client{
		Timeout: readTimeout,
		// No proxy: behind one the address that is asked would not be known here.
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: config, DisableKeepAlives: true,
			TLSHandshakeTimeout: readTimeout, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// read returns the issuer's keys, by discovery (OpenID Connect Discovery 1.0 section 4). Its errors are *readError.
func (r *reader) read(ctx context.Context) ([]key, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	body, err := r.get(ctx, "the discovery document", strings.TrimSuffix(r.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(body, &document) != nil {
		return nil, unreadable("the discovery document is no JSON object as OpenID Connect Discovery has it")
	}
	if document.Issuer != r.issuer {
		return nil, unreadable("the discovery document names the issuer %q: spec.oidc.issuer must be that, byte by byte", clip.Text(document.Issuer, maxNamed))
	}
	at, err := url.Parse(document.JWKSURI)
	if err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil {
		return nil, unreadable("jwks_uri of the discovery document is no https URL")
	}
	if body, err = r.get(ctx, "the key set", at.String()); err != nil {
		return nil, err
	}
	return parseKeys(body)
}

// get returns the body of one document.
func (r *reader) get(ctx context.Context, what, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, unreadable("the URL of %s cannot be read", what)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "scim-operator")
	response, err := r.client.Do(request)
	if err != nil {
		return nil, unreadable("%s: %s", what, causeOf(err))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, unreadable("%s: the issuer answered %d", what, response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	switch {
	case err != nil:
		return nil, unreadable("%s: %s", what, causeOf(err))
	case len(body) > maxDocument:
		return nil, unreadable("%s is larger than %d bytes", what, maxDocument)
	}
	return body, nil
}

// causeOf says in a few words why a request failed. It repeats no text of the error: that could tell of what is at an address.
func causeOf(err error) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var name *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, errForbiddenAddress):
		return "its address is private, link-local or of this machine, and in no network of the server's --issuer-networks"
	case errors.As(err, &authority):
		return "its certificate is signed by no authority that is trusted: spec.oidc.certificateAuthority can name one"
	case errors.As(err, &host), errors.As(err, &invalid):
		return "its certificate is not valid for its name, or not now"
	case errors.As(err, &name):
		return "its name is not found"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "the issuer did not answer in time"
	}
	return "the issuer cannot be connected to by HTTPS"
}
