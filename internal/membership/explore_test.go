package membership

import (
	"flag"
	"fmt"
	"strings"
	"testing"
)

var (
	schedules = flag.Int("schedules", 20000, "random schedules to explore")
	firstSeed = flag.Uint64("seed", 1, "seed of the first schedule")
)

// explore runs one random schedule of up to five actors and says what went wrong, with the steps that led there.
func explore(seed uint64, sabotage func(*world)) (err error) {
	w := newWorld(seed)
	if sabotage != nil {
		sabotage(w)
	}
	defer func() {
		reason := recover()
		if wrong, ok := reason.(wrongReadError); ok {
			err = wrong.error
		} else if reason != nil {
			panic(reason)
		}
		for _, a := range w.actors {
			a.crash()
		}
		if err != nil {
			err = fmt.Errorf("seed %d: %w\nat first: %v\n%s", seed, err, w.initial, strings.Join(w.trace, "\n"))
		}
	}()
	w.populate()
	for len(w.actors)+len(w.late) > 0 {
		w.step()
	}
	return w.settled()
}

// step lets one store call happen: of a random actor, or one that was in flight when its sender went away.
func (w *world) step() {
	turn := w.random.IntN(len(w.actors) + len(w.late))
	if turn >= len(w.actors) {
		w.land(turn - len(w.actors))
		return
	}
	a := w.actors[turn]
	c := a.waiting
	switch fate := w.random.IntN(100); {
	case fate >= 7 || !c.write && fate >= 2 || w.moves:
		w.happen(a, c)
		a.resume()
	case fate == 0: // crashed before the call
		w.note(a, "crashed before: %s", c.what)
		a.crash()
	case fate == 1: // crashed after it
		w.happen(a, c)
		w.note(a, "crashed")
		a.crash()
	case fate == 2: // crashed with the call in flight
		w.note(a, "crashed with in flight: %s", c.what)
		w.delay(a, c)
		a.crash()
	case fate == 3: // no answer, no effect
		w.note(a, "got no answer, without effect: %s", c.what)
		c.err = errUnavailable
		a.resume()
	case fate == 4: // no answer, but an effect
		w.happen(a, c)
		w.note(a, "got no answer")
		c.err = errUnavailable
		a.resume()
	default: // no answer, and the effect is still to come
		w.note(a, "got no answer, in flight: %s", c.what)
		w.delay(a, c)
		c.err = errUnavailable
		a.resume()
	}
	w.removeFinished()
}

func (w *world) happen(a *actor, c *call) {
	w.claim(a)
	c.err = c.apply(w.store)
	w.claim(a)
	if c.write || c.err != nil {
		w.note(a, "%s: %v", c.what, c.err)
	}
}

// claim notes the actor that made the new shards.
func (w *world) claim(a *actor) {
	for name := range w.store.shards {
		if w.maker[name] == nil {
			w.maker[name] = a
		}
	}
}

func (w *world) delay(a *actor, c *call) {
	a.inFlight++
	w.late = append(w.late, lateWrite{sender: a, call: c})
}

func (w *world) land(i int) {
	late := w.late[i]
	w.late = append(w.late[:i], w.late[i+1:]...)
	late.sender.inFlight--
	w.note(late.sender, "landed late: %s: %v", late.call.what, late.call.apply(w.store))
	w.claim(late.sender)
}

func (w *world) removeFinished() {
	var running []*actor
	for _, a := range w.actors {
		if !a.over {
			running = append(running, a)
		}
	}
	w.actors = running
}

// TestExploration runs whatever order of calls, crashes and lost answers chance brings: each member is as the clients were
// told, inline, in shards, and on the way between them.
func TestExploration(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+uint64(*schedules); seed++ {
		if err := explore(seed, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExplorationWithMoves changes epochs while all actors are at work.
func TestExplorationWithMoves(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+uint64(*schedules); seed++ {
		if err := explore(seed, func(w *world) { w.moves = true }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExplorationFindsFaults shows that the exploration sees what it is there for: each part of the protocol that looks
// like one could do without it, taken away.
func TestExplorationFindsFaults(t *testing.T) {
	for name, sabotage := range map[string]func(*world){
		"no compare-and-swap of groups":       func(w *world) { w.store.ignoreGroupVersions = true },
		"no compare-and-swap of shards":       func(w *world) { w.store.ignoreShardVersions = true },
		"no look at the epoch after a write":  func(w *world) { w.moves, w.store.blindly = true, true },
		"no look at the group after a list":   func(w *world) { w.readOnce = true },
		"shards are swept while they are new": func(w *world) { w.sweepYoung = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 60000; seed++ {
				if err := explore(seed, sabotage); err != nil {
					t.Logf("found by schedule %d: %.200s", seed, err)
					return
				}
			}
			t.Fatal("no schedule found anything wrong")
		})
	}
}
