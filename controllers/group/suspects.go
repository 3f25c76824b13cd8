package group

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	// absentFor is how long a member may be no user before it is taken out of the group without its deletion having been seen. A
	// backup is restored in alphabetical order, groups first, and one of a large directory takes hours. Until then such a member
	// costs nothing: an absent id earns nothing, and is never given to another user.
	absentFor = 24 * time.Hour
	// deletedFor is how long a deletion that was seen is remembered: far longer than a write of a group may be under way that was
	// decided before. maxDeleted bounds how many.
	deletedFor = 10 * time.Minute
	maxDeleted = 100_000
	// lookAgain is how often members that are absent are looked at.
	lookAgain = 10 * time.Minute
)

// suspects holds, by group, members that must be looked at: new ones, and ones with a deleted user; and which deletions of
// users were seen. The zero value is ready to use.
type suspects struct {
	mu  sync.Mutex
	ids map[types.NamespacedName]map[string]bool
	// deleted are the users with a deletion that was seen, in the order of time.
	deleted map[types.NamespacedName]deletion
	order   []types.NamespacedName
	// absent are members that were found to be no users, with the time of that.
	absent map[types.NamespacedName]map[string]time.Time
}

// deletion is what was seen of the end of a user.
type deletion struct {
	at time.Time
	// groups that the user was a member of then.
	groups []types.UID
}

func (s *suspects) add(group types.NamespacedName, ids ...string) {
	if len(ids) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[types.NamespacedName]map[string]bool{}
	}
	of := s.ids[group]
	if of == nil {
		of = make(map[string]bool, len(ids))
		s.ids[group] = of
	}
	for _, id := range ids {
		of[id] = true
	}
}

// take returns a group's suspects, and forgets them.
func (s *suspects) take(group types.NamespacedName) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]string, 0, len(s.ids[group]))
	for id := range s.ids[group] {
		ids = append(ids, id)
	}
	delete(s.ids, group)
	return ids
}

// sawDeletion notes that a user is gone, or going, and which groups it was a member of.
func (s *suspects) sawDeletion(user types.NamespacedName, groups []types.UID, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted == nil {
		s.deleted = map[types.NamespacedName]deletion{}
	}
	before, known := s.deleted[user]
	if !known {
		s.order = append(s.order, user)
	}
	s.deleted[user] = deletion{at: now, groups: append(groups, before.groups...)}
	for len(s.order) > 0 && (len(s.order) > maxDeleted || now.Sub(s.deleted[s.order[0]].at) > deletedFor) {
		delete(s.deleted, s.order[0])
		s.order = s.order[1:]
	}
}

// sawUser notes that a user is there: one that was deleted may be put back from a backup.
func (s *suspects) sawUser(user types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.deleted, user)
}

// wasDeleted says whether the deletion of a user was seen since its group was made: a group that came later was put back from a
// backup, and its users may follow.
func (s *suspects) wasDeleted(group *v1alpha1.Group, id string, now time.Time) bool {
	seen, found := s.deleted[types.NamespacedName{Namespace: group.Namespace, Name: id}]
	// Times of creation have whole seconds.
	return found && now.Sub(seen.at) <= deletedFor &&
		(slices.Contains(seen.groups, group.UID) || seen.at.Sub(group.CreationTimestamp.Time) >= time.Second)
}

// judge returns which members of a group, all of them no users, are to be removed: those with a deletion that was seen, and
// those that were absent for long. The others stay, to be looked at again after wait; 0 for none.
func (s *suspects) judge(object *v1alpha1.Group, ids []string, now time.Time) (departed []string, wait time.Duration) {
	group := client.ObjectKeyFromObject(object)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		since, known := s.absent[group][id]
		switch {
		case s.wasDeleted(object, id, now), known && now.Sub(since) >= absentFor:
			departed = append(departed, id)
			delete(s.absent[group], id)
			continue
		case !known:
			if s.absent == nil {
				s.absent = map[types.NamespacedName]map[string]time.Time{}
			}
			if s.absent[group] == nil {
				s.absent[group] = map[string]time.Time{}
			}
			s.absent[group][id] = now
		}
		wait = lookAgain
	}
	if len(s.absent[group]) == 0 {
		delete(s.absent, group)
	}
	return departed, wait
}

// isAbsent says whether a member was found to be no user before, is not to be taken out yet, and need not be looked at again.
func (s *suspects) isAbsent(group *v1alpha1.Group, id string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, known := s.absent[client.ObjectKeyFromObject(group)][id]
	return known && now.Sub(since) < absentFor && !s.wasDeleted(group, id, now)
}

// present forgets that a member was absent.
func (s *suspects) present(group types.NamespacedName, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.absent[group], id)
}

// forget drops what is known of a group that is gone.
func (s *suspects) forget(group types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, group)
	delete(s.absent, group)
}

// absentees returns the members of a group that are absent, for the next look.
func (s *suspects) absentees(group types.NamespacedName) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]string, 0, len(s.absent[group]))
	for id := range s.absent[group] {
		ids = append(ids, id)
	}
	return ids
}
