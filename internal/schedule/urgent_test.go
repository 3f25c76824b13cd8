package schedule

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scim-operator/scim-operator/internal/removalfirst"
)

// A caller that removes need not wait for what the run grants.
func TestRemovedComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("no")
		s := New(Options[string, wants, wants]{Run: func(_ context.Context, key string, run *Run[wants]) (wants, Ending) {
			switch key {
			case "fails":
				run.Removed(failure)
			case "removes":
				run.Removed(nil)
			}
			time.Sleep(time.Hour)
			return nil, Ended
		}})
		for key, want := range map[string]struct {
			err   error
			after time.Duration
		}{"removes": {nil, 0}, "fails": {failure, 0}, "silent": {nil, time.Hour}} {
			begun := time.Now()
			err := s.Schedule(key, nil, true).WaitRemoved(t.Context())
			if !errors.Is(err, want.err) || time.Since(begun) != want.after {
				t.Errorf("%s: %v after %v", key, err, time.Since(begun))
			}
		}
		time.Sleep(time.Hour)
	})
}

// An urgent call stops a run that only grants. The next run does what was left and serves both callers.
func TestUrgentInterrupts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newTrace()
		s := New(Options[string, wants, wants]{
			Merge: merge, MaxInterruptions: 2,
			Run: func(_ context.Context, _ string, run *Run[wants]) (wants, Ending) {
				seen.add(run.Want)
				for range 10 {
					time.Sleep(time.Second)
					if run.IsInterrupted() {
						select {
						case <-run.Overtaken:
						default:
							t.Error("interrupted and not overtaken")
						}
						run.Want = append(wants{"rest of"}, run.Want...)
						return nil, Interrupted
					}
				}
				return run.Want, Ended
			},
		})
		calm := s.Schedule("a", wants{"grant"}, false)
		time.Sleep(500 * time.Millisecond)
		urgent := s.Schedule("a", wants{"removal"}, true)
		if got, _ := calm.Wait(t.Context()); !slices.Equal(got, wants{"removal", "rest of", "grant"}) {
			t.Errorf("the interrupted caller got %v", got)
		}
		if got, _ := urgent.Wait(t.Context()); len(got) != 3 || time.Since(seen.begun) != 11*time.Second {
			t.Errorf("the urgent caller got %v after %v", got, time.Since(seen.begun))
		}
		// Removals without end let a run end all the same.
		last := s.Schedule("a", wants{"again"}, false)
		for range 60 {
			s.Schedule("a", wants{"r"}, true)
			time.Sleep(time.Second)
		}
		select {
		case <-last.done:
		default:
			t.Error("interrupted again and again")
		}
		time.Sleep(time.Minute) // the runs that are left
	})
}

// The rest of a key is bounded, and a removal that comes during it ends it.
func TestUrgentEndsARest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newTrace()
		s := New(Options[string, wants, wants]{Run: seen.takes(time.Second), Merge: merge, RestShare: 8, MaxRest: 3 * time.Second})
		if _, err := s.Schedule("a", wants{"1"}, false).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Schedule("a", wants{"2"}, false)
		time.Sleep(500 * time.Millisecond)
		ticket := s.Schedule("a", wants{"removal"}, true)
		if got, _ := ticket.Wait(t.Context()); !slices.Equal(got, wants{"2", "removal"}) {
			t.Errorf("got %v", got)
		}
		if _, err := s.Schedule("a", wants{"3"}, false).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []time.Duration{0, 1500 * time.Millisecond, 5500 * time.Millisecond}; !slices.Equal(seen.at, want) {
			t.Errorf("began at %v, want %v", seen.at, want)
		}
	})
}

// What only grants waits while a removal is under way elsewhere, for a moment at most.
func TestYieldsToRemovals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newTrace()
		var removals removalfirst.Removals
		s := New(Options[string, wants, wants]{Run: seen.takes(0), Merge: merge, Over: removals.Over, Yield: 250 * time.Millisecond})
		end := removals.Begin()
		time.AfterFunc(100*time.Millisecond, end)
		if _, err := s.Schedule("a", wants{"a"}, false).Wait(t.Context()); err != nil {
			t.Error(err)
		}
		defer removals.Begin()()
		for _, urgent := range []bool{true, false} {
			if _, err := s.Schedule("b", wants{"b"}, urgent).Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if want := []time.Duration{100 * time.Millisecond, 100 * time.Millisecond, 350 * time.Millisecond}; !slices.Equal(seen.at, want) {
			t.Errorf("began at %v, want %v", seen.at, want)
		}
	})
}

// A call that is first tells the run under way of it, whether that one is urgent or not, and the next run that it is first. Other calls
// precede no urgent run.
func TestFirstPrecedesUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		isClosed := func(ended <-chan struct{}) bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		}
		type seen struct{ urgent, first, overtaken, preceded bool }
		var runs []seen
		s := New(Options[string, wants, wants]{Merge: merge, Run: func(_ context.Context, _ string, run *Run[wants]) (wants, Ending) {
			time.Sleep(time.Second)
			runs = append(runs, seen{run.Urgent, run.First, isClosed(run.Overtaken), isClosed(run.Preceded)})
			return run.Want, Ended
		}})
		calls := []func() *Ticket[wants]{
			func() *Ticket[wants] { return s.Schedule("a", wants{"grant"}, false) },
			func() *Ticket[wants] { return s.Schedule("a", wants{"removal"}, true) },
			func() *Ticket[wants] {
				s.ScheduleFirst("a", wants{"leaver"})
				return s.Schedule("a", wants{"removal"}, true)
			},
			func() *Ticket[wants] { return s.Schedule("a", wants{"grant"}, false) },
			func() *Ticket[wants] { return s.ScheduleFirst("a", wants{"leaver"}) },
		}
		var last *Ticket[wants]
		for _, call := range calls {
			last = call()
			time.Sleep(700 * time.Millisecond)
		}
		if _, err := last.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		want := []seen{{false, false, true, false}, {true, false, true, true}, {true, true, true, true}, {true, true, false, false}}
		if !slices.Equal(runs, want) {
			t.Errorf("runs %+v, want %+v", runs, want)
		}
	})
}
