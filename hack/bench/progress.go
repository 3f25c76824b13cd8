package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// sayInterval is how often something long is told to go on.
const sayInterval = 5 * time.Second

// progress tells what is being done, with the time since the start. Any goroutine may use it.
type progress struct {
	writer io.Writer
	begun  time.Time
	group  string

	mu   sync.Mutex
	said time.Time
}

func newProgress(w io.Writer) *progress {
	return &progress{writer: w, begun: time.Now(), group: "bench"}
}

// say writes one line.
func (p *progress) say(format string, arguments ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write(format, arguments...)
}

// sayOften writes one line unless one was written within the last seconds.
func (p *progress) sayOften(format string, arguments ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.said) >= sayInterval {
		p.write(format, arguments...)
	}
}

// write ignores errors: a report of one would go to the same terminal.
func (p *progress) write(format string, arguments ...any) {
	p.said = time.Now()
	elapsed := time.Since(p.begun).Round(time.Second)
	_, _ = fmt.Fprintf(p.writer, "%5s  %s: %s\n", elapsed, p.group, fmt.Sprintf(format, arguments...))
}
