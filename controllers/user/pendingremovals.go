package user

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/internal/earned"
)

// pendingRemovals holds failed removals: keys that users lost and may still be bound under. They must be retried from here:
// neither the index nor the (editable) AppRoleBinding is sure to report them again. The zero value is ready to use.
type pendingRemovals struct {
	mutex sync.Mutex
	keys  map[types.NamespacedName][]earned.RoleInScope
}

// of returns the keys of a user.
func (p *pendingRemovals) of(name types.NamespacedName) []earned.RoleInScope {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.keys[name]
}

// set replaces the keys of a user; an empty list removes them.
func (p *pendingRemovals) set(name types.NamespacedName, keys []earned.RoleInScope) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if len(keys) == 0 {
		delete(p.keys, name)
		return
	}
	if p.keys == nil {
		p.keys = map[types.NamespacedName][]earned.RoleInScope{}
	}
	p.keys[name] = keys
}
