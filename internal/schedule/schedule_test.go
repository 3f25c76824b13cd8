package schedule

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scim-operator/scim-operator/internal/fair"
)

// wants are what calls want of a run, in order.
type wants []string

func merge(into *wants, want wants) { *into = append(*into, want...) }

// trace records what runs did and when.
type trace struct {
	mutex sync.Mutex
	begun time.Time
	runs  []wants
	at    []time.Duration
}

func newTrace() *trace { return &trace{begun: time.Now()} }

func (c *trace) add(want wants) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.runs, c.at = append(c.runs, slices.Clone(want)), append(c.at, time.Since(c.begun))
}

// takes returns a Run that takes some time and ends as its want.
func (c *trace) takes(d time.Duration) func(context.Context, string, *Run[wants]) (wants, Ending) {
	return func(_ context.Context, _ string, run *Run[wants]) (wants, Ending) {
		c.add(run.Want)
		time.Sleep(d)
		return run.Want, Ended
	}
}

func equal(a, b []wants) bool {
	return slices.EqualFunc(a, b, slices.Equal[wants])
}

// A call during a run shares the next one: the run under way may have read what is older than the call.
func TestLateCallersShareTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newTrace()
		s := New(Options[string, wants, wants]{Run: seen.takes(time.Second), Merge: merge})
		first := s.Schedule("a", wants{"1"}, false)
		time.Sleep(100 * time.Millisecond)
		second, third := s.Schedule("a", wants{"2"}, false), s.Schedule("a", wants{"3"}, true)
		other := s.Schedule("b", wants{"4"}, false)
		if second != third {
			t.Error("two callers of the next run hold two tickets")
		}
		for ticket, want := range map[*Ticket[wants]]wants{first: {"1"}, third: {"2", "3"}, other: {"4"}} {
			if got, err := ticket.Wait(t.Context()); err != nil || !slices.Equal(got, want) {
				t.Errorf("result %v, %v; want %v", got, err, want)
			}
		}
		if want := []wants{{"1"}, {"4"}, {"2", "3"}}; !equal(seen.runs, want) {
			t.Errorf("runs %v, want %v", seen.runs, want)
		}
		synctest.Wait()
		if left := leftBehind(s); left > 0 {
			t.Errorf("%d entries are left behind", left)
		}
	})
}

// A caller may go; its run does not end with it.
func TestRunsOutliveTheirCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newTrace()
		s := New(Options[string, wants, wants]{Run: seen.takes(time.Second), Merge: merge})
		ticket := s.Schedule("a", wants{"1"}, false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := ticket.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if err := ticket.WaitRemoved(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if got, err := ticket.Wait(t.Context()); err != nil || len(got) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestTimeoutBoundsARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended error
		s := New(Options[string, wants, wants]{
			Timeout: time.Minute,
			Run: func(ctx context.Context, _ string, _ *Run[wants]) (wants, Ending) {
				<-ctx.Done()
				ended = ctx.Err()
				return nil, Ended
			},
		})
		if _, err := s.Schedule("a", nil, false).Wait(t.Context()); err != nil || !errors.Is(ended, context.DeadlineExceeded) {
			t.Errorf("ended with %v, %v", ended, err)
		}
	})
}

// A key that was idle begins at once. Then it rests, for longer where more keys of its App are busy; a removal ends the rest.
func TestRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newTrace()
		s := New(Options[string, wants, wants]{
			Run: seen.takes(10 * time.Millisecond), Merge: merge, RestShare: 8, MaxRest: 3 * time.Second,
			Lane: func(key string) fair.Lane { return fair.Lane{Name: key[:1]} },
			Finished: func(key string, _ wants, _ wants, rest time.Duration) time.Duration {
				if key == "z" {
					return 0
				}
				return rest
			},
		})
		wait := func(key string, urgent bool) {
			if _, err := s.Schedule(key, wants{key}, urgent).Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		wait("a1", false) // ends at 10 ms, rests for 80
		wait("a1", false) // 90 to 100, rests until 180
		wait("a1", true)  // at once, until 110, rests until 190
		wait("b1", false) // another App does not rest
		synctest.Wait()
		time.Sleep(time.Second)
		wait("z", false)
		wait("z", false) // Finished said that it need not
		var at []int64
		for _, begun := range seen.at {
			at = append(at, begun.Milliseconds())
		}
		if want := []int64{0, 90, 100, 110, 1120, 1130}; !slices.Equal(at, want) {
			t.Errorf("began at %v ms, want %v", at, want)
		}
		time.Sleep(time.Second)
		if left := leftBehind(s); left > 0 {
			t.Errorf("%d entries are left behind", left)
		}
	})
}

// Runs that are not urgent share slots; urgent ones wait for none, also where they came as others.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newTrace()
		s := New(Options[string, wants, wants]{
			Run: seen.takes(time.Second), Merge: merge, Slots: fair.NewSlots(1, 1),
			Lane: func(string) fair.Lane { return fair.Lane{Name: "app"} },
		})
		tickets := []*Ticket[wants]{s.Schedule("a", wants{"a"}, false)}
		synctest.Wait()
		tickets = append(tickets, s.Schedule("b", wants{"b"}, false), s.Schedule("c", wants{"c"}, true))
		time.Sleep(500 * time.Millisecond)
		if state := s.State(); state.Working != 2 || state.Longest != 500*time.Millisecond || state.Lane.Name != "app" {
			t.Errorf("state %+v", state)
		}
		tickets = append(tickets, s.Schedule("d", wants{"d"}, false))
		synctest.Wait()
		s.Schedule("d", wants{"urgent"}, true)
		for _, ticket := range tickets {
			if _, err := ticket.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		want := []wants{{"a"}, {"c"}, {"d", "urgent"}, {"b"}}
		if !equal(seen.runs, want) || seen.at[3] != time.Second {
			t.Errorf("runs %v at %v, want %v", seen.runs, seen.at, want)
		}
		if state := s.State(); state.Working != 0 {
			t.Errorf("state at the end: %+v", state)
		}
	})
}

// Whatever calls come: one run of a key at a time, each call is served by a run that began after it, and nothing is left.
func TestEveryCallIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		var mutex sync.Mutex
		running := map[int]bool{}
		s := New(Options[int, []time.Time, time.Time]{
			Merge: func(into *[]time.Time, want []time.Time) { *into = append(*into, want...) },
			Slots: fair.NewSlots(3, 2), Lane: func(key int) fair.Lane { return fair.Lane{Name: string(rune('a' + key%2))} },
			RestShare: 1, MaxRest: time.Second, MaxInterruptions: 3,
			Run: func(_ context.Context, key int, run *Run[[]time.Time]) (time.Time, Ending) {
				begun := time.Now()
				mutex.Lock()
				if running[key] {
					t.Errorf("two runs of %d", key)
				}
				running[key] = true
				took := time.Duration(random.IntN(50)) * time.Millisecond
				mutex.Unlock()
				defer func() {
					mutex.Lock()
					defer mutex.Unlock()
					running[key] = false
				}()
				for _, called := range run.Want {
					if called.After(begun) {
						t.Error("a call is served by an earlier run")
					}
				}
				time.Sleep(took)
				if run.IsInterrupted() {
					return time.Time{}, Interrupted
				}
				return begun, Ended
			},
		})
		var group sync.WaitGroup
		for range 2000 {
			mutex.Lock()
			pause, key, urgent := time.Duration(random.IntN(3))*time.Millisecond, random.IntN(6), random.IntN(4) == 0
			mutex.Unlock()
			time.Sleep(pause)
			called := time.Now()
			ticket := s.Schedule(key, []time.Time{called}, urgent)
			group.Go(func() {
				if begun, err := ticket.Wait(t.Context()); err != nil || begun.Before(called) {
					t.Errorf("called at %v, served by a run of %v: %v", called, begun, err)
				}
			})
		}
		group.Wait()
		time.Sleep(2 * time.Second)
		if left := leftBehind(s); left > 0 {
			t.Errorf("%d entries are left behind", left)
		}
	})
}

// leftBehind counts what a scheduler remembers.
func leftBehind[K comparable, W, R any](s *Scheduler[K, W, R]) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return len(s.runners) + len(s.busy) + len(s.rests)
}

// A run may stop by itself after its removals. A call that comes then waits for removals of its own, and the next run serves both.
func TestARunThatStopsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newTrace()
		s := New(Options[string, wants, wants]{
			Merge: merge, MaxInterruptions: 8, RestShare: 1, MaxRest: time.Hour,
			Run: func(_ context.Context, _ string, run *Run[wants]) (wants, Ending) {
				seen.add(run.Want)
				time.Sleep(time.Second)
				run.Removed(nil)
				if len(seen.runs) == 1 && run.MayStop {
					time.Sleep(time.Second)
					return nil, Interrupted
				}
				return run.Want, Ended
			},
		})
		begun := time.Now()
		first := s.Schedule("a", wants{"1"}, true)
		if err := first.WaitRemoved(t.Context()); err != nil || time.Since(begun) != time.Second {
			t.Errorf("removed after %s: %v", time.Since(begun), err)
		}
		time.Sleep(time.Second + time.Millisecond) // the run has ended, and what it left has begun
		second := s.Schedule("a", wants{"2"}, true)
		asked := time.Now()
		if err := second.WaitRemoved(t.Context()); err != nil || time.Since(asked) < time.Second {
			t.Errorf("the second call's removal is told after %s: %v", time.Since(asked), err)
		}
		for _, ticket := range []*Ticket[wants]{first, second} {
			if _, err := ticket.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if want := []wants{{"1"}, {"1"}, {"2"}}; !equal(seen.runs, want) {
			t.Errorf("runs %v, want %v", seen.runs, want)
		}
		synctest.Wait()
	})
}

// A call that comes before what a run left has begun is served by the same run, and waits for its own removal.
func TestACallBeforeWhatARunLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := fair.NewSlots(1, 0)
		release := slots.Acquire(t.Context(), fair.Lane{}, nil)
		defer release()
		runs := 0
		s := New(Options[string, wants, wants]{
			Merge: merge, MaxInterruptions: 8, Slots: slots,
			Run: func(_ context.Context, _ string, run *Run[wants]) (wants, Ending) {
				runs++
				time.Sleep(time.Second)
				run.Removed(nil)
				if runs == 1 {
					return nil, Interrupted
				}
				return run.Want, Ended
			},
		})
		_ = s.Schedule("a", wants{"1"}, true).WaitRemoved(t.Context())
		synctest.Wait() // what the run left waits for a slot
		asked := time.Now()
		second := s.Schedule("a", wants{"2"}, true)
		if err := second.WaitRemoved(t.Context()); err != nil || time.Since(asked) != time.Second {
			t.Errorf("the second call's removal is told after %s: %v", time.Since(asked), err)
		}
		if got, err := second.Wait(t.Context()); err != nil || !slices.Equal(got, wants{"1", "2"}) {
			t.Errorf("the second run did %v: %v", got, err)
		}
	})
}
