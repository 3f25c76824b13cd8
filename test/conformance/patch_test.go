//go:build conformance

package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

const (
	patchConversations = 1500
	patchRequests      = 4 // in each
)

// PATCH does to a user what scim-patch does, but for the classes in disagreements.md.
func TestPatchesAsJudged(t *testing.T) {
	schemas, err := protocol.NewUserSchemas(nil)
	if err != nil {
		t.Fatal(err)
	}
	var steps []patchStep
	for seed := range uint64(patchConversations) {
		steps = append(steps, converse(t, schemas, newGenerator(seed, 2))...)
	}
	questions := make([]question, 0, 2*len(steps))
	cases := make([]patchCase, len(steps))
	applying := make([][]string, len(steps))
	for i, s := range steps {
		cases[i] = patchCase{operations: []operation{s.operation}, resource: s.before}
		for _, class := range patchClasses {
			if class.rewrite(&cases[i]) {
				applying[i] = append(applying[i], class.id)
			}
		}
		questions = append(questions, question{Kind: "patch", Operations: []operation{s.operation}, Resource: s.before},
			question{Kind: "patch", Operations: cases[i].operations, Resource: s.before})
	}
	verdicts := ask(t, questions)
	disagreed := map[string]int{}
	var failures []string
	differ, refused := 0, 0
	for i, s := range steps {
		asItIs := outcome(verdicts[2*i].Error, verdicts[2*i].Resource)
		settled, by := settle(s, verdicts[2*i+1])
		if want := mustRefuse(s); s.scimType() != want {
			failures = append(failures, fmt.Sprintf("%s: refused with %q, want %q\n\tover %s", encode(t, s.operation), s.scimType(), want, encode(t, s.before)))
		}
		if s.refused != nil {
			refused++
			continue
		}
		ours := encode(t, s.after)
		if ours != settled {
			failures = append(failures, fmt.Sprintf("%s\n\tover  %s\n\tours  %s\n\tjudge %s on %s", encode(t, s.operation), encode(t, s.before), ours, settled, encode(t, cases[i].operations)))
		}
		if ours != asItIs {
			differ++
			for _, id := range append(applying[i], by...) {
				disagreed[id]++
			}
		}
	}
	report(t, failures)
	t.Logf("%d requests judged, %d refused, %d differ, all in: %v", len(steps), refused, differ, disagreed)
	for _, id := range patchClassIDs() {
		if disagreed[id] == 0 {
			t.Errorf("class %s explains no disagreement any more: drop it", id)
		}
	}
}

// patchStep is one request and what the server made of it.
type patchStep struct {
	operation     operation
	before, after map[string]any
	refused       *protocol.Error
}

// converse applies several requests, each to what the one before has left.
func converse(t *testing.T, schemas *protocol.SchemaSet, g generator) []patchStep {
	t.Helper()
	body := g.resource()
	delete(body, "level")
	delete(body, "since")
	current, err := schemas.DecodeUser([]byte(encode(t, body)))
	if err != nil {
		t.Fatal(err)
	}
	var steps []patchStep
	for range patchRequests {
		s := patchStep{operation: g.operation(), before: plain(t, current)}
		request := encode(t, map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": []operation{s.operation}})
		next, changed, err := schemas.ApplyPatch(current, []byte(request))
		if err != nil && !errors.As(err, &s.refused) {
			t.Fatal(err)
		}
		s.after = plain(t, next)
		if same := encode(t, s.before) == encode(t, s.after); same == changed {
			t.Errorf("%s over %s: changed %v, but %s", request, encode(t, s.before), changed, encode(t, s.after))
		}
		steps, current = append(steps, s), next
	}
	return steps
}

// plain is a resource's attributes as generic JSON.
func plain(t *testing.T, r protocol.Resource) map[string]any {
	t.Helper()
	var attributes map[string]any
	if err := json.Unmarshal([]byte(encode(t, r.Attributes)), &attributes); err != nil {
		t.Fatal(err)
	}
	return attributes
}

// scimType is the error's, or empty where there is none.
func (s patchStep) scimType() string {
	if s.refused == nil {
		return ""
	}
	return s.refused.ScimType
}

// mustRefuse is the scimType of the error that RFC 7644 asks for: mutability where a required attribute would go (section
// 3.5.2.2), noTarget where a value filter selects nothing (3.5.2.3) and does not say what to add either (P-create-described).
func mustRefuse(s patchStep) string {
	if isRemove(s.operation) {
		if path(s.operation) == "userName" {
			return "mutability"
		}
		return ""
	}
	filter, _, ok := valuePath(path(s.operation))
	if ok && !slices.ContainsFunc(emailsOf(s.before), filter.matches) && !filter.describes() {
		return "noTarget"
	}
	return ""
}

// settle is the judge's result after the settlements, and which of them changed it.
func settle(s patchStep, v verdict) (result string, by []string) {
	for _, settlement := range settlements {
		if v.Resource == nil {
			break
		}
		was := outcome("", v.Resource)
		settlement.settle(s.operation, s.before, v.Resource)
		if outcome("", v.Resource) != was {
			by = append(by, settlement.id)
		}
	}
	return outcome(v.Error, v.Resource), by
}

// outcome is a resource in a form to compare: empty values are no values (RFC 7643 section 2.5). A refusal is its name.
func outcome(refused string, resource map[string]any) string {
	if refused != "" {
		return refused
	}
	return encodeQuietly(withoutEmpty(resource))
}

func patchClassIDs() []string {
	var ids []string
	for _, class := range patchClasses {
		ids = append(ids, class.id)
	}
	for _, settlement := range settlements {
		ids = append(ids, settlement.id)
	}
	return ids
}

func encodeQuietly(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}
