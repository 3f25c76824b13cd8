package fair

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Of three Apps the one above the average slows down: not one with less, though it takes much, and none that is alone.
func TestWhoSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large, medium, small := Lane{Name: "large"}, Lane{Name: "medium"}, Lane{Name: "small"}
		s := NewSpeed(fixedPace(0.5))
		s.add(medium, 4*halfASlot, time.Now())
		if s.slows(medium, time.Now()) {
			t.Error("one that is alone slows down")
		}
		s.add(large, 20*halfASlot, time.Now())
		s.add(small, halfASlot/10, time.Now())
		for lane, want := range map[Lane]bool{large: true, medium: false, small: false} {
			if got := s.slows(lane, time.Now()); got != want {
				t.Errorf("%s slows down: %t", lane.Name, got)
			}
		}
		time.Sleep(2 * time.Minute)
		if s.slows(large, time.Now()); len(s.used) != 0 {
			t.Errorf("%d Apps are remembered that took nothing for two minutes", len(s.used))
		}
	})
}

// A slot that comes at the moment at which its caller gives up is given back.
func TestSlotsOfCallersThatGiveUp(t *testing.T) {
	s := NewSlots(1, 0)
	for range 5000 {
		release := s.Acquire(t.Context(), Lane{Name: "a"}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var both sync.WaitGroup
		both.Go(func() {
			if release := s.Acquire(ctx, Lane{Name: "b"}, nil); release != nil {
				release()
			}
		})
		both.Go(release)
		both.Go(cancel)
		both.Wait()
		if s.shares.taken != 0 {
			t.Fatalf("lost: %+v", s.shares)
		}
	}
}

// What counts as no progress, and what does not.
func TestStalledStates(t *testing.T) {
	const limit, work = time.Minute, 2 * time.Minute
	for name, test := range map[string]struct {
		state State
		tells string
	}{
		"nothing":                                    {State{}, ""},
		"removals that wait, and none ended":         {State{Removals: Waiting{3, 2 * limit}, Quiet: 2 * limit}, "3 removals wait"},
		"removals that wait, and one has just ended": {State{Removals: Waiting{3, 2 * limit}, Quiet: limit / 2}, ""},
		"removals that came a moment ago":            {State{Removals: Waiting{3, limit / 2}, Quiet: 2 * limit}, ""},
		"a worker that hangs":                        {State{Working: 1, Longest: limit + work + 1, Lane: Lane{Namespace: "a", Name: "one"}}, "a worker has been at one object of App a/one"},
		"a worker with much to do":                   {State{Working: 1, Longest: limit + work}, ""},
		"other work that waits":                      {State{Others: Waiting{1000, time.Hour}, Quiet: time.Hour}, ""},
	} {
		err := test.state.Stalled(limit, work)
		if (err != nil) != (test.tells != "") || err != nil && !strings.HasPrefix(err.Error(), test.tells) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
