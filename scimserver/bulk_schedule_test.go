package scimserver

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// However steps overlap, exactly those are done that would be, one after the other, before too many have failed, and each
// after those that it waits for.
func TestBulkScheduleIsAsOneAfterTheOther(t *testing.T) {
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 3))
		count, limit, atOnce := random.IntN(30), random.IntN(5), 1+random.IntN(8)
		after, fails := make([][]int, count), make([]bool, count)
		for at := range after {
			fails[at] = random.IntN(4) == 0
			for before := range at {
				if random.IntN(10) == 0 {
					after[at] = append(after[at], before)
				}
			}
		}
		stops := func(errors int) bool { return limit > 0 && errors >= limit }
		want, errors := 0, 0
		for want < count && !stops(errors) {
			if fails[want] {
				errors++
			}
			want++
		}
		done := make([]atomic.Bool, count)
		var begun, running, most atomic.Int64
		var mu sync.Mutex
		var wrong []int
		schedule := bulkSchedule{after: after, stops: stops}
		schedule.run(atOnce, func(at int) bool {
			begun.Add(1)
			for now := running.Add(1); now > most.Load(); {
				most.Store(now)
			}
			for _, before := range after[at] {
				if !done[before].Load() {
					mu.Lock()
					wrong = append(wrong, at)
					mu.Unlock()
				}
			}
			running.Add(-1)
			done[at].Store(true)
			return fails[at]
		})
		if len(wrong) > 0 || int(begun.Load()) != want || int(most.Load()) > atOnce {
			t.Fatalf("seed %d: %d steps begun, want the first %d; too early: %v; at most %d of %d at once", seed, begun.Load(), want, wrong, most.Load(), atOnce)
		}
		for at := range want {
			if !done[at].Load() {
				t.Fatalf("seed %d: step %d was left out", seed, at)
			}
		}
	}
}

// Steps that do not wait for each other are under way together, and a step does not wait for what is no business of its.
func TestBulkScheduleOverlaps(t *testing.T) {
	var together sync.WaitGroup
	together.Add(3)
	ended := make(chan struct{})
	schedule := bulkSchedule{after: [][]int{nil, nil, {1}, nil}, stops: func(int) bool { return false }}
	var begun atomic.Int64
	schedule.run(3, func(at int) bool {
		begun.Add(1)
		switch at {
		case 2:
			close(ended)
		case 0:
			together.Done()
			<-ended // of the step after another one
		default:
			together.Done()
			if at == 3 {
				together.Wait()
			}
		}
		return false
	})
	if begun.Load() != 4 {
		t.Errorf("%d of 4 steps were done", begun.Load())
	}
}
