package scimserver

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"sort"
	"strings"
	"time"

	"github.com/scim-operator/scim-operator/internal/names"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// cursor is a place in a list, by a resource that was answered (RFC 9865). It holds no secret and no state: any replica takes
// it, at any time, and a client that makes one up gains nothing, because the query decides what is seen.
type cursor struct {
	// Query tells whether the cursor belongs to the request's endpoint, filter and order.
	Query uint32 `json:"q"`
	// Before asks for the page before the place, not after it.
	Before bool `json:"b,omitempty"`
	// ID of the resource; "" before the first.
	ID string `json:"i,omitempty"`
	// Created places it in the order of creation; Key in the order of the sort.
	Created time.Time         `json:"c,omitzero"`
	Key     *protocol.SortKey `json:"k,omitempty"`
}

// parseCursor reads a cursor as the client gave it back, with a query; empty is the first page.
func parseCursor(text string, query uint32) (*cursor, error) {
	if text == "" {
		return &cursor{Query: query}, nil
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, protocol.InvalidCursor("The cursor is none that this server gave out.")
	}
	var position cursor
	if err := json.Unmarshal(decoded, &position); err != nil || position.ID == "" {
		return nil, protocol.InvalidCursor("The cursor is none that this server gave out.")
	}
	if position.Query != query {
		return nil, protocol.InvalidCursor("The cursor belongs to a request of another endpoint, filter or order.")
	}
	return &position, nil
}

func (c cursor) String() string {
	encoded, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings, a time and a key: there is no input that does this
	}
	return base64.RawURLEncoding.EncodeToString(encoded)
}

// queryDigest tells queries apart, but for letter case: the names of attributes and operators have none, and RFC 9865's own
// example writes userName in two ways.
func queryDigest(endpoint, filter, sortBy, sortOrder string) uint32 {
	sum := sha256.Sum256([]byte(strings.Join([]string{endpoint, names.Fold(filter), names.Fold(sortBy), names.Fold(sortOrder)}, "\x00")))
	return binary.BigEndian.Uint32(sum[:])
}

// listByCursor answers the page beside a place (RFC 9865). What was written before that place in the meantime neither
// hides a resource nor shows one twice.
func (c collection[T]) listByCursor(x *exchange, query listQuery) error {
	list, err := c.sequence(query)
	if err != nil {
		return err
	}
	page, err := list.beside(*query.cursor, query.count)
	if err == nil && len(page.rows) == 0 && query.cursor.Before {
		// Those before are gone: what is there now begins after the place.
		page, err = list.beside(cursor{}, query.count)
	}
	if err != nil {
		return err
	}
	answer := protocol.ListResponse{TotalResults: list.total}
	if page.before {
		answer.PreviousCursor = query.cursorAt(page.rows[0].asPosition(), true)
	}
	if page.more {
		answer.NextCursor = query.cursorAt(page.rows[len(page.rows)-1].asPosition(), false)
	}
	return x.answerPage(answer, c.pageOf(itemsOf(page.rows), query.projection))
}

// asPosition is a cursor without its query.
func (r row[T]) asPosition() cursor { return cursor{ID: r.id, Created: r.created, Key: &r.key} }

func (q *listQuery) cursorAt(position cursor, before bool) string {
	if position.Query, position.Before = q.cursor.Query, before; q.sort.IsZero() {
		position.Key = nil
	}
	return position.String()
}

// sequence is everything that a query matches, in its order: so many from the beginning, after a place, or the last before
// one.
type sequence[T any] struct {
	total  int
	first  func(count int) ([]row[T], error)
	after  func(position row[T], count int) ([]row[T], error)
	before func(position row[T], count int) ([]row[T], error)
}

// cursorPage is a page, and whether there are resources before and after it. A page of nothing has none beside it: it is the
// way to ask for the total.
type cursorPage[T any] struct {
	rows         []row[T]
	before, more bool
}

func (s sequence[T]) beside(at cursor, count int) (page cursorPage[T], err error) {
	position := row[T]{created: at.Created, id: at.ID}
	if at.Key != nil {
		position.key = *at.Key
	}
	if at.Before {
		rows, err := s.before(position, count+1)
		if err != nil {
			return page, err
		}
		page.before = len(rows) > count
		page.rows = rows[max(0, len(rows)-count):]
	} else {
		rows := s.first
		if at.ID != "" {
			rows = func(count int) ([]row[T], error) { return s.after(position, count) }
		}
		if page.rows, err = rows(count + 1); err != nil {
			return page, err
		}
		page.more = len(page.rows) > count
		page.rows = page.rows[:min(len(page.rows), count)]
	}
	var neighbours []row[T]
	switch {
	case len(page.rows) == 0:
		return cursorPage[T]{}, nil
	case at.Before:
		neighbours, err = s.after(page.rows[len(page.rows)-1], 1)
		page.more = len(neighbours) > 0
	case at.ID != "":
		neighbours, err = s.before(page.rows[0], 1)
		page.before = len(neighbours) > 0
	}
	return page, err
}

func (c collection[T]) sequence(query listQuery) (sequence[T], error) {
	if query.filter == "" && query.sort.IsZero() {
		return c.byCreation(), nil
	}
	if query.filter == "" && c.ordered != nil {
		order, err := query.sort.Bind(c.schemas)
		if err != nil {
			return sequence[T]{}, err
		}
		_, total, ok, err := c.ordered(order, 1, 0)
		if err != nil {
			return sequence[T]{}, err
		}
		if ok {
			return sequence[T]{
				total: total,
				first: func(count int) ([]row[T], error) { rows, _, _, err := c.ordered(order, 1, count); return rows, err },
				after: func(position row[T], count int) ([]row[T], error) {
					rows, _, _, err := c.orderedAfter(order, position, count)
					return rows, err
				},
				before: func(position row[T], count int) ([]row[T], error) { return c.orderedBefore(order, position, count) },
			}, nil
		}
	}
	rows, compare, err := c.rows(query)
	return sequence[T]{
		total: len(rows),
		first: func(count int) ([]row[T], error) { return rows[:min(count, len(rows))], nil },
		after: func(position row[T], count int) ([]row[T], error) {
			rest := rows[sort.Search(len(rows), func(i int) bool { return compare(rows[i], position) > 0 }):]
			return rest[:min(count, len(rest))], nil
		},
		before: func(position row[T], count int) ([]row[T], error) {
			some := rows[:sort.Search(len(rows), func(i int) bool { return compare(rows[i], position) >= 0 })]
			return some[max(0, len(some)-count):], nil
		},
	}, err
}

// byCreation is the whole collection.
func (c collection[T]) byCreation() sequence[T] {
	rows := func(items []T) []row[T] {
		rows := make([]row[T], len(items))
		for i, item := range items {
			rows[i].item = item
			rows[i].created, rows[i].id = c.positionOf(item)
		}
		return rows
	}
	_, total := c.page(1, 0)
	return sequence[T]{
		total: total,
		first: func(count int) ([]row[T], error) {
			items, _ := c.after(time.Time{}, "", count)
			return rows(items), nil
		},
		after: func(position row[T], count int) ([]row[T], error) {
			items, _ := c.after(position.created, position.id, count)
			return rows(items), nil
		},
		before: func(position row[T], count int) ([]row[T], error) {
			return rows(c.before(position.created, position.id, count)), nil
		},
	}
}
