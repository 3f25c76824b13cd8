package rolebinding

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Index knows what each person earned, as far as this process evaluated them. Who is not in it has not been evaluated
// yet, which is not the same as having earned nothing. The zero value is ready to use.
type Index struct {
	mutex   sync.RWMutex
	users   map[types.NamespacedName]Entry
	holders map[Key]map[string]string
	// evaluated counts people by the App generation that they were evaluated for.
	evaluated map[AppGeneration]int
}

// AppGeneration is one state of an App's specification.
type AppGeneration struct {
	Name       types.NamespacedName
	UID        types.UID
	Generation int64
}

// Entry is what one person earned.
type Entry struct {
	// App that the person was evaluated for; zero where there is none.
	App AppGeneration
	// Subject is the RBAC user name.
	Subject string
	// Keys that the person holds.
	Keys []Key
	// Groups names, for keys that native bindings bind to a Kubernetes group in the person's place, that group
	// (subjectMode Group).
	Groups map[Key]string
}

// Set records what a person earned, in place of what was recorded before.
func (x *Index) Set(user types.NamespacedName, entry Entry) {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	x.remove(user)
	if x.users == nil {
		x.users = map[types.NamespacedName]Entry{}
		x.holders = map[Key]map[string]string{}
		x.evaluated = map[AppGeneration]int{}
	}
	x.users[user] = entry
	x.evaluated[entry.App]++
	for _, key := range entry.Keys {
		if x.holders[key] == nil {
			x.holders[key] = map[string]string{}
		}
		x.holders[key][user.Name] = entry.Subject
	}
}

// Forget drops a person, who counts as not evaluated from then on. For a person whose object is gone.
func (x *Index) Forget(user types.NamespacedName) {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	x.remove(user)
	delete(x.users, user)
}

func (x *Index) remove(user types.NamespacedName) {
	entry, found := x.users[user]
	if !found {
		return
	}
	if x.evaluated[entry.App]--; x.evaluated[entry.App] == 0 {
		delete(x.evaluated, entry.App)
	}
	for _, key := range entry.Keys {
		delete(x.holders[key], user.Name)
		if len(x.holders[key]) == 0 {
			delete(x.holders, key)
		}
	}
}

// Get returns what a person earned, and whether they were evaluated.
func (x *Index) Get(user types.NamespacedName) (Entry, bool) {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	entry, evaluated := x.users[user]
	return entry, evaluated
}

// Evaluated counts the people who were evaluated for one state of an App.
func (x *Index) Evaluated(app AppGeneration) int {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	return x.evaluated[app]
}

// keysOfApp returns the keys of an App that somebody holds.
func (x *Index) keysOfApp(namespace, app string) []Key {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	var keys []Key
	for key := range x.holders {
		if key.Namespace == namespace && key.App == app {
			keys = append(keys, key)
		}
	}
	return keys
}

// keyView is a copy of what the index knows about one key.
type keyView struct {
	// holders by name of the User object; the value is the subject.
	holders map[string]string
	// evaluated says of a person whether the index knew them.
	evaluated map[string]bool
}

// view copies what one run needs: the holders of a key, and which of the people that are bound now were evaluated.
func (x *Index) view(key Key, bound []*v1alpha1.AppRoleBinding) keyView {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	view := keyView{holders: maps.Clone(x.holders[key]), evaluated: map[string]bool{}}
	for _, binding := range bound {
		for i := range binding.Spec.Subjects {
			name := binding.Spec.Subjects[i].User
			_, evaluated := x.users[types.NamespacedName{Namespace: key.Namespace, Name: name}]
			view.evaluated[name] = evaluated
		}
	}
	return view
}

// holderNames returns the people who hold a key, sorted.
func (x *Index) holderNames(key Key) []string {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	return slices.Sorted(maps.Keys(x.holders[key]))
}
