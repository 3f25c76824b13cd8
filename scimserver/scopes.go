package scimserver

import (
	"net/http"
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// scopes say what a token may do, as bits: those of two lists meet in what both allow.
type scopes uint8

const (
	readsUsers scopes = 1 << iota
	writesUsers
	readsGroups
	writesGroups

	allScopes = readsUsers | writesUsers | readsGroups | writesGroups
)

// scopeNames are the scopes in the order in which answers list them.
var scopeNames = []struct {
	name v1alpha1.TokenScope
	bits scopes
}{
	{v1alpha1.TokenScopeRead, readsUsers | readsGroups},
	{v1alpha1.TokenScopeUsers, readsUsers | writesUsers},
	{v1alpha1.TokenScopeGroups, readsGroups | writesGroups},
}

// scopesOf reads scopes as objects list them: an empty list has all of them, and an unknown name adds nothing.
func scopesOf(names []v1alpha1.TokenScope) scopes {
	if len(names) == 0 {
		return allScopes
	}
	var held scopes
	for _, name := range names {
		for _, each := range scopeNames {
			if name == each.name {
				held |= each.bits
			}
		}
	}
	return held
}

// permit holds a request against the scopes of its token. The error is a 403 that names the scopes that would do.
func (x *exchange) permit() error {
	needed := x.neededScopes()
	if x.credential.scopes&needed == needed {
		return nil
	}
	var enough []string
	for _, each := range scopeNames {
		if each.bits&needed == needed {
			enough = append(enough, string(each.name))
		}
	}
	bounds := "spec.scopes of the ScimToken bounds its scopes, and so does scopes of its entry in the App's spec.tokens."
	if x.credential.foreign != nil {
		bounds = "spec.oidc.scopes of the App bounds its scopes."
	}
	return protocol.Forbidden("The token may not do this: it takes the scope %s. %s", strings.Join(enough, " or "), bounds)
}

// neededScopes returns the scopes that a request takes. Discovery takes none; a bulk request takes none itself, since each of its
// operations does.
func (x *exchange) neededScopes() scopes {
	method := x.request.Method
	reads := method == http.MethodGet || method == http.MethodHead || x.route.id == searchPath
	switch {
	case x.route.endpoint == endpointSearch:
		return readsUsers | readsGroups
	case x.route.endpoint == endpointUsers && reads:
		return readsUsers
	case x.route.endpoint == endpointUsers:
		return writesUsers
	case x.route.endpoint == endpointGroups && reads:
		return readsGroups
	case x.route.endpoint == endpointGroups:
		return writesGroups
	}
	return 0
}
