package residualaccess

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// formerLifetime is how long a group counts after the user left it: the tokens that name it have expired by then.
	formerLifetime = 24 * time.Hour
	// maxFormer bounds how many are remembered; those longest ago are forgotten first.
	maxFormer = 10000
)

// formerMemberships remembers, in this process, which users left which groups: as a rule an identity provider removes users
// from their groups right before it deactivates them.
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

// of returns the groups that a user left lately.
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
