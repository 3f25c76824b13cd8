package fair

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// entry is something that waits for a place.
type entry[T any] struct {
	value    T
	lane     Lane
	priority int
	// order of arrival, within one priority of one lane.
	order uint64
	since time.Time
	// gone says that it does not wait any more: it is dropped when its turn comes.
	gone bool
}

// line is what one lane has waiting: a heap by priority and arrival.
type line[T any] []*entry[T]

func (l line[T]) Len() int { return len(l) }
func (l line[T]) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(l[j].priority, l[i].priority), cmp.Compare(l[i].order, l[j].order)) < 0
}
func (l line[T]) Swap(i, j int)   { l[i], l[j] = l[j], l[i] }
func (l *line[T]) Push(value any) { *l = append(*l, value.(*entry[T])) }
func (l *line[T]) Pop() any {
	last := len(*l) - 1
	value := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return value
}

// turns serves lanes one after the other.
type turns[T any] struct {
	lines map[Lane]*line[T]
	// order is the order of service: lanes that have something, the one that was served last at the end.
	order []Lane
	added uint64
}

func (t *turns[T]) push(e *entry[T]) {
	if t.lines == nil {
		t.lines = map[Lane]*line[T]{}
	}
	t.added++
	e.order = t.added
	waiting := t.lines[e.lane]
	if waiting == nil {
		waiting = &line[T]{}
		t.lines[e.lane] = waiting
		t.order = append(t.order, e.lane)
	}
	heap.Push(waiting, e)
}

// pop returns the first entry of the first lane that is admitted; nil where there is none.
func (t *turns[T]) pop(admits func(Lane) bool) *entry[T] {
	for i := 0; i < len(t.order); {
		lane := t.order[i]
		if !admits(lane) {
			i++
			continue
		}
		waiting := t.lines[lane]
		var first *entry[T]
		for first == nil && len(*waiting) > 0 {
			if e := heap.Pop(waiting).(*entry[T]); !e.gone {
				first = e
			}
		}
		t.order = slices.Delete(t.order, i, i+1)
		if len(*waiting) > 0 {
			t.order = append(t.order, lane)
		} else {
			delete(t.lines, lane)
		}
		if first != nil {
			return first
		}
	}
	return nil
}

// oldest returns how many entries wait, and since when the first of them does.
func (t *turns[T]) oldest() (count int, since time.Time) {
	for _, waiting := range t.lines {
		for _, e := range *waiting {
			if e.gone {
				continue
			}
			if count++; since.IsZero() || e.since.Before(since) {
				since = e.since
			}
		}
	}
	return count, since
}
