package names

import "testing"

func TestIsReserved(t *testing.T) {
	for _, name := range []string{
		"system:masters", " system:authenticated", "\tsystem:x", "\u00a0system:x", "\u200bsystem:x", "sys\u200btem:x", "SYSTEM:x",
		"System :x", "\x00system:x", "\ufeffsystem:x", "ｓｙｓｔｅｍ：x", "system\u00ad:x", "system:",
	} {
		if !IsReserved(name) {
			t.Errorf("%q passes", name)
		}
	}
	for _, name := range []string{"", "systems", "okta:system:x", "jane@example.com", "a system:x", "system"} {
		if IsReserved(name) {
			t.Errorf("%q is refused", name)
		}
	}
}

func TestIsPlain(t *testing.T) {
	for name, want := range map[string]bool{
		"okta:jane@example.com": true, "Jane Doe": true, "": true, " jane": false, "jane\n": false, "ja\x00ne": false, "ja\u200bne": false, "ja\u202ene": false,
	} {
		if got := IsPlain(name); got != want {
			t.Errorf("%q: %t, want %t", name, got, want)
		}
	}
}
