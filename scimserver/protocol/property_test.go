package protocol

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// generator makes JSON that mutation of bytes hardly ever reaches: valid, in the vocabulary of SCIM, and odd.
type generator struct{ *rand.Rand }

func pick[T any](g generator, choices ...T) T { return choices[g.IntN(len(choices))] }

func (g generator) name() string {
	return pick(g, "userName", "USERNAME", "title", "Title", "active", "name", "Name", "emails", "EMAILS", "roles", "teams", "addresses", "manager", "Manager", "role", "Role",
		"id", "meta", "groups", "schemas", "password", "unknown", "UNKNOWN", "un.known", "un known", "", "value", "type", "primary", "Primary", "Value", "givenName", "display", "$ref",
		"level", "score", "since", "badge", "department", UserSchema, lowerCoreURN, shortCoreURN, EnterpriseUserSchema, strings.ToLower(EnterpriseUserSchema), spaceURN, "urn:foo:1.0:Bar", "urn:FOO:1.0:bar", "http://x/y",
		UserSchema+":title", UserSchema+":name.givenName", shortCoreURN+":role", EnterpriseUserSchema+":manager", EnterpriseUserSchema+".department", EnterpriseUserSchema+":manager.value", spaceURN+":level",
		"urn:foo:1.0:Bar:x", "urn:foo:1.0:Bar:x.y", "name.givenName", "emails.value", "manager.value", "unknown.x", `emails[type eq "work"].value`, `roles[primary eq "True"].value`, `unknown[value eq 1]`,
		`teams[value eq "a"]`, `emails[value sw "a" or primary eq true]`, `addresses[type eq "work"]`, `emails[`, `emails[type eq "work" and value eq "b"].primary`, "urn:x:password", "password.x", `password[value eq "x"].y`)
}

func (g generator) scalar() string {
	return pick(g, `"a"`, `"A"`, `"b"`, `"work"`, `"home"`, `""`, `null`, `true`, `false`, `"True"`, `"false"`, `1`, `"1"`, `1.50`, `-0`, `1e2`, `"2011-05-13T04:42:34Z"`, `"é"`, `"e\u0301"`)
}

func (g generator) value(depth int) string {
	choice := 0
	if depth > 0 {
		choice = g.IntN(9)
	}
	switch choice {
	case 1, 2, 3:
		return g.object(depth - 1)
	case 4, 5:
		var elements []string
		for range g.IntN(4) {
			elements = append(elements, g.value(depth-1))
		}
		return "[" + strings.Join(elements, ",") + "]"
	default:
		return g.scalar()
	}
}

func (g generator) object(depth int) string {
	var members []string
	for range g.IntN(5) {
		members = append(members, fmt.Sprintf("%s:%s", appendString(nil, g.name()), g.value(depth)))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (g generator) operation() string {
	op := pick(g, "add", "replace", "remove", "Replace")
	if g.IntN(3) == 0 {
		return fmt.Sprintf(`{"op":%q,"value":%s}`, op, g.object(3))
	}
	return fmt.Sprintf(`{"op":%q,"path":%s,"value":%s}`, op, appendString(nil, g.name()), g.value(2))
}

func TestRandomConversations(t *testing.T) {
	s := fuzzSchemas(t)
	for seed := range uint64(4000) {
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		body := g.object(4)
		current, err := s.DecodeUser([]byte(body))
		if err != nil {
			wantProtocolError(t, err)
			current = decode(t, s, pick(g, userSeeds...))
		}
		checkNormalised(t, s, current)
		for range 4 {
			var operations []string
			for range 1 + g.IntN(2) {
				operations = append(operations, g.operation())
			}
			patch := patchBody(operations...)
			next, _ := checkPatch(t, s, current, []byte(patch))
			if t.Failed() {
				t.Fatalf("seed %d, body %s, patch %s", seed, body, patch)
			}
			current = next
		}
	}
}

// A PATCH of plain values and lists of strings, against a model that is plainly right.
func TestApplyPatchAgainstAModel(t *testing.T) {
	s := fuzzSchemas(t)
	for seed := range uint64(2000) {
		g := generator{rand.New(rand.NewPCG(seed, 2))}
		current := decode(t, s, `{"userName":"a"}`)
		plain := map[string]string{} // by path
		var teams, roles []string
		for range 8 {
			word := pick(g, "a", "b", "c")
			path := pick(g, "title", "name.givenName", "name.familyName", EnterpriseUserSchema+":department", "role", "unknown")
			list, name := &teams, "teams"
			if g.IntN(2) == 0 {
				list, name = &roles, "roles"
			}
			var operation string
			switch g.IntN(8) {
			case 0:
				operation, plain[path] = fmt.Sprintf(`{"op":"add","path":%q,"value":%q}`, path, word), word
			case 1:
				operation, plain[path] = fmt.Sprintf(`{"op":"replace","value":{%q:%q}}`, path, word), word
			case 2:
				operation = fmt.Sprintf(`{"op":"remove","path":%q}`, path)
				delete(plain, path)
			case 3:
				operation = fmt.Sprintf(`{"op":"replace","path":%q,"value":null}`, path)
				delete(plain, path)
			case 4:
				operation = fmt.Sprintf(`{"op":"add","path":%q,"value":[%q,"c"]}`, name, word)
				for _, added := range []string{word, "c"} {
					if !slices.Contains(*list, added) {
						*list = append(*list, added)
					}
				}
			case 5:
				operation, *list = fmt.Sprintf(`{"op":"replace","path":%q,"value":[%q]}`, name, word), []string{word}
			case 6:
				operation = fmt.Sprintf(`{"op":"remove","path":"%s[value eq \"%s\"]"}`, name, word)
				*list = slices.DeleteFunc(slices.Clone(*list), func(s string) bool { return s == word })
			case 7:
				operation = fmt.Sprintf(`{"op":"remove","path":%q,"value":[{"value":%q},"c"]}`, name, word)
				*list = slices.DeleteFunc(slices.Clone(*list), func(s string) bool { return s == word || s == "c" })
			}
			next, ok := checkPatch(t, s, current, []byte(patchBody(operation)))
			if want := modelJSON(plain, teams, roles); !ok || encoded(next.Attributes) != canonical(t, want) {
				t.Fatalf("seed %d: %s after %s\n got %s\nwant %s", seed, operation, encoded(current.Attributes), encoded(next.Attributes), want)
			}
			current = next
		}
	}
}

func modelJSON(plain map[string]string, teams, roles []string) string {
	attributes := map[string]any{"userName": "a"}
	nested := func(key string) map[string]any {
		if attributes[key] == nil {
			attributes[key] = map[string]any{}
		}
		return attributes[key].(map[string]any)
	}
	for path, value := range plain {
		switch path {
		case "name.givenName", "name.familyName":
			nested("name")[strings.TrimPrefix(path, "name.")] = value
		case EnterpriseUserSchema + ":department":
			nested(EnterpriseUserSchema)["department"] = value
		default:
			attributes[path] = value
		}
	}
	for _, team := range teams {
		list, _ := attributes["teams"].([]any)
		attributes["teams"] = append(list, team)
	}
	for _, role := range roles {
		list, _ := attributes["roles"].([]any)
		attributes["roles"] = append(list, map[string]any{"value": role})
	}
	return encoded(attributes)
}

// term is a random filter with an evaluation of its own over three attributes of a known resource.
type term struct {
	text string
	want bool
}

func (g generator) term(depth int) term {
	if depth == 0 || g.IntN(3) == 0 {
		return pick(g,
			term{`userName eq "A"`, true}, term{`userName eq "b"`, false}, term{`userName ne "b"`, true}, term{`title pr`, false}, term{`title eq null`, true},
			term{`active eq true`, true}, term{`active ne "True"`, false}, term{`roles eq "y"`, true}, term{`roles[value eq "z"]`, false}, term{`roles[value eq "x" and type eq "t"]`, true},
			term{`roles[value eq "y" and type eq "t"]`, false}, term{spaceURN + `:level ge 7`, true}, term{spaceURN + `:level lt 7`, false})
	}
	a, b := g.term(depth-1), g.term(depth-1)
	switch g.IntN(4) {
	case 0:
		return term{"not (" + a.text + ")", !a.want}
	case 1:
		return term{"(" + a.text + ") and (" + b.text + ")", a.want && b.want}
	case 2:
		return term{"(" + a.text + ") OR (" + b.text + ")", a.want || b.want}
	default:
		// Without parentheses, and binds tighter.
		c, d := g.term(0), g.term(0)
		return term{"(" + a.text + " or " + c.text + " and " + d.text + ")", evaluate(a, c, d)}
	}
}

func evaluate(a, c, d term) bool { return a.want || c.want && d.want }

func TestFilterAgainstAModel(t *testing.T) {
	s := fuzzSchemas(t)
	complete := s.Complete(decode(t, s, `{"userName":"a","active":true,"roles":[{"type":"t","value":"x"},"y"],"`+spaceURN+`":{"level":7}}`), testMeta)
	for seed := range uint64(5000) {
		g := generator{rand.New(rand.NewPCG(seed, 3))}
		random := g.term(3)
		// "or" inside a is wrapped unless a is plain, so that the model's precedence is the filter's.
		if got := matches(t, s, complete, random.text); got != random.want {
			t.Fatalf("seed %d: %s is %v, want %v", seed, random.text, got, random.want)
		}
	}
}
