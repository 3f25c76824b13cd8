package scimserver

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// collection is one resource type as lists go through it. Its order is that of creation, with the id to tell apart what
// was created at the same time: a resource never changes its place, so that pages are stable under writes.
type collection[T any] struct {
	schemas *protocol.SchemaSet
	// page and after return resources of the whole collection, by index from 1 or after a place, and how many there are;
	// before the last ones that come before a place.
	page   func(startIndex, count int) ([]T, int)
	after  func(created time.Time, id string, count int) ([]T, int)
	before func(created time.Time, id string, count int) []T
	// find returns what a bound filter matches, in order.
	find func(filter *protocol.Filter) ([]T, error)
	// complete returns a resource as sorting sees it.
	complete func(T) (map[string]any, error)
	// render writes a resource as JSON.
	render     func(w *answerWriter, item T, projection protocol.Projection) error
	positionOf func(T) (created time.Time, id string)
	// ordered and orderedAfter are page and after in another order, where that is kept; ok is false where it is not, and nil
	// where none is.
	ordered      func(by protocol.Sort, startIndex, count int) (rows []row[T], total int, ok bool, err error)
	orderedAfter func(by protocol.Sort, position row[T], count int) (rows []row[T], total int, ok bool, err error)
	// orderedBefore is before in such an order.
	orderedBefore func(by protocol.Sort, position row[T], count int) ([]row[T], error)
	// step comes before each resource that is looked at or written: other clients get their turn there.
	step func() error
}

// results are what a query matches: how many, and pages of them by index from 0.
type results struct {
	total int
	page  func(from, count int) (page, error)
}

// page is so many resources, each written to the answer when its turn comes.
type page struct {
	count int
	write func(w *answerWriter, i int) error
}

// and is a page with another one after it.
func (p page) and(next page) page {
	return page{count: p.count + next.count, write: func(w *answerWriter, i int) error {
		if i < p.count {
			return p.write(w, i)
		}
		return next.write(w, i-p.count)
	}}
}

// list answers a query about one resource type.
func (c collection[T]) list(x *exchange, query listQuery) error {
	if query.cursor != nil {
		return c.listByCursor(x, query)
	}
	found, err := c.results(query)
	if err != nil {
		return err
	}
	return answerResults(x, query, found)
}

func answerResults(x *exchange, query listQuery, found results) error {
	page, err := found.page(min(query.startIndex-1, found.total), query.count)
	if err != nil {
		return err
	}
	return x.answerPage(protocol.ListResponse{TotalResults: found.total, StartIndex: query.startIndex}, page)
}

func (c collection[T]) results(query listQuery) (results, error) {
	if query.filter == "" && query.sort.IsZero() {
		_, total := c.page(1, 0)
		return results{total: total, page: func(from, count int) (page, error) {
			items, _ := c.page(from+1, count)
			return c.pageOf(items, query.projection), nil
		}}, nil
	}
	if query.filter == "" && c.ordered != nil {
		order, err := query.sort.Bind(c.schemas)
		if err != nil {
			return results{}, err
		}
		_, total, ok, err := c.ordered(order, 1, 0)
		if err != nil {
			return results{}, err
		}
		if ok {
			return results{total: total, page: func(from, count int) (page, error) {
				rows, _, _, err := c.ordered(order, from+1, count)
				return c.pageOf(itemsOf(rows), query.projection), err
			}}, nil
		}
	}
	rows, _, err := c.rows(query)
	if err != nil {
		return results{}, err
	}
	return results{total: len(rows), page: func(from, count int) (page, error) {
		return c.pageOf(itemsOf(rows[from:min(from+count, len(rows))]), query.projection), nil
	}}, nil
}

// row is a resource with what it is sorted by.
type row[T any] struct {
	item    T
	key     protocol.SortKey
	created time.Time
	id      string
}

// rows returns everything that a query matches, in its order, and that order.
func (c collection[T]) rows(query listQuery) ([]row[T], func(a, b row[T]) int, error) {
	order, err := query.sort.Bind(c.schemas)
	if err != nil {
		return nil, nil, err
	}
	items, err := c.matching(query.filter)
	if err != nil {
		return nil, nil, err
	}
	rows := make([]row[T], len(items))
	for i, item := range items {
		rows[i].item = item
		rows[i].created, rows[i].id = c.positionOf(item)
		if order.IsZero() {
			continue
		}
		if err := c.step(); err != nil {
			return nil, nil, err
		}
		attributes, err := c.complete(item)
		if err != nil {
			return nil, nil, err
		}
		rows[i].key = order.Key(attributes)
	}
	compare := func(a, b row[T]) int {
		byKey := 0
		if !order.IsZero() {
			byKey = order.Compare(a.key, b.key)
		}
		return cmp.Or(byKey, a.created.Compare(b.created), cmp.Compare(a.id, b.id))
	}
	if !order.IsZero() {
		slices.SortFunc(rows, func(a, b row[T]) int {
			if err == nil {
				err = c.step()
			}
			return compare(a, b)
		})
	}
	return rows, compare, err
}

func (c collection[T]) matching(text string) ([]T, error) {
	if text == "" {
		items, _ := c.page(1, math.MaxInt)
		return items, nil
	}
	filter, err := protocol.ParseFilter(text)
	if err != nil {
		return nil, err
	}
	if filter, err = filter.Bind(c.schemas); err != nil {
		return nil, err
	}
	return c.find(filter)
}

func itemsOf[T any](rows []row[T]) []T {
	items := make([]T, len(rows))
	for i := range rows {
		items[i] = rows[i].item
	}
	return items
}

func (c collection[T]) pageOf(items []T, projection protocol.Projection) page {
	return page{count: len(items), write: func(w *answerWriter, i int) error {
		if err := c.step(); err != nil {
			return err
		}
		return c.render(w, items[i], projection)
	}}
}
