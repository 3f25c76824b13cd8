package approlebinding

import (
	"context"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/internal/earned"
)

func written(uid, version string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "b", UID: types.UID(uid), ResourceVersion: version}}
}

func TestLatest(t *testing.T) {
	for name, test := range map[string]struct {
		write  ownWrite
		cached *rbacv1.RoleBinding
		want   string
	}{
		"the informer is behind":                {ownWrite{object: written("a", "10")}, written("a", "9"), "10"},
		"versions are numbers":                  {ownWrite{object: written("a", "10")}, written("a", "100"), "100"},
		"the informer shows the write":          {ownWrite{object: written("a", "10")}, written("a", "10"), "10"},
		"somebody wrote later":                  {ownWrite{object: written("a", "10")}, written("a", "11"), "11"},
		"the informer has not seen it yet":      {ownWrite{object: written("a", "10")}, nil, "10"},
		"deleted, and the informer is behind":   {ownWrite{uid: "a"}, written("a", "9"), ""},
		"deleted, and created anew by somebody": {ownWrite{uid: "a"}, written("b", "12"), "12"},
		"deleted, and the informer shows it":    {ownWrite{uid: "a"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var cached client.Object
			if test.cached != nil {
				cached = test.cached
			}
			version := ""
			if latest := test.write.latest(cached); latest != nil {
				version = latest.GetResourceVersion()
			}
			if version != test.want {
				t.Errorf("version %q, want %q", version, test.want)
			}
		})
	}
}

func TestObserveTellsOwnEventsFromOthers(t *testing.T) {
	key, id := earned.RoleInScope{Namespace: "ns"}, idOf(written("a", "1"))
	type event struct {
		object  *rbacv1.RoleBinding
		deleted bool
		want    eventOrigin
	}
	for name, test := range map[string]struct {
		write  func(*writeOverlay)
		events []event
	}{
		"nothing was written": {func(*writeOverlay) {}, []event{{written("a", "9"), false, undetermined}}},
		"older events, then the write, then another's": {
			func(w *writeOverlay) { w.remember(key, id, written("a", "10")) },
			[]event{{written("a", "8"), false, own}, {written("a", "10"), false, own}, {written("a", "12"), false, undetermined}},
		},
		"another's write over it": {
			func(w *writeOverlay) { w.remember(key, id, written("a", "10")) },
			[]event{{written("a", "12"), false, undetermined}},
		},
		"deleted by somebody": {
			func(w *writeOverlay) { w.remember(key, id, written("a", "10")) },
			[]event{{written("a", "10"), true, foreign}},
		},
		"deleted by itself": {
			func(w *writeOverlay) { w.rememberDeleted(key, id, "a") },
			[]event{{written("a", "9"), false, own}, {written("a", "9"), true, own}},
		},
		"an older object of the name goes": {
			func(w *writeOverlay) { w.remember(key, id, written("b", "10")) },
			[]event{{written("a", "9"), true, own}, {written("b", "10"), false, own}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var w writeOverlay
			test.write(&w)
			for i, event := range test.events {
				if got := w.observe(&key, id, event.object, event.deleted); got != event.want {
					t.Errorf("event %d: got %v, want %v", i, got, event.want)
				}
			}
			if len(w.snapshot(key)) > 0 {
				t.Error("the write is still remembered")
			}
		})
	}
}

// The event of a write can come before its answer: whose doing it was tells the answer.
func TestUndeterminedUntilAnswered(t *testing.T) {
	key, id := earned.RoleInScope{Namespace: "ns"}, idOf(written("a", "1"))
	for name, test := range map[string]struct {
		seen   string
		answer func(*writeOverlay)
		want   bool
	}{
		"no answer":                  {"11", func(*writeOverlay) {}, true},
		"its answer":                 {"11", func(w *writeOverlay) { w.remember(key, id, written("a", "11")) }, false},
		"overwritten":                {"11", func(w *writeOverlay) { w.remember(key, id, written("a", "12")) }, false},
		"another's, after the write": {"12", func(w *writeOverlay) { w.remember(key, id, written("a", "11")) }, true},
		"deleted":                    {"11", func(w *writeOverlay) { w.rememberDeleted(key, id, "a") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			var w writeOverlay
			w.remember(key, id, written("a", "10"))
			w.observe(&key, id, written("a", test.seen), false)
			test.answer(&w)
			if got := w.drainUndetermined(key); got != test.want {
				t.Errorf("undetermined: %v", got)
			}
			if w.drainUndetermined(key) {
				t.Error("undetermined a second time")
			}
		})
	}
}

func TestWaitEndsWithTheEvent(t *testing.T) {
	var w writeOverlay
	key, id := earned.RoleInScope{Namespace: "ns"}, idOf(written("a", "1"))
	nothing := func(objectID) client.Object { return nil }
	w.remember(key, id, written("a", "10"))
	ended := make(chan struct{})
	go func() {
		w.wait(t.Context(), []objectID{id}, nothing)
		close(ended)
	}()
	w.observe(nil, id, written("a", "9"), false)
	select {
	case <-ended:
		t.Fatal("ended by an older event")
	case <-time.After(20 * time.Millisecond):
	}
	w.observe(nil, id, written("a", "10"), false)
	<-ended

	w.remember(key, id, written("a", "11"))
	w.wait(t.Context(), []objectID{id}, func(objectID) client.Object { return written("a", "11") }) // the event came first

	w.rememberDeleted(key, id, "a")
	bounded, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	w.wait(bounded, []objectID{id}, nothing) // no event: the context ends it
}
