package clip

import "testing"

func TestText(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"", 3, ""}, {"abc", 3, "abc"}, {"abcd", 3, "abc…"}, {"äöü", 6, "äöü"}, {"äöü", 5, "äö…"}, {"äöü", 1, "…"},
	} {
		if got := Text(c.text, c.limit); got != c.want {
			t.Errorf("Text(%q, %d) = %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}
