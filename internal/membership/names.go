package membership

import (
	"unique"

	"github.com/cespare/xxhash/v2"
	"k8s.io/apimachinery/pkg/types"
)

// person is what the index knows of one id.
type person struct {
	groups []*indexed
	// app and digest are of the user that clients see under this id; zero where they see none.
	app    unique.Handle[string]
	digest uint64
}

var noApp unique.Handle[string]

// digestIn is what a member adds to the names of a group: 0 where the member is no user of the group's App.
func (p person) digestIn(g *indexed) uint64 {
	if p.app == noApp || p.app.Value() != g.app {
		return 0
	}
	return p.digest
}

// NameDigest stands for a member as an answer shows them. The sum of all is the same in every process, in whatever order
// members are summed up, and is another one, but for a chance of 2^-64, where a member has another name.
func NameDigest(id, name string) uint64 {
	var digest xxhash.Digest
	digest.Reset()
	// Neither error can be: they are there for the interfaces. No id has a zero byte in it.
	_, _ = digest.WriteString(id)
	_, _ = digest.WriteString("\x00")
	_, _ = digest.WriteString(name)
	return digest.Sum64()
}

// PutName takes in under which name clients of an App see a user; "" where they do not see that user.
func (x *Index) PutName(user types.NamespacedName, app, name string) {
	next := person{}
	if name != "" {
		next.app, next.digest = unique.Make(app), NameDigest(user.Name, name)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	before := x.users[user.Namespace][user.Name]
	if before.app == next.app && before.digest == next.digest {
		return
	}
	defer x.notify()
	next.groups = before.groups
	for _, g := range next.groups {
		g.names += next.digestIn(g) - before.digestIn(g)
	}
	x.setPerson(user.Namespace, user.Name, next)
}

// Names is the sum of the NameDigests of a group's members, as far as PutName has named them as users of its App.
func (x *Index) Names(group types.NamespacedName) uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if g := x.groups[group]; g != nil {
		return g.names
	}
	return 0
}

// Changed returns a channel that is closed once the index, or what it is fed with, has changed. Look at the index after
// the call.
func (x *Index) Changed() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.changed == nil {
		x.changed = make(chan struct{})
	}
	return x.changed
}

func (x *Index) notify() {
	if x.changed != nil {
		close(x.changed)
		x.changed = nil
	}
}

// belongs notes the App of a group: only that App's users count as members. The App never changes, unless another group gets
// the name.
func (x *Index) belongs(g *indexed, app string) {
	if g.app == app {
		return
	}
	g.app, g.names = app, 0
	if g.uid == "" {
		return
	}
	for _, id := range g.members() {
		g.names += x.users[g.name.Namespace][id].digestIn(g)
	}
}

func (x *Index) setPerson(namespace, id string, p person) {
	people := x.users[namespace]
	switch {
	case len(p.groups) > 0 || p.app != noApp:
		if people == nil {
			people = map[string]person{}
			x.users[namespace] = people
		}
		people[id] = p
	case people != nil:
		if delete(people, id); len(people) == 0 {
			delete(x.users, namespace)
		}
	}
}
