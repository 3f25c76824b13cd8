// Package earned holds in memory the roles that each user has earned, by scope.
//
// The user controller evaluates users and puts the results into the Index. The binding engine reads it to decide the
// subjects of bindings, and drains its dirty sets: the users with a changed standing under a role. The App controller counts
// how many users were evaluated for the App's current generation.
package earned

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
)

// Index holds what each evaluated user has earned. A user without an entry has not been evaluated yet, which is not the same
// as having earned nothing. The zero value is ready to use, by any number of goroutines.
type Index struct {
	mutex sync.RWMutex
	users map[types.NamespacedName]record
	keys  map[RoleInScope]*keyState
	// evaluated counts users by the App generation that they were evaluated for.
	evaluated map[AppGeneration]int
	revision  uint64
}

// AppGeneration is one state of an App, as far as it decides access.
type AppGeneration struct {
	Name  types.NamespacedName
	UID   types.UID
	State access.State
}

// AppGenerationOf returns the state of an App as it was read. The cache computes it once for each App.
func AppGenerationOf(app *v1alpha1.App, policies *access.Cache) AppGeneration {
	return AppGeneration{
		Name: types.NamespacedName{Namespace: app.Namespace, Name: app.Name},
		UID:  app.UID, State: policies.StateOf(app),
	}
}

// Entry is what one user has earned.
type Entry struct {
	// App that the user was evaluated for; zero for none. A native binding that another state of the App asks for gets
	// no new subject from this entry.
	App AppGeneration
	// Subject is the RBAC user name.
	Subject string
	// Keys are the roles that the user holds.
	Keys []RoleInScope
	// Groups names the Kubernetes group that native bindings name in the user's place (subjectMode Group), by role.
	Groups map[RoleInScope]string
	// Kept marks roles that the user holds for now without having earned them for that state of the App: the user keeps
	// the native bindings that name them, and is added to none.
	Kept map[RoleInScope]bool
}

// record is an entry and its revision: every change makes another one.
type record struct {
	Entry
	revision uint64
}

// keyState is the state of one role in one scope.
type keyState struct {
	// key is the one copy of its strings that all entries share.
	key     RoleInScope
	holders map[string]struct{}
	// dirty are users with a standing under this key that changed since a run drained the set.
	dirty map[string]struct{}
}

// Set replaces what a user has earned and returns the revision of the record: the same as before if nothing changed.
func (x *Index) Set(user types.NamespacedName, entry Entry) uint64 {
	entry.Keys = slices.SortedFunc(slices.Values(entry.Keys), Compare)
	if len(entry.Kept) == 0 {
		entry.Kept = nil // an empty map costs memory for each user
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
		x.keys = map[RoleInScope]*keyState{}
		x.evaluated = map[AppGeneration]int{}
	}
	for i, key := range entry.Keys {
		state := x.state(key)
		state.holders[user.Name] = struct{}{}
		state.dirty[user.Name] = struct{}{}
		entry.Keys[i] = state.key
	}
	x.revision++
	x.users[user] = record{Entry: entry, revision: x.revision}
	x.evaluated[entry.App]++
	return x.revision
}

func (x *Index) state(key RoleInScope) *keyState {
	state := x.keys[key]
	if state == nil {
		state = &keyState{key: key, holders: map[string]struct{}{}, dirty: map[string]struct{}{}}
		x.keys[key] = state
	}
	return state
}

// Forget removes a user. The user then counts as not evaluated. It is also used to leave bindings untouched while the user's
// name is ambiguous.
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
		state.dirty[user.Name] = struct{}{}
	}
}

// Get returns what a user has earned, and whether the user was evaluated.
func (x *Index) Get(user types.NamespacedName) (Entry, bool) {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	found, evaluated := x.users[user]
	return found.Entry, evaluated
}

// Evaluated counts the users that were evaluated for one state of an App.
func (x *Index) Evaluated(app AppGeneration) int {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	return x.evaluated[app]
}

// OfApp returns the roles of an App that have a holder, in no order.
func (x *Index) OfApp(namespace, app string) []RoleInScope {
	return x.held(func(key RoleInScope) bool { return key.Namespace == namespace && key.App == app })
}

// Held returns the roles that have a holder, in no order.
func (x *Index) Held() []RoleInScope {
	return x.held(func(RoleInScope) bool { return true })
}

func (x *Index) held(matches func(RoleInScope) bool) []RoleInScope {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	var keys []RoleInScope
	for key, state := range x.keys {
		if len(state.holders) > 0 && matches(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// DrainDirty returns, in no order, the users with a standing under a key that changed since the last call, and empties the
// set. A caller that does not process them must give them back by MarkDirty.
func (x *Index) DrainDirty(key RoleInScope) []string {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	state := x.keys[key]
	if state == nil {
		return nil
	}
	names := slices.Collect(maps.Keys(state.dirty))
	if len(state.holders) == 0 {
		delete(x.keys, key)
	} else {
		state.dirty = map[string]struct{}{}
	}
	return names
}

// MarkDirty adds users to the dirty set of a key. It undoes DrainDirty.
func (x *Index) MarkDirty(key RoleInScope, names []string) {
	if len(names) == 0 {
		return
	}
	x.mutex.Lock()
	defer x.mutex.Unlock()
	if x.keys == nil {
		x.keys = map[RoleInScope]*keyState{}
	}
	state := x.state(key)
	for _, name := range names {
		state.dirty[name] = struct{}{}
	}
}

// Standing is what the index knows about one user under one key. The zero value means not evaluated.
type Standing struct {
	Evaluated, Holds, Kept bool
	// App that the user was evaluated for.
	App AppGeneration
	// Subject as an AppRoleBinding has it.
	Subject v1alpha1.AppRoleSubject
}

// IsCurrent reports whether the user earned the key by that state of the App.
func (s Standing) IsCurrent(app AppGeneration) bool { return s.App == app && !s.Kept }

// Standings returns the standings of users under a key, by name. Users that were not evaluated are left out.
func (x *Index) Standings(key RoleInScope, names []string) map[string]Standing {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	var holders map[string]struct{}
	if state := x.keys[key]; state != nil {
		holders = state.holders
	}
	found := make(map[string]Standing, len(names))
	for _, name := range names {
		entry, evaluated := x.users[types.NamespacedName{Namespace: key.Namespace, Name: name}]
		if !evaluated {
			continue
		}
		_, holds := holders[name]
		found[name] = Standing{
			Evaluated: true, Holds: holds, App: entry.App, Kept: entry.Kept[key],
			Subject: v1alpha1.AppRoleSubject{User: name, Name: entry.Subject, Group: entry.Groups[key]},
		}
	}
	return found
}

// Holders returns the names of the users that hold a key, sorted.
func (x *Index) Holders(key RoleInScope) []string {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	if x.keys[key] == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(x.keys[key].holders))
}
