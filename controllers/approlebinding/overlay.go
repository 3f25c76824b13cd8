package approlebinding

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/internal/earned"
)

// objectID names one object of the kinds that this package writes.
type objectID struct {
	kind, namespace, name string
}

// writeOverlay remembers what this process wrote last, for as long as the informers have not caught up with it.
//
// An informer's copy lags behind the process's own writes: a run that looked at informers alone could miss a subject that
// the run before it had just added, and leave them bound. Every object of a key is written under the key's mutex
// and remembered before the mutex is released, and a run looks here first and at the informers second; so each
// object that it sees is at least as new as its own last write.
type writeOverlay struct {
	mutex sync.Mutex
	keys  map[earned.RoleInScope]map[objectID]*ownWrite
	ids   map[objectID]earned.RoleInScope
	// undetermined are states that informers showed and that may be of a write whose answer has not come yet.
	undetermined map[earned.RoleInScope]map[objectID]string
}

// eventOrigin is what an event tells about who wrote an object.
type eventOrigin int

const (
	// own is this process's last write, or something older.
	own eventOrigin = iota
	// undetermined is somebody else's write, or one of this process that has not been answered yet: its event can come first.
	undetermined
	// foreign is somebody else's doing.
	foreign
)

type ownWrite struct {
	// object as the API server returned it; nil once deleted.
	object client.Object
	// uid of a deleted object: an informer's copy with this UID is a ghost.
	uid types.UID
	// caughtUp is closed when the informer has seen the write, or another one of the same object took its place.
	caughtUp chan struct{}
	since    time.Time
}

// ghostLifetime bounds how long a deletion is remembered whose event never comes, because its object appeared and
// vanished between two lists of an informer.
const ghostLifetime = 10 * time.Minute

// remember records an object as a write returned it, or as a live read did.
func (w *writeOverlay) remember(key earned.RoleInScope, id objectID, object client.Object) {
	w.put(key, id, &ownWrite{object: object})
}

// rememberDeleted records that the object of that UID is gone. It is called before the deletion is sent, so that the
// event cannot come first.
func (w *writeOverlay) rememberDeleted(key earned.RoleInScope, id objectID, uid types.UID) {
	w.put(key, id, &ownWrite{uid: uid})
}

func (w *writeOverlay) put(key earned.RoleInScope, id objectID, write *ownWrite) {
	write.caughtUp, write.since = make(chan struct{}), time.Now()
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.keys == nil {
		w.keys, w.ids = map[earned.RoleInScope]map[objectID]*ownWrite{}, map[objectID]earned.RoleInScope{}
	}
	w.drop(id)
	if w.keys[key] == nil {
		w.keys[key] = map[objectID]*ownWrite{}
	}
	w.keys[key][id] = write
	w.ids[id] = key
	if version, found := w.undetermined[key][id]; found && (write.object == nil || isAtLeast(write.object.GetResourceVersion(), version)) {
		delete(w.undetermined[key], id) // this process's own, or overwritten by it
	}
}

// drainUndetermined says whether informers showed a state of a key's objects of which nothing is known up to now, and forgets it.
func (w *writeOverlay) drainUndetermined(key earned.RoleInScope) bool {
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

func (w *writeOverlay) drop(id objectID) {
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
}

// snapshot returns the writes of a key that informers may not show yet. It must be taken before informers are read.
func (w *writeOverlay) snapshot(key earned.RoleInScope) map[objectID]*ownWrite {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	writes := make(map[objectID]*ownWrite, len(w.keys[key]))
	for id, write := range w.keys[key] {
		writes[id] = write
	}
	return writes
}

// latest returns which of an informer's copy (nil: none) and the last write is the newer one; nil means deleted.
func (l *ownWrite) latest(cached client.Object) client.Object {
	switch {
	case l.object == nil && cached != nil && cached.GetUID() != l.uid:
		return cached
	case l.object == nil:
		return nil
	case cached != nil && l.covers(cached):
		return cached
	}
	return l.object
}

// covers says whether an informer's copy is as new as the write.
func (l *ownWrite) covers(cached client.Object) bool {
	return isAtLeast(cached.GetResourceVersion(), l.object.GetResourceVersion())
}

// observe takes an event of an informer and says whose doing it is. What is undetermined it notes under the key for drainUndetermined, if
// there is one.
func (w *writeOverlay) observe(key *earned.RoleInScope, id objectID, object client.Object, deleted bool) eventOrigin {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	seen := w.look(id, object, deleted)
	if seen == undetermined && key != nil {
		if w.undetermined == nil {
			w.undetermined = map[earned.RoleInScope]map[objectID]string{}
		}
		if w.undetermined[*key] == nil {
			w.undetermined[*key] = map[objectID]string{}
		}
		w.undetermined[*key][id] = object.GetResourceVersion()
	}
	return seen
}

func (w *writeOverlay) look(id objectID, object client.Object, deleted bool) eventOrigin {
	key, found := w.ids[id]
	if !found {
		if deleted {
			return foreign
		}
		return undetermined
	}
	write := w.keys[key][id]
	switch {
	case deleted && write.object == nil && write.uid == object.GetUID():
		w.drop(id)
		return own
	case deleted && write.object != nil && write.object.GetUID() == object.GetUID():
		w.drop(id) // somebody else deleted what was written last
		return foreign
	case deleted:
		return own // an older object of the name
	case write.object == nil && write.uid == object.GetUID():
		return own
	case write.object == nil:
		return undetermined
	case !write.covers(object):
		return own
	}
	defer w.drop(id)
	if write.object.GetResourceVersion() == object.GetResourceVersion() {
		return own
	}
	return undetermined
}

// bindings returns the writes of AppRoleBindings of a namespace that the informers may not show yet.
func (w *writeOverlay) bindings(namespace string) map[objectID]*ownWrite {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	writes := map[objectID]*ownWrite{}
	for id, key := range w.ids {
		if id.kind == kindAppRoleBinding && id.namespace == namespace {
			writes[id] = w.keys[key][id]
		}
	}
	return writes
}

// wait returns once informers show the last writes of these objects. current reads an informer: the event of a write may
// have come before its answer.
func (w *writeOverlay) wait(ctx context.Context, ids []objectID, current func(objectID) client.Object) {
	for _, id := range ids {
		w.mutex.Lock()
		key, found := w.ids[id]
		var write *ownWrite
		if found {
			write = w.keys[key][id]
		}
		w.mutex.Unlock()
		if write == nil {
			continue
		}
		// A deletion was remembered before it was sent, so its event cannot have been missed.
		if write.object != nil {
			if cached := current(id); cached != nil && write.covers(cached) {
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

// expire forgets writes of a key that informers show, and deletions whose event never came.
func (w *writeOverlay) expire(writes map[objectID]*ownWrite, cached map[objectID]client.Object) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for id, write := range writes {
		if key, found := w.ids[id]; !found || w.keys[key][id] != write {
			continue
		}
		if write.object != nil && cached[id] != nil && write.covers(cached[id]) ||
			write.object == nil && time.Since(write.since) > ghostLifetime {
			w.drop(id)
		}
	}
}
