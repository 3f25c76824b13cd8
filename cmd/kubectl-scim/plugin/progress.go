package plugin

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/cli-runtime/pkg/printers"
)

// progress is a bar on standard error, where that is a terminal.
type progress struct {
	console *console
	what    string
	total   int
	shown   bool

	mutex sync.Mutex
	done  int
	begun time.Time
	last  time.Time
}

// progressEvery is how often the bar is drawn.
const progressEvery = 100 * time.Millisecond

func (c *console) newProgress(what string, total int) *progress {
	return &progress{console: c, what: what, total: total, shown: printers.IsTerminal(c.ErrOut), begun: time.Now()}
}

func (p *progress) add() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.done++
	if p.shown && time.Since(p.last) >= progressEvery {
		p.last = time.Now()
		_, _ = fmt.Fprint(p.console.ErrOut, "\r"+p.text())
	}
}

func (p *progress) end() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.shown && !p.last.IsZero() {
		_, _ = fmt.Fprintln(p.console.ErrOut, "\r"+p.text())
	}
}

func (p *progress) text() string {
	const width = 30
	filled := 0
	if p.total > 0 {
		filled = min(p.done*width/p.total, width)
	}
	rate := float64(p.done) / max(time.Since(p.begun).Seconds(), 0.001)
	left := time.Duration(float64(p.total-p.done) / max(rate, 0.001) * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("[%s%s] %d/%d %s, %.0f/s, %s left ", strings.Repeat("#", filled), strings.Repeat(".", width-filled), p.done, p.total, p.what, rate, max(left, 0))
}
