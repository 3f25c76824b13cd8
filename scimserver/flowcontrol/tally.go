package flowcontrol

import (
	"context"
	"sync"
	"time"
)

const (
	// maxKeys bounds how many keys a Tally tells apart.
	maxKeys = 4096
	// summaryInterval is how often a Tally is told.
	summaryInterval = time.Minute
)

// Tally counts what happens so often that a log line each would bury all others. The first of each key in a minute is worth a
// line; the others are counted. The zero value is ready to use, by any number of goroutines.
type Tally[K comparable] struct {
	mu      sync.Mutex
	counted map[K]int
	others  int // of keys that counted has no room for
}

// Summary is what a Tally counted since the last one.
type Summary[K comparable] struct {
	// Total is of all Keys; Most is the key with the most, MostTotal.
	Total, Keys int
	Most        K
	MostTotal   int
}

// Add counts one, and reports whether it is the key's first since the last summary.
func (t *Tally[K]) Add(key K) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.counted[key]; !known && len(t.counted) >= maxKeys {
		t.others++
		return false
	}
	if t.counted == nil {
		t.counted = map[K]int{}
	}
	t.counted[key]++
	return t.counted[key] == 1
}

// Summarise calls tell for every minute in which more was counted than the first of each key, until ctx ends.
func (t *Tally[K]) Summarise(ctx context.Context, tell func(Summary[K])) {
	ticker := time.NewTicker(summaryInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if s := t.take(); s.Total > s.Keys {
				tell(s)
			}
		}
	}
}

// take returns what was counted, and begins anew.
func (t *Tally[K]) take() Summary[K] {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Summary[K]{Total: t.others, Keys: len(t.counted)}
	for key, count := range t.counted {
		s.Total += count
		if count > s.MostTotal {
			s.Most, s.MostTotal = key, count
		}
	}
	t.counted, t.others = nil, 0
	return s
}
