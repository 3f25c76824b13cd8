//go:build conformance

package conformance

import (
	"encoding/json"
	"strings"
)

// node is a filter as a tree, so that a class of disagreement can rewrite it.
type node struct {
	operator string // and, or, not, [], pr, or a comparison
	path     string // of an attribute; inside [] relative to the element
	value    any    // string, bool, json.Number or nil
	terms    []node // of and, or, not, []
	escaped  bool   // writes the string with more JSON escapes than it needs
}

func (n node) isComparison() bool {
	switch n.operator {
	case "and", "or", "not", "[]", "pr":
		return false
	}
	return true
}

// text writes the filter with no more parentheses than precedence asks for (RFC 7644 section 3.4.2.2).
func (n node) text() string { return n.write(jsonLiteral) }

// judgeText writes it as scim2-parse-filter reads string literals: only a quote is escaped.
func (n node) judgeText() string {
	return n.write(func(n node) string {
		if s, ok := n.value.(string); ok {
			return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`
		}
		return jsonLiteral(n)
	})
}

func (n node) write(literal func(node) string) string {
	switch n.operator {
	case "and", "or":
		parts := make([]string, len(n.terms))
		for i, term := range n.terms {
			parts[i] = term.write(literal)
			if term.operator == "or" && n.operator == "and" {
				parts[i] = "(" + parts[i] + ")"
			}
		}
		return strings.Join(parts, " "+n.operator+" ")
	case "not":
		return "not (" + n.terms[0].write(literal) + ")"
	case "[]":
		return n.path + "[" + n.terms[0].write(literal) + "]"
	case "pr":
		return n.path + " pr"
	}
	return n.path + " " + n.operator + " " + literal(n)
}

func jsonLiteral(n node) string {
	data, err := json.Marshal(n.value)
	if err != nil {
		panic(err)
	}
	text := string(data)
	if n.escaped {
		text = strings.NewReplacer("a", `\u0061`, "/", `\/`).Replace(text)
	}
	return text
}

// each calls f for every comparison and presence test, with the path from the resource's top.
func (n node) each(f func(leaf node, absolute string)) { n.eachBelow("", f) }

func (n node) eachBelow(parent string, f func(node, string)) {
	if n.operator == "[]" {
		parent = n.path + "."
	} else if len(n.terms) == 0 {
		f(n, parent+n.path)
	}
	for _, term := range n.terms {
		term.eachBelow(parent, f)
	}
}

// rewritten returns a copy in which every leaf is replaced by what f makes of it.
func (n node) rewritten(f func(leaf node, absolute string) node) node { return n.rewrittenBelow("", f) }

func (n node) rewrittenBelow(parent string, f func(node, string) node) node {
	if len(n.terms) == 0 {
		return f(n, parent+n.path)
	}
	if n.operator == "[]" {
		parent = n.path + "."
	}
	terms := make([]node, len(n.terms))
	for i, term := range n.terms {
		terms[i] = term.rewrittenBelow(parent, f)
	}
	n.terms = terms
	return n
}
