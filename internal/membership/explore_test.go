package membership

import (
	"flag"
	"fmt"
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
		w.Abandon()
		if err != nil {
			err = fmt.Errorf("seed %d: %w\nat first: %v\n%s", seed, err, w.initial, w.History())
		}
	}()
	w.populate()
	for w.Running() {
		w.Step()
	}
	return w.settled()
}

// claim notes the actor that made the new shards.
func (w *world) claim(a *actor) {
	for name := range w.Store.shards {
		if w.maker[name] == nil {
			w.maker[name] = a
		}
	}
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
		"no compare-and-swap of groups":       func(w *world) { w.Store.ignoreGroupVersions = true },
		"no compare-and-swap of shards":       func(w *world) { w.Store.ignoreShardVersions = true },
		"reads of shards are not live":        func(w *world) { w.Store.formerShards = true },
		"reads of groups are not live":        func(w *world) { w.Store.formerGroups = true },
		"no look at the epoch after a write":  func(w *world) { w.moves, w.Store.blindly = true, true },
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
