package okta_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// Okta's own suites are exports of Runscope, a tool that sends requests and holds answers against assertions, with
// variables written {{name}}. This file is as much of it as the suites use.

// step is one request and what is asserted of its answer.
type step struct {
	note         string
	method, path string
	headers      map[string]string
	body         string
	assertions   []assertion
	// save keeps parts of the answer as variables: variable → property.
	save map[string]string
}

// assertion compares one property of the answer's body, or the status.
type assertion struct {
	comparison string
	property   string
	value      string
}

const responseStatus = "(status)"

// testHeaders are those of the suites' GET requests. A Content-Type on GET is no mistake here.
var testHeaders = map[string]string{
	"Accept-Charset": "utf-8",
	"Content-Type":   "application/scim+json; charset=utf-8",
	"Accept":         "application/scim+json",
	"Authorization":  "{{auth}}",
	"User-Agent":     "OKTA SCIM Integration",
}

// runner runs steps in order and keeps the variables.
type runner struct {
	client    *okta.Client
	variables map[string]string
}

func (r *runner) run(t *testing.T, steps []step) {
	for _, s := range steps {
		if !t.Run(s.note, func(t *testing.T) { r.step(t, s) }) {
			return
		}
	}
}

func (r *runner) step(t *testing.T, s step) {
	// The suites write queries with raw spaces and quotes, which their runner encodes.
	path, query, hasQuery := strings.Cut(r.fill(s.path), "?")
	if hasQuery {
		path += "?" + strings.NewReplacer(" ", "%20", `"`, "%22", "@", "%40").Replace(query)
	}
	var edits []okta.Edit
	for _, name := range []string{"Accept", "Accept-Charset", "Content-Type", "Authorization", "User-Agent"} {
		edits = append(edits, okta.WithHeader(name, r.fill(s.headers[name])))
	}
	answer := do(t, r.client, s.method, path, r.fill(s.body), edits...)
	t.Logf("answered %d after %s", answer.Status, answer.Duration)
	for _, a := range s.assertions {
		a.value = r.fill(a.value)
		if problem := a.check(answer); problem != "" {
			t.Errorf("%s %s %q: %s\n%s", a.property, a.comparison, a.value, problem, answer)
		}
	}
	for variable, property := range s.save {
		values := selectProperty(answer.Document, property)
		if len(values) != 1 {
			t.Fatalf("there is no %s to remember\n%s", property, answer)
		}
		r.variables[variable] = fmt.Sprint(values[0])
	}
}

var variable = regexp.MustCompile(`\{\{(\w+)\}\}`)

func (r *runner) fill(text string) string {
	return variable.ReplaceAllStringFunc(text, func(match string) string {
		value, found := r.variables[match[2:len(match)-2]]
		if !found {
			panic("no step has set " + match)
		}
		return value
	})
}

// check returns what is wrong, or "".
func (a assertion) check(answer *okta.Exchange) string {
	var values []any
	if a.property == responseStatus {
		values = []any{json.Number(strconv.Itoa(answer.Status))}
	} else {
		values = selectProperty(answer.Document, a.property)
	}
	if a.comparison == "groups_script" {
		// A script of the suite: no groups are fine, and groups must come in an array.
		if _, isList := answer.At("Resources").([]any); answer.Number("totalResults") != 0 && !isList {
			return "totalResults is not 0 and Resources is no array"
		}
		return ""
	}
	if a.comparison == "does_not_contain" {
		if slices.ContainsFunc(values, func(v any) bool { return contains(v, a.value) }) {
			return "it does"
		}
		return ""
	}
	if len(values) == 0 {
		return "there is no such property"
	}
	value := values[0]
	holds, known := map[string]func() bool{
		"equal":        func() bool { return fmt.Sprint(value) == a.value },
		"equal_number": func() bool { return isNumber(value) && fmt.Sprint(value) == a.value },
		"is_a_number":  func() bool { return isNumber(value) },
		"not_empty":    func() bool { return notEmpty(value) },
		"has_value":    func() bool { return contains(value, a.value) },
		"contains":     func() bool { return contains(value, a.value) },
	}[a.comparison]
	switch {
	case !known:
		return "no such comparison"
	case !holds():
		return fmt.Sprintf("it is %v", value)
	}
	return ""
}

func isNumber(value any) bool {
	_, isNumber := value.(json.Number)
	return isNumber
}

// notEmpty takes false and 0 for values: no service provider configuration without them could pass otherwise.
func notEmpty(value any) bool {
	switch value := value.(type) {
	case nil:
		return false
	case string:
		return value != ""
	case []any:
		return len(value) > 0
	case map[string]any:
		return len(value) > 0
	}
	return true
}

func contains(value any, wanted string) bool {
	switch value := value.(type) {
	case string:
		return strings.Contains(value, wanted)
	case []any:
		return slices.ContainsFunc(value, func(element any) bool { return fmt.Sprint(element) == wanted })
	case map[string]any:
		_, found := value[wanted]
		return found
	}
	return false
}

var index = regexp.MustCompile(`^(\w+)\[(\d+)\]$`)

// selectProperty follows a path such as Resources[0].name.givenName; an empty path selects nothing.
func selectProperty(document any, path string) []any {
	if path == "" {
		return nil
	}
	for name := range strings.SplitSeq(path, ".") {
		position := -1
		if match := index.FindStringSubmatch(name); match != nil {
			name = match[1]
			position, _ = strconv.Atoi(match[2])
		}
		object, _ := document.(map[string]any)
		value, found := object[name]
		if !found {
			return nil
		}
		if document = value; position < 0 {
			continue
		}
		list, _ := value.([]any)
		if position >= len(list) {
			return nil
		}
		document = list[position]
	}
	return []any{document}
}

// Shorthands for the tables.

func status(code int) assertion {
	return assertion{"equal_number", responseStatus, strconv.Itoa(code)}
}

func equal(property, value string) assertion { return assertion{"equal", property, value} }

func each(comparison string, properties ...string) []assertion {
	var all []assertion
	for _, property := range properties {
		all = append(all, assertion{comparison: comparison, property: property})
	}
	return all
}

func hasSchema(schema string) assertion { return assertion{"has_value", "schemas", schema} }

func all(parts ...any) []assertion {
	var list []assertion
	for _, part := range parts {
		switch part := part.(type) {
		case assertion:
			list = append(list, part)
		case []assertion:
			list = append(list, part...)
		}
	}
	return list
}

func getStep(note, path string, assertions ...any) step {
	return step{note: note, method: http.MethodGet, path: path, headers: testHeaders, assertions: all(assertions...)}
}
