package main

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

func TestProblemsAreFound(t *testing.T) {
	const good = `<h1 id="top">x</h1><a href="#top">a</a><a href="/b/">b</a><a href="b/index.html#here">c</a><a href="https://example.com">d</a><img src="/p.png">`
	for text, want := range map[string]string{
		good:                                    "",
		`<a href="#none">`:                      "no element has that id",
		`<a href="/b/#none">`:                   "no element has that id",
		`<a href="/c">`:                         "no such file",
		`<img src="q.png">`:                     "no such file",
		`<img src="https://example.com/q.png">`: "is elsewhere",
		`<script src="//example.com/x.js"></script>`:           "is elsewhere",
		`<link rel="stylesheet" href="https://example.com/c">`: "is elsewhere",
	} {
		s, err := read(fstest.MapFS{
			"index.html":   {Data: []byte(text)},
			"b/index.html": {Data: []byte(`<p id="here"></p><a href="../index">up</a>`)},
			"p.png":        {},
		})
		if err != nil {
			t.Fatal(err)
		}
		got := errors.Join(s.problems()...)
		if want == "" && got != nil || want != "" && (got == nil || !strings.Contains(got.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, got, want)
		}
	}
	if s, _ := read(fstest.MapFS{"index.html": {}}); len(s.problems()) == 0 {
		t.Error("a site of one page is taken")
	}
}
