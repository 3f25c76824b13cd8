package user

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/internal/earned"
)

// owed are keys that people lost and may still be bound under, because an attempt to unbind them failed. What told of them
// the first time need not tell of them again: who has been evaluated once holds nothing, and an AppRoleBinding may have been
// edited meanwhile. The zero value is ready to use.
type owed struct {
	mutex sync.Mutex
	keys  map[types.NamespacedName][]earned.RoleInScope
}

// of returns the keys of a person.
func (o *owed) of(name types.NamespacedName) []earned.RoleInScope {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.keys[name]
}

// set replaces them; none is forgotten.
func (o *owed) set(name types.NamespacedName, keys []earned.RoleInScope) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if len(keys) == 0 {
		delete(o.keys, name)
		return
	}
	if o.keys == nil {
		o.keys = map[types.NamespacedName][]earned.RoleInScope{}
	}
	o.keys[name] = keys
}
