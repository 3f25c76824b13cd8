package user

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

var wiki = types.NamespacedName{Namespace: "tenant", Name: "wiki"}

func newcomer(name string) *v1alpha1.User {
	return &v1alpha1.User{
		ObjectMeta: metav1.ObjectMeta{Namespace: wiki.Namespace, Name: name, UID: types.UID(name), Generation: 1},
		Spec:       v1alpha1.UserSpec{App: wiki.Name, Active: true},
	}
}

// fill has so many users created, one every ten milliseconds.
func (l *lateStatuses) fill(app types.NamespacedName, n int) {
	for range n {
		l.created(app, time.Now())
		time.Sleep(10 * time.Millisecond)
	}
}

// An import is many users of one App within two seconds, and pauses with them.
func TestImport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lateStatuses
		jane := newcomer("jane")
		expect := func(want bool, when string) {
			t.Helper()
			if got := l.wait(jane, "", time.Now()); got != want {
				t.Errorf("%s: waits %t", when, got)
			}
			l.forget(types.NamespacedName{Namespace: jane.Namespace, Name: jane.Name})
		}
		expect(false, "without an import")
		l.fill(types.NamespacedName{Namespace: wiki.Namespace, Name: "other"}, 2*importing)
		expect(false, "while another App is filled")
		l.fill(wiki, importing-1)
		expect(false, "after a few creates")
		l.fill(wiki, 1)
		expect(true, "during an import")
		time.Sleep(importPause)
		expect(false, "while it pauses")
		l.fill(wiki, 1)
		expect(true, "when it goes on")
		time.Sleep(3 * time.Second)
		l.fill(wiki, 1)
		expect(false, "after it")
		if len(l.apps) != 1 {
			t.Errorf("%d Apps are remembered", len(l.apps))
		}
	})
}

// A status that waits is due when the import pauses, or after maxLate, and once. A user that changed waits no longer.
func TestLateStatusesAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lateStatuses
		ctx, cancel := context.WithCancel(t.Context())
		woken := map[string]time.Duration{}
		begun := time.Now()
		ended := make(chan error)
		go func() {
			ended <- l.run(ctx, func(users ...types.NamespacedName) {
				for _, user := range users {
					if _, again := woken[user.Name]; again {
						t.Errorf("%s is evaluated twice", user.Name)
					}
					woken[user.Name] = time.Since(begun).Round(lateLook)
				}
			})
		}()
		l.fill(wiki, importing)
		begun = time.Now()
		jane, john := newcomer("jane"), newcomer("john")
		if !l.wait(jane, "okta:jane", time.Now()) {
			t.Fatal("jane does not wait")
		}
		l.fill(wiki, 700) // seven seconds
		synctest.Wait()
		if got := woken["jane"]; got < maxLate || got > maxLate+2*lateLook {
			t.Errorf("jane was evaluated after %s", got)
		}
		if l.wait(jane, "okta:jane", time.Now()) {
			t.Error("jane waits longer than maxLate")
		}
		if !l.wait(john, "", time.Now()) {
			t.Error("john does not wait")
		}
		late, known := l.of(jane)
		if !known || late.boundAs != "okta:jane" || late.generation != 1 {
			t.Errorf("of jane %+v is known, %t", late, known)
		}
		john.Generation = 2
		if l.wait(john, "", time.Now()) {
			t.Error("john waits after a change")
		}
		time.Sleep(2 * importPause)
		synctest.Wait()
		if got := woken["john"]; got < 7*time.Second || got > 8*time.Second {
			t.Errorf("john was evaluated after %s, seven seconds of import", got)
		}
		l.forget(types.NamespacedName{Namespace: jane.Namespace, Name: jane.Name})
		if _, known := l.of(jane); known {
			t.Error("jane is known after the status was written")
		}
		john.UID = "another"
		if _, known := l.of(john); known {
			t.Error("another john is taken for the first")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Those come first that wait longest.
func TestLateStatusesComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lateStatuses
		l.fill(wiki, importing)
		var want []string
		for i := range 20 {
			name := fmt.Sprintf("user-%02d", i)
			want = append(want, name)
			l.wait(newcomer(name), "", time.Now())
			l.fill(wiki, 1)
		}
		if users, more, _ := l.takeDue(time.Now()); len(users) > 0 || !more {
			t.Errorf("%v are due, others wait: %t", users, more)
		}
		time.Sleep(2 * importPause)
		users, more, _ := l.takeDue(time.Now())
		var got []string
		for _, user := range users {
			got = append(got, user.Name)
		}
		if !slices.Equal(got, want) || more {
			t.Errorf("%v are due, others wait: %t", got, more)
		}
	})
}

// Only the first status waits, of a user that is as it should be.
func TestStatusWaits(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*evaluation)
		want   bool
	}{
		"during an import":      {func(*evaluation) {}, true},
		"with a role":           {func(e *evaluation) { e.verdict.roles = []v1alpha1.EarnedRole{{Role: "viewer"}} }, true},
		"with a role that ends": {func(e *evaluation) { e.verdict.roles = []v1alpha1.EarnedRole{{Role: "viewer", Until: &metav1.Time{}}} }, false},
		"with one that ended":   {func(e *evaluation) { e.verdict.ended = []v1alpha1.EarnedRole{{Role: "viewer"}} }, false},
		"with a problem":        {func(e *evaluation) { e.verdict.ready.Status = metav1.ConditionFalse }, false},
		"not the first":         {func(e *evaluation) { e.user.Status.ObservedGeneration = 1 }, false},
		"after another verdict": {func(e *evaluation) { e.user.Status.Conditions = []metav1.Condition{{}} }, false},
		"without an import":     {func(e *evaluation) { e.late.apps = nil }, false},
	} {
		e := &evaluation{Reconciler: &Reconciler{}, user: newcomer("jane")}
		e.verdict.ready = condition(v1alpha1.ConditionReady, true, v1alpha1.ReasonNoRole, "")
		now := time.Unix(1_800_000_000, 0)
		for range importing {
			e.late.created(wiki, now)
		}
		test.change(e)
		if got := e.statusWaits(now); got != test.want {
			t.Errorf("%s: waits %t", name, got)
		}
	}
}

// What an evaluation found out counts as told while its status waits: a rename has the former name denied, and what an edit of the App
// takes is no change of the user's own.
func TestWhatWaitsIsKnown(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	e := &evaluation{Reconciler: &Reconciler{}, user: newcomer("jane")}
	for range importing {
		e.late.created(wiki, now)
	}
	e.user.Status.KubernetesUsername = "okta:jane@new.example"
	none := &v1alpha1.UserStatus{}
	expect := func(when, former string, generation int64, before *v1alpha1.UserStatus) {
		t.Helper()
		if got := e.late.formerName(e.user, before); got != former {
			t.Errorf("%s: the former name is %q, want %q", when, got, former)
		}
		if got := e.late.observed(e.user, before); got != generation {
			t.Errorf("%s: generation %d, want %d", when, got, generation)
		}
	}
	expect("nothing waits", "", 0, none)
	if !e.late.wait(e.user, "okta:jane@old.example", now) {
		t.Fatal("the status does not wait")
	}
	expect("an edit of the App", "", 1, none)
	e.user.Generation = 2
	expect("a rename", "okta:jane@old.example", 1, none)
	e.user.Spec.Active = false
	expect("a leaver", "", 1, none)
	e.user.Spec.Active = true
	expect("a status was written", "okta:jane@older.example", 1, &v1alpha1.UserStatus{
		ObservedGeneration: 1, KubernetesUsername: "okta:jane@older.example", BoundAs: "okta:jane@older.example",
	})
	expect("one that was never bound", "", 1, &v1alpha1.UserStatus{ObservedGeneration: 1, KubernetesUsername: "okta:jane@older.example"})
	e.user.UID = "made anew"
	expect("another user of the name", "", 0, none)
	e.user.Generation = 3
	e.late.renamed(e.user, "okta:jane@bound.example")
	e.late.renamed(e.user, "okta:jane@new.example") // while the first one is not told of yet
	expect("a rename before anything waited", "okta:jane@bound.example", 2, none)
	if e.late.wait(e.user, "okta:jane@new.example", now) {
		t.Error("the status of a renamed user waits")
	}
}
