package harness

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Log keeps what processes print. Safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends. It returns no error.
func (l *Log) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(data)
}

// String is the whole text.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// shown bounds what a failed test prints of a log, in lines.
const shown = 40

// ShowOnFailure prints what the processes have said since the call, if the test fails.
func (h *Harness) ShowOnFailure(t testing.TB) {
	server, controller := len(h.ServerLog.String()), len(h.ControllerLog.String())
	t.Cleanup(func() {
		if t.Failed() {
			_, _ = fmt.Fprintf(t.Output(), "the server's last lines:\n%s\n", lastLines(h.ServerLog.String()[server:]))
			_, _ = fmt.Fprintf(t.Output(), "the controller's last lines:\n%s\n", lastLines(h.ControllerLog.String()[controller:]))
		}
	})
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-shown):], "\n")
}
