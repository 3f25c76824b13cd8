package scimtoken

import (
	"cmp"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// registry knows which ScimTokens have which digest, in all namespaces. The zero value is ready to use.
type registry struct {
	mutex    sync.Mutex
	byToken  map[types.NamespacedName]registered
	byDigest map[string]map[types.NamespacedName]registered
}

type registered struct {
	digest string
	app    types.NamespacedName
}

// set records the digest of a token. It returns another token of that digest that opens another App, if there is one,
// and the tokens whose verdict may change by it.
func (g *registry) set(name types.NamespacedName, digest, app string) (rival types.NamespacedName, touched []types.NamespacedName) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	entry := registered{digest: digest, app: types.NamespacedName{Namespace: name.Namespace, Name: app}}
	if g.byToken[name] != entry {
		touched = g.remove(name)
		if g.byToken == nil {
			g.byToken, g.byDigest = map[types.NamespacedName]registered{}, map[string]map[types.NamespacedName]registered{}
		}
		touched = append(touched, g.others(name, digest)...)
		g.byToken[name] = entry
		if g.byDigest[digest] == nil {
			g.byDigest[digest] = map[types.NamespacedName]registered{}
		}
		g.byDigest[digest][name] = entry
	}
	for _, other := range g.others(name, digest) {
		if g.byToken[other].app != entry.app {
			return other, touched
		}
	}
	return types.NamespacedName{}, touched
}

// forget drops a token and returns those whose verdict may change by it.
func (g *registry) forget(name types.NamespacedName) []types.NamespacedName {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.remove(name)
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

// wake brings tokens back whose verdict may have changed.
func (r *Reconciler) wake(names []types.NamespacedName) {
	for _, name := range names {
		if r.enqueue != nil {
			r.enqueue(name)
		}
	}
}
