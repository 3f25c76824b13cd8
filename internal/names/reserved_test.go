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
