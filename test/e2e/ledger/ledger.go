// Package ledger keeps what a SCIM server has acknowledged to its client, and compares that with what the server shows
// later: an acknowledged change that is missing is a lost write.
//
// It stands beside the client of test/okta/client, and reads the resources that it decodes. It knows nothing of Kubernetes.
package ledger

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// Person is the state of one user as the last acknowledged change left it.
type Person struct {
	ID, UserName, ExternalID string
	// Role is the custom attribute of that name.
	Role   string
	Active bool
}

// Group is the state of one group as the last acknowledged change left it.
type Group struct {
	ID, Name string
	// Members are ids of users, in any order.
	Members []string
}

// Ledger is the list of acknowledged states. The zero value is empty; it may be used by several goroutines.
type Ledger struct {
	mu      sync.Mutex
	people  map[string]Person
	groups  map[string]Group
	changes int
}

// Record replaces the state of one person by an acknowledged one.
func (l *Ledger) Record(p Person) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.people == nil {
		l.people = map[string]Person{}
	}
	l.people[p.ID] = p
	l.changes++
}

// RecordGroup replaces the state of one group by an acknowledged one.
func (l *Ledger) RecordGroup(g Group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.groups == nil {
		l.groups = map[string]Group{}
	}
	g.Members = slices.Sorted(slices.Values(g.Members))
	l.groups[g.ID] = g
	l.changes++
}

// Changes counts the acknowledged changes.
func (l *Ledger) Changes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changes
}

// People returns a copy of the acknowledged states, ordered by id.
func (l *Ledger) People() []Person {
	l.mu.Lock()
	defer l.mu.Unlock()
	var people []Person
	for _, id := range slices.Sorted(maps.Keys(l.people)) {
		people = append(people, l.people[id])
	}
	return people
}

// Compare holds users and groups, decoded from list responses, against the ledger, and returns a line for each
// difference: a state that is not the acknowledged one, a resource that is missing, one that nothing acknowledged, a
// userName or display name that appears twice.
func (l *Ledger) Compare(users, groups []any) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := append(l.comparePeople(users), l.compareGroups(groups)...)
	slices.Sort(lines)
	return lines
}

func (l *Ledger) comparePeople(users []any) []string {
	var lines []string
	shown, names := map[string]bool{}, map[string]int{}
	for _, user := range users {
		got := PersonIn(user)
		shown[got.ID] = true
		names[got.UserName]++
		want, known := l.people[got.ID]
		switch {
		case !known:
			lines = append(lines, fmt.Sprintf("user %s (%s) was never acknowledged", got.ID, got.UserName))
		case got != want:
			lines = append(lines, fmt.Sprintf("user %s is %+v, acknowledged was %+v", got.ID, got, want))
		}
	}
	for id, want := range l.people {
		if !shown[id] {
			lines = append(lines, fmt.Sprintf("user %s (%s) was acknowledged and is missing", id, want.UserName))
		}
	}
	return append(lines, twice("userName", names)...)
}

func (l *Ledger) compareGroups(groups []any) []string {
	var lines []string
	shown, names := map[string]bool{}, map[string]int{}
	for _, group := range groups {
		got := GroupIn(group)
		shown[got.ID] = true
		names[got.Name]++
		want, known := l.groups[got.ID]
		switch {
		case !known:
			lines = append(lines, fmt.Sprintf("group %s (%s) was never acknowledged", got.ID, got.Name))
		case got.Name != want.Name || !slices.Equal(got.Members, want.Members):
			lines = append(lines, fmt.Sprintf("group %s is %+v, acknowledged was %+v", got.ID, got, want))
		}
	}
	for id, want := range l.groups {
		if !shown[id] {
			lines = append(lines, fmt.Sprintf("group %s (%s) was acknowledged and is missing", id, want.Name))
		}
	}
	return append(lines, twice("display name", names)...)
}

func twice(what string, names map[string]int) []string {
	var lines []string
	for name, count := range names {
		if count > 1 {
			lines = append(lines, fmt.Sprintf("%d resources have the %s %q", count, what, name))
		}
	}
	return lines
}

// PersonIn reads the state of a decoded user.
func PersonIn(user any) Person {
	text := func(name string) string { value, _ := okta.At(user, name).(string); return value }
	active, _ := okta.At(user, "active").(bool)
	return Person{ID: text("id"), UserName: text("userName"), ExternalID: text("externalId"), Role: text("role"), Active: active}
}

// GroupIn reads the state of a decoded group.
func GroupIn(group any) Group {
	id, _ := okta.At(group, "id").(string)
	name, _ := okta.At(group, "displayName").(string)
	members := okta.MembersIn(group)
	slices.Sort(members)
	return Group{ID: id, Name: name, Members: members}
}
