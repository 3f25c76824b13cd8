// Package overlay puts this process's own writes of bindings over what informers show.
//
// An informer's copy lags behind the process's own writes. A run that reads informers alone could miss a subject that the
// run before it has just added, and leave the subject bound. So every write is remembered before the run's turn at its key
// ends, and the next run merges a Snapshot of what is remembered with the informers' copies: each object that it sees is at
// least as new as this process's last write of it. A write is forgotten once the informer shows it.
//
// The same memory tells which event of an informer comes from this process: see Observe.
package overlay

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/internal/earned"
)

// Writes remembers the last write of each object until the informers have caught up with it. The zero value is ready to
// use, by any number of goroutines.
type Writes struct {
	mutex sync.Mutex
	keys  map[earned.RoleInScope]Snapshot
	ids   map[ID]earned.RoleInScope
	// bindings are the writes of AppRoleBindings, by namespace: a look at one App must not walk through those of all others.
	bindings map[string]*namespaceWrites
	// undetermined are resourceVersions that an informer showed and that may be of a write without an answer yet.
	undetermined map[earned.RoleInScope]map[ID]string
}

// Origin is what an event tells about the writer of an object.
type Origin int

const (
	// Own is this process's last write, or an older state.
	Own Origin = iota
	// Undetermined is a write by others, or one of this process without an answer yet: its event can come first.
	Undetermined
	// Foreign is a write by others.
	Foreign
)

// Write is the last write of one object.
type Write struct {
	// object as the API server returned it; nil once deleted.
	object client.Object
	// uid of a deleted object: an informer's copy with this UID is a ghost.
	uid types.UID
	// caughtUp is closed when the informer has seen the write, or another write of the same object took its place.
	caughtUp chan struct{}
	since    time.Time
}

// ghostLifetime bounds how long a deletion without an event is remembered: its object appeared and vanished between two
// lists of an informer.
const ghostLifetime = 10 * time.Minute

// Remember records an object as a write returned it, or as a live read did.
func (w *Writes) Remember(key earned.RoleInScope, id ID, object client.Object) {
	w.put(key, id, &Write{object: object})
}

// RememberDeleted records that the object of that UID is gone. Call it before the deletion is sent, so that the event
// cannot come first.
func (w *Writes) RememberDeleted(key earned.RoleInScope, id ID, uid types.UID) {
	w.put(key, id, &Write{uid: uid})
}

func (w *Writes) put(key earned.RoleInScope, id ID, write *Write) {
	write.caughtUp, write.since = make(chan struct{}), time.Now()
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.keys == nil {
		w.keys, w.ids, w.bindings = map[earned.RoleInScope]Snapshot{}, map[ID]earned.RoleInScope{}, map[string]*namespaceWrites{}
	}
	w.drop(id)
	if w.keys[key] == nil {
		w.keys[key] = Snapshot{}
	}
	w.keys[key][id] = write
	w.ids[id] = key
	if id.Kind == KindAppRoleBinding {
		if w.bindings[id.Namespace] == nil {
			w.bindings[id.Namespace] = &namespaceWrites{writes: Snapshot{}}
		}
		w.bindings[id.Namespace].changeable()[id] = write
	}
	if version, found := w.undetermined[key][id]; found && (write.object == nil || isAtLeast(write.object.GetResourceVersion(), version)) {
		delete(w.undetermined[key], id) // this process's own, or overwritten by it
	}
}

// DrainUndetermined reports whether an informer showed a state of a key's objects that no answer has explained, and
// forgets it.
func (w *Writes) DrainUndetermined(key earned.RoleInScope) bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	found := len(w.undetermined[key]) > 0
	delete(w.undetermined, key)
	return found
}

// isAtLeast compares resourceVersions of one kind.
func isAtLeast(version, other string) bool {
	order, err := resourceversion.CompareResourceVersion(version, other)
	return err == nil && order >= 0
}

func (w *Writes) drop(id ID) {
	key, found := w.ids[id]
	if !found {
		return
	}
	close(w.keys[key][id].caughtUp)
	delete(w.keys[key], id)
	delete(w.ids, id)
	if len(w.keys[key]) == 0 {
		delete(w.keys, key)
	}
	if id.Kind == KindAppRoleBinding {
		of := w.bindings[id.Namespace].changeable()
		if delete(of, id); len(of) == 0 {
			delete(w.bindings, id.Namespace)
		}
	}
}

// Observe takes an event of an informer and returns its origin. An undetermined state is noted under the key for
// DrainUndetermined; nil notes none.
func (w *Writes) Observe(key *earned.RoleInScope, id ID, object client.Object, deleted bool) Origin {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	origin := w.originOf(id, object, deleted)
	if origin == Undetermined && key != nil {
		if w.undetermined == nil {
			w.undetermined = map[earned.RoleInScope]map[ID]string{}
		}
		if w.undetermined[*key] == nil {
			w.undetermined[*key] = map[ID]string{}
		}
		w.undetermined[*key][id] = object.GetResourceVersion()
	}
	return origin
}

func (w *Writes) originOf(id ID, object client.Object, deleted bool) Origin {
	key, found := w.ids[id]
	if !found {
		if deleted {
			return Foreign
		}
		return Undetermined
	}
	write := w.keys[key][id]
	switch {
	case deleted && write.object == nil && write.uid == object.GetUID():
		w.drop(id)
		return Own
	case deleted && write.object != nil && write.object.GetUID() == object.GetUID():
		w.drop(id) // others deleted what this process wrote last
		return Foreign
	case deleted:
		return Own // an older object of the name
	case write.object == nil && write.uid == object.GetUID():
		return Own
	case write.object == nil:
		return Undetermined
	case !write.isShownBy(object):
		return Own
	}
	defer w.drop(id)
	if write.object.GetResourceVersion() == object.GetResourceVersion() {
		return Own
	}
	return Undetermined
}

// Wait returns once informers show the last writes of these objects, or when ctx ends. current reads an informer: the event
// of a write may have come before its answer.
func (w *Writes) Wait(ctx context.Context, ids []ID, current func(ID) client.Object) {
	for _, id := range ids {
		w.mutex.Lock()
		key, found := w.ids[id]
		var write *Write
		if found {
			write = w.keys[key][id]
		}
		w.mutex.Unlock()
		if write == nil {
			continue
		}
		// A deletion was remembered before it was sent, so its event cannot have been missed.
		if write.object != nil {
			if cached := current(id); cached != nil && write.isShownBy(cached) {
				continue
			}
		}
		select {
		case <-write.caughtUp:
		case <-ctx.Done():
			return
		}
	}
}
