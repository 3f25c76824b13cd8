package claims

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

var (
	schedules = flag.Int("schedules", 25000, "random schedules to explore")
	firstSeed = flag.Uint64("seed", 1, "seed of the first schedule")
)

// explore runs one random schedule of up to five actors and says what went wrong, with the steps that led there.
func explore(seed uint64, sabotage func(*memory)) error {
	w := newWorld(seed)
	if sabotage != nil {
		sabotage(w.store)
	}
	w.populate()
	for len(w.actors)+len(w.late) > 0 {
		w.step()
		if err := w.check(); err != nil {
			w.abandonAll()
			return fmt.Errorf("seed %d: %w\n%s", seed, err, w.history())
		}
	}
	if err := w.settle(); err != nil {
		return fmt.Errorf("seed %d, after everything settled: %w\n%s", seed, err, w.history())
	}
	return nil
}

// populate puts users there and sets the actors to work.
func (w *world) populate() {
	for _, name := range w.names {
		switch w.random.IntN(6) {
		case 0, 1, 2:
			w.addSettled(name)
		case 3:
			w.addRestored(name)
		}
	}
	if len(w.users) == 0 {
		w.addSettled(w.names[0])
	}
	works := []func(*actor){w.create, w.create, w.rename, w.rename, w.rename, w.remove, w.finalize, w.control, w.reap, w.sweep, w.sweep}
	for i := range 2 + w.random.IntN(4) {
		w.actors = append(w.actors, newActor(fmt.Sprintf("actor %d", i), func(a *actor) {
			for range 1 + w.random.IntN(4) {
				works[w.random.IntN(len(works))](a)
			}
		}))
	}
	for _, a := range w.actors {
		a.resume()
	}
	w.removeFinished()
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
	case fate >= 8 || !c.write && fate >= 2:
		w.happen(a, c)
		a.resume()
	case fate == 0: // crashed before the call
		w.note(a, "crashed before: %s", c.what)
		a.crash()
	case fate == 1: // crashed after it
		w.happen(a, c)
		w.note(a, "crashed")
		a.crash()
	case fate < 4: // crashed with the call in flight
		w.note(a, "crashed with in flight: %s", c.what)
		w.delay(a, c)
		a.crash()
	case fate == 4: // no answer, no effect
		w.note(a, "got no answer, without effect: %s", c.what)
		c.err = errUnavailable
		a.resume()
	case fate == 5: // no answer, but an effect
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
	c.err = c.apply(w.store)
	if c.write || c.err != nil {
		w.note(a, "%s: %v", c.what, c.err)
	}
}

func (w *world) delay(a *actor, c *call) {
	a.inFlight++
	w.late = append(w.late, lateWrite{sender: a, call: c})
}

func (w *world) land(i int) {
	late := w.late[i]
	w.late = append(w.late[:i], w.late[i+1:]...)
	w.note(late.sender, "landed late: %s: %v", late.call.what, late.call.apply(w.store))
	if late.sender.inFlight--; late.sender.inFlight == 0 {
		w.ageFinished(late.sender)
	}
}

func (w *world) removeFinished() {
	var running []*actor
	for _, a := range w.actors {
		if !a.over {
			running = append(running, a)
		} else if a.inFlight == 0 {
			w.ageMadeBy(a)
		}
	}
	w.actors = running
}

// ageFinished lets time pass for what the actor made and is done with.
func (w *world) ageFinished(a *actor) {
	if a.over {
		w.ageMadeBy(a)
	}
}

// abandonAll unwinds the actors of a schedule that failed.
func (w *world) abandonAll() {
	for _, a := range w.actors {
		a.crash()
	}
}

// settle does, undisturbed, what the controllers do in the end, and then asks for every name anew: only those that an
// effective user has may be refused.
func (w *world) settle() error {
	clean := newActor("settling", func(a *actor) {
		ctx, protocol := context.Background(), New[*v1alpha1.User](actorStore{a}, Users)
		for _, name := range w.users {
			w.finalizeUser(a, name)
			_, _ = protocol.Reap(ctx, name, 10*time.Minute)
			_, _ = protocol.Reap(ctx, name, 10*time.Minute)
			_, _ = protocol.Ensure(ctx, name)
		}
	})
	if err := w.runAlone(clean); err != nil {
		return err
	}
	for name, user := range w.store.users {
		if user.DeletionTimestamp != nil || user.Spec.PendingKey != "" {
			return fmt.Errorf("%s is still pending or terminating", name)
		}
		if !w.store.effective(user) && !Users.Committed(user) {
			return fmt.Errorf("%s is neither effective nor reaped", name)
		}
	}
	for _, key := range w.names {
		if err := w.askAnew(key); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) askAnew(key string) error {
	owner := ""
	for name, user := range w.store.users {
		if user.Spec.UserNameKey == key && w.store.effective(user) {
			owner = name
		}
	}
	var err error
	if runErr := w.runAlone(newActor("newcomer", func(a *actor) {
		err = New[*v1alpha1.User](actorStore{a}, Users).Create(context.Background(), w.newUser(key))
	})); runErr != nil {
		return runErr
	}
	var taken *TakenError
	switch {
	case owner == "" && err != nil:
		return fmt.Errorf("no user has %s, and it is refused: %w", key, err)
	case owner != "" && (!errors.As(err, &taken) || taken.Holder != owner):
		return fmt.Errorf("%s has %s, and a newcomer is told: %w", owner, key, err)
	}
	return nil
}

func (w *world) runAlone(a *actor) error {
	for a.resume(); !a.over; a.resume() {
		w.happen(a, a.waiting)
		if err := w.check(); err != nil {
			a.crash()
			return err
		}
	}
	return nil
}

// TestExploration is the proof by exhaustion of luck: whatever the order of calls, crashes and lost answers, no two
// users share a name, nothing acknowledged is lost, and no name stays blocked.
func TestExploration(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+uint64(*schedules); seed++ {
		if err := explore(seed, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExplorationFindsFaults shows that the exploration sees what it is there for: each part of the protocol that
// looks like one could do without it, taken away.
func TestExplorationFindsFaults(t *testing.T) {
	for name, sabotage := range map[string]func(*memory){
		"no touch on adopt":                func(m *memory) { m.ignoreTouches = true },
		"no precondition on claims":        func(m *memory) { m.ignoreClaimVersions = true },
		"no compare-and-swap of holders":   func(m *memory) { m.ignoreHolderVersions = true },
		"terminating holders hold nothing": func(m *memory) { m.forgetTerminatingUsers = true },
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

func TestRenameToANameOfAnotherKeepsTheOldOne(t *testing.T) {
	w := newWorld(1)
	w.names = []string{"ada", "bob"}
	w.addSettled("ada")
	w.addSettled("bob")
	var err error
	if runErr := w.runAlone(newActor("client", func(a *actor) {
		protocol := New[*v1alpha1.User](actorStore{a}, Users)
		user, _ := actorStore{a}.GetHolder(context.Background(), "u0")
		_, err = protocol.Rename(context.Background(), user, "bob", func(user *v1alpha1.User) error {
			user.Spec.UserNameKey = "bob"
			return nil
		})
	})); runErr != nil {
		t.Fatal(runErr)
	}
	var taken *TakenError
	if !errors.As(err, &taken) || taken.Holder != "u1" {
		t.Fatalf("renamed to a taken name: %v", err)
	}
	if user := w.store.users["u0"]; user.Spec.UserNameKey != "ada" || user.Spec.PendingKey != "" || !w.store.effective(user) {
		t.Fatalf("after the refused rename: %+v", user.Spec)
	}
}

func TestCreateWhileTheHolderIsBeingDeleted(t *testing.T) {
	w := newWorld(1)
	w.addSettled("ada")
	var first, second error
	if err := w.runAlone(newActor("client", func(a *actor) {
		protocol := New[*v1alpha1.User](actorStore{a}, Users)
		user, _ := actorStore{a}.GetHolder(context.Background(), "u0")
		w.promised["u0"].doomed = true
		_ = protocol.Delete(context.Background(), user)
		first = protocol.Create(context.Background(), w.newUser("ada"))
		w.finalizeUser(a, "u0")
		second = protocol.Create(context.Background(), w.newUser("ada"))
	})); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(first, ErrReleasing) || second != nil {
		t.Fatalf("while terminating: %v; after: %v", first, second)
	}
	if apierrors.IsAlreadyExists(first) || len(w.store.users) != 1 {
		t.Fatalf("%d users are left, want the last one", len(w.store.users))
	}
}
