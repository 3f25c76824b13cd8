package approlebinding

import (
	"context"
	"sync"
	"time"

	"github.com/scim-operator/scim-operator/internal/earned"
)

// rechecks are keys that the next reconcile is to look at as a whole, and the queue by which they come. The zero value is
// ready to use.
type rechecks struct {
	mutex sync.Mutex
	keys  map[earned.RoleInScope]bool
	queue queue
}

// takeQueue lets runs that others asked for come back when they failed.
func (r *rechecks) takeQueue(_ context.Context, q queue) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.queue = q
	return nil
}

// add has a key looked at as a whole, and returns it to be put into the queue.
func (r *rechecks) add(key earned.RoleInScope) earned.RoleInScope {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.keys == nil {
		r.keys = map[earned.RoleInScope]bool{}
	}
	r.keys[key] = true
	return key
}

// take reports whether a key is to be looked at as a whole, and forgets it.
func (r *rechecks) take(key earned.RoleInScope) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	full := r.keys[key]
	delete(r.keys, key)
	return full
}

// later puts a key into the queue after a delay, for its status and what trails. Before the controller runs there is no queue, and it
// looks at all keys when it starts.
func (r *rechecks) later(key earned.RoleInScope, delay time.Duration) {
	r.mutex.Lock()
	q := r.queue
	r.mutex.Unlock()
	if q != nil {
		q.AddAfter(key, delay)
	}
}

// retry puts a key into the queue after a failed run, with its backoff. Before the controller runs there is no queue, and it
// looks at all keys when it starts.
func (r *rechecks) retry(key earned.RoleInScope) {
	r.mutex.Lock()
	q := r.queue
	r.mutex.Unlock()
	if q != nil {
		q.AddRateLimited(r.add(key))
	}
}
