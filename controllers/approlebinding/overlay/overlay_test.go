package overlay

import (
	"context"
	"slices"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/earned"
)

func written(uid, version string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "b", UID: types.UID(uid), ResourceVersion: version}}
}

func TestLatest(t *testing.T) {
	for name, test := range map[string]struct {
		write  Write
		cached *rbacv1.RoleBinding
		want   string
	}{
		"the informer is behind":              {Write{object: written("a", "10")}, written("a", "9"), "10"},
		"versions are numbers":                {Write{object: written("a", "10")}, written("a", "100"), "100"},
		"the informer shows the write":        {Write{object: written("a", "10")}, written("a", "10"), "10"},
		"others wrote later":                  {Write{object: written("a", "10")}, written("a", "11"), "11"},
		"the informer has not seen it yet":    {Write{object: written("a", "10")}, nil, "10"},
		"deleted, and the informer is behind": {Write{uid: "a"}, written("a", "9"), ""},
		"deleted, and created anew by others": {Write{uid: "a"}, written("b", "12"), "12"},
		"deleted, and the informer shows it":  {Write{uid: "a"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var cached client.Object
			if test.cached != nil {
				cached = test.cached
			}
			version := ""
			if latest := test.write.Latest(cached); latest != nil {
				version = latest.GetResourceVersion()
			}
			if version != test.want {
				t.Errorf("version %q, want %q", version, test.want)
			}
		})
	}
}

func TestObserveTellsOwnEventsFromOthers(t *testing.T) {
	key, id := earned.RoleInScope{Namespace: "ns"}, IDOf(written("a", "1"))
	type event struct {
		object  *rbacv1.RoleBinding
		deleted bool
		want    Origin
	}
	for name, test := range map[string]struct {
		write  func(*Writes)
		events []event
	}{
		"nothing was written": {func(*Writes) {}, []event{{written("a", "9"), false, Undetermined}}},
		"older events, then the write, then another's": {
			func(w *Writes) { w.Remember(key, id, written("a", "10")) },
			[]event{{written("a", "8"), false, Own}, {written("a", "10"), false, Own}, {written("a", "12"), false, Undetermined}},
		},
		"another's write over it": {
			func(w *Writes) { w.Remember(key, id, written("a", "10")) },
			[]event{{written("a", "12"), false, Undetermined}},
		},
		"deleted by others": {
			func(w *Writes) { w.Remember(key, id, written("a", "10")) },
			[]event{{written("a", "10"), true, Foreign}},
		},
		"deleted by itself": {
			func(w *Writes) { w.RememberDeleted(key, id, "a") },
			[]event{{written("a", "9"), false, Own}, {written("a", "9"), true, Own}},
		},
		"an older object of the name goes": {
			func(w *Writes) { w.Remember(key, id, written("b", "10")) },
			[]event{{written("a", "9"), true, Own}, {written("b", "10"), false, Own}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var w Writes
			test.write(&w)
			for i, event := range test.events {
				if got := w.Observe(&key, id, event.object, event.deleted); got != event.want {
					t.Errorf("event %d: got %v, want %v", i, got, event.want)
				}
			}
			if len(w.Snapshot(key)) > 0 {
				t.Error("the write is still remembered")
			}
		})
	}
}

// The event of a write can come before its answer: the answer tells which process wrote.
func TestUndeterminedUntilAnswered(t *testing.T) {
	key, id := earned.RoleInScope{Namespace: "ns"}, IDOf(written("a", "1"))
	for name, test := range map[string]struct {
		seen   string
		answer func(*Writes)
		want   bool
	}{
		"no answer":                  {"11", func(*Writes) {}, true},
		"its answer":                 {"11", func(w *Writes) { w.Remember(key, id, written("a", "11")) }, false},
		"overwritten":                {"11", func(w *Writes) { w.Remember(key, id, written("a", "12")) }, false},
		"another's, after the write": {"12", func(w *Writes) { w.Remember(key, id, written("a", "11")) }, true},
		"deleted":                    {"11", func(w *Writes) { w.RememberDeleted(key, id, "a") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			var w Writes
			w.Remember(key, id, written("a", "10"))
			w.Observe(&key, id, written("a", test.seen), false)
			test.answer(&w)
			if got := w.DrainUndetermined(key); got != test.want {
				t.Errorf("undetermined: %v", got)
			}
			if w.DrainUndetermined(key) {
				t.Error("undetermined a second time")
			}
		})
	}
}

func TestWaitEndsWithTheEvent(t *testing.T) {
	var w Writes
	key, id := earned.RoleInScope{Namespace: "ns"}, IDOf(written("a", "1"))
	nothing := func(ID) client.Object { return nil }
	w.Remember(key, id, written("a", "10"))
	ended := make(chan struct{})
	go func() {
		w.Wait(t.Context(), []ID{id}, nothing)
		close(ended)
	}()
	w.Observe(nil, id, written("a", "9"), false)
	select {
	case <-ended:
		t.Fatal("ended by an older event")
	case <-time.After(20 * time.Millisecond):
	}
	w.Observe(nil, id, written("a", "10"), false)
	<-ended

	w.Remember(key, id, written("a", "11"))
	w.Wait(t.Context(), []ID{id}, func(ID) client.Object { return written("a", "11") }) // the event came first

	w.RememberDeleted(key, id, "a")
	bounded, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	w.Wait(bounded, []ID{id}, nothing) // no event: the context ends it
}

// What a caller has of a namespace's writes stays as it was, whatever is written after, and the next caller has all of it.
func TestAppRoleBindingsAreLent(t *testing.T) {
	key := earned.RoleInScope{Namespace: "ns", App: "app", Role: "viewer", Scope: "default"}
	binding := func(name string) *v1alpha1.AppRoleBinding {
		return &v1alpha1.AppRoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name), ResourceVersion: "1"}}
	}
	var writes Writes
	remember := func(name string) { writes.Remember(key, IDOf(binding(name)), binding(name)) }
	remember("a")
	first := writes.AppRoleBindings("ns")
	remember("b")
	second := writes.AppRoleBindings("ns")
	remember("c")
	writes.Observe(nil, IDOf(binding("a")), binding("a"), false) // the informer has caught up with it
	third := writes.AppRoleBindings("ns")
	for i, test := range []struct {
		got  Snapshot
		want []string
	}{{first, []string{"a"}}, {second, []string{"a", "b"}}, {third, []string{"b", "c"}}} {
		var names []string
		for id := range test.got {
			names = append(names, id.Name)
		}
		if slices.Sort(names); !slices.Equal(names, test.want) {
			t.Errorf("look %d has the writes of %v, want %v", i+1, names, test.want)
		}
	}
	for _, name := range []string{"b", "c"} {
		writes.Observe(nil, IDOf(binding(name)), binding(name), false)
	}
	if left := writes.AppRoleBindings("ns"); left != nil || len(writes.bindings) != 0 {
		t.Errorf("after all were seen there are %v", left)
	}
}
