package names

import "testing"

func TestFold(t *testing.T) {
	same := [][]string{
		{"jane@example.com", "JANE@EXAMPLE.COM", "Jane@Example.com"},
		{"straße", "STRASSE", "Strasse", "STRAẞE"},
		{"café", "cafe\u0301", "CAFÉ", "CAFE\u0301"},
		{"ΣΊΣΥΦΟΣ", "σίσυφος", "σίσυφοσ"},
		{"\u1fb3", "α\u0345", "Α\u0345", "αι"},
		{"α\u0345\u0301", "α\u0301\u0345", "Α\u0301\u0345", "\u1fb4"},
		{"İ", "i\u0307"},
		{"Kelvin", "\u212aelvin"},
		{"a", "A"}, {"z", "Z"}, {"az", "AZ", "Az", "aZ"}, {"@[`{", "@[`{"},
		{""},
	}
	keys := map[string]int{}
	for i, class := range same {
		for _, s := range class {
			key := Fold(s)
			if first, ok := keys[key]; ok && first != i {
				t.Errorf("%q has the key of another class", s)
			} else if !ok && s != class[0] {
				t.Errorf("%q and %q have different keys: %q", s, class[0], key)
			}
			keys[key] = i
			if Fold(key) != key {
				t.Errorf("Fold is not idempotent for %q: %q, %q", s, key, Fold(key))
			}
		}
	}
	for _, pair := range [][2]string{{"a", "а"}, {"a", "a "}, {"ﬁ", "f i"}, {"1", "①"}, {"a", "á"}} {
		if Fold(pair[0]) == Fold(pair[1]) {
			t.Errorf("%q and %q have one key", pair[0], pair[1])
		}
	}
}

func TestFoldDoesNotAllocateForLowerCaseASCII(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Fold("jane.smith@example.com") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEqualFold(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {"Jane", "jane", true}, {"jane", "janes", false}, {"janes", "jane", false}, {"jane", "june", false}, {"CAFÉ", "cafe\u0301", true},
		{"cafe", "café", false}, {"café", "cafe", false}, {"xé", "yé", false}, {"xe\u0301", "xé", true}, {"xe\u0301", "ye\u0301", false}, {"é", "", false},
	} {
		if got := EqualFold(test.a, Fold(test.b)); got != test.want {
			t.Errorf("EqualFold(%q, Fold(%q)) is %t", test.a, test.b, got)
		}
	}
}

func FuzzFold(f *testing.F) {
	f.Add("Jane", "JANE")
	f.Add("cafe\u0301", "CAFÉ")
	f.Add("ᾳ\u0301", "Α\u0345")
	f.Fuzz(func(t *testing.T, a, b string) {
		key := Fold(a)
		if Fold(key) != key {
			t.Errorf("not idempotent: %q → %q → %q", a, key, Fold(key))
		}
		if got, want := EqualFold(a, Fold(b)), Fold(a) == Fold(b); got != want {
			t.Errorf("EqualFold(%q, Fold(%q)) is %v, the keys are equal: %v", a, b, got, want)
		}
	})
}
