//go:build conformance

package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/cases"
)

// filterCase is a filter with a resource to try it on.
type filterCase struct {
	filter   node
	resource map[string]any
}

// filterClass is a class of inputs that the judge reads in another way than the RFCs (disagreements.md says which words decide).
// It is stated as a rewriting: the judge, asked the rewritten question, must agree. What no class rewrites must agree as it is.
type filterClass struct {
	id      string
	rewrite func(filterCase) filterCase
}

var filterClasses = []filterClass{
	{"F-core-urn", func(c filterCase) filterCase {
		return c.leaves(func(n node, absolute string) node {
			if absolute == n.path {
				n.path = strings.TrimPrefix(n.path, coreURN+":")
			}
			return n
		})
	}},
	{"F-implied-value", func(c filterCase) filterCase {
		return c.leaves(func(n node, absolute string) node {
			if absolute == "emails" && n.isComparison() {
				n.path = "emails.value"
			}
			return n
		})
	}},
	{"F-empty", func(c filterCase) filterCase {
		c.resource, _ = withoutEmpty(c.resource).(map[string]any)
		return c
	}},
	{"F-null", func(c filterCase) filterCase {
		return c.leaves(func(n node, _ string) node {
			if !n.isComparison() || n.value != nil {
				return n
			}
			present := node{operator: "pr", path: n.path}
			if n.operator == "ne" {
				return present
			}
			return node{operator: "not", terms: []node{present}}
		})
	}},
	{"F-not-equal", func(c filterCase) filterCase {
		return c.leaves(func(n node, _ string) node {
			if n.operator != "ne" {
				return n
			}
			n.operator = "eq"
			return node{operator: "not", terms: []node{n}}
		})
	}},
	{"F-chronological", func(c filterCase) filterCase {
		if at := milliseconds(c.resource["since"]); at != nil {
			c.resource = with(c.resource, "sinceInstant", at)
		}
		return c.leaves(func(n node, absolute string) node {
			if n.isComparison() && kinds[schemaSpelling(absolute)] == kindTime && !isSubstring(n.operator) {
				n.path, n.value = "sinceInstant", milliseconds(n.value)
			}
			return n
		})
	}},
	{"F-case", func(c filterCase) filterCase {
		for path, k := range kinds {
			if k == kindString {
				c.resource = mapped(c.resource, path, folded)
			}
		}
		return c.leaves(func(n node, absolute string) node {
			if n.isComparison() && kinds[schemaSpelling(absolute)] == kindString {
				n.value = folded(n.value)
			}
			return n
		})
	}},
	{"F-same-value", oneElementAtATime},
	{"F-escapes", func(c filterCase) filterCase { return c }}, // applied by judgeText
}

// refused says which filters the RFC lets or makes a server refuse with invalidFilter: F-refused in disagreements.md.
func refused(filter node) bool {
	found := false
	filter.each(func(n node, absolute string) {
		if !n.isComparison() || n.operator == "eq" || n.operator == "ne" {
			return
		}
		switch kinds[schemaSpelling(absolute)] {
		case kindBoolean:
			found = true
		case kindInteger:
			found = found || isSubstring(n.operator)
		}
		found = found || n.value == nil
	})
	return found
}

func isSubstring(operator string) bool {
	return operator == "co" || operator == "sw" || operator == "ew"
}

func (c filterCase) leaves(f func(n node, absolute string) node) filterCase {
	c.filter = c.filter.rewritten(f)
	return c
}

// schemaSpelling gives a path in the spelling of kinds.
func schemaSpelling(path string) string {
	path = strings.TrimPrefix(path, coreURN+":")
	if path == "emails" {
		return "emails.value"
	}
	for known := range kinds {
		if strings.EqualFold(known, path) {
			return known
		}
	}
	return path
}

func folded(v any) any {
	if s, ok := v.(string); ok {
		return cases.Fold().String(s)
	}
	return v
}

// milliseconds is a number that orders as time does, or nil where v is no time.
func milliseconds(v any) any {
	s, _ := v.(string)
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil
	}
	return json.Number(strconv.FormatInt(at.UnixMilli(), 10))
}

// oneElementAtATime gives each element of emails an attribute of its own, so that emails[x] can only be asked of one.
func oneElementAtATime(c filterCase) filterCase {
	elements, _ := c.resource["emails"].([]any)
	for i, element := range elements {
		c.resource = with(c.resource, fmt.Sprintf("emails%d", i), element)
	}
	c.filter = c.filter.spread(len(elements))
	return c
}

// spread replaces emails[x] by emails0[x] or emails1[x] and so on.
func (n node) spread(elements int) node {
	if n.operator == "[]" {
		spread := node{operator: "or", terms: []node{{operator: "pr", path: "nothing"}}}
		for i := range elements {
			spread.terms = append(spread.terms, node{operator: "[]", path: fmt.Sprintf("emails%d", i), terms: n.terms})
		}
		return spread
	}
	if len(n.terms) == 0 {
		return n
	}
	terms := make([]node, len(n.terms))
	for i, term := range n.terms {
		terms[i] = term.spread(elements)
	}
	n.terms = terms
	return n
}

func with(resource map[string]any, name string, value any) map[string]any {
	resource = maps.Clone(resource)
	resource[name] = value
	return resource
}

// withoutEmpty drops null, "", [] and {} (RFC 7643 section 2.5).
func withoutEmpty(v any) any {
	switch v := v.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, value := range v {
			if value = withoutEmpty(value); value != nil {
				kept[key] = value
			}
		}
		if len(kept) == 0 {
			return nil
		}
		return kept
	case []any:
		var kept []any
		for _, value := range v {
			if value = withoutEmpty(value); value != nil {
				kept = append(kept, value)
			}
		}
		if kept == nil {
			return nil
		}
		return kept
	case string:
		if v == "" {
			return nil
		}
	}
	return v
}

// mapped returns a copy of the resource in which f has changed the values at a path of kinds.
func mapped(resource map[string]any, path string, f func(any) any) map[string]any {
	var steps []string
	if rest, ok := strings.CutPrefix(path, enterpriseURN+":"); ok {
		steps = append([]string{enterpriseURN}, strings.Split(rest, ".")...)
	} else {
		steps = strings.Split(path, ".")
	}
	changed, _ := mappedBelow(resource, steps, f).(map[string]any)
	return changed
}

func mappedBelow(v any, steps []string, f func(any) any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			list[i] = mappedBelow(element, steps, f)
		}
		return list
	case map[string]any:
		object := map[string]any{}
		for key, value := range v {
			if len(steps) > 0 && key == steps[0] {
				value = mappedBelow(value, steps[1:], f)
			}
			object[key] = value
		}
		return object
	}
	if len(steps) > 0 {
		return v
	}
	return f(v)
}
