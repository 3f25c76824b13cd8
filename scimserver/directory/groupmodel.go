package directory

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/btree"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// groupModel holds every group of every App in memory, sorted and indexed, without its members: those are in a
// membership.Index. It is fed like readModel, by watches and by this process' own writes.
type groupModel struct {
	mu     sync.RWMutex
	groups map[types.NamespacedName]*groupEntry // visible or not
	apps   map[types.NamespacedName]*groupIndex
	// gone remembers which objects went, so that the late answer to an earlier write brings none back.
	gone map[types.UID]time.Time
}

// groupEntry is one group as the model has it. It never changes: a newer state is another groupEntry.
type groupEntry struct {
	// group is the informer's own object: not to be changed.
	group   *v1alpha1.Group
	created time.Time
	// verified is the key of the claim that this process saw naming the group. It stays true while the group has the key.
	verified string
	// trusted is an Entry's.
	trusted bool
	// deleted is set by this process' own deletion, before the watch tells.
	deleted bool
}

// groupIndex holds the visible groups of one App.
type groupIndex struct {
	sorted      *btree.BTreeG[*groupEntry]
	displayName map[string]*groupEntry
	externalID  map[string][]*groupEntry
}

func newGroupModel() *groupModel {
	return &groupModel{
		groups: map[types.NamespacedName]*groupEntry{},
		apps:   map[types.NamespacedName]*groupIndex{},
		gone:   map[types.UID]time.Time{},
	}
}

func newGroupIndex() *groupIndex {
	return &groupIndex{
		sorted:      btree.NewBTreeGOptions(func(a, b *groupEntry) bool { return a.compare(b) < 0 }, btree.Options{NoLocks: true}),
		displayName: map[string]*groupEntry{}, externalID: map[string][]*groupEntry{},
	}
}

// visible says whether SCIM clients see the group.
func (e *groupEntry) visible() bool {
	return !e.deleted && e.group.DeletionTimestamp == nil && (e.verified != "" || e.trusted || e.group.IsNameReserved())
}

// open is an Entry's.
func (e *groupEntry) open() bool {
	return !e.deleted && e.group.DeletionTimestamp == nil && e.verified == "" && !e.group.IsNameReserved()
}

func (e *groupEntry) app() types.NamespacedName {
	return types.NamespacedName{Namespace: e.group.Namespace, Name: e.group.Spec.App}
}

// compare is the order of lists: by creation, then by name. It is total, and a group's place in it never changes.
func (e *groupEntry) compare(other *groupEntry) int {
	if order := e.created.Compare(other.created); order != 0 {
		return order
	}
	return strings.Compare(e.group.Name, other.group.Name)
}

// put takes in a state of a group, unless the model has a newer one. verified is the key that the caller has verified the
// group's claim for, "" for none. It reports whether the claim of the group's name remains to be verified.
func (m *groupModel) put(group *v1alpha1.Group, verified string) (unverified bool) {
	name := nameOf(group)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, gone := m.gone[group.UID]; gone {
		return false
	}
	old := m.groups[name]
	if old != nil && informers.Older(group.ResourceVersion, old.group.ResourceVersion) {
		group = old.group
	}
	entry := &groupEntry{group: group, created: groupCreatedAt(group)}
	if verified == group.Spec.DisplayNameKey {
		entry.verified = verified
	}
	if old != nil && old.group.UID == group.UID {
		same := old.group.Spec.DisplayNameKey == group.Spec.DisplayNameKey
		if entry.verified == "" && same {
			entry.verified = old.verified
		}
		entry.deleted = old.deleted
		entry.trusted = entry.open() && (same && old.trusted || !same && old.visible())
	}
	m.replace(name, old, entry)
	return entry.open()
}

// verify notes that the claim of a key names the group.
func (m *groupModel) verify(name types.NamespacedName, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.groups[name]; old != nil && old.group.Spec.DisplayNameKey == key && old.verified == "" {
		entry := *old
		entry.verified, entry.trusted = key, false
		m.replace(name, old, &entry)
	}
}

// distrust notes that the claim of a key does not name the group.
func (m *groupModel) distrust(name types.NamespacedName, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.groups[name]; old != nil && old.trusted && old.group.Spec.DisplayNameKey == key {
		entry := *old
		entry.trusted = false
		m.replace(name, old, &entry)
	}
}

// remove forgets a group after its object is gone.
func (m *groupModel) remove(group *v1alpha1.Group) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if len(m.gone) > 1024 {
		for uid, when := range m.gone {
			if now.Sub(when) > membership.GoneFor {
				delete(m.gone, uid)
			}
		}
	}
	m.gone[group.UID] = now
	if old := m.groups[nameOf(group)]; old != nil && old.group.UID == group.UID {
		m.replace(nameOf(group), old, nil)
	}
}

// replace puts a new state of a group, or none, in the place of the old one, everywhere.
func (m *groupModel) replace(name types.NamespacedName, old, entry *groupEntry) {
	if old != nil && old.visible() {
		m.unindex(old)
	}
	if entry == nil {
		delete(m.groups, name)
		return
	}
	m.groups[name] = entry
	if entry.visible() {
		m.index(entry)
	}
}

func (m *groupModel) index(entry *groupEntry) {
	app := m.apps[entry.app()]
	if app == nil {
		app = newGroupIndex()
		m.apps[entry.app()] = app
	}
	app.sorted.Set(entry)
	app.displayName[entry.group.Spec.DisplayNameKey] = entry
	if id := entry.group.Spec.ExternalID; id != "" {
		app.externalID[id] = append(app.externalID[id], entry)
	}
}

func (m *groupModel) unindex(entry *groupEntry) {
	app := m.apps[entry.app()]
	app.sorted.Delete(entry)
	if key := entry.group.Spec.DisplayNameKey; app.displayName[key] == entry {
		delete(app.displayName, key)
	}
	id := entry.group.Spec.ExternalID
	rest := slices.DeleteFunc(app.externalID[id], func(other *groupEntry) bool { return other == entry })
	if len(rest) == 0 {
		delete(app.externalID, id)
	} else {
		app.externalID[id] = rest
	}
	if app.sorted.Len() == 0 {
		delete(m.apps, entry.app())
	}
}

// get returns a group's latest state, visible or not.
func (m *groupModel) get(name types.NamespacedName) *groupEntry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.groups[name]
}

// byKey and byExternalID propose groups; the live objects decide.
func (m *groupModel) byKey(app types.NamespacedName, key string) *groupEntry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if index := m.apps[app]; index != nil {
		return index.displayName[key]
	}
	return nil
}

func (m *groupModel) byExternalID(app types.NamespacedName, externalID string) []*groupEntry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if index := m.apps[app]; index != nil {
		return slices.Clone(index.externalID[externalID])
	}
	return nil
}

// snapshot returns the App's groups as they are now, for a reading that takes its time. It copies nothing yet.
func (m *groupModel) snapshot(app types.NamespacedName) *btree.BTreeG[*groupEntry] {
	m.mu.Lock()
	defer m.mu.Unlock()
	if index := m.apps[app]; index != nil {
		return index.sorted.Copy()
	}
	return newGroupIndex().sorted
}

func groupCreatedAt(group *v1alpha1.Group) time.Time {
	if group.Spec.CreatedAt != nil {
		return group.Spec.CreatedAt.Time
	}
	return group.CreationTimestamp.Time
}

func nameOf(group *v1alpha1.Group) types.NamespacedName {
	return types.NamespacedName{Namespace: group.Namespace, Name: group.Name}
}
