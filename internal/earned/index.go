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
	// users has the records by namespace and name.
	users map[string]map[string]*record
	keys  map[RoleInScope]*keyState
	apps  map[AppGeneration]*appState
	// revision is the last one that a record got.
	revision uint64
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

// record is an Entry as the index keeps it, which is small: there is one for each user.
type record struct {
	app     *appState
	subject string
	// keys are sorted by Compare. Each has the user among its holders.
	keys []*keyState
	// beside is nil for all users but those that a group stands for, or that keep a role.
	beside   *beside
	revision uint64
}

// beside are Groups and Kept of an Entry.
type beside struct {
	groups map[RoleInScope]string
	kept   map[RoleInScope]bool
}

func (r *record) groups() map[RoleInScope]string {
	if r.beside == nil {
		return nil
	}
	return r.beside.groups
}

func (r *record) kept() map[RoleInScope]bool {
	if r.beside == nil {
		return nil
	}
	return r.beside.kept
}

// is says whether a record was made of such an entry, the keys of which are sorted.
func (r *record) is(entry *Entry) bool {
	return r.app.generation == entry.App && r.subject == entry.Subject &&
		slices.EqualFunc(r.keys, entry.Keys, func(state *keyState, key RoleInScope) bool { return state.key == key }) &&
		maps.Equal(r.groups(), entry.Groups) && maps.Equal(r.kept(), entry.Kept)
}

// entry returns what the record was made of, with a list of keys of its own.
func (r *record) entry() Entry {
	entry := Entry{App: r.app.generation, Subject: r.subject, Groups: r.groups(), Kept: r.kept()}
	if len(r.keys) > 0 {
		entry.Keys = make([]RoleInScope, len(r.keys))
	}
	for i, state := range r.keys {
		entry.Keys[i] = state.key
	}
	return entry
}

// appState is a state of an App that users were evaluated for.
type appState struct {
	generation AppGeneration
	// evaluated counts those users.
	evaluated int
}

// keyState is the state of one role in one scope. It lasts as long as it has a holder or a dirty user.
type keyState struct {
	key     RoleInScope
	holders map[string]struct{}
	// dirty are users with a standing under this key that changed since a run drained the set.
	dirty map[string]struct{}
}

// Set replaces what a user has earned and returns the revision of the record: the same as before if nothing changed.
func (x *Index) Set(user types.NamespacedName, entry Entry) uint64 {
	entry.Keys = slices.SortedFunc(slices.Values(entry.Keys), Compare)
	x.mutex.Lock()
	defer x.mutex.Unlock()
	before := x.users[user.Namespace][user.Name]
	if before != nil && before.is(&entry) {
		return before.revision
	}
	x.remove(user)
	if x.users == nil {
		x.users = map[string]map[string]*record{}
		x.apps = map[AppGeneration]*appState{}
	}
	if x.users[user.Namespace] == nil {
		x.users[user.Namespace] = map[string]*record{}
	}
	x.revision++
	after := &record{app: x.app(entry.App), subject: entry.Subject, revision: x.revision}
	if len(entry.Keys) > 0 {
		after.keys = make([]*keyState, len(entry.Keys))
	}
	for i, key := range entry.Keys {
		state := x.state(key)
		state.holders[user.Name] = struct{}{}
		state.dirty[user.Name] = struct{}{}
		after.keys[i] = state
	}
	if len(entry.Groups) > 0 || len(entry.Kept) > 0 {
		after.beside = &beside{groups: entry.Groups, kept: entry.Kept}
	}
	after.app.evaluated++
	x.users[user.Namespace][user.Name] = after
	return x.revision
}

func (x *Index) app(generation AppGeneration) *appState {
	state := x.apps[generation]
	if state == nil {
		state = &appState{generation: generation}
		x.apps[generation] = state
	}
	return state
}

func (x *Index) state(key RoleInScope) *keyState {
	state := x.keys[key]
	if state == nil {
		if x.keys == nil {
			x.keys = map[RoleInScope]*keyState{}
		}
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
}

func (x *Index) remove(user types.NamespacedName) {
	of := x.users[user.Namespace]
	before := of[user.Name]
	if before == nil {
		return
	}
	if before.app.evaluated--; before.app.evaluated == 0 {
		delete(x.apps, before.app.generation)
	}
	for _, state := range before.keys {
		delete(state.holders, user.Name)
		state.dirty[user.Name] = struct{}{}
	}
	if delete(of, user.Name); len(of) == 0 {
		delete(x.users, user.Namespace)
	}
}

// Get returns what a user has earned, and whether the user was evaluated.
func (x *Index) Get(user types.NamespacedName) (Entry, bool) {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	found := x.users[user.Namespace][user.Name]
	if found == nil {
		return Entry{}, false
	}
	return found.entry(), true
}

// Evaluated counts the users that were evaluated for one state of an App.
func (x *Index) Evaluated(app AppGeneration) int {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	if state := x.apps[app]; state != nil {
		return state.evaluated
	}
	return 0
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
		user := x.users[key.Namespace][name]
		if user == nil {
			continue
		}
		_, holds := holders[name]
		found[name] = Standing{
			Evaluated: true, Holds: holds, App: user.app.generation, Kept: user.kept()[key],
			Subject: v1alpha1.AppRoleSubject{User: name, Name: user.subject, Group: user.groups()[key]},
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
