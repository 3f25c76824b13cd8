package scimserver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/token"
)

// credential is what one accepted token opens.
type credential struct {
	app     types.NamespacedName
	tokenID string
	// tokens are the ScimTokens that stand for it: one, as a rule.
	tokens []types.NamespacedName
}

var (
	errNoCredentials  = errors.New("no credentials: send the App's token in the Authorization header as Bearer")
	errBadCredentials = errors.New("the token is not accepted: no ScimToken that its App accepts has its digest")
	errWrongApp       = errors.New("the token does not open the App that the URL names")
)

// credentials finds the ScimToken that a request's token belongs to. It follows ScimTokens by watch, holds digests only, and
// holds each request against the App and the ScimToken as they are then. Safe for concurrent use.
type credentials struct {
	mu sync.RWMutex
	// byID holds tokens by the identifier of their digest, so that a look-up compares few digests, each in constant time.
	byID map[string]map[types.NamespacedName]*v1alpha1.ScimToken
	now  func() time.Time
	// app returns an App as the watch last told.
	app func(types.NamespacedName) (*v1alpha1.App, bool)
}

func newCredentials(app func(types.NamespacedName) (*v1alpha1.App, bool)) *credentials {
	return &credentials{byID: map[string]map[types.NamespacedName]*v1alpha1.ScimToken{}, now: time.Now, app: app}
}

// watch feeds the credentials from the cache's ScimToken informer, and returns what tells whether they have caught up.
func (c *credentials) watch(ctx context.Context, from cache.Cache) ([]toolscache.InformerSynced, error) {
	return informers.Feed(ctx, informers.Of(from, &v1alpha1.ScimToken{}, informers.Changes(c.replace)))
}

func (c *credentials) replace(before, after *v1alpha1.ScimToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before != nil {
		id := token.ID(before.Status.Digest)
		delete(c.byID[id], keyOf(before))
		if len(c.byID[id]) == 0 {
			delete(c.byID, id)
		}
	}
	if after == nil || !token.IsDigest(after.Status.Digest) {
		return
	}
	id := token.ID(after.Status.Digest)
	if c.byID[id] == nil {
		c.byID[id] = map[types.NamespacedName]*v1alpha1.ScimToken{}
	}
	c.byID[id][keyOf(after)] = after
}

func keyOf(t *v1alpha1.ScimToken) types.NamespacedName {
	return types.NamespacedName{Namespace: t.Namespace, Name: t.Name}
}

// authenticate returns the App that the request's token opens. Several Apps may accept a token: the URL names one of them.
// Without a name in the URL only one App may accept it.
func (c *credentials) authenticate(r *http.Request, named types.NamespacedName) (credential, error) {
	presented := bearerToken(r.Header.Get("Authorization"))
	if presented == "" {
		return credential{}, errNoCredentials
	}
	digest := token.Digest(presented)
	atOwnURL, elsewhere := c.opens(digest)
	switch {
	case len(atOwnURL) == 0:
		return credential{}, errBadCredentials
	case named.Name != "" && !slices.Contains(atOwnURL, named):
		return credential{tokenID: token.ID(digest)}, errWrongApp
	case named.Name != "":
		return credential{app: named, tokenID: token.ID(digest), tokens: c.tokensOf(digest, named)}, nil
	case len(elsewhere) != 1:
		// The controller leaves a digest to one App here. Until it has, a request that names none opens none.
		return credential{}, errBadCredentials
	}
	return credential{app: elsewhere[0], tokenID: token.ID(digest), tokens: c.tokensOf(digest, elsewhere[0])}, nil
}

// opens returns the Apps that a token of this digest opens now: at the URL that names the App, and elsewhere.
func (c *credentials) opens(digest string) (atOwnURL, elsewhere []types.NamespacedName) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, t := range c.byID[token.ID(digest)] {
		if !token.Equal(t.Status.Digest, digest) || !c.usable(t) {
			continue
		}
		name := types.NamespacedName{Namespace: t.Namespace, Name: t.Spec.App}
		app, found := c.app(name)
		if !found || !app.Spec.Accepts(t, digest) {
			continue
		}
		if !slices.Contains(atOwnURL, name) {
			atOwnURL = append(atOwnURL, name)
		}
		if !t.Status.OwnURLOnly && !slices.Contains(elsewhere, name) {
			elsewhere = append(elsewhere, name)
		}
	}
	return atOwnURL, elsewhere
}

// tokensOf returns the ScimTokens of an App that a token of this digest stands for.
func (c *credentials) tokensOf(digest string, app types.NamespacedName) []types.NamespacedName {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var names []types.NamespacedName
	for _, t := range c.byID[token.ID(digest)] {
		if t.Namespace == app.Namespace && t.Spec.App == app.Name && token.Equal(t.Status.Digest, digest) && c.usable(t) {
			names = append(names, keyOf(t))
		}
	}
	return names
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
	case t.Spec.Digest != "" && !token.Equal(t.Spec.Digest, t.Status.Digest):
		return false
	}
	return true
}

// bearerToken reads a token as Okta's kinds of app send it: "Bearer x" (RFC 6750 section 2.1), "x" alone, and
// "Bearer Bearer x" where an admin pasted the word into a field that adds it.
func bearerToken(header string) string {
	value := strings.TrimSpace(header)
	for {
		scheme, rest, found := strings.Cut(value, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			break
		}
		if !found {
			return ""
		}
		value = strings.TrimSpace(rest)
	}
	if strings.ContainsAny(value, " \t") {
		// Another scheme, such as Basic: no token of ours.
		return ""
	}
	return value
}
