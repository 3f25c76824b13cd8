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
	"github.com/scim-operator/scim-operator/test/interleave"
)

var (
	schedules = flag.Int("schedules", 25000, "random schedules to explore")
	firstSeed = flag.Uint64("seed", 1, "seed of the first schedule")
)

// explore runs one random schedule of up to five actors and says what went wrong, with the steps that led there.
func explore(seed uint64, sabotage func(*memory)) error {
	w := newWorld(seed)
	if sabotage != nil {
		sabotage(w.Store)
	}
	w.populate()
	for w.Running() {
		w.Step()
		if err := w.check(); err != nil {
			w.Abandon()
			return fmt.Errorf("seed %d: %w\n%s", seed, err, w.History())
		}
	}
	if err := w.settle(); err != nil {
		return fmt.Errorf("seed %d, after everything settled: %w\n%s", seed, err, w.History())
	}
	return nil
}

// populate puts users there and sets the actors to work.
func (w *world) populate() {
	for _, name := range w.names {
		switch w.Random.IntN(7) {
		case 0, 1, 2:
			w.addSettled(name)
		case 3:
			w.addRestored(name)
		case 4:
			w.addRestoredClaim(name)
		}
	}
	if len(w.users) == 0 {
		w.addSettled(w.names[0])
	}
	w.Populate(w.create, w.create, w.rename, w.rename, w.rename, w.remove, w.finalize, w.control, w.controlBySight, w.controlBySight,
		w.putBack, w.reap, w.sweep, w.sweep)
}

// settle does, undisturbed, what the controllers do in the end, and then asks for every name anew: only those that an
// effective user has may be refused.
func (w *world) settle() error {
	clean := interleave.NewActor("settling", func(a *actor) {
		ctx, protocol := context.Background(), New[*v1alpha1.User](actorStore{a}, Users)
		for _, name := range w.users {
			w.finalizeUser(a, name)
			_, _ = protocol.Reap(ctx, name, 10*time.Minute)
			_, _ = protocol.Reap(ctx, name, 10*time.Minute)
			_, _ = protocol.Ensure(ctx, name)
		}
	})
	if err := w.RunAlone(clean, w.check); err != nil {
		return err
	}
	for name, user := range w.Store.users {
		if user.DeletionTimestamp != nil || user.Spec.PendingKey != "" {
			return fmt.Errorf("%s is still pending or terminating", name)
		}
		if !w.Store.effective(user) && !Users.Committed(user) {
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
	for name, user := range w.Store.users {
		if user.Spec.UserNameKey == key && w.Store.effective(user) {
			owner = name
		}
	}
	var err error
	if runErr := w.RunAlone(interleave.NewActor("newcomer", func(a *actor) {
		err = New[*v1alpha1.User](actorStore{a}, Users).Create(context.Background(), w.newUser(key))
	}), w.check); runErr != nil {
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
		"an old event of a claim decides":  func(m *memory) { m.oldSightings = true },
		"an old claim is not touched":      func(m *memory) { m.trustOldClaims = true },
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
	if runErr := w.RunAlone(interleave.NewActor("client", func(a *actor) {
		protocol := New[*v1alpha1.User](actorStore{a}, Users)
		user, _ := actorStore{a}.GetHolder(context.Background(), "u0")
		_, err = protocol.Rename(context.Background(), user, "bob", func(user *v1alpha1.User) error {
			user.Spec.UserNameKey = "bob"
			return nil
		})
	}), w.check); runErr != nil {
		t.Fatal(runErr)
	}
	var taken *TakenError
	if !errors.As(err, &taken) || taken.Holder != "u1" {
		t.Fatalf("renamed to a taken name: %v", err)
	}
	if user := w.Store.users["u0"]; user.Spec.UserNameKey != "ada" || user.Spec.PendingKey != "" || !w.Store.effective(user) {
		t.Fatalf("after the refused rename: %+v", user.Spec)
	}
}

func TestCreateWhileTheHolderIsBeingDeleted(t *testing.T) {
	w := newWorld(1)
	w.addSettled("ada")
	var first, second error
	if err := w.RunAlone(interleave.NewActor("client", func(a *actor) {
		protocol := New[*v1alpha1.User](actorStore{a}, Users)
		user, _ := actorStore{a}.GetHolder(context.Background(), "u0")
		w.promised["u0"].doomed = true
		_ = protocol.Delete(context.Background(), user)
		first = protocol.Create(context.Background(), w.newUser("ada"))
		w.finalizeUser(a, "u0")
		second = protocol.Create(context.Background(), w.newUser("ada"))
	}), w.check); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(first, ErrReleasing) || second != nil {
		t.Fatalf("while terminating: %v; after: %v", first, second)
	}
	if apierrors.IsAlreadyExists(first) || len(w.Store.users) != 1 {
		t.Fatalf("%d users are left, want the last one", len(w.Store.users))
	}
}
