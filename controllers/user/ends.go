package user

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// endsSleep bounds how long ends waits without a look at the clock: timers do not notice that it was set forward, or that the
// machine slept.
const endsSleep = time.Minute

// ends has users evaluated when a role of theirs ends, or begins to end soon. It knows those of every user that this process
// evaluated. The zero value is ready to use.
type ends struct {
	mutex sync.Mutex
	users map[types.NamespacedName]*userEnd
	next  endHeap
	// sooner has an element where the first end changed.
	sooner chan struct{}
}

// userEnd is the next end of one user.
type userEnd struct {
	user types.NamespacedName
	at   time.Time
	// index in the heap.
	index int
}

// set has a user evaluated at a time, and no earlier for the sake of an end that was set before.
func (e *ends) set(user types.NamespacedName, at time.Time) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	at = at.Round(0) // the wall clock decides
	if known := e.users[user]; known != nil {
		known.at = at
		heap.Fix(&e.next, known.index)
	} else {
		if e.users == nil {
			e.users = map[types.NamespacedName]*userEnd{}
		}
		added := &userEnd{user: user, at: at}
		e.users[user] = added
		heap.Push(&e.next, added)
	}
	e.notify()
}

// forget drops the end of a user that has none any more.
func (e *ends) forget(user types.NamespacedName) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if known := e.users[user]; known != nil {
		delete(e.users, user)
		heap.Remove(&e.next, known.index)
	}
}

// notify wakes run; the mutex is held.
func (e *ends) notify() {
	if e.sooner == nil {
		e.sooner = make(chan struct{}, 1)
	}
	select {
	case e.sooner <- struct{}{}:
	default:
	}
}

// due takes the users with an end that has come, and returns how long it takes until the next, endsSleep at most.
func (e *ends) due(now time.Time) (users []types.NamespacedName, wait time.Duration, sooner <-chan struct{}) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.sooner == nil {
		e.sooner = make(chan struct{}, 1)
	}
	now = now.Round(0)
	for len(e.next) > 0 && !e.next[0].at.After(now) {
		first := heap.Pop(&e.next).(*userEnd)
		delete(e.users, first.user)
		users = append(users, first.user)
	}
	wait = endsSleep
	if len(e.next) > 0 {
		wait = min(wait, e.next[0].at.Sub(now))
	}
	return users, wait, e.sooner
}

// run calls wake with users when their ends come, until ctx ends.
func (e *ends) run(ctx context.Context, wake func(...types.NamespacedName)) error {
	for {
		users, wait, sooner := e.due(time.Now())
		if len(users) > 0 {
			wake(users...)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-sooner:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of the process is no error
		}
	}
}

// endHeap orders users by their next end.
type endHeap []*userEnd

func (h endHeap) Len() int           { return len(h) }
func (h endHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h endHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *endHeap) Push(value any) {
	added := value.(*userEnd)
	added.index = len(*h)
	*h = append(*h, added)
}

func (h *endHeap) Pop() any {
	last := len(*h) - 1
	first := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return first
}
