package fair

import (
	"container/heap"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
)

// Options of a Queue.
type Options[T comparable] struct {
	// Name of the queue in metrics; "" for none.
	Name string
	// Lane returns the App of a key. It is called without a lock of the queue.
	Lane func(T) Lane
	// Workers is how many keys are worked on at once, Others how many of those at most are no removals.
	Workers, Others int
	// Removal is the priority from which on a key is a removal. Removals come before everything else.
	Removal int
	// RateLimiter gives the delays of keys that failed.
	RateLimiter workqueue.TypedRateLimiter[T]
}

// Queue is a work queue that takes Apps in turn. It holds each key once, never hands one out that is being worked on, and
// keeps the highest priority and the shortest delay that a key was added with. It implements priorityqueue.PriorityQueue.
//
// Within one App keys come by priority, then by arrival. Between Apps priority counts in one way only: removals come first.
type Queue[T comparable] struct {
	Options[T]

	mutex    sync.Mutex
	ready    sync.Cond
	removals turns[T]
	others   turns[T]
	// all counts workers by the lane that holds them; the share of other work is counted apart, too, in rest.
	all, rest shares
	// waiting are the entries of keys that are to be handed out, or will be after their delay or when their work is done.
	waiting map[T]*pending[T]
	delayed delays[T]
	timer   *time.Timer
	working map[T]*work
	// served says that workers were started; removed is when a removal was ended last, or workers were started.
	served  bool
	removed time.Time
	closed  bool
	unwatch func()
}

// pending is a key that waits.
type pending[T comparable] struct {
	entry *entry[T]
	// due is when the delay ends; zero for none.
	due time.Time
	// index in the heap of delays; -1 for none.
	index int
}

// work is a key that was handed out.
type work struct {
	lane    Lane
	removal bool
	since   time.Time
}

var _ priorityqueue.PriorityQueue[int] = &Queue[int]{}

// NewQueue returns an empty queue.
func NewQueue[T comparable](options Options[T]) *Queue[T] {
	q := &Queue[T]{
		Options: options, all: newShares(options.Workers, 0), rest: newShares(options.Others, 0),
		waiting: map[T]*pending[T]{}, working: map[T]*work{},
	}
	q.ready.L = &q.mutex
	q.timer = time.AfterFunc(time.Hour, q.delaysEnd)
	q.unwatch = func() {}
	if options.Name != "" {
		q.unwatch = Watched.Add(options.Name, q)
	}
	return q
}

// Add adds a key of priority 0.
func (q *Queue[T]) Add(key T) { q.AddWithOpts(priorityqueue.AddOpts{}, key) }

// AddAfter adds a key of priority 0 after a delay.
func (q *Queue[T]) AddAfter(key T, delay time.Duration) {
	q.AddWithOpts(priorityqueue.AddOpts{After: delay}, key)
}

// AddRateLimited adds a key of priority 0 after the delay of the rate limiter.
func (q *Queue[T]) AddRateLimited(key T) {
	q.AddWithOpts(priorityqueue.AddOpts{RateLimited: true}, key)
}

// AddWithOpts adds keys.
func (q *Queue[T]) AddWithOpts(options priorityqueue.AddOpts, keys ...T) {
	priority := 0
	if options.Priority != nil {
		priority = *options.Priority
	}
	for _, key := range keys {
		delay := options.After
		if options.RateLimited {
			if limited := q.RateLimiter.When(key); delay == 0 || limited < delay {
				delay = limited
			}
		}
		q.add(key, q.Lane(key), priority, delay)
	}
}

func (q *Queue[T]) add(key T, lane Lane, priority int, delay time.Duration) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if q.closed {
		return
	}
	now := time.Now()
	p := q.waiting[key]
	if p == nil {
		p = &pending[T]{entry: &entry[T]{value: key, lane: lane, priority: priority, since: now}, index: -1}
		q.waiting[key] = p
		if delay > 0 {
			p.due = now.Add(delay)
			heap.Push(&q.delayed, p)
			q.setTimer()
			return
		}
		q.hand(p)
		return
	}
	raised := priority > p.entry.priority
	switch {
	case p.index < 0 && !raised:
	case p.index < 0: // it has no delay any more, and moves before others
		p.entry.gone = true
		p.entry = &entry[T]{value: key, lane: lane, priority: priority, since: p.entry.since}
		q.hand(p)
	case delay <= 0:
		heap.Remove(&q.delayed, p.index)
		p.entry.lane, p.entry.since, p.entry.priority = lane, now, max(priority, p.entry.priority)
		q.hand(p)
	default:
		p.entry.priority = max(priority, p.entry.priority)
		if due := now.Add(delay); due.Before(p.due) {
			p.due = due
			heap.Fix(&q.delayed, p.index)
			q.setTimer()
		}
	}
}

// hand puts a key without a delay where workers take from, unless it is being worked on.
func (q *Queue[T]) hand(p *pending[T]) {
	if q.working[p.entry.value] != nil {
		return // Done does it
	}
	if p.entry.priority >= q.Removal {
		q.removals.push(p.entry)
	} else {
		q.others.push(p.entry)
	}
	q.ready.Signal()
}

// delaysEnd hands out keys after their delay.
func (q *Queue[T]) delaysEnd() {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	for now := time.Now(); len(q.delayed) > 0 && !q.delayed[0].due.After(now); {
		p := heap.Pop(&q.delayed).(*pending[T])
		p.entry.since = now
		q.hand(p)
	}
	q.setTimer()
}

func (q *Queue[T]) setTimer() {
	if len(q.delayed) > 0 && !q.closed {
		q.timer.Reset(time.Until(q.delayed[0].due))
	}
}

// GetWithPriority waits for a key that may be worked on. Done must be called with it.
func (q *Queue[T]) GetWithPriority() (key T, priority int, shutdown bool) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if !q.served {
		q.served, q.removed = true, time.Now()
	}
	for !q.closed {
		if next := q.next(); next != nil {
			q.ready.Signal() // there may be more
			return next.value, next.priority, false
		}
		q.ready.Wait()
	}
	return key, 0, true
}

func (q *Queue[T]) next() *entry[T] {
	free := q.Workers - q.all.taken
	removal := true
	next := q.removals.pop(func(lane Lane) bool { return q.all.admits(lane, free) })
	if next == nil {
		removal = false
		free -= (q.Workers - q.Others) / 2 // which only removals take, also where they have taken the rest
		next = q.others.pop(func(lane Lane) bool { return q.rest.admits(lane, free) })
	}
	if next == nil {
		return nil
	}
	if delete(q.waiting, next.value); len(q.waiting) == 0 {
		q.waiting = map[T]*pending[T]{} // the former one keeps the room of all keys of a start
	}
	q.working[next.value] = &work{lane: next.lane, removal: removal, since: time.Now()}
	q.all.take(next.lane)
	if !removal {
		q.rest.take(next.lane)
	}
	return next
}

// Get is GetWithPriority without the priority.
func (q *Queue[T]) Get() (key T, shutdown bool) {
	key, _, shutdown = q.GetWithPriority()
	return key, shutdown
}

// Done ends the work on a key that was handed out. If it was added meanwhile, it can be handed out again.
func (q *Queue[T]) Done(key T) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	done := q.working[key]
	if done == nil {
		return
	}
	delete(q.working, key)
	q.all.release(done.lane)
	if done.removal {
		q.removed = time.Now()
	} else {
		q.rest.release(done.lane)
	}
	if p := q.waiting[key]; p != nil && p.index < 0 {
		q.hand(p)
	}
	q.ready.Signal()
}

// Forget ends the delays of a key that failed before.
func (q *Queue[T]) Forget(key T) { q.RateLimiter.Forget(key) }

// NumRequeues counts the failures of a key.
func (q *Queue[T]) NumRequeues(key T) int { return q.RateLimiter.NumRequeues(key) }

// Len counts the keys that wait without a delay.
func (q *Queue[T]) Len() int {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return len(q.waiting) - len(q.delayed)
}

// ShutDown ends the queue: workers get nothing more.
func (q *Queue[T]) ShutDown() {
	q.unwatch()
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.closed = true
	q.timer.Stop()
	q.ready.Broadcast()
}

// ShutDownWithDrain is ShutDown: controller-runtime waits for its workers itself.
func (q *Queue[T]) ShutDownWithDrain() { q.ShutDown() }

// ShuttingDown says whether the queue has ended.
func (q *Queue[T]) ShuttingDown() bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return q.closed
}

// delays is a heap of keys by the end of their delay.
type delays[T comparable] []*pending[T]

func (d delays[T]) Len() int           { return len(d) }
func (d delays[T]) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d delays[T]) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}

func (d *delays[T]) Push(value any) {
	p := value.(*pending[T])
	p.index = len(*d)
	*d = append(*d, p)
}

func (d *delays[T]) Pop() any {
	last := len(*d) - 1
	p := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	p.index = -1
	return p
}
