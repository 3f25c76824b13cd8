package scimserver

import "testing"

func TestMayDeactivate(t *testing.T) {
	for body, want := range map[string]bool{
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":false}}]}`: true,
		`{"Operations":[{"op":"Replace","path":"active","value":"False"}]}`:                                                      true,
		`{"Operations":[{"op":"Replace","path":"active","value":[{"$ref":null,"value":"False"}]}]}`:                              true,
		`{"Operations":[{"value": false, "op":"replace", "path":"urn:ietf:params:scim:schemas:core:2.0:User:active"}]}`:          true,
		`{"userName":"jane@example.com","name":{"givenName":"Jane"},"emails":[{"primary":true}],"active" : false}`:               true,
		`{"userName":"jane@example.com","emails":[{"primary":false}],"active":true}`:                                             false,
		`{"Operations":[{"op":"replace","path":"active","value":true}]}`:                                                         false,
		`{"Operations":[{"op":"replace","path":"displayName","value":"false"}]}`:                                                 false,
		``: false,
	} {
		if got := mayDeactivate([]byte(body)); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}
