package scimtoken

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// registry knows which accepted ScimTokens stand for which digest, in all namespaces, as far as this process looked at them.
// At a URL that names no App the token decides which one it is for: there, a digest belongs to one App. The zero value is ready to use.
type registry struct {
	mutex    sync.Mutex
	byToken  map[types.NamespacedName]claim
	byDigest map[string]map[types.NamespacedName]bool
}

// claim is one token's claim on its digest.
type claim struct {
	digest string
	app    types.NamespacedName
	// published claims are in the token's status: requests to /scim/v2 are let in by it.
	published bool
	created   time.Time
}

// precedes says whether a claim goes before one of another App: the published one, else the older one. So the order in which
// tokens are looked at, such as that of a start, decides nothing.
func (c claim) precedes(other claim) bool {
	if c.published != other.published {
		return c.published
	}
	return cmp.Or(c.created.Compare(other.created), cmp.Compare(c.app.String(), other.app.String())) < 0
}

// set records the claim of a token, and returns those that other Apps have on the same digest.
func (g *registry) set(name types.NamespacedName, mine claim) (rivals []claim) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if before, found := g.byToken[name]; found && before.digest != mine.digest {
		g.remove(name)
	}
	if g.byToken == nil {
		g.byToken, g.byDigest = map[types.NamespacedName]claim{}, map[string]map[types.NamespacedName]bool{}
	}
	g.byToken[name] = mine
	if g.byDigest[mine.digest] == nil {
		g.byDigest[mine.digest] = map[types.NamespacedName]bool{}
	}
	g.byDigest[mine.digest][name] = true
	for _, other := range g.others(name, mine.digest) {
		if g.byToken[other].app != mine.app {
			rivals = append(rivals, g.byToken[other])
		}
	}
	return rivals
}

// publish marks a token's claim as published.
func (g *registry) publish(name types.NamespacedName) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if mine, found := g.byToken[name]; found {
		mine.published = true
		g.byToken[name] = mine
	}
}

// forget drops a token's claim and returns the tokens that may get another verdict by it.
func (g *registry) forget(name types.NamespacedName) []types.NamespacedName {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.remove(name)
}

// claimants returns the other tokens that claim a digest.
func (g *registry) claimants(name types.NamespacedName, digest string) []types.NamespacedName {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.others(name, digest)
}

func (g *registry) remove(name types.NamespacedName) []types.NamespacedName {
	entry, found := g.byToken[name]
	if !found {
		return nil
	}
	delete(g.byToken, name)
	delete(g.byDigest[entry.digest], name)
	if len(g.byDigest[entry.digest]) == 0 {
		delete(g.byDigest, entry.digest)
	}
	return g.others(name, entry.digest)
}

// others returns the other tokens of a digest, in a stable order.
func (g *registry) others(name types.NamespacedName, digest string) []types.NamespacedName {
	var others []types.NamespacedName
	for other := range g.byDigest[digest] {
		if other != name {
			others = append(others, other)
		}
	}
	slices.SortFunc(others, func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return others
}

// wake brings tokens back that may have got another verdict.
func (r *Reconciler) wake(names []types.NamespacedName) {
	for _, name := range names {
		if r.enqueue != nil {
			r.enqueue(name)
		}
	}
}
