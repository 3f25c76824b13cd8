package trace

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	rows, err := Parse("# Title\n\n| Row | Requirement | Server | Test |\n|---|---|---|---|\n" +
		"| 7644-3.3-01 | Answer 201 | does | `scimserver.TestCreate`, `test/okta.TestCRUD/created_twice` |\n" +
		"| 7644-3.3-02 | Dance | not supported: no music |  |\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Row{
		{ID: "7644-3.3-01", Requirement: "Answer 201", Server: "does", Line: 5, Tests: []Test{{"scimserver", "TestCreate", ""}, {"test/okta", "TestCRUD", "created_twice"}}},
		{ID: "7644-3.3-02", Requirement: "Dance", Server: "not supported: no music", Line: 6},
	}
	if !reflect.DeepEqual(rows, want) {
		t.Errorf("got %+v\nwant %+v", rows, want)
	}
	for _, row := range rows {
		if problem := row.Problem(); problem != "" {
			t.Errorf("%s: %s", row.ID, problem)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, document := range map[string]string{
		"a column too few":  "| 7644-3.3-01 | Answer 201 | does |\n",
		"a row twice":       "| 7644-3.3-01 | A | does | `a.TestB` |\n| 7644-3.3-01 | A | does | `a.TestB` |\n",
		"words for a test":  "| 7644-3.3-01 | A | does | somewhere |\n",
		"a test and a word": "| 7644-3.3-01 | A | does | `a.TestB` perhaps |\n",
	} {
		if rows, err := Parse(document); err == nil {
			t.Errorf("%s: parsed as %+v", name, rows)
		}
	}
}

func TestProblem(t *testing.T) {
	test := []Test{{"a", "TestB", ""}}
	for name, row := range map[string]Row{
		"no test":        {Requirement: "A", Server: "does"},
		"no requirement": {Server: "does", Tests: test},
		"no server":      {Requirement: "A", Tests: test},
	} {
		if row.Problem() == "" {
			t.Errorf("%s: no problem", name)
		}
	}
}

func TestRuns(t *testing.T) {
	runs := Runs{}
	err := runs.Read(strings.NewReader(`go test -json ./...
{"Action":"run","Package":"example.com/m/a","Test":"TestPassed"}
{"Action":"pass","Package":"example.com/m/a","Test":"TestPassed/in_part"}
{"Action":"pass","Package":"example.com/m/a","Test":"TestPassed"}
{"Action":"skip","Package":"example.com/m/a","Test":"TestSkipped"}
{"Action":"run","Package":"example.com/m/a","Test":"TestCrashed"}
{"Action":"pass","Package":"example.com/m/a"}
`), "example.com/m")
	if err != nil {
		t.Fatal(err)
	}
	var rows []Row
	for _, test := range []string{"TestPassed", "TestPassed/in_part", "TestSkipped", "TestCrashed", "TestElsewhere"} {
		function, subtest, _ := strings.Cut(test, "/")
		rows = append(rows, Row{ID: "x-1", Tests: []Test{{"a", function, subtest}}})
	}
	want := []string{"a.TestSkipped (x-1) was skipped", "a.TestCrashed (x-1) did not end", "a.TestElsewhere (x-1) did not run"}
	if missing := runs.Missing(rows); !reflect.DeepEqual(missing, want) {
		t.Errorf("got %v, want %v", missing, want)
	}
}

func TestShow(t *testing.T) {
	const events = `go test -json ./...
{"Action":"output","Package":"m/a","Test":"TestPassed","Output":"    a_test.go:1: fine\n"}
{"Action":"pass","Package":"m/a","Test":"TestPassed"}
{"Action":"output","Package":"m/a","Test":"TestFailed","Output":"=== RUN   TestFailed\n"}
{"Action":"output","Package":"m/a","Test":"TestFailed","Output":"    a_test.go:2: not fine:\n"}
{"Action":"output","Package":"m/a","Test":"TestFailed","Output":"        because\n"}
{"Action":"output","Package":"m/a","Test":"TestFailed","Output":"    a process's log\n"}
{"Action":"output","Package":"m/a","Test":"TestFailed","Output":"--- FAIL: TestFailed (0.00s)\n"}
{"Action":"fail","Package":"m/a","Test":"TestFailed"}
{"Action":"output","Package":"m/a","Output":"FAIL\tm/a\n"}
{"Action":"fail","Package":"m/a"}`
	const want = "go test -json ./...\n" +
		"=== RUN   TestFailed\n    a_test.go:2: not fine:\n        because\n    a process's log\n--- FAIL: TestFailed (0.00s)\nFAIL\tm/a\n" +
		"\nm/a.TestFailed failed\n    a_test.go:2: not fine:\n        because\n"
	var shown strings.Builder
	if err := Show(strings.NewReader(events), &shown); err != nil || shown.String() != want {
		t.Errorf("got %q, %v, want %q", shown.String(), err, want)
	}
}

func TestShowAbridges(t *testing.T) {
	var events strings.Builder
	for i := range 20 {
		fmt.Fprintf(&events, `{"Action":"output","Package":"m/a","Test":"TestFailed","Output":"    a_test.go:%d: reason %d\n`, i, i)
		events.WriteString(strings.Repeat(`        more\n`, 20) + `"}` + "\n")
	}
	events.WriteString(`{"Action":"output","Package":"m/a","Test":"TestCrashed","Output":"panic: over\n\ngoroutine 1\n"}
{"Action":"fail","Package":"m/a","Test":"TestFailed"}
{"Action":"fail","Package":"m/a","Test":"TestCrashed"}`)
	var shown strings.Builder
	if err := Show(strings.NewReader(events.String()), &shown); err != nil {
		t.Fatal(err)
	}
	_, summary, _ := strings.Cut(shown.String(), "m/a.TestFailed failed\n")
	if lines := strings.Count(summary, "\n"); lines > 120 || strings.Contains(summary, "reason 11\n") || !strings.Contains(summary, "reason 12\n") {
		t.Errorf("%d lines:\n%s", lines, summary)
	}
	if !strings.HasSuffix(summary, "m/a.TestCrashed failed\npanic: over\n\ngoroutine 1\n") {
		t.Errorf("ends without the crash:\n%s", summary)
	}
}

func TestFunctions(t *testing.T) {
	functions, err := Functions(".")
	if err != nil || !functions["TestFunctions"] || functions["TestNothing"] {
		t.Errorf("%v, %v", functions, err)
	}
	if _, err := Functions("nowhere"); err == nil {
		t.Error("found tests nowhere")
	}
}

func TestRerun(t *testing.T) {
	const module = "example.com/m"
	event := func(folder, test, action string) string {
		return fmt.Sprintf(`{"Action":%q,"Package":"%s/%s","Test":%q}`+"\n", action, module, folder, test)
	}
	two := event("test/okta", "TestLife", "fail") + event("test/okta", "TestPages/own", "fail") + event("test/okta", "TestPages", "fail") +
		event("test/okta", "", "fail") + event("internal/clip", "TestSkipped", "skip") + event("internal/clip", "", "pass")
	for name, test := range map[string]struct {
		events string
		want   []string
	}{
		"some": {two + event("internal/names", "TestFold", "fail") + event("internal/names", "", "fail"),
			[]string{"./internal/names ^(TestFold)$", "./test/okta ^(TestLife|TestPages)$"}},
		"more than most": {two + event("internal/names", "TestFold", "fail") + event("internal/names", "TestOther", "fail"), nil},
		"none":           {event("internal/clip", "TestClip", "pass"), nil},
		"no build":       {two + event("internal/names", "", "fail"), nil},
		"no end":         {two + event("internal/names", "TestFold", "run") + event("internal/names", "", "fail"), nil},
		"a crash":        {two + `{"Action":"output","Package":"example.com/m/test/okta","Output":"panic: no\n"}` + "\n", nil},
	} {
		runs := Runs{}
		if err := runs.Read(strings.NewReader(test.events), module); err != nil {
			t.Fatal(err)
		}
		got, err := runs.Rerun(3)
		if !reflect.DeepEqual(got, test.want) || (err == nil) != (test.want != nil) {
			t.Errorf("%s: %q, error %v", name, got, err)
		}
	}
}
