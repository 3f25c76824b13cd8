package approlebinding

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/internal/earned"
)

// grantRequest is what RequestGrants was called with for one user.
type grantRequest struct {
	user types.NamespacedName
	// revision of the user's entry in the index.
	revision uint64
	// pending counts keys that have not run yet.
	pending int
	// failed tells by key why its holders may not be bound; nil for none.
	failed map[earned.RoleInScope]error
}

// grantRequests are the requests of users that wait for runs, and results that were not fetched yet. The zero value is ready
// to use.
type grantRequests struct {
	mutex  sync.Mutex
	byUser map[types.NamespacedName]*grantRequest
}

// add returns a new request; nil where the same one is still pending.
func (g *grantRequests) add(user types.NamespacedName, revision uint64, keys int) *grantRequest {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if asked := g.byUser[user]; asked != nil && asked.revision == revision && asked.pending > 0 {
		return nil
	}
	asked := &grantRequest{user: user, revision: revision, pending: keys}
	if g.byUser == nil {
		g.byUser = map[types.NamespacedName]*grantRequest{}
	}
	g.byUser[user] = asked
	return asked
}

// take returns, once, the results of a request that has finished.
func (g *grantRequests) take(user types.NamespacedName, revision uint64) (map[earned.RoleInScope]error, bool) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	asked := g.byUser[user]
	if asked == nil || asked.revision != revision || asked.pending > 0 {
		return nil, false
	}
	g.drop(user)
	return asked.failed, true
}

// cancel drops the request of a user.
func (g *grantRequests) cancel(user types.NamespacedName) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.drop(user)
}

// drop forgets a request, and the room of all where it was the last: a start has one for each user. The mutex is held.
func (g *grantRequests) drop(user types.NamespacedName) {
	if delete(g.byUser, user); len(g.byUser) == 0 {
		g.byUser = nil
	}
}

// finish records the end of a run in the requests that wait for it, and returns the users with a request that it completes.
func (g *grantRequests) finish(key earned.RoleInScope, asked []*grantRequest, failure error) (finished []types.NamespacedName) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for _, one := range asked {
		if failure != nil {
			if one.failed == nil {
				one.failed = map[earned.RoleInScope]error{}
			}
			one.failed[key] = failure
		}
		if one.pending--; one.pending == 0 && g.byUser[one.user] == one {
			finished = append(finished, one.user)
		}
	}
	return finished
}
