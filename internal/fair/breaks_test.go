package fair

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type fixedPace float64

func (p fixedPace) Share() float64 { return float64(p) }

const holding = 10 * time.Millisecond

// use has workers hold slots of a lane again and again for so long, with a pause after each, and returns how often they did and how many
// at most at a time.
func use(t *testing.T, s *Slots, lane Lane, workers int, pause, duration time.Duration) (count, most *atomic.Int64) {
	t.Helper()
	count, most = &atomic.Int64{}, &atomic.Int64{}
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	var held atomic.Int64
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for ctx.Err() == nil {
				release := s.Acquire(ctx, lane, nil)
				if release == nil {
					return
				}
				most.Store(max(most.Load(), held.Add(1)))
				time.Sleep(holding)
				held.Add(-1)
				release()
				count.Add(1)
				time.Sleep(pause)
			}
		})
	}
	running.Go(func() { <-ctx.Done(); cancel() })
	return count, most
}

// An App that takes more than others slows down with the pace, and one that takes less does not; neither does an App that is alone.
func TestBreaks(t *testing.T) {
	heavy, light := Lane{Namespace: "a", Name: "heavy"}, Lane{Namespace: "b", Name: "light"}
	const duration = 10 * time.Second
	for _, c := range []struct {
		name          string
		share         float64
		beside        bool
		lowest, most  int64 // of how often the heavy App had a slot
		placesAtMost  int64
		places, least float64 // of Paced
	}{
		{"alone, however slow", 0.01, false, 14900, 15100, 15, 20, 0.25},
		{"full speed", 1, true, 14900, 15100, 15, 20, 0.25},
		{"a fifth", 0.2, true, 2900, 3100, 3, 20, 0.25},
		{"the least is a quarter of the time", 0.01, true, 240, 260, 1, 20, 0.25},
		{"the most is a place", 1, true, 950, 1050, 1, 1, 0.25},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewSlots(20, 0).Paced(NewSpeed(fixedPace(c.share)), c.places, c.least)
				lights := &atomic.Int64{}
				if c.beside {
					lights, _ = use(t, s, light, 1, 9*holding, 2*duration)
				}
				count, most := use(t, s, heavy, 100, 0, 2*duration)
				time.Sleep(duration) // it counts as heavy from its first slots on
				count.Store(0)
				most.Store(0)
				before := lights.Load()
				time.Sleep(duration)
				if got := count.Load(); got < c.lowest || got > c.most {
					t.Errorf("the heavy App had a slot %d times", got)
				}
				if got := most.Load(); got > c.placesAtMost {
					t.Errorf("the heavy App had %d slots at a time", got)
				}
				if got := lights.Load() - before; c.beside && got < 95 {
					t.Errorf("the light App had a slot %d times", got)
				}
				time.Sleep(time.Second) // breaks end
			})
		})
	}
}

// However long an App held a slot, its break ends soon: what is slow for other reasons must not rest for minutes.
func TestABreakIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heavy, light := Lane{Namespace: "a", Name: "heavy"}, Lane{Namespace: "b", Name: "light"}
		s := NewSlots(20, 0).Paced(NewSpeed(fixedPace(0.01)), 20, 0.25)
		_, _ = use(t, s, light, 1, 9*holding, time.Minute)
		release := s.Acquire(t.Context(), heavy, nil)
		time.Sleep(20 * time.Second)
		release()
		begun := time.Now()
		s.Acquire(t.Context(), heavy, nil)()
		if took := time.Since(begun); took == 0 || took > maxBreak {
			t.Errorf("a break of %s", took)
		}
		time.Sleep(time.Minute)
	})
}
