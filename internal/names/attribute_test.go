package names

import "testing"

func TestAttributes(t *testing.T) {
	for name, want := range map[string]bool{
		"userName": true, "a": true, "a-b_c9": true, "Z": true,
		"": false, "1st": false, "-a": false, "_a": false, "$ref": false, "a b": false, "a.b": false, "é": false,
	} {
		if IsAttribute(name) != want {
			t.Errorf("%q is a name of an attribute: %v", name, !want)
		}
	}
	for name, want := range map[string]bool{"ID": true, "Password": true, "externalId": true, "groups": true, "userName": false, "": false} {
		if IsReservedAttribute(name) != want {
			t.Errorf("%q is reserved: %v", name, !want)
		}
	}
	for urn, want := range map[string]bool{
		"urn:x:y": true, "URN:example:own": true, "urn:ab": true,
		"": false, "urn:": false, "urn:a": false, "http://example.com": false, "urn:a b:c": false, "urn:a[0]": false,
	} {
		if IsSchemaURN(urn) != want {
			t.Errorf("%q is a URN: %v", urn, !want)
		}
	}
}
