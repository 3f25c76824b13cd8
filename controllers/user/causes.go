package user

import (
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/group"
)

// maxCauses bounds the causes of one user that wait for an evaluation.
const maxCauses = 64

// causes keeps, for the audit trail, which changes of groups each user is to be evaluated for. It is this process' alone: the line of
// a successor, after a change of leader, names no request of a group. The zero value is ready to use.
type causes struct {
	mutex sync.Mutex
	of    map[types.NamespacedName][]*group.Cause
}

func (c *causes) add(user types.NamespacedName, more []*group.Cause) {
	if len(more) == 0 {
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.of == nil {
		c.of = map[types.NamespacedName][]*group.Cause{}
	}
	known := c.of[user]
	// Clipped: users of one change share the list.
	c.of[user] = slices.Clip(append(known, more[:min(len(more), maxCauses-len(known))]...))
}

// known returns the causes of a user so far.
func (c *causes) known(user types.NamespacedName) []*group.Cause {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.of[user]
}

// settle forgets causes that an evaluation has taken into account. Later ones stay.
func (c *causes) settle(user types.NamespacedName, seen []*group.Cause) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	rest := c.of[user]
	if rest = rest[min(len(seen), len(rest)):]; len(rest) > 0 {
		c.of[user] = rest
	} else {
		delete(c.of, user)
	}
}

// origin is what an audit line tells of where a change of access comes from: the client's requests, the groups that they changed, and
// when the first of those changes was made.
type origin struct {
	requests, groups []string
	since            time.Time
}

// origin gathers the requests that changed the user, or a group of theirs, since the former status.
func (e report) origin(before *v1alpha1.UserStatus) (o origin) {
	if e.changedByRequest(before) {
		o.add(e.user.Spec.ModifiedAt().Time, e.user.Spec.LastRequest)
	}
	id, when, noted := strings.Cut(e.user.Annotations[v1alpha1.AnnotationDeletedBy], " ")
	if at, err := time.Parse(time.RFC3339Nano, when); noted && err == nil && e.user.DeletionTimestamp != nil {
		o.add(at, id)
	}
	for _, cause := range e.causes {
		o.add(cause.At, cause.Requests...)
		if !slices.Contains(o.groups, cause.Group) {
			o.groups = append(o.groups, cause.Group)
		}
	}
	return o
}

func (o *origin) add(at time.Time, requests ...string) {
	for _, id := range requests {
		if !slices.Contains(o.requests, id) {
			o.requests = append(o.requests, id)
		}
	}
	if o.since.IsZero() || at.Before(o.since) {
		o.since = at
	}
}

// values are those of the audit line. One request is named as such; of several, which were evaluated together, the server's lines
// emitEvents which did what.
func (o *origin) values() []any {
	var values []any
	switch len(o.requests) {
	case 0:
		return nil
	case 1:
		values = append(values, "requestID", o.requests[0])
	default:
		values = append(values, "requestIDs", o.requests)
	}
	if len(o.groups) > 0 {
		values = append(values, "groups", o.groups)
	}
	return append(values, "milliseconds", time.Since(o.since).Milliseconds())
}
