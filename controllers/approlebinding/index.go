package approlebinding

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
)

// Index knows what each person earned, as far as this process evaluated them. Who is not in it has not been evaluated
// yet, which is not the same as having earned nothing. The zero value is ready to use.
type Index struct {
	mutex sync.RWMutex
	users map[types.NamespacedName]record
	keys  map[Key]*keyState
	// evaluated counts people by the App generation that they were evaluated for.
	evaluated map[AppGeneration]int
	revision  uint64
}

// AppGeneration is one state of an App, as far as it says who has which access.
type AppGeneration struct {
	Name  types.NamespacedName
	UID   types.UID
	State access.State
}

// AppGenerationOf returns the state of an App as it was read, computed once by the cache.
func AppGenerationOf(app *v1alpha1.App, policies *access.Cache) AppGeneration {
	return AppGeneration{
		Name: types.NamespacedName{Namespace: app.Namespace, Name: app.Name},
		UID:  app.UID, State: policies.StateOf(app),
	}
}

// Entry is what one person earned.
type Entry struct {
	// App that the person was evaluated for; zero where there is none. Nobody is let into a native binding that another
	// state of the App asks for.
	App AppGeneration
	// Subject is the RBAC user name.
	Subject string
	// Keys that the person holds.
	Keys []Key
	// Groups names, for keys that native bindings bind to a Kubernetes group in the person's place, that group
	// (subjectMode Group).
	Groups map[Key]string
	// Kept are keys that the person holds for now without having earned them for that state of the App: they stay in the
	// native bindings in which they are, and get into no other.
	Kept map[Key]bool
}

// record is an entry and which one it is: every change makes another revision.
type record struct {
	Entry
	revision uint64
}

// keyState is who holds a key.
type keyState struct {
	// key is the one copy of its strings that all entries share.
	key     Key
	holders map[string]struct{}
	// touched are people whose standing under this key changed since a run took note of it.
	touched map[string]struct{}
}

// Set records what a person earned, in place of what was recorded before, and returns the revision of the record: the
// same as before if nothing changed.
func (x *Index) Set(user types.NamespacedName, entry Entry) uint64 {
	entry.Keys = slices.SortedFunc(slices.Values(entry.Keys), compareKeys)
	if len(entry.Kept) == 0 {
		entry.Kept = nil // so that nobody pays for an empty map
	}
	x.mutex.Lock()
	defer x.mutex.Unlock()
	before, found := x.users[user]
	if found && before.App == entry.App && before.Subject == entry.Subject && slices.Equal(before.Keys, entry.Keys) &&
		maps.Equal(before.Groups, entry.Groups) && maps.Equal(before.Kept, entry.Kept) {
		return before.revision
	}
	x.remove(user)
	if x.users == nil {
		x.users = map[types.NamespacedName]record{}
		x.keys = map[Key]*keyState{}
		x.evaluated = map[AppGeneration]int{}
	}
	for i, key := range entry.Keys {
		state := x.state(key)
		state.holders[user.Name] = struct{}{}
		state.touched[user.Name] = struct{}{}
		entry.Keys[i] = state.key
	}
	x.revision++
	x.users[user] = record{Entry: entry, revision: x.revision}
	x.evaluated[entry.App]++
	return x.revision
}

func (x *Index) state(key Key) *keyState {
	state := x.keys[key]
	if state == nil {
		state = &keyState{key: key, holders: map[string]struct{}{}, touched: map[string]struct{}{}}
		x.keys[key] = state
	}
	return state
}

// Forget drops a person, who counts as not evaluated from then on: for one whose object is gone, or who is to stay bound by
// whichever of their names they are.
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
		state := x.state(key)
		delete(state.holders, user.Name)
		state.touched[user.Name] = struct{}{}
	}
}

// Get returns what a person earned, and whether they were evaluated.
func (x *Index) Get(user types.NamespacedName) (Entry, bool) {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	found, evaluated := x.users[user]
	return found.Entry, evaluated
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
	for key, state := range x.keys {
		if key.Namespace == namespace && key.App == app && len(state.holders) > 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// heldKeys returns the keys that somebody holds.
func (x *Index) heldKeys() []Key {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	var keys []Key
	for key, state := range x.keys {
		if len(state.holders) > 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// takeTouched returns the people whose standing under a key changed since the last call. Who takes them must see to them,
// or give them back.
func (x *Index) takeTouched(key Key) []string {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	state := x.keys[key]
	if state == nil {
		return nil
	}
	names := slices.Collect(maps.Keys(state.touched))
	if len(state.holders) == 0 {
		delete(x.keys, key)
	} else {
		state.touched = map[string]struct{}{}
	}
	return names
}

// giveBack undoes takeTouched.
func (x *Index) giveBack(key Key, names []string) {
	if len(names) == 0 {
		return
	}
	x.mutex.Lock()
	defer x.mutex.Unlock()
	state := x.state(key)
	for _, name := range names {
		state.touched[name] = struct{}{}
	}
}

// standing is what the index knows about one person under one key. The zero value is that of somebody who was not
// evaluated.
type standing struct {
	evaluated, holds, kept bool
	app                    AppGeneration
	subject                v1alpha1.AppRoleSubject
}

// isCurrent says whether the person earned the key by a state of the App.
func (s standing) isCurrent(app AppGeneration) bool { return s.app == app && !s.kept }

// standings copies what a run needs of some people.
func (x *Index) standings(key Key, names []string) map[string]standing {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	var holders map[string]struct{}
	if state := x.keys[key]; state != nil {
		holders = state.holders
	}
	found := make(map[string]standing, len(names))
	for _, name := range names {
		entry, evaluated := x.users[types.NamespacedName{Namespace: key.Namespace, Name: name}]
		if !evaluated {
			continue
		}
		_, holds := holders[name]
		found[name] = standing{
			evaluated: true, holds: holds, app: entry.App, kept: entry.Kept[key],
			subject: v1alpha1.AppRoleSubject{User: name, Name: entry.Subject, Group: entry.Groups[key]},
		}
	}
	return found
}

// holderNames returns the people who hold a key, sorted.
func (x *Index) holderNames(key Key) []string {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	if x.keys[key] == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(x.keys[key].holders))
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.App, b.App), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Scope, b.Scope))
}
