package scimserver

import (
	"errors"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/clip"
	"github.com/scim-operator/scim-operator/internal/token"
	"github.com/scim-operator/scim-operator/scimserver/issuers"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// Tokens of the issuers that Apps name in spec.oidc.

// maxSubject bounds what an issuer calls a client in logs and statuses, in bytes.
const maxSubject = 128

// foreignClient is what a token of an issuer says of its bearer, cut to maxSubject.
type foreignClient struct{ subject, authorizedParty string }

// values are those of log lines.
func (c *foreignClient) values() []any {
	if c == nil {
		return nil
	}
	values := []any{"subject", c.subject}
	if c.authorizedParty != "" {
		values = append(values, "authorizedParty", c.authorizedParty)
	}
	return values
}

var errForeignURL = errors.New("the token is not accepted: no ScimToken that its App accepts has its digest. A token of an issuer (spec.oidc) opens its App " +
	"at the URL that names the App alone: /apps/<namespace>/<name>/scim/v2")

// foreignTokens judges tokens of issuers. Safe for concurrent use.
type foreignTokens struct {
	issuers *issuers.Set
	// app returns an App as the watch last told.
	app func(types.NamespacedName) (*v1alpha1.App, bool)
}

// authenticate returns what a token of the issuer opens that the App in the URL names. It is asked of tokens that are no ScimToken's.
func (f *foreignTokens) authenticate(x *exchange, text string, from netip.Addr) (credential, error) {
	if x.route.app.Name == "" {
		return credential{}, errForeignURL
	}
	app, err := f.trusting(x.route.app)
	if err != nil {
		return credential{}, err
	}
	client, err := f.issuers.Verify(x.context(), app, text)
	if err != nil {
		return credential{}, err
	}
	opened := credential{
		app: x.route.app, tokenID: token.ID(token.Digest(text)),
		foreign: &foreignClient{clip.Text(client.Subject, maxSubject), clip.Text(client.AuthorizedParty, maxSubject)},
	}
	opened.judge = func() (scopes, error) {
		now, err := f.trusting(opened.app)
		if err != nil {
			return 0, err
		}
		if err := client.StillOpens(now); err != nil {
			return 0, err
		}
		if !networksAllow(now.Spec.OIDC.AllowedCIDRs, from) {
			return 0, foreignAddressError{from}
		}
		return scopesOf(now.Spec.OIDC.Scopes), nil
	}
	if opened.scopes, err = opened.judge(); err != nil {
		return credential{}, err
	}
	return opened, nil
}

// trusting returns an App that names an issuer.
func (f *foreignTokens) trusting(name types.NamespacedName) (*v1alpha1.App, error) {
	app, found := f.app(name)
	if !found || app.Spec.OIDC == nil {
		return nil, errBadCredentials
	}
	return app, nil
}

// foreignAddressError refuses a token of an issuer that other addresses may use.
type foreignAddressError struct{ from netip.Addr }

func (e foreignAddressError) Error() string {
	return "the token is not accepted from " + e.from.String() + ", the address that this request came from: " +
		"spec.oidc.allowedCIDRs of the App lists others. Behind a proxy the server believes X-Forwarded-For of its --trusted-proxies alone"
}

// unavailable answers a request of which the issuer's keys say nothing at the moment: 429, never a refusal, and never an open door.
func (x *exchange) unavailable(err *issuers.UnavailableError) error {
	x.writer.Header().Set("Retry-After", retryAfterSeconds(err.RetryAfter))
	return protocol.TooManyRequests("%s.", strings.TrimSuffix(err.Detail, "."))
}
