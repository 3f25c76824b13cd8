package directory

import (
	"slices"

	"github.com/tidwall/btree"
	"k8s.io/apimachinery/pkg/types"
)

// get returns an object's latest state, visible or not; nil where there is none.
func (m *readModel[E]) get(name types.NamespacedName) E {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.entries[name]
}

// visible returns the App's user or group with the id, if clients see it, else nil.
func (m *readModel[E]) visible(app types.NamespacedName, id string) E {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.visibleNow(app, id)
}

// visibleOf is visible for many ids at one time: nil stands for an id that clients do not see.
func (m *readModel[E]) visibleOf(app types.NamespacedName, ids []string) []E {
	entries := make([]E, len(ids))
	m.mu.RLock()
	defer m.mu.RUnlock()
	for i, id := range ids {
		entries[i] = m.visibleNow(app, id)
	}
	return entries
}

// visibleNow is visible, under the lock.
func (m *readModel[E]) visibleNow(app types.NamespacedName, id string) (none E) {
	e, held := m.entries[types.NamespacedName{Namespace: app.Namespace, Name: id}]
	if held && e.head().visible() && e.head().app.Value() == app {
		return e
	}
	return none
}

// byKey, byExternalID and byEmail propose users and groups, by folded name, by externalId and by folded address; the live
// objects decide.
func (m *readModel[E]) byKey(app types.NamespacedName, key string) (e E) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if index := m.apps[app]; index != nil {
		return index.key[key]
	}
	return e
}

func (m *readModel[E]) byExternalID(app types.NamespacedName, externalID string) []E {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if index := m.apps[app]; index != nil {
		return slices.Clone(index.externalID[externalID])
	}
	return nil
}

func (m *readModel[E]) byEmail(app types.NamespacedName, key string) []E {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if index := m.apps[app]; index != nil {
		return slices.Clone(index.email[key])
	}
	return nil
}

// page returns the entries from a position on, counted from 0, and how many there are in all.
func (m *readModel[E]) page(app types.NamespacedName, from, count int) ([]E, int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if index := m.apps[app]; index != nil {
		return pageOf(index.sorted, from, count), index.sorted.Len()
	}
	return nil, 0
}

// after returns the first count entries after a position, or from the beginning where the id is "", and how many there are in
// all. The entry in that position need not be there any more.
func (m *readModel[E]) after(app types.NamespacedName, at position, count int) ([]E, int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	index := m.apps[app]
	switch {
	case index == nil:
		return nil, 0
	case at.id == "":
		return pageOf(index.sorted, 0, count), index.sorted.Len()
	}
	var none E
	return pageAfter(index.sorted, none.at(at), compare[E], count), index.sorted.Len()
}

// before returns the last count entries before a position, in the order of lists. The entry in that position need not be
// there any more.
func (m *readModel[E]) before(app types.NamespacedName, at position, count int) []E {
	var none E
	return pageBefore(m.snapshot(app), none.at(at), compare[E], count)
}

// snapshot returns the App's entries as they are now, for a reading that takes its time. It copies nothing yet.
func (m *readModel[E]) snapshot(app types.NamespacedName) *btree.BTreeG[E] {
	m.mu.Lock()
	defer m.mu.Unlock()
	if index := m.apps[app]; index != nil {
		return index.sorted.Copy()
	}
	return newAppIndex[E]().sorted
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

func pageAfter[T any](sorted *btree.BTreeG[T], at T, compare func(a, b T) int, count int) []T {
	found := make([]T, 0, max(0, min(count, sorted.Len())))
	sorted.Ascend(at, func(one T) bool {
		if len(found) < count && compare(one, at) > 0 {
			found = append(found, one)
		}
		return len(found) < count
	})
	return found
}

func pageBefore[T any](sorted *btree.BTreeG[T], at T, compare func(a, b T) int, count int) []T {
	found := make([]T, 0, max(0, min(count, sorted.Len())))
	sorted.Descend(at, func(one T) bool {
		if len(found) < count && compare(one, at) < 0 {
			found = append(found, one)
		}
		return len(found) < count
	})
	slices.Reverse(found)
	return found
}
