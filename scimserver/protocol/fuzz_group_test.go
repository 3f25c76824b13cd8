package protocol

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
	"testing"
)

func membersOfIDs(ids []string) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		for _, id := range ids {
			if !yield(Member{ID: id, Display: id}) {
				return
			}
		}
	}
}

var groupSeeds = []string{
	`{"schemas":["` + GroupSchema + `"],"displayName":"Droids","members":[{"value":"cc25","display":"bb-8@x"},{"value":"a","type":"User","$ref":"https://x/Users/a"}]}`,
	`{"` + GroupSchema + `":{"displayName":"D","members":["a",7,null,{"$ref":"../Users/b"}]},"members":{"value":"c"},"urn:x:Y":{"a":[1.50]}}`,
	`{"id":"g","externalId":"8aa1","DISPLAYNAME":"D","members":null,"password":"x","` + GroupSchema + `:members":"a"}`,
	patchedGroup,
}

func FuzzDecodeGroup(f *testing.F) {
	for _, body := range groupSeeds {
		f.Add([]byte(body))
	}
	s := groupSchemas(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		group, err := s.DecodeGroup(bytes.NewReader(body))
		if err != nil {
			wantProtocolError(t, err)
			return
		}
		checkIDs(t, group.Members)
		if group.MembersSet != (group.Members != nil) {
			t.Fatalf("MembersSet is %v", group.MembersSet)
		}
		checkGroup(t, s, group.Attributes, group.Members)
		// What is not streamed gives the same attributes.
		if whole, err := s.DecodeUser(body); err == nil {
			delete(whole.Attributes, "members")
			whole.prune()
			if !sameResource(whole, group.Attributes) {
				t.Fatalf("streamed %s %v\nwhole %s %v", encoded(group.Attributes.Attributes), group.Attributes.Containers, encoded(whole.Attributes), whole.Containers)
			}
		}
	})
}

func checkIDs(t *testing.T, ids []string) {
	t.Helper()
	if sorted := slices.Sorted(slices.Values(ids)); len(slices.Compact(sorted)) != len(ids) || slices.Contains(ids, "") {
		t.Fatalf("members are empty or twice: %q", ids)
	}
}

// checkGroup: no password, nothing empty, and rendering and decoding gives the same group.
func checkGroup(t *testing.T, s *SchemaSet, r Resource, members []string) {
	t.Helper()
	checkValue(t, r.Attributes, "")
	if _, held := r.Attributes["members"]; held {
		t.Fatal("members are among the attributes")
	}
	var rendered bytes.Buffer
	meta := Meta{ID: "g", Location: "https://x/Groups/g"}
	if err := s.RenderGroup(&rendered, r, meta, membersOfIDs(members), Projection{}); err != nil || !json.Valid(rendered.Bytes()) {
		t.Fatalf("rendered %s, %v", rendered.Bytes(), err)
	}
	back, err := s.DecodeGroup(bytes.NewReader(rendered.Bytes()))
	if err != nil {
		t.Fatalf("what was rendered cannot be decoded: %v\n%s", err, rendered.Bytes())
	}
	if !sameResource(r, back.Attributes) || !back.MembersSet || !slices.Equal(back.Members, members) {
		t.Fatalf("not a fixed point:\n%s %q\n%s %q", encoded(r.Attributes), members, encoded(back.Attributes.Attributes), back.Members)
	}
}

func FuzzGroupPatch(f *testing.F) {
	for i, body := range []string{
		patchBody(`{"op":"replace","value":{"id":"abf4","displayName":"New name","members":[{"value":"a"}]}}`),
		patchBody(`{"op":"remove","path":"members[value eq \"89bb\" or value eq \"x\"]"}`, `{"op":"add","path":"members","value":[{"value":"23a3","display":"t"},"b"]}`),
		patchBody(`{"op":"Remove","path":"members","value":[{"$ref":null,"value":"a"}]}`, `{"op":"remove","path":"members[display eq \"x\"]"}`),
		patchBody(`{"op":"replace","path":"`+GroupSchema+`:members","value":[]}`, `{"op":"add","value":{"`+GroupSchema+`":{"members":["a"]},"members[value eq \"a\"].display":"x"}}`),
		patchBody(`{"op":"replace","path":"members[value eq \"a\"].value","value":"a"}`, `{"op":"add","path":"urn:x:Y:w","value":[1]}`, `{"op":"remove","path":"externalId"}`),
	} {
		f.Add([]byte(groupSeeds[i%len(groupSeeds)]), []byte(body))
	}
	s := groupSchemas(f)
	f.Fuzz(func(t *testing.T, group, body []byte) {
		current, err := s.DecodeGroup(bytes.NewReader(group))
		if err != nil {
			return
		}
		p, err := s.ParseGroupPatch(body)
		if err != nil {
			wantProtocolError(t, err)
			return
		}
		for _, step := range p.Steps {
			checkIDs(t, step.IDs)
		}
		delta := p.NormaliseOver(membersOfIDs(current.Members), membersOfIDs(p.Joining()))
		checkDelta(t, delta)
		if blind, ok := p.Normalise(); ok == p.NeedsMembers() {
			t.Fatalf("Normalise is %v", ok)
		} else if ok && !slices.Equal(blind.Add, delta.Add) {
			t.Fatalf("%+v and %+v", blind, delta)
		}
		before := current.Attributes.DeepCopy()
		next, changed, err := p.ApplyAttributes(current.Attributes)
		if !sameResource(current.Attributes, before) {
			t.Fatal("the current group was changed")
		}
		if err != nil {
			wantProtocolError(t, err)
			return
		}
		if again, _, err := p.ApplyAttributes(current.Attributes); err != nil || !sameResource(next, again) || changed == sameResource(next, before) {
			t.Fatalf("changed is %v, a second application gives %s, %v", changed, encoded(again.Attributes), err)
		}
		if changed && !p.HasAttributes() {
			t.Fatal("changed by nothing")
		}
		checkGroup(t, s, next, applyDelta(slices.Clone(current.Members), delta))
	})
}

func FuzzBulk(f *testing.F) {
	f.Add(bulkBody(`{"method":"POST","path":"/Groups","bulkId":"g","data":{"members":[{"value":"bulkId:u","$ref":"../Users/bulkId:u"}]}}`, `{"method":"POST","path":"/Users","bulkId":"u","data":{"m":"bulk\u0049d:g"}}`))
	f.Add(bulkBody(`{"method":"PATCH","path":"/Groups/bulkId:u","data":{"Operations":[{"op":"remove","path":"members[value eq \"bulkId:u\"]"}]}}`, `{"method":"post","path":"Users","bulkId":"u","data":{}}`, `{"method":"DELETE","path":"/Users/e9","version":"W/\"1\""}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		request, err := DecodeBulk(body, bulkLimits)
		if err != nil {
			wantProtocolError(t, err)
			return
		}
		checkPlan(t, request)
		results := make([]BulkResult, 0, len(request.Operations))
		for _, o := range request.Operations {
			if o.Err != nil {
				wantProtocolError(t, o.Err)
				results = append(results, BulkFailure(o, "", o.Err))
			}
		}
		if response := AppendBulkResponse(nil, results); !json.Valid(response) {
			t.Fatalf("not JSON: %s", response)
		}
	})
}
