package claims

import "testing"

// Known answers: printf 'wiki\0userName\0ada@example.com' | sha256sum, in base32. Claims are looked up by these names, so
// they must never change.
func TestName(t *testing.T) {
	for _, test := range []struct{ app, attribute, key, want string }{
		{"wiki", "userName", "ada@example.com", "oqhinvk6y7ajnhukmtapueziyijbnpqcqn3szfjy64t4c3yltkya"},
		{"wiki", "displayName", "platform admins", "4yel326e7kymdyzqjzlrgia65ybsvxyx35hqtmya3bparif7bguq"},
	} {
		if got := Name(test.app, test.attribute, test.key); got != test.want {
			t.Errorf("Name(%q, %q, %q) = %s, want %s", test.app, test.attribute, test.key, got, test.want)
		}
	}
	if Name("ab", "c", "d") == Name("a", "bc", "d") {
		t.Error("parts run into each other")
	}
	if Key("ADA@Example.com") != Key("ada@example.COM") {
		t.Error("userName is compared with regard to case")
	}
}
