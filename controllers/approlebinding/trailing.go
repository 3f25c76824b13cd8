package approlebinding

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// trailingDelay is how long an AppRoleBinding goes on naming a leaver that no native binding names any more. It is the largest
// object that a leaver changes, and nothing grants by it: one write takes out all that left by then.
const trailingDelay = 5 * time.Second

// trailing are leavers that AppRoleBindings name and native bindings do not. The zero value is ready to use.
type trailing struct {
	mutex sync.Mutex
	keys  map[earned.RoleInScope]map[string]bool
}

// add notes that no native binding of a key names these users any more.
func (t *trailing) add(key earned.RoleInScope, users []string) {
	if len(users) == 0 {
		return
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.keys == nil {
		t.keys = map[earned.RoleInScope]map[string]bool{}
	}
	if t.keys[key] == nil {
		t.keys[key] = map[string]bool{}
	}
	for _, user := range users {
		t.keys[key][user] = true
	}
}

// settle forgets users that no AppRoleBinding of the key names any more, or that are bound again.
func (t *trailing) settle(key earned.RoleInScope, users []string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, user := range users {
		delete(t.keys[key], user)
	}
	if len(t.keys[key]) == 0 {
		delete(t.keys, key)
	}
}

// under returns the users of a key.
func (t *trailing) under(key earned.RoleInScope) map[string]bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return maps.Clone(t.keys[key])
}

// of returns the keys of a user.
func (t *trailing) of(user types.NamespacedName) map[earned.RoleInScope]bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	keys := map[earned.RoleInScope]bool{}
	for key, users := range t.keys {
		if key.Namespace == user.Namespace && users[user.Name] {
			keys[key] = true
		}
	}
	return keys
}

func (t *trailing) any(key earned.RoleInScope) bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return len(t.keys[key]) > 0
}

// findTrailing notes the chunks with an AppRoleBinding that may be written after the run has told of its removals: it names leavers
// that it is to lose, and is as it should be apart from them.
func (p *plan) findTrailing() {
	p.trails = map[int32][]string{}
	for i := range p.chunks {
		c := &p.chunks[i]
		if p.prompt || !c.Touched || !c.HasRemovals || len(c.Members) == 0 || c.Existing == nil || !c.Existing.DeletionTimestamp.IsZero() ||
			c.Existing.Spec.Mode != p.mode(c.Existing) {
			continue
		}
		if lost, only := c.Lost(); only {
			p.trails[c.Index] = lost
		}
	}
}

// isLate says that the run leaves AppRoleBindings that trail to another one.
func (in *input) isLate() bool { return in.urgent && !in.prompt && !in.status && !in.full }

// settled returns the trailing users that are none any more after the run wrote: no AppRoleBinding names them, or they are members
// and the run saw to their native bindings. interrupted says that it did not.
func (r *run) settled(trailing map[string]bool, interrupted bool) []string {
	var users []string
	named := map[string]bool{}
	for i := range r.plan.chunks {
		c := &r.plan.chunks[i]
		if c.Existing == nil || !c.Touched && !r.plan.full {
			continue
		}
		now := r.objects.binding(c.Index)
		for _, subject := range c.Existing.Spec.Subjects {
			if !trailing[subject.User] {
				continue
			}
			isNamed := now != nil && packing.Position(now, subject.User) >= 0
			if !isNamed || !interrupted && c.Has(subject.User) {
				users = append(users, subject.User)
				continue
			}
			named[subject.User] = true
		}
	}
	if !r.plan.full {
		return users
	}
	for user := range trailing {
		if !named[user] {
			users = append(users, user)
		}
	}
	return users
}
