package residual

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// nameHolders knows which Users go by a Kubernetes user name. Nearly every name has one holder, and costs little.
type nameHolders struct {
	first map[string]types.NamespacedName
	// more holds the others of names that several Users go by.
	more map[string][]types.NamespacedName
}

// put records that a User goes by another name than before; "" stands for none.
func (n *nameHolders) put(user types.NamespacedName, before, name string) {
	if n.first == nil {
		n.first, n.more = map[string]types.NamespacedName{}, map[string][]types.NamespacedName{}
	}
	if before != "" {
		n.remove(user, before)
	}
	if name == "" {
		return
	}
	if _, taken := n.first[name]; taken {
		n.more[name] = append(n.more[name], user)
	} else {
		n.first[name] = user
	}
}

func (n *nameHolders) remove(user types.NamespacedName, name string) {
	more := slices.DeleteFunc(n.more[name], func(other types.NamespacedName) bool { return other == user })
	if n.first[name] == user {
		delete(n.first, name)
		if len(more) > 0 {
			n.first[name], more = more[0], more[1:]
		}
	}
	if len(more) == 0 {
		delete(n.more, name)
	} else {
		n.more[name] = more
	}
}

func (n *nameHolders) anyShared() bool { return len(n.more) > 0 }

// others returns the Users that go by a name, but for one of them.
func (n *nameHolders) others(name string, self types.NamespacedName) []types.NamespacedName {
	more := n.more[name]
	first, found := n.first[name]
	if !found {
		return nil
	}
	return slices.DeleteFunc(append([]types.NamespacedName{first}, more...), func(user types.NamespacedName) bool { return user == self })
}

const (
	// formerLifetime is how long a group counts that somebody left: the tokens that name it have expired by then.
	formerLifetime = 24 * time.Hour
	// maxFormer bounds how many are remembered; those longest ago are forgotten first.
	maxFormer = 10000
)

// formerMemberships remembers, in this process, who left which groups: as a rule an identity provider takes people out of
// their groups right before it deactivates them.
type formerMemberships struct {
	left  []departure // in the order of time
	users map[types.NamespacedName][]departure
}

type departure struct {
	user  types.NamespacedName
	group string
	at    time.Time
}

func (f *formerMemberships) add(user types.NamespacedName, group string, now time.Time) {
	if f.users == nil {
		f.users = map[types.NamespacedName][]departure{}
	}
	d := departure{user, group, now}
	f.left = append(f.left, d)
	f.users[user] = append(f.users[user], d)
	for len(f.left) > maxFormer || now.Sub(f.left[0].at) > formerLifetime {
		first := f.left[0]
		f.left = f.left[1:]
		if f.users[first.user] = f.users[first.user][1:]; len(f.users[first.user]) == 0 {
			delete(f.users, first.user)
		}
	}
}

// of returns the groups that somebody left lately.
func (f *formerMemberships) of(user types.NamespacedName) []string {
	var groups []string
	for _, d := range f.users[user] {
		if time.Since(d.at) <= formerLifetime {
			groups = append(groups, d.group)
		}
	}
	return groups
}

// Left records that people left a group of that display name.
func (f *Finder) Left(namespace, group string, users []string) {
	now := time.Now()
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for _, user := range users {
		f.former.add(types.NamespacedName{Namespace: namespace, Name: user}, group, now)
	}
}
