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

// readModel holds every user of every App in memory, sorted and indexed. Watch events feed it, and so do this process'
// own writes, so that a list shows them at once; whatever comes late, and is older than what is there, is dropped.
type readModel struct {
	mu    sync.RWMutex
	users map[types.NamespacedName]*Entry // visible or not
	apps  map[types.NamespacedName]*appIndex
	// gone remembers which objects went, so that the late answer to an earlier write brings none back.
	gone     map[types.NamespacedName]removal
	forgetAt int
	watchers map[types.NamespacedName][]chan struct{}
	// named is told under which name clients of an App see a user; "" where they do not.
	named func(user types.NamespacedName, app, userName string)
}

type removal struct {
	uid  types.UID
	when time.Time
}

// appIndex holds the visible users of one App.
type appIndex struct {
	sorted     *btree.BTreeG[*Entry]
	userName   map[string]*Entry
	externalID map[string][]*Entry
	email      map[string][]*Entry
	// orders are those other than that of creation that clients have lately asked for; see order.go.
	orders map[string]*order
}

func newReadModel() *readModel {
	return &readModel{
		users:    map[types.NamespacedName]*Entry{},
		apps:     map[types.NamespacedName]*appIndex{},
		gone:     map[types.NamespacedName]removal{},
		forgetAt: 1024,
		watchers: map[types.NamespacedName][]chan struct{}{},
	}
}

func newAppIndex() *appIndex {
	return &appIndex{
		sorted:   btree.NewBTreeGOptions(func(a, b *Entry) bool { return a.compare(b) < 0 }, btree.Options{NoLocks: true}),
		userName: map[string]*Entry{}, externalID: map[string][]*Entry{}, email: map[string][]*Entry{},
		orders: map[string]*order{},
	}
}

// put takes in a state of a user, unless the model has a newer one. verified is the key that the caller has verified the
// user's claim for, "" for none. It reports whether the claim of the user's name remains to be verified.
func (m *readModel) put(entry *Entry, verified string) (unverified bool) {
	name := entry.name()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone[name].uid == entry.uid {
		return false
	}
	old := m.users[name]
	if old != nil && informers.Older(entry.resourceVersion, old.resourceVersion) {
		entry = old
	}
	known, deleted, trusted := verified != "" && verified == entry.key, false, false
	if old != nil && old.uid == entry.uid {
		same := old.key == entry.key
		known, deleted = known || old.verified && same, old.deleted
		trusted = same && old.trusted || !same && old.visible()
	}
	entry = entry.knowing(known, deleted, trusted)
	m.replace(name, old, entry)
	return entry.open()
}

// verify notes that the claim of a key names the user.
func (m *readModel) verify(name types.NamespacedName, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.users[name]; old != nil && old.key == key {
		m.replace(name, old, old.knowing(true, old.deleted, false))
	}
}

// distrust notes that the claim of a key does not name the user.
func (m *readModel) distrust(name types.NamespacedName, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.users[name]; old != nil && old.trusted && old.key == key {
		m.replace(name, old, old.knowing(false, old.deleted, false))
	}
}

// hide takes a user out of sight once the deletion was accepted.
func (m *readModel) hide(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.users[name]; old != nil && !old.deleted {
		m.replace(name, old, old.knowing(old.verified, true, false))
	}
}

// remove forgets a user after its object is gone.
func (m *readModel) remove(name types.NamespacedName, uid types.UID) {
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
	if old := m.users[name]; old != nil && old.uid == uid {
		m.replace(name, old, nil)
	}
}

// replace puts a new state of a user, or none, in the place of the old one in every index, and wakes the requests that wait
// for it.
func (m *readModel) replace(name types.NamespacedName, old, entry *Entry) {
	if old != nil && old.visible() {
		m.unindex(old)
	}
	if entry == nil {
		delete(m.users, name)
	} else {
		m.users[name] = entry
		if entry.visible() {
			m.index(entry)
		}
	}
	if m.named != nil {
		if entry != nil && entry.visible() {
			m.named(name, entry.app.Value().Name, entry.userName)
		} else {
			m.named(name, "", "")
		}
	}
	for _, waiting := range m.watchers[name] {
		select {
		case waiting <- struct{}{}:
		default:
		}
	}
}

func (m *readModel) index(entry *Entry) {
	name := entry.app.Value()
	app := m.apps[name]
	if app == nil {
		app = newAppIndex()
		m.apps[name] = app
	}
	app.sorted.Set(entry)
	app.userName[entry.key] = entry
	if entry.externalID != "" {
		app.externalID[entry.externalID] = append(app.externalID[entry.externalID], entry)
	}
	for _, email := range entry.emails {
		app.email[email] = append(app.email[email], entry)
	}
	app.follow(entry, (*order).add)
}

func (m *readModel) unindex(entry *Entry) {
	name := entry.app.Value()
	app := m.apps[name]
	app.sorted.Delete(entry)
	if app.userName[entry.key] == entry {
		delete(app.userName, entry.key)
	}
	dropFrom(app.externalID, entry.externalID, entry)
	for _, email := range entry.emails {
		dropFrom(app.email, email, entry)
	}
	app.follow(entry, (*order).remove)
	if app.sorted.Len() == 0 {
		delete(m.apps, name)
	}
}

func dropFrom(index map[string][]*Entry, key string, entry *Entry) {
	rest := slices.DeleteFunc(index[key], func(other *Entry) bool { return other == entry })
	if len(rest) == 0 {
		delete(index, key)
	} else {
		index[key] = rest
	}
}

// get returns a user's latest state, visible or not.
func (m *readModel) get(name types.NamespacedName) *Entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.users[name]
}

// byKey, byExternalID and byEmail propose users, by folded userName, by externalId and by folded address; the live
// objects decide.
func (m *readModel) byKey(app types.NamespacedName, key string) *Entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if index := m.apps[app]; index != nil {
		return index.userName[key]
	}
	return nil
}

func (m *readModel) byExternalID(app types.NamespacedName, externalID string) []*Entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if index := m.apps[app]; index != nil {
		return slices.Clone(index.externalID[externalID])
	}
	return nil
}

func (m *readModel) byEmail(app types.NamespacedName, key string) []*Entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if index := m.apps[app]; index != nil {
		return slices.Clone(index.email[key])
	}
	return nil
}

// page returns the entries from a place on, counted from 0, and how many there are in all.
func (m *readModel) page(app types.NamespacedName, from, count int) ([]*Entry, int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if index := m.apps[app]; index != nil {
		return pageOf(index.sorted, from, count), index.sorted.Len()
	}
	return nil, 0
}

func pageOf[T any](sorted *btree.BTreeG[T], from, count int) []T {
	first, found := sorted.GetAt(from)
	if !found || count <= 0 {
		return nil
	}
	items := make([]T, 0, min(count, sorted.Len()-from))
	sorted.Ascend(first, func(item T) bool {
		items = append(items, item)
		return len(items) < count
	})
	return items
}

// after returns the entries after a place, and how many there are in all. The place need not be an entry's any more; nil is
// the beginning.
func (m *readModel) after(app types.NamespacedName, place *Entry, count int) ([]*Entry, int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	index := m.apps[app]
	if index == nil {
		return nil, 0
	}
	if place == nil {
		return pageOf(index.sorted, 0, count), index.sorted.Len()
	}
	entries := make([]*Entry, 0, min(count, index.sorted.Len()))
	index.sorted.Ascend(place, func(entry *Entry) bool {
		if len(entries) < count && entry.compare(place) > 0 {
			entries = append(entries, entry)
		}
		return len(entries) < count
	})
	return entries, index.sorted.Len()
}

// snapshot returns the App's users as they are now, for a reading that takes its time. It copies nothing yet.
func (m *readModel) snapshot(app types.NamespacedName) *btree.BTreeG[*Entry] {
	m.mu.Lock()
	defer m.mu.Unlock()
	if index := m.apps[app]; index != nil {
		return index.sorted.Copy()
	}
	return newAppIndex().sorted
}

// watch returns a channel that gets a value after a change of the user. The caller calls stop in the end.
func (m *readModel) watch(name types.NamespacedName) (changed <-chan struct{}, stop func()) {
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
