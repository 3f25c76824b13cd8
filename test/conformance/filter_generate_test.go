//go:build conformance

package conformance

import (
	"encoding/json"
	"math/rand/v2"
	"slices"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

const (
	coreURN       = "urn:ietf:params:scim:schemas:core:2.0:User"
	enterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
)

// kind is the type that the schemas give to an attribute, as far as comparisons depend on it.
type kind int

const (
	kindString kind = iota // caseExact false
	kindExact              // caseExact true
	kindBoolean
	kindInteger
	kindTime
)

// kinds lists the simple attributes that generated filters use, from RFC 7643 sections 3.1, 4.1 and 4.3 and customAttributes.
var kinds = map[string]kind{
	"userName": kindString, "title": kindString, "displayName": kindString, "nickName": kindString,
	"externalId": kindExact, "id": kindExact, "active": kindBoolean, "level": kindInteger, "since": kindTime,
	"name.givenName": kindString, "name.familyName": kindString,
	"emails.value": kindString, "emails.type": kindString, "emails.primary": kindBoolean,
	enterpriseURN + ":department": kindString, enterpriseURN + ":manager.value": kindString,
}

// customAttributes extend the User schema by types that RFC 7643 section 4.1 does not use.
func customAttributes() []protocol.CustomAttribute {
	return []protocol.CustomAttribute{
		{Attribute: protocol.Attribute{Name: "level", Type: protocol.TypeInteger}},
		{Attribute: protocol.Attribute{Name: "since", Type: protocol.TypeDateTime}},
	}
}

type generator struct{ *rand.Rand }

func newGenerator(seed, stream uint64) generator {
	return generator{rand.New(rand.NewPCG(seed, stream))}
}

func pick[T any](g generator, choices ...T) T { return choices[g.IntN(len(choices))] }

func (g generator) oneIn(n int) bool { return g.IntN(n) == 0 }

var (
	words = []string{"anna", "Anna", "ANNA", "an", "bob", "Bob", "work", "Work", "home", "École", "école", "a/b", `a"b`, `a\b`, "", "ann@example.com"}
	times = []string{"2026-03-01T12:00:00Z", "2026-03-01T14:00:00+02:00", "2026-03-01T12:00:00.500Z", "2025-12-31T23:59:59Z"}
)

func (g generator) word() string { return pick(g, words...) }

func (g generator) valueOf(k kind) any {
	switch k {
	case kindBoolean:
		return g.oneIn(2)
	case kindInteger:
		return pick(g, json.Number("0"), json.Number("7"), json.Number("10"), json.Number("12"))
	case kindTime:
		return pick(g, times...)
	default:
		return g.word()
	}
}

// resource is a User with some of the attributes in kinds, now and then an empty one.
func (g generator) resource() map[string]any {
	r := map[string]any{"schemas": []any{coreURN}, "userName": pick(g, "anna", "Bob", "École"), "id": pick(g, "anna", "an", "Bob")}
	for _, name := range []string{"title", "displayName", "nickName", "externalId", "active", "level", "since"} {
		if g.oneIn(2) {
			r[name] = g.valueOf(kinds[name])
		}
	}
	if g.oneIn(2) {
		name := map[string]any{}
		for _, sub := range []string{"givenName", "familyName"} {
			if g.oneIn(2) {
				name[sub] = g.word()
			}
		}
		r["name"] = name
	}
	if emails := g.emails(); emails != nil {
		r["emails"] = emails
	}
	if g.oneIn(2) {
		r[enterpriseURN] = map[string]any{"department": g.word(), "manager": map[string]any{"value": g.word()}}
	}
	return r
}

// emails is nil, or a list in which no (type, value) pair comes twice and at most one is primary.
func (g generator) emails() []any {
	if g.oneIn(3) {
		return nil
	}
	types := []string{"work", "home", "other"}[:g.IntN(4)]
	list := []any{}
	primary := g.IntN(4)
	for i, label := range types {
		email := map[string]any{"value": pick(g, "anna", "Anna", "ann@example.com", "bob", "École"), "type": label}
		if i == primary {
			email["primary"] = true
		} else if g.oneIn(2) {
			email["primary"] = false
		}
		list = append(list, email)
	}
	return list
}

var paths = func() []string {
	list := []string{"emails", "urn:ietf:params:scim:schemas:core:2.0:User:userName", "USERNAME", "Name.GivenName"}
	for path := range kinds {
		list = append(list, path)
	}
	slices.Sort(list)
	return list
}()

func (g generator) filter(depth int) node {
	if depth > 0 {
		switch g.IntN(5) {
		case 0, 1:
			return g.joined(pick(g, "and", "or"), func() node { return g.filter(depth - 1) })
		case 2:
			return node{operator: "not", terms: []node{g.filter(depth - 1)}}
		case 3:
			return node{operator: "[]", path: "emails", terms: []node{g.elementFilter(depth)}}
		}
	}
	return g.leaf(pick(g, paths...), "")
}

// joined never puts a node under one of the same operator, which no parentheses would tell apart.
func (g generator) joined(operator string, term func() node) node {
	n := node{operator: operator}
	for range 2 + g.IntN(2) {
		next := term()
		if next.operator == operator {
			n.terms = append(n.terms, next.terms...)
		} else {
			n.terms = append(n.terms, next)
		}
	}
	return n
}

func (g generator) elementFilter(depth int) node {
	if depth > 1 {
		switch g.IntN(3) {
		case 0:
			return g.joined(pick(g, "and", "or"), func() node { return g.elementFilter(depth - 1) })
		case 1:
			return node{operator: "not", terms: []node{g.elementFilter(depth - 1)}}
		}
	}
	return g.leaf(pick(g, "value", "type", "primary"), "emails.")
}

func (g generator) leaf(path, parent string) node {
	if g.oneIn(6) {
		return node{operator: "pr", path: path}
	}
	k := kinds[schemaSpelling(parent+path)]
	n := node{operator: pick(g, "eq", "eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"), path: path, value: g.valueOf(k)}
	switch {
	case g.oneIn(20):
		n.value = nil
	case k == kindBoolean && !g.oneIn(6):
		n.operator = pick(g, "eq", "ne")
	case k == kindInteger && !g.oneIn(6):
		n.operator = pick(g, "eq", "ne", "gt", "ge", "lt", "le")
	case k == kindString && g.oneIn(6):
		n.escaped = true
	}
	return n
}
