package faults_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// journal is what was done, for the end of the test and for one that fails.
type journal struct {
	mu sync.Mutex
	// done counts what was done, by what it was.
	done map[string]int
	// longest is the longest wait of a client that the server told to try again.
	longest time.Duration
	// own are resourceVersions of bindings that this test wrote, as tampering does.
	own map[string]bool
	// past tells which candidate led when, what was done to bindings by hand, and how the Apps were edited.
	past []string
}

// count notes that something was done.
func (j *journal) count(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done[what]++
}

// note remembers, for a test that fails, what was done and when.
func (j *journal) note(format string, arguments ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.past = append(j.past, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, arguments...))
}

// explain says, of a test that failed, what was done that may have led to it.
func (j *journal) explain(t *testing.T) {
	if t.Failed() {
		t.Logf("what happened before:\n%s", strings.Join(j.past, "\n"))
	}
}

// tell logs what was done, and fails where something never was.
func (j *journal) tell(t *testing.T) {
	var lines []string
	for _, what := range slices.Sorted(maps.Keys(j.done)) {
		lines = append(lines, fmt.Sprintf("%s %d", what, j.done[what]))
	}
	t.Logf("done meanwhile: %s; Okta had to try again for %s at most", strings.Join(lines, ", "), j.longest.Round(time.Millisecond))
	if j.done["leader killed"] < 20 {
		return
	}
	for _, what := range everything {
		if j.done[what] == 0 {
			t.Errorf("%q was never done: the test has tested less than it claims", what)
		}
	}
}
