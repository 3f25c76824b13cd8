//go:build conformance

package conformance

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// patchCase is a PATCH request, as operations for the judge, and the resource that it changes.
type patchCase struct {
	operations []operation
	resource   map[string]any
}

// patchClass is a class of requests that the judge reads in another way than the RFCs, as a rewriting of the request
// (disagreements.md says which words decide). It reports whether the class applies.
type patchClass struct {
	id      string
	rewrite func(*patchCase) bool
}

var patchClasses = []patchClass{
	{"P-no-path", func(c *patchCase) bool {
		return c.replaceOperations(func(o operation) []operation {
			value, ok := o["value"].(operation)
			if !ok || o["path"] != nil {
				return nil
			}
			var split []operation
			for _, name := range slices.Sorted(maps.Keys(value)) {
				split = append(split, operation{"op": o["op"], "path": name, "value": value[name]})
			}
			return split
		})
	}},
	{"P-names", func(c *patchCase) bool {
		return c.replaceOperations(func(o operation) []operation {
			canonical := map[string]string{"Title": "title", "NAME.givenName": "name.givenName"}[path(o)]
			if canonical == "" {
				return nil
			}
			return []operation{{"op": o["op"], "path": canonical, "value": o["value"]}}
		})
	}},
	{"P-string-boolean", func(c *patchCase) bool {
		return c.replaceOperations(func(o operation) []operation {
			changed := mappedBooleans(o)
			if encodeQuietly(changed) == encodeQuietly(o) {
				return nil
			}
			return []operation{changed}
		})
	}},
	{"P-null", func(c *patchCase) bool {
		return c.replaceOperations(func(o operation) []operation {
			if value, ok := o["value"]; !ok || value != nil || isRemove(o) {
				return nil
			}
			return []operation{{"op": "remove", "path": o["path"]}}
		})
	}},
	{"P-one-value", func(c *patchCase) bool {
		return c.replaceOperations(func(o operation) []operation {
			value, ok := o["value"].(operation)
			if !ok || path(o) != "emails" || isRemove(o) {
				return nil
			}
			return []operation{{"op": o["op"], "path": "emails", "value": []any{value}}}
		})
	}},
	{"P-remove-value", func(c *patchCase) bool {
		return c.replaceOperations(func(o operation) []operation {
			listed, ok := o["value"].([]any)
			if !ok || !isRemove(o) {
				return nil
			}
			gone := listed[0].(operation)["value"].(string)
			var exact []operation
			for _, email := range c.emails() {
				if folded(email["value"]) == folded(gone) {
					exact = append(exact, operation{"op": "remove", "path": "emails", "value": []any{email}})
				}
			}
			return append(exact, operation{"op": "remove", "path": "nothing"})
		})
	}},
	{"P-create-described", func(c *patchCase) bool {
		return c.replaceOperations(func(o operation) []operation {
			filter, sub, ok := valuePath(path(o))
			if !ok || isRemove(o) || slices.ContainsFunc(c.emails(), filter.matches) || !filter.describes() {
				return nil
			}
			element := maps.Clone(filter.equal)
			if sub != "" {
				element[sub] = o["value"]
			} else {
				maps.Copy(element, o["value"].(operation))
			}
			return []operation{{"op": "add", "path": "emails", "value": []any{element}}}
		})
	}},
	{"P-remove-nothing", func(c *patchCase) bool {
		return c.replaceOperations(func(o operation) []operation {
			filter, _, ok := valuePath(path(o))
			if !ok || !isRemove(o) || slices.ContainsFunc(c.emails(), filter.matches) {
				return nil
			}
			return []operation{{"op": "remove", "path": "nothing"}}
		})
	}},
	{"P-filter-case", func(c *patchCase) bool {
		return c.replaceOperations(func(o operation) []operation {
			changed := maps.Clone(o)
			changed["path"] = anyWork.ReplaceAllString(path(o), `(type eq "work" or type eq "WORK")`)
			if changed["path"] == path(o) || !strings.Contains(path(o)+encodeQuietly(c.resource), "WORK") {
				return nil
			}
			return []operation{changed}
		})
	}},
}

// settlement is a class that is a difference in the result: it changes the judge's into what the RFCs ask for.
type settlement struct {
	id     string
	settle func(request operation, before, after map[string]any)
}

var settlements = []settlement{
	{"P-nothing-left", func(_ operation, _, after map[string]any) { dropUninformative(after) }},
	{"P-same-pair", func(_ operation, _, after map[string]any) { mergePairs(after) }},
	{"P-primary", func(request operation, before, after map[string]any) {
		filter, _, selects := valuePath(path(request))
		was := map[string]bool{} // primary before, and not said to be so now
		for _, email := range emailsOf(before) {
			was[pair(email)] = email["primary"] == true && (!selects || !filter.matches(email))
		}
		leaveOnePrimary(emailsOf(after), was)
	}},
}

var anyWork = regexp.MustCompile(`type eq "(work|WORK)"`)

func path(o operation) string {
	text, _ := o["path"].(string)
	return text
}

func isRemove(o operation) bool { return strings.EqualFold(o["op"].(string), "remove") }

// replaceOperations replaces each operation for which f returns others.
func (c *patchCase) replaceOperations(f func(operation) []operation) bool {
	var operations []operation
	applies := false
	for _, o := range c.operations {
		if others := f(o); others != nil {
			operations, applies = append(operations, others...), true
		} else {
			operations = append(operations, o)
		}
	}
	c.operations = operations
	return applies
}

func (c *patchCase) emails() []operation { return emailsOf(c.resource) }

func emailsOf(resource map[string]any) []operation {
	list, _ := resource["emails"].([]any)
	emails := make([]operation, 0, len(list))
	for _, element := range list {
		emails = append(emails, element.(operation))
	}
	return emails
}

// mappedBooleans makes booleans of the strings for active and primary.
func mappedBooleans(o operation) operation {
	changed, _ := mappedBooleansBelow(o, "").(operation)
	if name := path(o); changed["value"] != nil && (name == "active" || strings.HasSuffix(name, ".primary")) {
		changed["value"] = boolean(changed["value"])
	}
	return changed
}

func mappedBooleansBelow(v any, name string) any {
	switch v := v.(type) {
	case operation:
		object := operation{}
		for key, value := range v {
			object[key] = mappedBooleansBelow(value, key)
		}
		return object
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			list[i] = mappedBooleansBelow(element, name)
		}
		return list
	}
	if name == "active" || name == "primary" {
		return boolean(v)
	}
	return v
}

func boolean(v any) any {
	switch s, _ := v.(string); strings.ToLower(s) {
	case "true":
		return true
	case "false":
		return false
	}
	return v
}

// elementFilter is one of the generator's value filters.
type elementFilter struct {
	equal   operation // the equalities that must all hold
	matches func(operation) bool
}

// describes reports whether the filter says all of an element: equalities only.
func (f elementFilter) describes() bool { return f.equal != nil }

func valuePath(text string) (f elementFilter, sub string, ok bool) {
	rest, ok := strings.CutPrefix(text, "emails[")
	if !ok {
		return f, "", false
	}
	filter, sub, ok := strings.Cut(rest, "]")
	label := func(wanted string) func(operation) bool {
		return func(e operation) bool { return folded(e["type"]) == wanted }
	}
	switch strings.ToLower(filter) {
	case `type eq "work"`:
		written := strings.Split(filter, `"`)[1]
		f = elementFilter{operation{"type": written}, label("work")}
	case `type eq "home"`:
		f = elementFilter{operation{"type": "home"}, label("home")}
	case `primary eq true`:
		f = elementFilter{operation{"primary": true}, func(e operation) bool { return e["primary"] == true }}
	case `type eq "work" and primary eq true`:
		f = elementFilter{operation{"type": "work", "primary": true}, func(e operation) bool { return label("work")(e) && e["primary"] == true }}
	case `type eq "home" or type eq "other"`:
		f = elementFilter{nil, func(e operation) bool { return label("home")(e) || label("other")(e) }}
	case `not (type eq "work")`:
		f = elementFilter{nil, func(e operation) bool { return !label("work")(e) }}
	case `type sw "o"`:
		f = elementFilter{nil, label("other")}
	default:
		panic(filter)
	}
	return f, strings.TrimPrefix(sub, "."), ok
}

func pair(email operation) string {
	return encodeQuietly([]any{email["type"], email["value"]})
}

// leaveOnePrimary clears primary on all but the last element that has become primary, else the last one.
func leaveOnePrimary(emails []operation, before map[string]bool) {
	chosen := -1
	for i, email := range emails {
		if email["primary"] == true && (chosen < 0 || !before[pair(email)] || before[pair(emails[chosen])]) {
			chosen = i
		}
	}
	for i, email := range emails {
		if i != chosen && email["primary"] == true {
			email["primary"] = false
		}
	}
}

// mergePairs leaves one element for each (type, value), with what the later ones say.
func mergePairs(resource map[string]any) {
	var kept []any
	for _, email := range emailsOf(resource) {
		at := slices.IndexFunc(kept, func(other any) bool { return pair(other.(operation)) == pair(email) })
		if at < 0 || email["value"] == nil {
			kept = append(kept, email)
		} else {
			maps.Copy(kept[at].(operation), email)
		}
	}
	if kept != nil {
		resource["emails"] = kept
	}
}

// dropUninformative drops elements that have nothing but a type or a false primary.
func dropUninformative(resource map[string]any) {
	var kept []any
	for _, email := range emailsOf(resource) {
		if email["value"] != nil {
			kept = append(kept, email)
		}
	}
	resource["emails"] = kept
}
