//go:build conformance

package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

const filterCases = 6000

// Filters mean what scim2-parse-filter takes them to mean, but for the classes in disagreements.md.
func TestFiltersAsJudged(t *testing.T) {
	schemas, err := protocol.NewUserSchemas(customAttributes())
	if err != nil {
		t.Fatal(err)
	}
	var kept []filterCase
	var questions []question
	var ours []bool
	refusals := 0
	for seed := range uint64(filterCases) {
		g := newGenerator(seed, 1)
		c := filterCase{filter: g.filter(3), resource: g.resource()}
		match, err := evaluate(schemas, c)
		if want := refused(c.filter); want != (err != nil) {
			t.Errorf("seed %d: %s: refused: %v (%v), want %v", seed, c.filter.text(), err != nil, err, want)
		}
		if err != nil {
			refusals++
			continue
		}
		kept, ours = append(kept, c), append(ours, match)
		rewritten := c.rewritten("")
		questions = append(questions, question{Kind: "filter", Filter: c.filter.text(), Resource: c.resource},
			question{Kind: "filter", Filter: rewritten.filter.judgeText(), Resource: rewritten.resource})
	}
	verdicts := ask(t, questions)
	disagreed := map[string]int{}
	var failures []string
	differ := 0
	for i, c := range kept {
		asItIs, settled := verdicts[2*i], verdicts[2*i+1]
		if settled.Match == nil || *settled.Match != ours[i] {
			failures = append(failures, fmt.Sprintf("%s: ours %v, judge %s of %s\n\tover %s", c.filter.text(), ours[i], describe(settled),
				questions[2*i+1].Filter, encode(t, c.resource)))
		}
		if asItIs.Match != nil && *asItIs.Match == ours[i] {
			continue
		}
		differ++
		for _, id := range c.classes() {
			disagreed[id]++
		}
	}
	report(t, failures)
	t.Logf("%d filters judged, %d refused by both rule and server, %d differ, all in: %v", len(kept), refusals, differ, disagreed)
	for _, class := range filterClasses {
		if disagreed[class.id] == 0 {
			t.Errorf("class %s explains no disagreement any more: drop it", class.id)
		}
	}
}

// evaluate is what the server makes of a filter. The error is invalidFilter, or nil.
func evaluate(schemas *protocol.SchemaSet, c filterCase) (bool, error) {
	parsed, err := protocol.ParseFilter(c.filter.text())
	if err != nil {
		return false, onlyInvalidFilter(err)
	}
	bound, err := parsed.Bind(schemas)
	if err != nil {
		return false, onlyInvalidFilter(err)
	}
	body, err := json.Marshal(c.resource)
	if err != nil {
		panic(err)
	}
	user, err := schemas.DecodeUser(body)
	if err != nil {
		panic(err)
	}
	return bound.Matches(schemas.Complete(user, protocol.Meta{ID: c.resource["id"].(string)})), nil
}

func onlyInvalidFilter(err error) error {
	var e *protocol.Error
	if !errors.As(err, &e) || e.Status != 400 || e.ScimType != "invalidFilter" {
		panic(err)
	}
	return err
}

// rewritten applies every class but one.
func (c filterCase) rewritten(except string) filterCase {
	for _, class := range filterClasses {
		if class.id != except {
			c = class.rewrite(c)
		}
	}
	return c
}

// classes are those with a rewriting that changes the question.
func (c filterCase) classes() []string {
	var ids []string
	for _, class := range filterClasses {
		changed := class.rewrite(c)
		if !reflect.DeepEqual(changed, c) || class.id == "F-escapes" && c.filter.text() != c.filter.judgeText() {
			ids = append(ids, class.id)
		}
	}
	return ids
}

func describe(v verdict) string {
	if v.Match != nil {
		return map[bool]string{true: "true", false: "false"}[*v.Match]
	}
	return v.Error + ": " + v.Detail
}

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
