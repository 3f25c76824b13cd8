// Package pace tells how fast work that can wait goes on, by how fast the API server answers. Where it answers slower than
// it can, an App that asks for much slows down, so that what others ask for in the meantime does not.
//
// Requests of one kind are compared with the fastest of the same kind in the last ten minutes: a round trip that takes twice
// as long has waited for processors or for other requests. The part of the full speed, the share, falls quickly and rises
// slowly, as the window of a background transfer does (LEDBAT, RFC 6817). The user of a share decides which work it slows
// down; removals of access are never among it.
package pace

import (
	"slices"
	"sync"
	"time"

	"github.com/scim-operator/scim-operator/internal/telemetry"
)

const (
	// window is how long round trips are collected before the share follows them; windowSamples how many those are at least.
	window        = 500 * time.Millisecond
	windowSamples = 5
	// maxSamples bounds what is collected in a window.
	maxSamples = 1024
	// slow and fast are times of round trips, in multiples of the fastest: above the one the share falls, below the other it rises.
	slow, fast = 2.0, 1.6
	fall, rise = 0.6, 1.25
	// least is the smallest share.
	least = 1.0 / 64
	// leastTime is what the fastest round trip counts as at least: differences below it disturb no client.
	leastTime = time.Millisecond
	// refusedRatio is what a request counts as that the API server refused for its load.
	refusedRatio = 8
	// kindSamples is how many round trips of a kind make one figure, their median.
	kindSamples = 8
	// buckets of a minute remember the fastest figures.
	buckets = 10
	// maxKinds bounds the kinds that are known.
	maxKinds = 256
)

// Pace follows the round trips of one process to its API server. Use New. Safe for concurrent use.
type Pace struct {
	mutex   sync.Mutex
	kinds   map[string]*kind
	ratios  []float64
	begun   time.Time // of the window
	share   float64
	settled time.Time // when the share was last adjusted
}

// shown is the share of the newest Pace: a process that begins anew makes another one.
var shown = telemetry.Gauge(telemetry.Both, "api_pace",
	"Part of the full speed at which Apps go on that ask for more than others: 1 while the API server answers as fast as it can.").WithLabelValues()

// New returns a pace at full speed.
func New() *Pace {
	shown.Set(1)
	return &Pace{kinds: map[string]*kind{}, share: 1}
}

// Share is the part of the full speed, 1 where the API server answers as fast as it can. A nil Pace is at full speed.
func (p *Pace) Share() float64 {
	if p == nil {
		return 1
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.recover(time.Now())
	return p.share
}

// recover raises the share for the time in which too few requests were sent to judge by.
func (p *Pace) recover(now time.Time) {
	if p.share == 1 {
		return
	}
	for range min(int(now.Sub(p.settled)/(4*window)), buckets) {
		p.adjust(1, now)
	}
}

// observe notes that a request of a kind took so long.
func (p *Pace) observe(of string, took time.Duration, refused bool) {
	now := time.Now()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.begun.IsZero() {
		p.begun, p.settled = now, now
	}
	if refused {
		p.collect(refusedRatio)
	} else if k := p.kind(of); k != nil {
		if fastest := k.fastest(now); fastest > 0 {
			p.collect(float64(took) / float64(max(fastest, leastTime)))
		}
		k.add(took, now)
	}
	if now.Sub(p.begun) < window || len(p.ratios) < windowSamples {
		return
	}
	slices.Sort(p.ratios)
	p.adjust(p.ratios[len(p.ratios)/2], now)
	p.ratios, p.begun = p.ratios[:0], now
}

func (p *Pace) collect(ratio float64) {
	if len(p.ratios) < maxSamples {
		p.ratios = append(p.ratios, ratio)
	}
}

func (p *Pace) adjust(ratio float64, now time.Time) {
	p.settled = now
	switch {
	case ratio > slow:
		p.share = max(least, p.share*fall)
	case ratio < fast:
		p.share = min(1, p.share*rise)
	}
	shown.Set(p.share)
}

func (p *Pace) kind(of string) *kind {
	k := p.kinds[of]
	if k == nil && len(p.kinds) < maxKinds {
		k = &kind{}
		p.kinds[of] = k
	}
	return k
}

// kind remembers the fastest round trips of one kind of request.
type kind struct {
	recent  []time.Duration
	minutes [buckets]int64
	figures [buckets]time.Duration
}

func (k *kind) add(took time.Duration, now time.Time) {
	if k.recent = append(k.recent, took); len(k.recent) < kindSamples {
		return
	}
	slices.Sort(k.recent)
	figure := k.recent[len(k.recent)/2]
	k.recent = k.recent[:0]
	minute := now.Unix() / 60
	at := minute % buckets
	if k.minutes[at] != minute || figure < k.figures[at] {
		k.minutes[at], k.figures[at] = minute, figure
	}
}

// fastest is 0 where there were too few.
func (k *kind) fastest(now time.Time) (fastest time.Duration) {
	minute := now.Unix() / 60
	for at, figure := range k.figures {
		if figure > 0 && minute-k.minutes[at] < buckets && (fastest == 0 || figure < fastest) {
			fastest = figure
		}
	}
	return fastest
}
