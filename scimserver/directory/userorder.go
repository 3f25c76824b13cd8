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

// orders are those other than that of creation that clients have lately asked for. They share the lock of the read model that
// they follow.
type orders struct {
	model *readModel[*Entry]
	byApp map[types.NamespacedName]map[string]*order
}

func newOrders() *orders { return &orders{byApp: map[types.NamespacedName]map[string]*order{}} }

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
	return cmp.Or(o.by.Compare(a.Key, b.Key), compare(a.User, b.User))
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
func (x *orders) fill(ctx context.Context, o *order, app types.NamespacedName, name string, snapshot *btree.BTreeG[*Entry]) error {
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
		x.model.mu.Lock()
		defer x.model.mu.Unlock()
		if x.byApp[app][name] == o {
			delete(x.byApp[app], name)
		}
		close(o.ready)
		return err
	}
	sorted := btree.NewBTreeGOptions(func(a, b Sorted) bool { return o.compare(a, b) < 0 }, btree.Options{NoLocks: true})
	for _, one := range all {
		sorted.Load(one)
	}
	x.model.mu.Lock()
	defer x.model.mu.Unlock()
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

// read calls visit with an App's users in an order, and makes the order where there is none yet. ok is false where the App
// has no users, where entries do not have the attribute, and where the request that was making the order gave up. The error
// is the end of ctx, or of the pace that it carries.
//
// An order that was pushed out in the meantime is as good: it does not change any more, and it has all that was there at the
// time of the request.
func (x *orders) read(ctx context.Context, app types.NamespacedName, by protocol.Sort, visit func(*order)) (ok bool, err error) {
	o, err := x.order(ctx, app, by)
	if o == nil || err != nil {
		return false, err
	}
	select {
	case <-o.ready:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	x.model.mu.RLock()
	defer x.model.mu.RUnlock()
	if o.sorted == nil {
		return false, nil
	}
	visit(o)
	return true, nil
}

func (x *orders) order(ctx context.Context, app types.NamespacedName, by protocol.Sort) (*order, error) {
	name := by.Order()
	x.model.mu.Lock()
	index := x.model.apps[app]
	if index == nil {
		x.model.mu.Unlock()
		return nil, nil
	}
	if o := x.byApp[app][name]; o != nil && o.by.Schemas() == by.Schemas() {
		o.used = time.Now()
		x.model.mu.Unlock()
		return o, nil
	}
	o, ok := newOrder(by)
	if !ok {
		x.model.mu.Unlock()
		return nil, nil
	}
	if x.byApp[app] == nil {
		x.byApp[app] = map[string]*order{}
	}
	delete(x.byApp[app], name)
	makeRoom(x.byApp[app])
	x.byApp[app][name] = o
	snapshot := index.sorted.Copy()
	x.model.mu.Unlock()
	return o, x.fill(ctx, o, app, name, snapshot)
}

// add and remove pass a change on to an App's orders.
func (x *orders) add(app types.NamespacedName, entry *Entry) { x.follow(app, entry, (*order).add) }

func (x *orders) remove(app types.NamespacedName, entry *Entry) {
	x.follow(app, entry, (*order).remove)
	if x.model.apps[app] == nil {
		delete(x.byApp, app)
	}
}

// follow passes a change on to the orders, and forgets an order that was not read for keepOrder.
func (x *orders) follow(app types.NamespacedName, entry *Entry, change func(*order, *Entry)) {
	if len(x.byApp[app]) == 0 {
		return
	}
	now := time.Now()
	for name, o := range x.byApp[app] {
		if now.Sub(o.used) > keepOrder {
			delete(x.byApp[app], name)
			continue
		}
		change(o, entry)
	}
}

// makeRoom forgets the order that was asked for longest ago, where there are as many as there may be.
func makeRoom(orders map[string]*order) {
	for len(orders) >= maxOrders {
		oldest := ""
		for name, o := range orders {
			if oldest == "" || o.used.Before(orders[oldest].used) {
				oldest = name
			}
		}
		delete(orders, oldest)
	}
}

// Ordered returns the App's users from startIndex on, which counts from 1, in another order than that of creation, and how
// many there are in all. by is bound to the App's schemas. ok is false where nothing is kept to answer this from. The error is of
// the pace of ctx.
func (u *Users) Ordered(ctx context.Context, app *v1alpha1.App, by protocol.Sort, startIndex, count int) (users []Sorted, total int, ok bool, err error) {
	ok, err = u.orders.read(ctx, appName(app), by, func(o *order) {
		users, total = pageOf(o.sorted, max(startIndex, 1)-1, count), o.sorted.Len()
	})
	return users, total, ok, err
}

// OrderedAfter is Ordered from the first user after a place. The user in that place need not be there any more. The only
// error is the end of ctx.
func (u *Users) OrderedAfter(ctx context.Context, app *v1alpha1.App, by protocol.Sort, key protocol.SortKey, created time.Time, id string, count int) (users []Sorted, total int, ok bool, err error) {
	at := Sorted{Key: key, User: (*Entry)(nil).at(positionOf(created, id))}
	ok, err = u.orders.read(ctx, appName(app), by, func(o *order) {
		users, total = pageAfter(o.sorted, at, o.compare, count), o.sorted.Len()
	})
	return users, total, ok, err
}

// OrderedBefore is Before in the order that OrderedAfter uses. It returns no users where no such order can be kept. The only
// error is the end of ctx.
func (u *Users) OrderedBefore(ctx context.Context, app *v1alpha1.App, by protocol.Sort, key protocol.SortKey, created time.Time, id string, count int) (users []Sorted, err error) {
	at := Sorted{Key: key, User: (*Entry)(nil).at(positionOf(created, id))}
	_, err = u.orders.read(ctx, appName(app), by, func(o *order) {
		users = pageBefore(o.sorted, at, o.compare, count)
	})
	return users, err
}
