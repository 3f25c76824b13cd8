package flowcontrol

import (
	"context"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/lru"
)

const (
	// failuresPerSecond and failuresBurst are how many requests without a valid token of one source are answered as they are.
	failuresPerSecond = 10
	failuresBurst     = 100
	// allFailuresPerSecond bounds those of all sources: many addresses together get no further than that.
	allFailuresPerSecond = 200
	// maxSources bounds how many sources are remembered; the one that was seen longest ago is forgotten first.
	maxSources = 4096
)

// Failures backs off sources after failed authentication. Requests with a valid token never come here: no source locks out
// another client behind the same address. Use NewFailures. Safe for concurrent use; its memory is bounded.
type Failures struct {
	all     *rate.Limiter
	sources *lru.Cache // of netip.Prefix → *rate.Limiter
	Tally   Tally[netip.Prefix]
	holding holding
}

// NewFailures returns a back-off that knows no source.
func NewFailures() *Failures {
	return &Failures{
		all:     rate.NewLimiter(allFailuresPerSecond, 2*allFailuresPerSecond),
		sources: lru.New(maxSources), holding: newHolding(),
	}
}

// Failed notes a request from an address after its authentication failed. It returns 0 where the request is to be answered
// as it is; otherwise it waits for a moment and returns after how long the source may try again. first says that it is the
// first from that network in this minute.
func (f *Failures) Failed(ctx context.Context, address netip.Addr) (retryAfter time.Duration, first bool) {
	from := Network(address)
	first = f.Tally.Add(from)
	if f.limiter(from).Allow() && f.all.Allow() {
		return 0, first
	}
	f.holding.wait(ctx)
	return time.Second, first
}

// limiter may make two for one source at the same time, of which one is kept.
func (f *Failures) limiter(from netip.Prefix) *rate.Limiter {
	if known, ok := f.sources.Get(from); ok {
		if limiter, ok := known.(*rate.Limiter); ok {
			return limiter
		}
	}
	limiter := rate.NewLimiter(failuresPerSecond, failuresBurst)
	f.sources.Add(from, limiter)
	return limiter
}

const (
	// holdTime is how long the answer to a refused client waits, so that a connection asks no faster.
	holdTime = 500 * time.Millisecond
	// maxHeld bounds how many answers wait.
	maxHeld = 256
)

// holding has refused clients wait for their answer.
type holding chan struct{}

func newHolding() holding { return make(holding, maxHeld) }

// wait returns after a moment, or at once where ctx has ended or many wait already; it reports whether it waited.
func (h holding) wait(ctx context.Context) bool {
	select {
	case h <- struct{}{}:
	default:
		return false
	}
	defer func() { <-h }()
	timer := time.NewTimer(holdTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}
