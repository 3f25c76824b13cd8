package app

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// counter counts the objects of each App, and those of them that are marked: to list an App's users at every change
// would cost more the more there are. The zero value is ready to use.
type counter struct {
	mutex sync.Mutex
	apps  map[types.NamespacedName]*members
}

type members struct {
	// marked by name of each object that exists.
	marked map[string]bool
	count  int32
}

// note records that an object of an App exists, and is marked, or not. It says whether a count changed.
func (c *counter) note(app types.NamespacedName, name string, exists, marked bool) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	m := c.apps[app]
	if m == nil {
		if !exists {
			return false
		}
		if c.apps == nil {
			c.apps = map[types.NamespacedName]*members{}
		}
		m = &members{marked: map[string]bool{}}
		c.apps[app] = m
	}
	wasMarked, existed := m.marked[name]
	if existed == exists && wasMarked == marked {
		return false
	}
	if wasMarked {
		m.count--
	}
	if marked {
		m.count++
	}
	if exists {
		m.marked[name] = marked
	} else {
		delete(m.marked, name)
	}
	if len(m.marked) == 0 {
		delete(c.apps, app)
	}
	return true
}

// get returns how many objects an App has and how many of them are marked.
func (c *counter) get(app types.NamespacedName) (all, marked int32) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	m := c.apps[app]
	if m == nil {
		return 0, 0
	}
	return int32(len(m.marked)), m.count
}
