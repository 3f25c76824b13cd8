package overlay

import (
	"maps"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/earned"
)

func named(name, uid, version string) client.Object {
	object := written(uid, version)
	object.Name = name
	return object
}

// A run sees each object at least as new as this process's last write of it, and the overlay forgets what informers show.
func TestMerge(t *testing.T) {
	key := earned.RoleInScope{Namespace: "ns"}
	stale, shown, unseen := named("stale", "a", "9"), named("shown", "b", "10"), named("unseen", "c", "11")
	gone, anew, foreign := named("gone", "d", "8"), named("anew", "f", "20"), named("foreign", "g", "5")
	var w Writes
	w.Remember(key, IDOf(stale), named("stale", "a", "10"))
	w.Remember(key, IDOf(shown), named("shown", "b", "10"))
	w.Remember(key, IDOf(unseen), unseen)
	w.RememberDeleted(key, IDOf(gone), "d")
	w.RememberDeleted(key, IDOf(anew), "e")
	binding := &v1alpha1.AppRoleBinding{}
	binding.Namespace, binding.Name, binding.ResourceVersion = "ns", "chunk", "30"
	w.Remember(key, IDOf(binding), binding)

	snapshot := w.Snapshot(key)
	cached := map[ID]client.Object{}
	for _, object := range []client.Object{stale, shown, gone, anew, foreign} {
		cached[IDOf(object)] = object
	}
	merged := w.Merge(cached, snapshot, KindRoleBinding, KindClusterRoleBinding)
	versions := map[string]string{}
	for id, object := range merged {
		versions[id.Name] = object.GetResourceVersion()
	}
	want := map[string]string{"stale": "10", "shown": "10", "unseen": "11", "anew": "20", "foreign": "5"}
	if !maps.Equal(versions, want) {
		t.Errorf("merged %v, want %v", versions, want)
	}
	if len(cached) != 5 {
		t.Error("the informers' copies were changed")
	}
	var left []string
	for id := range w.Snapshot(key) {
		left = append(left, id.Name)
	}
	slices.Sort(left)
	if want := []string{"anew", "chunk", "gone", "stale", "unseen"}; !slices.Equal(left, want) {
		t.Errorf("still remembered: %v, want %v", left, want)
	}
	if of := w.AppRoleBindings("ns"); len(of) != 1 || of[IDOf(binding)].Object() != client.Object(binding) || len(w.AppRoleBindings("other")) > 0 {
		t.Errorf("AppRoleBindings: %v", of)
	}
}

// A write that came between the snapshot and the informers' answer stays: the copies are older than it.
func TestMergeKeepsNewerWrites(t *testing.T) {
	key, id := earned.RoleInScope{Namespace: "ns"}, IDOf(written("a", "1"))
	var w Writes
	w.Remember(key, id, written("a", "10"))
	snapshot := w.Snapshot(key)
	w.Remember(key, id, written("a", "12"))
	w.Merge(map[ID]client.Object{id: written("a", "10")}, snapshot, KindRoleBinding)
	if write := w.Snapshot(key)[id]; write == nil || write.Object().GetResourceVersion() != "12" {
		t.Errorf("remembered: %v", write)
	}
}

// The event of a deletion may never come: it is forgotten after a while, and not before.
func TestGhostsExpire(t *testing.T) {
	key, id := earned.RoleInScope{Namespace: "ns"}, IDOf(written("a", "1"))
	var w Writes
	w.RememberDeleted(key, id, "a")
	w.Merge(nil, w.Snapshot(key), KindRoleBinding)
	if len(w.Snapshot(key)) == 0 {
		t.Fatal("forgotten at once: the informer's copy would come to life again")
	}
	w.Snapshot(key)[id].since = time.Now().Add(-2 * ghostLifetime)
	w.Merge(nil, w.Snapshot(key), KindRoleBinding)
	if len(w.Snapshot(key)) > 0 {
		t.Error("remembered for ever")
	}
}

// The writes of a namespace's AppRoleBindings are the last ones, and are gone once informers show them.
func TestAppRoleBindings(t *testing.T) {
	var w Writes
	written := func(namespace, name, version string) *v1alpha1.AppRoleBinding {
		binding := &v1alpha1.AppRoleBinding{}
		binding.Namespace, binding.Name, binding.UID, binding.ResourceVersion = namespace, name, "a", version
		w.Remember(earned.RoleInScope{Namespace: namespace, Role: name}, IDOf(binding), binding)
		return binding
	}
	first, other := written("ns", "one", "1"), written("other", "one", "2")
	deleted, last := written("ns", "two", "3"), written("ns", "one", "4")
	w.RememberDeleted(earned.RoleInScope{Namespace: "ns", Role: "two"}, IDOf(deleted), "a")
	of := w.AppRoleBindings("ns")
	if len(of) != 2 || of[IDOf(first)].Object() != client.Object(last) || of[IDOf(deleted)].Object() != nil {
		t.Errorf("writes of the namespace: %v", of)
	}
	w.Observe(nil, IDOf(last), last, false)
	w.Observe(nil, IDOf(deleted), deleted, true)
	if of := w.AppRoleBindings("ns"); len(of) != 0 || len(w.AppRoleBindings("other")) != 1 {
		t.Errorf("writes that the informers show: %v", of)
	}
	w.Observe(nil, IDOf(other), other, false)
	if len(w.keys)+len(w.ids)+len(w.bindings) > 0 {
		t.Errorf("left behind: %v, %v, %v", w.keys, w.ids, w.bindings)
	}
}
