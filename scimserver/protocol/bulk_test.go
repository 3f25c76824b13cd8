package protocol

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var bulkLimits = BulkLimits{MaxOperations: 50, MaxPayloadSize: 1 << 20}

func bulkBody(operations ...string) []byte {
	return []byte(`{"schemas":["` + BulkRequestSchema + `"],"failOnErrors":2,"Operations":[` + strings.Join(operations, ",") + `]}`)
}

func decodeBulk(t testing.TB, body []byte) BulkRequest {
	t.Helper()
	request, err := DecodeBulk(body, bulkLimits)
	if err != nil {
		t.Fatalf("DecodeBulk(%s): %v", body, err)
	}
	return request
}

func TestDecodeBulk(t *testing.T) {
	request := decodeBulk(t, bulkBody(
		`{"method":"POST","path":"/Users","bulkId":"q","data":{"userName":"Alice"}}`,
		`{"METHOD":"put","Path":"Users/b7","version":"W/\"3\"","data":{ "userName" : "Bob" },"bulkId":null}`,
		`{"method":"PATCH","path":"/Users/5d","data":{"Operations":[]}}`,
		`{"method":"DELETE","path":"/Users/e9","data":{"ignored":true}}`,
	))
	if request.FailOnErrors != 2 || request.Stops(1) || !request.Stops(2) || (BulkRequest{}).Stops(9) {
		t.Errorf("failOnErrors %d", request.FailOnErrors)
	}
	var got []string
	for _, o := range request.Operations {
		if o.Err != nil {
			t.Errorf("%s %s: %v", o.Method, o.Path, o.Err)
		}
		got = append(got, strings.Join([]string{o.Method, o.Path, o.BulkID, o.Version, string(o.Data)}, "|"))
	}
	want := []string{`POST|/Users|q||{"userName":"Alice"}`, `PUT|/Users/b7||W/"3"|{ "userName" : "Bob" }`, `PATCH|/Users/5d|||{"Operations":[]}`, `DELETE|/Users/e9|||`}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for body, errors := range map[string]int{`{"Operations":[]}`: 0, `{"failOnErrors":null,"Operations":[]}`: 0, `{"failOnErrors":"3","operations":[]}`: 3} {
		if request := decodeBulk(t, []byte(body)); request.FailOnErrors != errors || len(request.Operations) != 0 {
			t.Errorf("%s: %+v", body, request)
		}
	}
}

func TestDecodeBulkErrors(t *testing.T) {
	post := `{"method":"POST","path":"/Users","data":{}}`
	for _, c := range []struct {
		name     string
		body     []byte
		status   int
		scimType string
		detail   string
	}{
		{"empty", nil, 400, "invalidSyntax", "empty"},
		{"no object", []byte(`[]`), 400, "invalidSyntax", "an array"},
		{"broken", []byte(`{"Operations":[`), 400, "invalidSyntax", "byte"},
		{"no operations", []byte(`{}`), 400, "invalidSyntax", "Operations"},
		{"no array", []byte(`{"Operations":{}}`), 400, "invalidSyntax", "Operations"},
		{"failOnErrors is no number", []byte(`{"failOnErrors":"x","Operations":[]}`), 400, "invalidValue", "failOnErrors"},
		{"failOnErrors is an array", []byte(`{"failOnErrors":[1],"Operations":[]}`), 400, "invalidValue", "failOnErrors"},
		{"failOnErrors is negative", []byte(`{"failOnErrors":-1,"Operations":[]}`), 400, "invalidValue", "failOnErrors"},
		{"one bulkId twice", bulkBody(`{"method":"POST","path":"/Users","bulkId":"a","data":{}}`, `{"method":"POST","path":"/Groups","bulkId":"a","data":{}}`), 400, "invalidValue", "Operations[1]"},
		{"too many", bulkBody(slices.Repeat([]string{post}, 51)...), 413, "", "maxOperations"},
		{"too large", bulkBody(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`), 413, "", "maxPayloadSize"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeBulk(c.body, bulkLimits)
			wantError(t, err, c.status, c.scimType, c.detail)
		})
	}
	for _, c := range []struct{ operation, scimType, detail string }{
		{`1`, "invalidSyntax", "an object"},
		{`{}`, "invalidSyntax", "method"},
		{`{"method":"GET","path":"/Users"}`, "invalidSyntax", "method"},
		{`{"method":5,"path":"/Users"}`, "invalidSyntax", "method"},
		{`{"method":{},"path":"/Users"}`, "invalidSyntax", "method"},
		{`{"method":"POST"}`, "invalidSyntax", "path is missing"},
		{`{"method":"POST","path":"/","data":{}}`, "invalidValue", "endpoint"},
		{`{"method":"POST","path":"/Users/5","data":{}}`, "invalidValue", "without an id"},
		{`{"method":"PUT","path":"/Users","data":{}}`, "invalidValue", "needs the resource's id"},
		{`{"method":"PUT","path":"/Users/","data":{}}`, "invalidValue", "needs the resource's id"},
		{`{"method":"PUT","path":"/Users/a/b","data":{}}`, "invalidValue", "endpoint"},
		{`{"method":"DELETE","path":"/Users/a?x=y"}`, "invalidValue", "endpoint"},
		{`{"method":"DELETE","path":"/Users/` + strings.Repeat("a", MaxPathLength) + `"}`, "invalidValue", "bytes"},
		{`{"method":"POST","path":"/Users"}`, "invalidSyntax", "data is missing"},
		{`{"method":"POST","path":"/Users","data":null}`, "invalidSyntax", "data is missing"},
		{`{"method":"POST","path":"/Users","data":[]}`, "invalidSyntax", "data is an array"},
		{`{"method":"PATCH","path":"/Groups/bulkId:none","data":{}}`, "invalidValue", "belongs to no POST"},
		{`{"method":"PATCH","path":"/Groups/g","data":{"Operations":[{"op":"add","path":"members","value":[{"value":"bulkId:none"}]}]}}`, "invalidValue", "belongs to no POST"},
	} {
		request := decodeBulk(t, bulkBody(c.operation, post))
		steps := request.Plan()
		o := request.Operations[0]
		wantError(t, o.Err, 400, c.scimType, c.detail)
		if !slices.Equal(steps, []BulkStep{{0, BulkRefused}, {1, BulkWhole}}) {
			t.Errorf("%s: steps %v", c.operation, steps)
		}
	}
}

// planText writes a plan as in "1 0part 2 0rest".
func planText(steps []BulkStep) string {
	var texts []string
	for _, step := range steps {
		texts = append(texts, fmt.Sprint(step.Index)+[]string{"", "part", "rest", "refused"}[step.Phase])
	}
	return strings.Join(texts, " ")
}

func TestPlan(t *testing.T) {
	post := func(bulkID, data string) string {
		return fmt.Sprintf(`{"method":"POST","path":"/Users","bulkId":%q,"data":%s}`, bulkID, data)
	}
	for _, c := range []struct {
		name       string
		operations []string
		want       string
	}{
		{"the client's order", []string{post("a", `{}`), post("b", `{}`), `{"method":"DELETE","path":"/Users/x"}`}, "0 1 2"},
		{"a group before its user", []string{post("g", `{"members":[{"value":"bulkId:u"},{"value":"x"}]}`), post("v", `{}`), post("u", `{}`)}, "2 0 1"},
		{"a chain", []string{post("a", `{"x":"bulkId:b"}`), post("b", `{"x":{"y":["bulkId:c"]}}`), post("c", `{}`)}, "2 1 0"},
		{"by path", []string{`{"method":"DELETE","path":"/Users/bulkId:u"}`, post("u", `{}`)}, "1 0"},
		{"by a filter's value", []string{`{"method":"PATCH","path":"/Groups/g","data":{"Operations":[{"op":"remove","path":"members[value eq \"bulkId:u\"]"}]}}`, post("u", `{}`)}, "1 0"},
		{"by $ref", []string{post("g", `{"members":[{"$ref":"../Users/bulkId:u"}]}`), post("u", `{}`)}, "1 0"},
		{"escaped", []string{post("g", `{"x":"bulk\u0049d:u"}`), post("u", `{}`)}, "1 0"},
		{"a circle", []string{post("a", `{"x":"bulkId:b"}`), post("b", `{"x":"bulkId:a"}`), post("c", `{}`)}, "1part 0 1rest 2"},
		{"itself", []string{post("a", `{"x":"bulkId:a"}`)}, "0part 0rest"},
		{"into a circle", []string{post("z", `{"x":"bulkId:a"}`), post("a", `{"x":"bulkId:b"}`), post("b", `{"x":"bulkId:a"}`)}, "2part 1 0 2rest"},
		{"names of members are no references", []string{post("a", `{"bulkId:b":1}`)}, "0"},
		{"nor is what only contains one", []string{post("a", `{"x":"see bulkId:b","y":"bulkId:","z":"a/b bulkId:c"}`)}, "0"},
		{"only POST creates", []string{`{"method":"PUT","path":"/Users/x","bulkId":"p","data":{}}`, post("a", `{}`)}, "0 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			request := decodeBulk(t, bulkBody(c.operations...))
			if got := planText(request.Plan()); got != c.want {
				t.Errorf("plan %q, want %q", got, c.want)
			}
			for i, o := range request.Operations {
				if o.Err != nil {
					t.Errorf("operation %d: %v", i, o.Err)
				}
			}
		})
	}
}

func TestResolve(t *testing.T) {
	data := `{ "a" : "bulkId:u", "b":[{"value":"bulkId:u","$ref":"../Users/bulkId:u"},{"value":"x"}],"c":"members[value eq \"bulkId:u\" or value eq \"bulkId:v\"]","bulkId:u":1.50,"d":{"e":"bulk\u0049d:v"},"f":"é\n"}`
	request := decodeBulk(t, bulkBody(`{"method":"PUT","path":"/Users/bulkId:u","data":`+data+`}`,
		`{"method":"POST","path":"/Users","bulkId":"u","data":{}}`, `{"method":"POST","path":"/Users","bulkId":"v","data":{}}`))
	o := request.Operations[0]
	ids := BulkIDs{"u": "id-u", "v": `id"v`}
	got, err := ids.Resolve(o)
	want := `{ "a" : "id-u", "b":[{"value":"id-u","$ref":"../Users/id-u"},{"value":"x"}],"c":"members[value eq \"id-u\" or value eq \"id\"v\"]","bulkId:u":1.50,"d":{"e":"id\"v"},"f":"é\n"}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	if path, err := ids.ResolvePath(o); err != nil || path != "/Users/id-u" {
		t.Errorf("path %s, %v", path, err)
	}
	delete(ids, "v")
	_, err = ids.Resolve(o)
	wantError(t, err, 409, "", "not created")
	part, err := ids.ResolvePart(o)
	if want := canonical(t, `{"a":"id-u","b":[{"value":"id-u","$ref":"../Users/id-u"},{"value":"x"}],"bulkId:u":1.50,"d":{},"f":"é\n"}`); err != nil || string(part) != want {
		t.Errorf("got  %s, %v\nwant %s", part, err, want)
	}
	delete(ids, "u")
	_, err = ids.ResolvePath(o)
	wantError(t, err, 409, "", "not created")
	part, err = ids.ResolvePart(o)
	if want := canonical(t, `{"b":[{"value":"x"}],"bulkId:u":1.50,"d":{},"f":"é\n"}`); err != nil || string(part) != want {
		t.Errorf("got  %s, %v\nwant %s", part, err, want)
	}
	plain := decodeBulk(t, bulkBody(`{"method":"PUT","path":"/Users/a","data":{"x":"a\\b"}}`)).Operations[0]
	if got, err := ids.Resolve(plain); err != nil || string(got) != `{"x":"a\\b"}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestBulkResponse(t *testing.T) {
	failure := BulkFailure(BulkOperation{Method: "POST", BulkID: "b"}, "", Uniqueness("taken"))
	got := string(AppendBulkResponse(nil, []BulkResult{
		{Method: "POST", BulkID: "q", Location: "https://x/Users/92", Version: `W/"4"`, Status: 201},
		failure,
		{Method: "DELETE", Location: "https://x/Users/e9", Status: 204},
	}))
	want := `{"schemas":["` + BulkResponseSchema + `"],"Operations":[` +
		`{"location":"https://x/Users/92","method":"POST","bulkId":"q","version":"W/\"4\"","status":"201"},` +
		`{"method":"POST","bulkId":"b","status":"409","response":{"schemas":["` + ErrorSchema + `"],"scimType":"uniqueness","detail":"taken","status":"409"}},` +
		`{"location":"https://x/Users/e9","method":"DELETE","status":"204"}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := string(AppendBulkResponse(nil, nil)); got != `{"schemas":["`+BulkResponseSchema+`"],"Operations":[]}` {
		t.Errorf("got %s", got)
	}
}

// checkPlan carries a plan out as a server would, and checks what each step finds.
func checkPlan(t *testing.T, request BulkRequest) {
	t.Helper()
	steps := request.Plan()
	after := request.Dependencies(steps, nil)
	ids, creators := BulkIDs{}, map[string]int{}
	done := make([]int, len(request.Operations)) // 1: part, 2: all
	for at, step := range steps {
		o := request.Operations[step.Index]
		if refused := step.Phase == BulkRefused; refused != (o.Err != nil) || refused && done[step.Index] != 0 {
			t.Fatalf("operation %d: %v in %s", step.Index, o.Err, planText(steps))
		}
		if o.Err != nil {
			done[step.Index] = 2
			continue
		}
		for _, reference := range o.references {
			_, created := ids[reference]
			if !created && step.Phase != BulkPart && !failed(request, reference) {
				t.Fatalf("step %v comes before what it refers to: %s", step, planText(steps))
			}
			if created && creators[reference] != at && !slices.Contains(after[at], creators[reference]) {
				t.Fatalf("step %v does not wait for what it refers to: %s", step, planText(steps))
			}
		}
		if expected := map[BulkPhase]int{BulkWhole: 0, BulkPart: 0, BulkRest: 1}[step.Phase]; done[step.Index] != expected {
			t.Fatalf("operation %d is done twice, or its rest first: %s", step.Index, planText(steps))
		}
		if step.Phase == BulkPart && !o.creates() {
			t.Fatalf("operation %d is done in part, and creates nothing", step.Index)
		}
		done[step.Index] = 2
		if step.Phase == BulkPart {
			done[step.Index] = 1
			if part, err := ids.ResolvePart(o); err != nil || !json.Valid(part) {
				t.Fatalf("part %s, %v", part, err)
			}
		} else if data, err := ids.Resolve(o); err == nil && o.Data != nil {
			if !json.Valid(data) || len(BulkOperation{Data: data}.findReferences()) > 0 {
				t.Fatalf("resolved to %s", data)
			}
		}
		if o.creates() {
			ids[o.BulkID], creators[o.BulkID] = fmt.Sprintf("id %d", step.Index), at
		}
	}
	for i, o := range request.Operations {
		if done[i] != 2 {
			t.Fatalf("operation %d: %v, done %d in %s", i, o.Err, done[i], planText(steps))
		}
	}
}

// failed reports whether what creates under a bulkId cannot be attempted.
func failed(request BulkRequest, bulkID string) bool {
	return slices.ContainsFunc(request.Operations, func(o BulkOperation) bool { return o.creates() && o.BulkID == bulkID && o.Err != nil })
}

func TestPlanRespectsReferences(t *testing.T) {
	for seed := range uint64(2000) {
		g := generator{rand.New(rand.NewPCG(seed, 3))}
		var operations []string
		for i := range 1 + g.IntN(8) {
			data := map[string]any{}
			for range g.IntN(3) {
				reference := fmt.Sprintf("bulkId:%d", g.IntN(9))
				data[pick(g, "a", "b", "c")] = pick[any](g, reference, []any{map[string]any{"value": reference}, "x"}, "/Users/"+reference)
			}
			operations = append(operations, fmt.Sprintf(pick(g, `{"method":"POST","path":"/Users","bulkId":"%d","data":%s}`, `{"method":"POST","path":"/Groups","bulkId":"%d","data":%s}`,
				`{"method":"PATCH","path":"/Users/bulkId:%d","data":%s}`), i, appendValue(nil, data)))
		}
		checkPlan(t, decodeBulk(t, bulkBody(operations...)))
	}
}
