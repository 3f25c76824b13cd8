package fair

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// One App has few slots while the condition holds of it, another one all that it gets, and afterwards nothing is left waiting.
func TestNarrowedSlots(t *testing.T) {
	narrowed, other := Lane{Namespace: "a", Name: "narrowed"}, Lane{Namespace: "b", Name: "other"}
	for _, few := range []int{0, 1, 3} {
		synctest.Test(t, func(t *testing.T) {
			narrow := true
			s := NewSlots(20, 0).Narrowed(few, func(lane Lane) bool { return narrow && lane == narrowed })
			held := func(lane Lane) int {
				s.mutex.Lock()
				defer s.mutex.Unlock()
				return s.shares.lanes[lane]
			}
			var mutex sync.Mutex
			var releases []func()
			acquire := func(lane Lane) {
				if release := s.Acquire(t.Context(), lane, nil); release != nil {
					mutex.Lock()
					defer mutex.Unlock()
					releases = append(releases, release)
				}
			}
			for range 10 {
				go acquire(narrowed)
				synctest.Wait()
			}
			want := max(1, few)
			if got := held(narrowed); got != want {
				t.Errorf("%d slots at a time, want %d", got, want)
			}
			for range 5 {
				go acquire(other)
				synctest.Wait()
			}
			if got := held(other); got != 5 {
				t.Errorf("another App has %d slots, want 5", got)
			}
			narrow = false
			time.Sleep(time.Minute)
			releases[0]()
			synctest.Wait()
			if got := held(narrowed); got < 8 {
				t.Errorf("%d slots at a time after it", got)
			}
			for len(releases) < 15 {
				releases[len(releases)-1]()
				synctest.Wait()
			}
			for _, release := range slices.Backward(releases) {
				release()
			}
			if s.shares.taken != 0 || len(s.shares.lanes) != 0 {
				t.Errorf("left: %+v", s.shares)
			}
		})
	}
}
