package protocol

import "testing"

func TestIsPassword(t *testing.T) {
	for _, name := range []string{"password", "PassWord", " password ", "urn:x:User:password", "urn:x:2.0:User.password", "name.password", "password.value", "password[type eq \"x\"].value", "emails[type eq \"x\"].password", "pa\u017fsword"} {
		if !isPassword(name) {
			t.Errorf("%q is not taken for a password", name)
		}
	}
	for _, name := range []string{"", "passwords", "passwordHint", "urn:password:1.0:User", "urn:x:password:level", "emails[value eq \"x.password\"]", "pass.word"} {
		if isPassword(name) {
			t.Errorf("%q is taken for a password", name)
		}
	}
}
