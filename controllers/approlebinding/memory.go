package approlebinding

import (
	"sync"
	"time"

	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// memory is what is remembered of a key from one run to the next.
type memory struct {
	known   bool
	outcome Outcome
	// statusDue is when the status of what runs wrote is to be written; zero where none wrote anything since.
	statusDue time.Time

	// clean says that the last run did everything, for that state of the App; halfway that it wrote AppRoleBindings and left grants to the
	// next one.
	clean   bool
	halfway bool
	app     earned.AppGeneration
	// lastFull is when a run last looked at everything.
	lastFull time.Time
	// waiting are chunks with members that are to be evaluated for that state of the App.
	waiting map[int32]bool
	// unevaluated are chunks with members that this process had not evaluated at all: once it has, they may have lost the
	// key without the index knowing that they held it.
	unevaluated map[int32]bool
	// natives and generations tell edits by others from this process's own: resourceVersions of native bindings and
	// generations of AppRoleBindings, by name, after the last run.
	natives     map[overlay.ID]string
	generations map[string]int64
}

// record takes from a run what the next one needs: to tell edits by others from this run's own writes, and to look at no
// more than it has to. clean says that the run did everything that was to be done.
func (m *memory) record(p *plan, o *objects, e *edits, clean bool) {
	m.clean, m.app = clean, p.generation
	if p.full {
		m.lastFull = time.Now()
		m.natives, m.generations, m.waiting, m.unevaluated = nil, nil, nil, nil
	}
	if m.natives == nil {
		m.natives, m.generations = map[overlay.ID]string{}, map[string]int64{}
		m.waiting, m.unevaluated = map[int32]bool{}, map[int32]bool{}
	}
	for id := range p.known {
		delete(m.natives, id)
	}
	for id, existing := range o.allNatives() {
		m.natives[id] = existing.object.GetResourceVersion()
	}
	e.expect(m.natives)
	for i := range p.chunks {
		c := &p.chunks[i]
		if !c.Touched {
			continue
		}
		name := bindingName(p.key, c.Index)
		existing := o.binding(c.Index)
		switch {
		case e.isUncertain(overlay.ID{Kind: overlay.KindAppRoleBinding, Namespace: p.key.Namespace, Name: name}):
			delete(m.generations, name)
		case existing != nil:
			m.generations[name] = existing.Generation
		case len(c.Members) == 0:
			delete(m.generations, name)
		}
		note(m.waiting, c.Index, p.waiting[c.Index])
		note(m.unevaluated, c.Index, c.HasUnevaluated())
	}
}

func note(set map[int32]bool, index int32, is bool) {
	if is {
		set[index] = true
	} else {
		delete(set, index)
	}
}

// memories are the memory of each key. The zero value is ready to use. Maps in a memory that read returns belong to the key's
// runs, one at a time.
type memories struct {
	mutex sync.Mutex
	keys  map[earned.RoleInScope]*memory
}

// read returns a copy; the zero memory for a key that was never run.
func (m *memories) read(key earned.RoleInScope) memory {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if one := m.keys[key]; one != nil {
		return *one
	}
	return memory{}
}

// write changes the memory of a key. A memory that change finds not worth keeping is dropped.
func (m *memories) write(key earned.RoleInScope, change func(*memory) (keep bool)) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	one := m.keys[key]
	if one == nil {
		one = &memory{}
	}
	if !change(one) {
		delete(m.keys, key)
		return
	}
	if m.keys == nil {
		m.keys = map[earned.RoleInScope]*memory{}
	}
	m.keys[key] = one
}

// isSettled reports whether the last run was for that state of the App, came to its end, and left no member waiting.
func (m *memories) isSettled(key earned.RoleInScope, app earned.AppGeneration) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	one := m.keys[key]
	return one != nil && one.known && !one.halfway && one.app == app && len(one.waiting) == 0
}

// statusDelay is how long the status of a key's AppRoleBindings may still wait after a write.
func (m *memories) statusDelay(key earned.RoleInScope) time.Duration {
	return max(0, time.Until(m.read(key).statusDue))
}
