// Package userlookup finds users by their Kubernetes user name, among the Apps that deny requests of leavers
// (spec.deactivation.denyRequests).
//
// The controller asks it which names the RevocationList must not contain, the authorizer which names to deny. Both feed it
// from their watches. It holds names and no objects.
package userlookup

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/names"
)

// State is what is known of a Kubernetes user name.
type State int

const (
	// Unknown names stand for no user, or for users of Apps that deny nothing.
	Unknown State = iota
	// Active names stand for at least one user that may have access, whatever other users had that name.
	Active
	// Revoked names stand only for users that are inactive, suspended or being deleted.
	Revoked
)

// Index of the people of Apps that deny requests. Make one with New; it is safe for concurrent use. What comes late, and is
// older than what is there, is dropped. A look-up costs the same however many people there are.
type Index struct {
	usersOf func(app types.NamespacedName) []*v1alpha1.User

	mu   sync.RWMutex
	apps map[types.NamespacedName]v1alpha1.KubernetesMapping
	// prefixes of the user names of every App, and counts how many Apps have each.
	prefixes map[types.NamespacedName]string
	counts   map[string]int
	users    map[types.NamespacedName]*person
	names    map[string][]*person
}

type person struct {
	app     types.NamespacedName
	prefix  string
	version string
	active  bool
	// ends is LastEnd.
	ends time.Time
	// bound says that bindings of the App name the person, or did before they left.
	bound bool
	names []string
}

// New returns an empty index. usersOf lists the users of an App as the watch that feeds the index has them; it is called
// when an App begins to deny requests, or names its people differently, and must not call the index.
func New(usersOf func(app types.NamespacedName) []*v1alpha1.User) *Index {
	return &Index{
		usersOf:  usersOf,
		apps:     map[types.NamespacedName]v1alpha1.KubernetesMapping{},
		prefixes: map[types.NamespacedName]string{},
		counts:   map[string]int{},
		users:    map[types.NamespacedName]*person{},
		names:    map[string][]*person{},
	}
}

// UsersIn lists the users of Apps from a cache of all Users.
func UsersIn(users client.Reader) func(app types.NamespacedName) []*v1alpha1.User {
	return func(app types.NamespacedName) []*v1alpha1.User {
		var list v1alpha1.UserList
		if err := users.List(context.Background(), &list, client.InNamespace(app.Namespace), client.UnsafeDisableDeepCopy); err != nil {
			return nil // an informer's list does not fail once it is synchronised, and before that every user comes as an event
		}
		var ofApp []*v1alpha1.User
		for i := range list.Items {
			if list.Items[i].Spec.App == app.Name {
				ofApp = append(ofApp, &list.Items[i])
			}
		}
		return ofApp
	}
}

// State tells what is known of a Kubernetes user name. It is never Revoked for a name that begins with system:. People of an
// App with a prefix that is Outranked for the name do not count.
func (x *Index) State(name string) State { return x.StateAt(name, time.Time{}) }

// StateAt is State, and holds a user for Revoked where all roles have ended by a time, where the status does not tell yet that
// they are gone: no controller ran then, or it is about to take them.
func (x *Index) StateAt(name string, now time.Time) State {
	x.mu.RLock()
	defer x.mu.RUnlock()
	state := Unknown
	for _, p := range x.names[name] {
		if x.outranked(p.prefix, name) {
			continue
		}
		if p.active && (p.ends.IsZero() || now.Before(p.ends)) {
			return Active
		}
		state = Revoked
	}
	return state
}

// Outranked says that some App has a longer prefix of a user name: the name is that App's to deny. Without this, an App of
// the prefix pine: would deny the users of another tenant's App of the prefix pine:x:, by users called x:….
func (x *Index) Outranked(prefix, name string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.outranked(prefix, name)
}

func (x *Index) outranked(prefix, name string) bool {
	for other := range x.counts {
		if len(other) > len(prefix) && strings.HasPrefix(name, other) {
			return true
		}
	}
	return false
}

// setPrefix notes the prefix of an App; nil for an App that is gone.
func (x *Index) setPrefix(app types.NamespacedName, prefix *string) {
	if before, found := x.prefixes[app]; found {
		delete(x.prefixes, app)
		if x.counts[before]--; x.counts[before] == 0 {
			delete(x.counts, before)
		}
	}
	if prefix != nil {
		x.prefixes[app] = *prefix
		x.counts[*prefix]++
	}
}

// PutApp takes in a state of an App. It returns the names with a state that may have changed.
func (x *Index) PutApp(app *v1alpha1.App) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	name := types.NamespacedName{Namespace: app.Namespace, Name: app.Name}
	prefix := app.Spec.Kubernetes.Prefix()
	x.setPrefix(name, &prefix)
	before, denies := x.apps[name]
	after := app.Spec.Kubernetes
	if app.Spec.Deactivation.DenyRequests && denies && sameNames(before, after) {
		return nil
	}
	if !app.Spec.Deactivation.DenyRequests && !denies {
		return nil
	}
	touched := x.drop(name)
	if app.Spec.Deactivation.DenyRequests {
		x.apps[name] = after
		for _, user := range x.usersOf(name) {
			touched = append(touched, x.put(user)...)
		}
	}
	return touched
}

// RemoveApp forgets an App that is gone, with its people.
func (x *Index) RemoveApp(app *v1alpha1.App) {
	x.mu.Lock()
	defer x.mu.Unlock()
	name := types.NamespacedName{Namespace: app.Namespace, Name: app.Name}
	x.setPrefix(name, nil)
	x.drop(name)
}

// drop forgets an App and returns the names of its people.
func (x *Index) drop(app types.NamespacedName) (touched []string) {
	if _, denies := x.apps[app]; !denies {
		return nil
	}
	delete(x.apps, app)
	for name, p := range x.users {
		if p.app == app {
			touched = append(touched, p.names...)
			x.remove(name)
		}
	}
	return touched
}

// PutUser takes in a state of a User. It returns the names that stand for the person now.
func (x *Index) PutUser(user *v1alpha1.User) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.put(user)
}

// Refresh is PutUser for a state that may be older than the user's removal: it does not bring back a removed user.
func (x *Index) Refresh(user *v1alpha1.User) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.users[nameOf(user)] != nil {
		x.put(user)
	}
}

func (x *Index) put(user *v1alpha1.User) []string {
	name := nameOf(user)
	if known := x.users[name]; known != nil && informers.Older(user.ResourceVersion, known.version) {
		return known.names
	}
	x.remove(name)
	app := types.NamespacedName{Namespace: user.Namespace, Name: user.Spec.App}
	mapping, denies := x.apps[app]
	if !denies {
		return nil
	}
	p := &person{
		app: app, prefix: mapping.Prefix(), version: user.ResourceVersion,
		active: user.MayHaveAccess(), ends: LastEnd(&user.Status), bound: user.Status.BoundAs != "", names: Names(mapping, user),
	}
	x.users[name] = p
	for _, text := range p.names {
		x.names[text] = append(x.names[text], p)
	}
	return p.names
}

// RemoveUser forgets a User that is gone. It returns the names that stood for the person, and whether they were active, and
// the App's bindings named them.
func (x *Index) RemoveUser(user *v1alpha1.User) (names []string, hadAccess bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.users[nameOf(user)]
	if p == nil {
		return nil, false
	}
	x.remove(nameOf(user))
	return p.names, p.active && p.bound
}

func (x *Index) remove(user types.NamespacedName) {
	p := x.users[user]
	if p == nil {
		return
	}
	delete(x.users, user)
	for _, text := range p.names {
		left := slices.DeleteFunc(x.names[text], func(other *person) bool { return other == p })
		if len(left) == 0 {
			delete(x.names, text)
		} else {
			x.names[text] = left
		}
	}
}

// Names returns the Kubernetes user names that stand for a user. These are the one that the App's mapping makes, once the
// userName is verified as the user's, and, after a loss of access, the one that the user had. A name outside of the App's
// own prefix is none: an App speaks for its prefix alone, whatever its prefix was before.
func Names(mapping v1alpha1.KubernetesMapping, user *v1alpha1.User) []string {
	var names []string
	add := func(name string) {
		if Deniable(name) && strings.HasPrefix(name, mapping.Prefix()) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if user.IsNameReserved() {
		add(mapping.Username(&user.Spec))
	}
	if !user.MayHaveAccess() {
		add(user.Status.KubernetesUsername)
	}
	return names
}

// LastEnd returns when the last of the roles ends that a status says are bound; zero where one of them has no end, and where
// none is bound.
func LastEnd(status *v1alpha1.UserStatus) (last time.Time) {
	for _, role := range status.Roles {
		switch {
		case role.Bound == v1alpha1.BoundNo:
		case role.Until == nil:
			return time.Time{}
		case role.Until.After(last):
			last = role.Until.Time
		}
	}
	return last
}

// Deniable says whether requests under a name may be denied at all: it is not empty, and none of Kubernetes' own, which could
// lock out the control plane.
func Deniable(name string) bool {
	return name != "" && !names.IsReserved(name)
}

func sameNames(a, b v1alpha1.KubernetesMapping) bool {
	return a.Prefix() == b.Prefix() && a.UsernameFrom == b.UsernameFrom
}

func nameOf(user *v1alpha1.User) types.NamespacedName {
	return types.NamespacedName{Namespace: user.Namespace, Name: user.Name}
}
