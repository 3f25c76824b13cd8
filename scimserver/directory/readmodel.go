package directory

import (
	"slices"
	"sync"
	"time"

	"github.com/tidwall/btree"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// readModel holds every user, or every group, of all Apps in memory, sorted and indexed. Watch events feed it, and so do this
// process' own writes, so that a list shows them at once; whatever comes late, and is older than what is there, is dropped.
type readModel[E entry[E]] struct {
	mu      sync.RWMutex
	entries map[types.NamespacedName]E // visible or not
	apps    map[types.NamespacedName]*appIndex[E]
	// gone remembers which objects went, so that the late answer to an earlier write brings none back.
	gone     map[types.NamespacedName]removal
	forgetAt int
	watchers map[types.NamespacedName][]chan struct{}
	observer observer[E]
}

// observer follows a read model, under its lock. Each function may be nil.
type observer[E any] struct {
	// added and removed tell of an entry that clients see from now on, or do not see any more.
	added, removed func(app types.NamespacedName, e E)
	// replaced tells of every new state of an object, and whether clients see it.
	replaced func(name types.NamespacedName, e E, visible bool)
}

type removal struct {
	uid  types.UID
	when time.Time
}

// appIndex holds the visible users, or groups, of one App.
type appIndex[E any] struct {
	sorted     *btree.BTreeG[E]
	key        map[string]E
	externalID map[string][]E
	email      map[string][]E
}

func newReadModel[E entry[E]](observer observer[E]) *readModel[E] {
	var none E
	beginAccount(none)
	return &readModel[E]{
		entries:  map[types.NamespacedName]E{},
		apps:     map[types.NamespacedName]*appIndex[E]{},
		gone:     map[types.NamespacedName]removal{},
		forgetAt: 1024,
		watchers: map[types.NamespacedName][]chan struct{}{},
		observer: observer,
	}
}

func newAppIndex[E entry[E]]() *appIndex[E] {
	return &appIndex[E]{
		sorted: btree.NewBTreeGOptions(func(a, b E) bool { return compare(a, b) < 0 }, btree.Options{NoLocks: true}),
		key:    map[string]E{}, externalID: map[string][]E{}, email: map[string][]E{},
	}
}

// put takes in a state of an object, unless the model has a newer one. verified is the key that the caller has verified the
// object's claim for, "" for none. It reports whether the claim of the name remains to be verified.
func (m *readModel[E]) put(e E, verified string) (unverified bool) {
	name := e.head().name()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone[name].uid == e.head().uid {
		return false
	}
	current, held := m.entries[name]
	if held && informers.Older(e.head().resourceVersion, current.head().resourceVersion) {
		e = current
	}
	known := verification{verified: verified != "" && verified == e.head().key}
	if held && current.head().uid == e.head().uid {
		old, same := current.head(), current.head().key == e.head().key
		known.verified = known.verified || old.verified && same
		known.deleted = old.deleted
		known.provisional = same && old.provisional || !same && old.visible()
	}
	e = withVerification(e, known)
	m.replace(name, e)
	return e.head().needsVerification()
}

// verify notes that the claim of a key names the object.
func (m *readModel[E]) verify(name types.NamespacedName, key string) {
	m.change(name, func(old *header) (verification, bool) {
		return verification{verified: true, deleted: old.deleted}, old.key == key
	})
}

// distrust notes that the claim of a key does not name the object.
func (m *readModel[E]) distrust(name types.NamespacedName, key string) {
	m.change(name, func(old *header) (verification, bool) {
		return verification{deleted: old.deleted}, old.provisional && old.key == key
	})
}

// hide takes an object out of sight once the deletion was accepted.
func (m *readModel[E]) hide(name types.NamespacedName) {
	m.change(name, func(old *header) (verification, bool) {
		return verification{verified: old.verified, deleted: true}, !old.deleted
	})
}

// change gives an entry what this process has learnt about its object, if next wants that.
func (m *readModel[E]) change(name types.NamespacedName, next func(*header) (verification, bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, held := m.entries[name]; held {
		if known, wanted := next(e.head()); wanted {
			m.replace(name, withVerification(e, known))
		}
	}
}

// remove forgets an object that is gone.
func (m *readModel[E]) remove(name types.NamespacedName, uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.gone[name] = removal{uid: uid, when: now}
	if len(m.gone) >= m.forgetAt {
		for other, removal := range m.gone {
			if now.Sub(removal.when) > membership.GoneFor {
				delete(m.gone, other)
			}
		}
		m.forgetAt = 2*len(m.gone) + 1024
	}
	if old, held := m.entries[name]; held && old.head().uid == uid {
		var none E
		m.replace(name, none)
	}
}

// replace puts a new state of an object, or none, in the place of the old one in every index, and wakes the requests that
// wait for it.
func (m *readModel[E]) replace(name types.NamespacedName, e E) {
	if old, held := m.entries[name]; held {
		account(old, -1)
		if old.head().visible() {
			m.unindex(old)
		}
	}
	var none E
	visible := e != none && e.head().visible()
	if e == none {
		delete(m.entries, name)
	} else {
		m.entries[name] = e
		account(e, 1)
	}
	if visible {
		m.index(e)
	}
	if m.observer.replaced != nil {
		m.observer.replaced(name, e, visible)
	}
	for _, waiting := range m.watchers[name] {
		select {
		case waiting <- struct{}{}:
		default:
		}
	}
}

func (m *readModel[E]) index(e E) {
	header := e.head()
	name := header.app.Value()
	app := m.apps[name]
	if app == nil {
		app = newAppIndex[E]()
		m.apps[name] = app
	}
	app.sorted.Set(e)
	app.key[header.key] = e
	if header.externalID != "" {
		app.externalID[header.externalID] = append(app.externalID[header.externalID], e)
	}
	for _, email := range header.emails {
		app.email[email] = append(app.email[email], e)
	}
	if m.observer.added != nil {
		m.observer.added(name, e)
	}
}

func (m *readModel[E]) unindex(e E) {
	header := e.head()
	name := header.app.Value()
	app := m.apps[name]
	app.sorted.Delete(e)
	if app.key[header.key] == e {
		delete(app.key, header.key)
	}
	dropFrom(app.externalID, header.externalID, e)
	for _, email := range header.emails {
		dropFrom(app.email, email, e)
	}
	if app.sorted.Len() == 0 {
		delete(m.apps, name)
	}
	if m.observer.removed != nil {
		m.observer.removed(name, e)
	}
}

func dropFrom[E comparable](index map[string][]E, key string, e E) {
	rest := slices.DeleteFunc(index[key], func(other E) bool { return other == e })
	if len(rest) == 0 {
		delete(index, key)
	} else {
		index[key] = rest
	}
}

// watch returns a channel that gets a value after a change of the object. The caller calls stop in the end.
func (m *readModel[E]) watch(name types.NamespacedName) (changed <-chan struct{}, stop func()) {
	waiting := make(chan struct{}, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers[name] = append(m.watchers[name], waiting)
	return waiting, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		rest := slices.DeleteFunc(m.watchers[name], func(other chan struct{}) bool { return other == waiting })
		if len(rest) == 0 {
			delete(m.watchers, name)
		} else {
			m.watchers[name] = rest
		}
	}
}
