package main

import (
	"fmt"
	"io"
	"time"
)

// progress tells what is being done, with the time since the start.
type progress struct {
	writer io.Writer
	begun  time.Time
	group  string
}

func newProgress(w io.Writer) *progress {
	return &progress{writer: w, begun: time.Now(), group: "bench"}
}

// say writes one line. Nobody is served by an error of the terminal.
func (p *progress) say(format string, arguments ...any) {
	elapsed := time.Since(p.begun).Round(time.Second)
	_, _ = fmt.Fprintf(p.writer, "%5s  %s: %s\n", elapsed, p.group, fmt.Sprintf(format, arguments...))
}
