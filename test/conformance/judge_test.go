//go:build conformance

package conformance

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"testing"
)

// question is one line for judges/judge.mjs.
type question struct {
	Kind       string           `json:"kind"`
	Filter     string           `json:"filter,omitempty"`
	Operations []map[string]any `json:"operations,omitempty"`
	Resource   map[string]any   `json:"resource"`
}

// verdict is what the judge answered: Match or Resource, or the name of an error.
type verdict struct {
	Match    *bool          `json:"match"`
	Resource map[string]any `json:"resource"`
	Error    string         `json:"error"`
	Detail   string         `json:"detail"`
}

// ask has the judges answer all questions. It fails the test where they do not answer each.
func ask(t *testing.T, questions []question) []verdict {
	t.Helper()
	var input bytes.Buffer
	encoder := json.NewEncoder(&input)
	encoder.SetEscapeHTML(false)
	for _, q := range questions {
		if err := encoder.Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command("node", "judge.mjs")
	command.Dir = "judges"
	command.Stdin, command.Stderr = &input, os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("the judges (make conformance installs them): %v", err)
	}
	verdicts := make([]verdict, 0, len(questions))
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v verdict
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		verdicts = append(verdicts, v)
	}
	if lines.Err() != nil || len(verdicts) != len(questions) {
		t.Fatalf("%d answers to %d questions, %v", len(verdicts), len(questions), lines.Err())
	}
	return verdicts
}

// report fails the test with the shortest of the failures, which are the easiest to understand.
func report(t *testing.T, failures []string) {
	t.Helper()
	slices.SortFunc(failures, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	for _, failure := range failures[:min(len(failures), 20)] {
		t.Error(failure)
	}
	if len(failures) > 20 {
		t.Errorf("and %d more", len(failures)-20)
	}
}
