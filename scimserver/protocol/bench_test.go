package protocol

import "testing"

const oktaUser = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
"userName":"test.user@okta.local","name":{"givenName":"Test","familyName":"User"},
"emails":[{"primary":true,"value":"test.user@okta.local","type":"work"}],"displayName":"Test User","locale":"en-US",
"externalId":"00ujl29u0le5T6Aj10h7","groups":[],"password":"1mz050nq","active":true,
"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"Sales","manager":{"value":"m@example.com","displayName":"M"}},
"urn:ietf:params:scim:schemas:core:2.0:user":{"role":"RESELLER_ADMIN"}}`

func BenchmarkDecodeUser(b *testing.B) {
	s := testSchemas(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.DecodeUser([]byte(oktaUser)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	s := testSchemas(b)
	r := decode(b, s, oktaUser)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Render(r, testMeta, Projection{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidateUpdate(b *testing.B) {
	s := testSchemas(b)
	r := decode(b, s, oktaUser)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.ValidateUpdate(Resource{}, r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApplyPatchDeactivate(b *testing.B) {
	s := testSchemas(b)
	r := decode(b, s, oktaUser)
	body := []byte(patchBody(`{"op":"replace","value":{"active":false}}`))
	b.ReportAllocs()
	for b.Loop() {
		if _, changed, err := s.ApplyPatch(r, body); err != nil || !changed {
			b.Fatal(changed, err)
		}
	}
}

// The cost of a long list must stay proportional to its length.
func BenchmarkApplyPatchAddTo5000Roles(b *testing.B) {
	s := testSchemas(b)
	roles := make([]any, 5000)
	for i := range roles {
		roles[i] = map[string]any{"value": "role-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))}
	}
	r := Resource{Attributes: map[string]any{"userName": "a", "roles": roles}}
	body := []byte(patchBody(`{"op":"add","path":"roles","value":["new"]}`, `{"op":"remove","path":"roles","value":["role-aaa"]}`))
	b.ReportAllocs()
	for b.Loop() {
		if _, changed, err := s.ApplyPatch(r, body); err != nil || !changed {
			b.Fatal(changed, err)
		}
	}
}

func BenchmarkFilterMatches(b *testing.B) {
	s := testSchemas(b)
	complete := s.Complete(decode(b, s, oktaUser), testMeta)
	f, err := mustParse(b, `emails[type eq "work" and value eq "TEST.user@okta.local"] and active eq true`).Bind(s)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !f.Matches(complete) {
			b.Fatal("no match")
		}
	}
}

func BenchmarkParseFilter(b *testing.B) {
	s := testSchemas(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mustParse(b, `userName eq "test.user@okta.local"`).Bind(s); err != nil {
			b.Fatal(err)
		}
	}
}
