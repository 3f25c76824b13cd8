package directory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tidwall/btree"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// maxOrders bounds how many orders of one App are kept, in some 64 bytes a user each: the one that was asked for longest ago
// makes room for another.
const maxOrders = 4

// keepOrder is how long an order is kept without a request for it. Each order costs memory, and time with each change. A
// client that pages by it, or lists by it every hour, keeps it.
const keepOrder = 2 * time.Hour

// order keeps an App's visible users sorted by an attribute. The first request that asks for it makes it; from then on it
// follows every change, so that the cost of a page depends on its size only.
type order struct {
	by   protocol.Sort
	keys *protocol.Keys // under the read model's lock
	used time.Time

	ready  chan struct{} // closed once sorted is there, or the order was given up
	sorted *btree.BTreeG[Sorted]
	// missed is what changed while the order was being made.
	missed []missedChange
}

type missedChange struct {
	entry *Entry
	added bool
}

// Sorted is a user with what it is sorted by.
type Sorted struct {
	Key  protocol.SortKey
	User *Entry
}

func newOrder(by protocol.Sort) (*order, bool) {
	keys, ok := by.Keys()
	return &order{by: by, keys: keys, used: time.Now(), ready: make(chan struct{})}, ok
}

// compare breaks ties as lists do, whichever way the order goes.
func (o *order) compare(a, b Sorted) int {
	return cmp.Or(o.by.Compare(a.Key, b.Key), a.User.compare(b.User))
}

func (o *order) of(keys *protocol.Keys, entry *Entry) Sorted {
	if entry.body == nil {
		return Sorted{User: entry}
	}
	return Sorted{Key: keys.Of(entry.body), User: entry}
}

func (o *order) add(entry *Entry) {
	if o.sorted == nil {
		o.missed = append(o.missed, missedChange{entry, true})
		return
	}
	o.sorted.Set(o.of(o.keys, entry))
}

func (o *order) remove(entry *Entry) {
	if o.sorted == nil {
		o.missed = append(o.missed, missedChange{entry, false})
		return
	}
	o.sorted.Delete(o.of(o.keys, entry))
}

// fill makes the order of a snapshot, at the pace of ctx, and then, under the read model's lock, adds what changed. It gives the
// order up where the pace ends early, with its error.
func (m *readModel) fill(ctx context.Context, o *order, name string, index *appIndex, snapshot *btree.BTreeG[*Entry]) error {
	keys, _ := o.by.Keys()
	all := make([]Sorted, 0, snapshot.Len())
	step := pace(ctx)
	var err error
	snapshot.Scan(func(entry *Entry) bool {
		if err = step(); err == nil {
			all = append(all, o.of(keys, entry))
		}
		return err == nil
	})
	slices.SortFunc(all, func(a, b Sorted) int {
		if err == nil {
			err = step()
		}
		return o.compare(a, b)
	})
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		if index.orders[name] == o {
			delete(index.orders, name)
		}
		close(o.ready)
		return err
	}
	sorted := btree.NewBTreeGOptions(func(a, b Sorted) bool { return o.compare(a, b) < 0 }, btree.Options{NoLocks: true})
	for _, one := range all {
		sorted.Load(one)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o.sorted = sorted
	for _, change := range o.missed {
		if change.added {
			o.add(change.entry)
		} else {
			o.remove(change.entry)
		}
	}
	o.missed = nil
	close(o.ready)
	return nil
}

// inOrder calls read with an App's users in an order, and makes the order where there is none yet. ok is false where the App
// has no users, where entries do not have the attribute, and where the request that was making the order gave up. The error
// is the end of ctx, or of the pace that it carries.
//
// An order that was pushed out in the meantime is as good: it does not change any more, and it has all that was there at the
// time of the request.
func (m *readModel) inOrder(ctx context.Context, app types.NamespacedName, by protocol.Sort, read func(*order)) (ok bool, err error) {
	o, err := m.order(ctx, app, by)
	if o == nil || err != nil {
		return false, err
	}
	select {
	case <-o.ready:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if o.sorted == nil {
		return false, nil
	}
	read(o)
	return true, nil
}

func (m *readModel) order(ctx context.Context, app types.NamespacedName, by protocol.Sort) (*order, error) {
	name := by.Order()
	m.mu.Lock()
	index := m.apps[app]
	if index == nil {
		m.mu.Unlock()
		return nil, nil
	}
	if o := index.orders[name]; o != nil && o.by.Schemas() == by.Schemas() {
		o.used = time.Now()
		m.mu.Unlock()
		return o, nil
	}
	o, ok := newOrder(by)
	if !ok {
		m.mu.Unlock()
		return nil, nil
	}
	delete(index.orders, name)
	index.makeRoom()
	index.orders[name] = o
	snapshot := index.sorted.Copy()
	m.mu.Unlock()
	return o, m.fill(ctx, o, name, index, snapshot)
}

// follow passes a change on to the orders, and forgets an order that was not read for keepOrder.
func (x *appIndex) follow(entry *Entry, change func(*order, *Entry)) {
	if len(x.orders) == 0 {
		return
	}
	now := time.Now()
	for name, o := range x.orders {
		if now.Sub(o.used) > keepOrder {
			delete(x.orders, name)
			continue
		}
		change(o, entry)
	}
}

// makeRoom forgets the order that was asked for longest ago, where there are as many as there may be.
func (x *appIndex) makeRoom() {
	for len(x.orders) >= maxOrders {
		oldest := ""
		for name, o := range x.orders {
			if oldest == "" || o.used.Before(x.orders[oldest].used) {
				oldest = name
			}
		}
		delete(x.orders, oldest)
	}
}

// Ordered returns the App's users from startIndex on, which counts from 1, in another order than that of creation, and how
// many there are in all. by is bound to the App's schemas. ok is false where nothing is kept to answer this from. The error is of
// the pace of ctx.
func (d *Directory) Ordered(ctx context.Context, app *v1alpha1.App, by protocol.Sort, startIndex, count int) (users []Sorted, total int, ok bool, err error) {
	ok, err = d.users.inOrder(ctx, appName(app), by, func(o *order) {
		users, total = pageOf(o.sorted, max(startIndex, 1)-1, count), o.sorted.Len()
	})
	return users, total, ok, err
}

// OrderedAfter is Ordered from the first user after a place. The user in that place need not be there any more. The only
// error is the end of ctx.
func (d *Directory) OrderedAfter(ctx context.Context, app *v1alpha1.App, by protocol.Sort, key protocol.SortKey, created time.Time, id string, count int) (users []Sorted, total int, ok bool, err error) {
	place := Sorted{Key: key, User: placeOf(created, id)}
	ok, err = d.users.inOrder(ctx, appName(app), by, func(o *order) {
		users, total = make([]Sorted, 0, min(count, o.sorted.Len())), o.sorted.Len()
		o.sorted.Ascend(place, func(one Sorted) bool {
			if len(users) < count && o.compare(one, place) > 0 {
				users = append(users, one)
			}
			return len(users) < count
		})
	})
	return users, total, ok, err
}
