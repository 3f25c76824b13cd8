package scimserver

import (
	"cmp"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

// credential is what one accepted token opens.
type credential struct {
	app     types.NamespacedName
	tokenID string
	// scopes are what the token may ask for.
	scopes scopes
	// basic says that the token is accepted as the password of Basic authentication, too.
	basic bool
	// tokens are the ScimTokens that stand for it: one, as a rule; none for a token of an issuer.
	tokens []types.NamespacedName
	// foreign is the client that a token of an issuer names; nil for a ScimToken.
	foreign *foreignClient
	// judge holds the credential against what there is by now: it returns its scopes, or why it does not open the App any more.
	judge func() (scopes, error)
}

var (
	errNoCredentials = errors.New("no credentials: send the App's token in the Authorization header as Bearer")
	errNoBasic       = errors.New("no credentials: after Basic, the Authorization header has no base64 of a user name, a colon and a password")
	errBasicOff      = errors.New("the token is not accepted as a password: its ScimToken has no spec.basic. Add that, or choose HTTP Header in the client and give the token alone")
	errBadBasic      = errors.New("the user name and password are not accepted: the password must be a token of the App, with spec.basic in its ScimToken, " +
		"and the user name that of spec.basic.userName, or the token's ID. Or choose HTTP Header in the client and give the token alone")
	errBadCredentials = errors.New("the token is not accepted: no ScimToken that its App accepts has its digest")
	errMistyped       = errors.New("the token is not accepted: it is cut short or mistyped, since its checksum is wrong. Copy all of it again")
	errWrongApp       = errors.New("the token does not open the App that the URL names")
)

// addressError refuses a token that other addresses may use.
type addressError struct{ from netip.Addr }

func (e addressError) Error() string {
	return "the token is not accepted from " + e.from.String() + ", the address that this request came from: " +
		"spec.allowedCIDRs of its ScimToken lists others. Behind a proxy the server believes X-Forwarded-For of its --trusted-proxies alone"
}

// credentials finds the ScimToken that a request's token belongs to. It follows ScimTokens by watch, holds digests only, and
// holds each request against the App and the ScimToken as they are then. Safe for concurrent use.
type credentials struct {
	mu sync.RWMutex
	// byID holds tokens by the identifier of their digest, so that a look-up compares few digests, each in constant time.
	byID map[string]map[types.NamespacedName]*v1alpha1.ScimToken
	// secrets holds those of the type ClientSecret, which open nothing.
	secrets map[types.NamespacedName]*v1alpha1.ScimToken
	now     func() time.Time
	// backed says whether an issued token's OAuthGrant gives access now.
	backed func(*v1alpha1.ScimToken) bool
	// app returns an App as the watch last told.
	app func(types.NamespacedName) (*v1alpha1.App, bool)
}

func newCredentials(app func(types.NamespacedName) (*v1alpha1.App, bool)) *credentials {
	return &credentials{
		byID: map[string]map[types.NamespacedName]*v1alpha1.ScimToken{}, secrets: map[types.NamespacedName]*v1alpha1.ScimToken{},
		now: time.Now, app: app, backed: func(*v1alpha1.ScimToken) bool { return false },
	}
}

func (c *credentials) replace(before, after *v1alpha1.ScimToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before != nil {
		delete(c.secrets, keyOf(before))
	}
	if after != nil && after.Spec.Type == v1alpha1.TokenTypeClientSecret {
		c.secrets[keyOf(after)] = after
	}
	for _, digest := range digestsOf(before) {
		id := token.ID(digest)
		delete(c.byID[id], keyOf(before))
		if len(c.byID[id]) == 0 {
			delete(c.byID, id)
		}
	}
	for _, digest := range digestsOf(after) {
		id := token.ID(digest)
		if c.byID[id] == nil {
			c.byID[id] = map[types.NamespacedName]*v1alpha1.ScimToken{}
		}
		c.byID[id][keyOf(after)] = after
	}
}

// digestsOf returns the digests that a ScimToken publishes; t may be nil. Those of an issued token count before the controller has
// seen it, since no account but the server's makes them.
func digestsOf(t *v1alpha1.ScimToken) []string {
	var digests []string
	if t != nil && t.Spec.Type == v1alpha1.TokenTypeAccess {
		return []string{t.Spec.Digest}
	}
	if t != nil && token.IsDigest(t.Status.Digest) {
		digests = append(digests, t.Status.Digest)
	}
	if former := formerOf(t); former != nil && token.IsDigest(former.Digest) {
		digests = append(digests, former.Digest)
	}
	return digests
}

// formerOf returns the token that a ScimToken's newest one replaces, or nil.
func formerOf(t *v1alpha1.ScimToken) *v1alpha1.FormerToken {
	if t == nil || t.Status.Rotation == nil {
		return nil
	}
	return t.Status.Rotation.Former
}

// standsFor says whether a ScimToken stands for a digest now. The end of a former token is held against the clock here, too.
func (c *credentials) standsFor(t *v1alpha1.ScimToken, digest string) bool {
	if t.Spec.Type == v1alpha1.TokenTypeAccess {
		return token.Equal(t.Spec.Digest, digest) && c.backed(t)
	}
	if token.Equal(t.Status.Digest, digest) {
		return true
	}
	former := formerOf(t)
	return former != nil && token.Equal(former.Digest, digest) && c.now().Before(former.Until.Time)
}

func keyOf(t *v1alpha1.ScimToken) types.NamespacedName {
	return types.NamespacedName{Namespace: t.Namespace, Name: t.Name}
}

// authenticate returns the App that the request's token opens, for a client at an address. Several Apps may accept a token: the
// URL names one of them. Without a name in the URL only one App may accept it.
func (c *credentials) authenticate(r *http.Request, from netip.Addr, named types.NamespacedName) (credential, error) {
	shown, err := presentedBy(r)
	if err != nil {
		return credential{}, err
	}
	digest := token.Digest(shown.token)
	openings, refused := c.openings(shown, digest, from)
	switch {
	case len(openings) > 0:
	case refused != nil:
		return credential{}, refused
	case token.IsMistyped(shown.token):
		return credential{}, errMistyped
	case shown.basic:
		return credential{}, errBadBasic
	default:
		return credential{}, errBadCredentials
	}
	mine := slices.DeleteFunc(openings, func(o opening) bool {
		return named.Name != "" && o.app != named || named.Name == "" && o.ownURLOnly
	})
	switch {
	case len(mine) == 0 && named.Name != "":
		return credential{tokenID: token.ID(digest)}, errWrongApp
	case len(mine) == 0 || slices.ContainsFunc(mine, func(o opening) bool { return o.app != mine[0].app }):
		// The controller leaves a digest to one App here. Until it has, a request that names none opens none.
		return credential{}, errBadCredentials
	}
	opened := credential{app: mine[0].app, tokenID: token.ID(digest)}
	for _, each := range mine {
		opened.tokens = append(opened.tokens, each.token)
		opened.scopes |= each.scopes
		opened.basic = opened.basic || each.basic
	}
	shown.token = "" // its digest is enough from here on
	opened.judge = func() (scopes, error) { return c.rejudge(shown, digest, from, opened.app) }
	return opened, nil
}

// rejudge returns the scopes that a token has by now for the App that it opened, or why it does not open it any more.
func (c *credentials) rejudge(shown presented, digest string, from netip.Addr, app types.NamespacedName) (scopes, error) {
	openings, refused := c.openings(shown, digest, from)
	var held scopes
	found := false
	for _, each := range openings {
		if each.app == app {
			held, found = held|each.scopes, true
		}
	}
	switch {
	case found:
		return held, nil
	case refused != nil:
		return 0, refused
	}
	return 0, errBadCredentials
}

// opening is one ScimToken that lets a request into its App.
type opening struct {
	app, token types.NamespacedName
	scopes     scopes
	basic      bool
	// ownURLOnly says that it does so only where the URL names the App.
	ownURLOnly bool
}

// openings returns what a presented token of this digest opens now for a client at an address, or why an App that accepts it does not
// take it from this client; both are nil for a token that no App accepts.
func (c *credentials) openings(shown presented, digest string, from netip.Addr) (openings []opening, refused error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, t := range c.byID[token.ID(digest)] {
		if !c.standsFor(t, digest) || !c.usable(t) {
			continue
		}
		name := types.NamespacedName{Namespace: t.Namespace, Name: t.Spec.App}
		app, found := c.app(name)
		if !found || !app.Spec.Accepts(t, digest) {
			continue
		}
		if err := mayPresent(t, shown, digest, from); err != nil {
			refused = err
			continue
		}
		openings = append(openings, opening{
			app: name, token: keyOf(t), ownURLOnly: t.Status.OwnURLOnly, basic: t.Spec.Basic != nil,
			scopes: scopesOf(t.Spec.Scopes) & scopesOf(app.Spec.ScopesOf(t, digest)),
		})
	}
	return openings, refused
}

// mayPresent says why a client at an address may not use a token in the way it did, or nil.
func mayPresent(t *v1alpha1.ScimToken, shown presented, digest string, from netip.Addr) error {
	switch {
	case !networksAllow(t.Spec.AllowedCIDRs, from):
		return addressError{from}
	case shown.basic && t.Spec.Basic == nil:
		return errBasicOff
	case shown.basic && !token.Equal(shown.userDigest, token.Digest(cmp.Or(t.Spec.Basic.UserName, token.ID(digest)))):
		return errBadBasic
	}
	return nil
}

// networksAllow says whether a client may be at an address, by a list of networks that is empty where any is allowed. A network that cannot be read
// allows none.
func networksAllow(networks []string, from netip.Addr) bool {
	if len(networks) == 0 {
		return true
	}
	for _, network := range networks {
		if prefix, err := netip.ParsePrefix(network); err == nil && prefix.Contains(from) {
			return true
		}
	}
	return false
}

// token returns a ScimToken as the watch last told, of those that have this identifier; nil where there is none.
func (c *credentials) token(id string, name types.NamespacedName) *v1alpha1.ScimToken {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byID[id][name]
}

// usable holds a token against its own specification at this very moment, rather than trust that the controller has
// withdrawn the digest in time.
func (c *credentials) usable(t *v1alpha1.ScimToken) bool {
	now := c.now()
	switch {
	case t.Spec.Suspended, !t.DeletionTimestamp.IsZero():
		return false
	case t.Spec.ExpiresAt != nil && !now.Before(t.Spec.ExpiresAt.Time):
		return false
	case t.Spec.NotBefore != nil && now.Before(t.Spec.NotBefore.Time):
		return false
	case t.Spec.Type != v1alpha1.TokenTypeAccess && t.Spec.Digest != "" && !token.Equal(t.Spec.Digest, t.Status.Digest):
		return false
	}
	return true
}
