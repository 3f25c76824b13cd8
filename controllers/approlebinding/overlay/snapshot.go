package overlay

import (
	"maps"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/internal/earned"
)

// Snapshot holds writes that informers may not show yet. Take it before the informers are read.
type Snapshot map[ID]*Write

// Snapshot returns the writes of a key.
func (w *Writes) Snapshot(key earned.RoleInScope) Snapshot {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return maps.Clone(w.keys[key])
}

// AppRoleBindings returns the writes of the AppRoleBindings of a namespace. Callers share the result: it is not to be changed.
func (w *Writes) AppRoleBindings(namespace string) Snapshot {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	of := w.bindings[namespace]
	if of == nil {
		return nil
	}
	of.lent = true
	return of.writes
}

// namespaceWrites are the writes of a namespace's AppRoleBindings. Each evaluation of a user looks at them, far more often than one
// of them changes. So a change copies them, where a caller has them, and a look does not.
type namespaceWrites struct {
	writes Snapshot
	lent   bool
}

// changeable returns the writes to be changed, which no caller has.
func (n *namespaceWrites) changeable() Snapshot {
	if n.lent {
		n.writes, n.lent = maps.Clone(n.writes), false
	}
	return n.writes
}

// Merge returns the newer of each informer's copy and each write, of the kinds named. It forgets writes that the
// informers' copies show. cached must hold all copies of these kinds under the snapshot's key.
func (w *Writes) Merge(cached map[ID]client.Object, writes Snapshot, kinds ...string) map[ID]client.Object {
	w.expire(writes, cached)
	merged := maps.Clone(cached)
	for id, write := range writes {
		if !slices.Contains(kinds, id.Kind) {
			continue
		}
		if object := write.Latest(cached[id]); object != nil {
			merged[id] = object
		} else {
			delete(merged, id)
		}
	}
	return merged
}

// expire forgets writes that informers show, and deletions without an event.
func (w *Writes) expire(writes Snapshot, cached map[ID]client.Object) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for id, write := range writes {
		if key, found := w.ids[id]; !found || w.keys[key][id] != write {
			continue
		}
		if write.object != nil && cached[id] != nil && write.isShownBy(cached[id]) ||
			write.object == nil && time.Since(write.since) > ghostLifetime {
			w.drop(id)
		}
	}
}

// Object returns what was written; nil for a deletion.
func (w *Write) Object() client.Object { return w.object }

// Latest returns the newer one of an informer's copy (nil for none) and the write; nil means deleted.
func (w *Write) Latest(cached client.Object) client.Object {
	switch {
	case w.object == nil && cached != nil && cached.GetUID() != w.uid:
		return cached
	case w.object == nil:
		return nil
	case cached != nil && w.isShownBy(cached):
		return cached
	}
	return w.object
}

// isShownBy reports whether an informer's copy is as new as the write.
func (w *Write) isShownBy(cached client.Object) bool {
	return isAtLeast(cached.GetResourceVersion(), w.object.GetResourceVersion())
}
