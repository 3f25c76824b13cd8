package main

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// operation does the i-th of a round's requests.
type operation func(ctx context.Context, i int) error

// measurement is what one round of one side took.
type measurement struct {
	elapsed   time.Duration
	settled   []time.Duration // until what follows from the answers was done, too: of each of the side's settle
	latencies []time.Duration // of the operations that succeeded
	errors    int
	first     error // of the errors
}

// rate is in successful operations a second.
func (m measurement) rate() float64 { return float64(len(m.latencies)) / m.elapsed.Seconds() }

// drive does n operations from as many workers as concurrency says, each of which asks again as soon as it is answered.
func drive(ctx context.Context, n, concurrency int, op operation) measurement {
	// Garbage of the preparation is not the round's.
	runtime.GC()
	var next atomic.Int64
	var wait sync.WaitGroup
	parts := make([]measurement, concurrency)
	begun := time.Now()
	for worker := range concurrency {
		part := &parts[worker]
		part.latencies = make([]time.Duration, 0, n/concurrency+1)
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				asked := time.Now()
				if err := op(ctx, i); err != nil {
					part.errors++
					part.first = firstOf(part.first, err)
					continue
				}
				part.latencies = append(part.latencies, time.Since(asked))
			}
		})
	}
	wait.Wait()
	total := measurement{elapsed: time.Since(begun)}
	for _, part := range parts {
		total.add(part)
	}
	return total
}

func (m *measurement) add(other measurement) {
	m.latencies = append(m.latencies, other.latencies...)
	m.errors += other.errors
	m.first = firstOf(m.first, other.first)
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// side is one of the things that a benchmark compares.
type side struct {
	name string
	// prepare makes a round's requests, outside the time that is measured.
	prepare func(n int) (operation, error)
	// settle wait, one after the other, for what follows from all answers so far.
	settle []func() error
}

// series is what all counted rounds of one side took.
type series []measurement

// alternate runs rounds of n operations of each side in turn, the first side of a round being the last of the next, so
// that none is always first. A short round before them fills connections and caches and is not counted.
func (s *suite) alternate(ctx context.Context, name string, n, concurrency int, sides []side) ([]series, error) {
	results := make([]series, len(sides))
	for round := range s.plan.rounds + 1 {
		count := n
		if round == 0 {
			count = max(concurrency, n/5)
		}
		for turn := range sides {
			i := (turn + round) % len(sides)
			op, err := sides[i].prepare(count)
			if err != nil {
				return nil, err
			}
			begun := time.Now()
			m := drive(ctx, count, concurrency, op)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			for _, settle := range sides[i].settle {
				if err := firstOf(m.first, settle()); err != nil {
					return nil, err
				}
				m.settled = append(m.settled, time.Since(begun))
			}
			if round == 0 {
				if m.first != nil {
					return nil, m.first
				}
				continue
			}
			s.progress.say("%s: round %d of %d, %s %.0f/s", name, round, s.plan.rounds, sides[i].name, m.rate())
			results[i] = append(results[i], m)
		}
	}
	return results, nil
}

// whenSettled is the same with the time until what follows was done: the side's settle of that number.
func (s series) whenSettled(number int) series {
	settled := slices.Clone(s)
	for i := range settled {
		settled[i].elapsed = settled[i].settled[number]
	}
	return settled
}

// rate is the median of the rounds' rates.
func (s series) rate() float64 {
	rates := make([]float64, len(s))
	for i, m := range s {
		rates[i] = m.rate()
	}
	return median(rates)
}

// ratio is the median of the ratios of each round's rate to the other side's in the same round.
func (s series) ratio(baseline series) float64 {
	ratios := make([]float64, len(s))
	for i, m := range s {
		ratios[i] = m.rate() / baseline[i].rate()
	}
	return median(ratios)
}

// elapsed is the median of what the rounds took.
func (s series) elapsed() time.Duration {
	all := make([]time.Duration, len(s))
	for i, m := range s {
		all[i] = m.elapsed
	}
	return percentile(all, 50)
}

// total adds the rounds up.
func (s series) total() measurement {
	var total measurement
	for _, m := range s {
		total.elapsed += m.elapsed
		total.add(m)
	}
	return total
}

// median of at least one value.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// percentile is the smallest latency that at least so many percent of all are not above; 0 where there is none.
func percentile(latencies []time.Duration, percent int) time.Duration {
	if len(latencies) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(latencies))
	return sorted[(len(sorted)*percent+99)/100-1]
}
