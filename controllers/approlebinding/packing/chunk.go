package packing

import (
	"cmp"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Chunk is the part of a role's members that one AppRoleBinding holds. It is read-only once Pack has returned it.
type Chunk struct {
	Index int32
	// Existing is the AppRoleBinding as it was read; nil for none.
	Existing *v1alpha1.AppRoleBinding
	// Members that it should hold, sorted by user; not set where the chunk is not touched.
	Members []Member
	// Size is the number of members, also where the chunk is not touched.
	Size int
	// Touched says that the run looks at this chunk. Of the others it knows no more than that they exist.
	Touched bool
	// HasRemovals says that a user leaves the chunk, or is bound under another subject from now on.
	HasRemovals bool

	// allowed are the subjects that native bindings of the chunk may name for now.
	allowed map[rbacv1.Subject]bool
	// successors maps former names of kept members to their current subjects.
	successors map[rbacv1.Subject][]rbacv1.Subject
}

// NewChunk returns a touched chunk with members, without an AppRoleBinding.
func NewChunk(index int32, members ...Member) *Chunk {
	c := &Chunk{Index: index, Members: members, Size: len(members), Touched: true}
	c.indexSubjects()
	return c
}

// indexSubjects derives from the members, once, what native bindings may name.
func (c *Chunk) indexSubjects() {
	c.allowed = make(map[rbacv1.Subject]bool, len(c.Members))
	c.successors = map[rbacv1.Subject][]rbacv1.Subject{}
	for i := range c.Members {
		m := &c.Members[i]
		for _, subject := range m.Natives() {
			c.allowed[subject] = true
		}
		for _, name := range m.Formerly {
			former := userSubject(name)
			c.successors[former] = append(c.successors[former], m.Native())
		}
	}
}

// Subjects returns the members as an AppRoleBinding has them.
func (c *Chunk) Subjects() []v1alpha1.AppRoleSubject {
	subjects := make([]v1alpha1.AppRoleSubject, len(c.Members))
	for i := range c.Members {
		subjects[i] = c.Members[i].AppRoleSubject
	}
	return subjects
}

// Lost returns the users that the AppRoleBinding names and the chunk does not have, and whether the two differ by nothing else.
func (c *Chunk) Lost() (users []string, only bool) {
	if c.Existing == nil {
		return nil, len(c.Members) == 0
	}
	next := 0
	for _, subject := range c.Existing.Spec.Subjects {
		if next < len(c.Members) && c.Members[next].AppRoleSubject == subject {
			next++
			continue
		}
		users = append(users, subject.User)
	}
	return users, next == len(c.Members)
}

// Has reports whether a user is a member.
func (c *Chunk) Has(user string) bool {
	_, found := slices.BinarySearchFunc(c.Members, user, func(m Member, user string) int { return cmp.Compare(m.User, user) })
	return found
}

// HasUnevaluated reports whether this process has not evaluated one of the members at all.
func (c *Chunk) HasUnevaluated() bool {
	return slices.ContainsFunc(c.Members, func(m Member) bool { return m.Unevaluated })
}

// Among returns the subjects that the chunk allows, former names replaced, sorted, and whether any other subject is present.
// A nil chunk allows none.
func (c *Chunk) Among(subjects []rbacv1.Subject) (remain []rbacv1.Subject, others bool) {
	for _, subject := range subjects {
		if c != nil && c.allowed[subject] {
			remain = append(remain, subject)
			continue
		}
		others = true
		if c != nil {
			remain = append(remain, c.successorsOf(subject)...)
		}
	}
	return sorted(remain), others
}

// successorsOf maps former user names of kept members to their current ones. A name that belongs to a current member is
// never treated as former.
func (c *Chunk) successorsOf(subjects ...rbacv1.Subject) (successors []rbacv1.Subject) {
	for _, subject := range subjects {
		if !c.allowed[subject] {
			successors = append(successors, c.successors[subject]...)
		}
	}
	return successors
}

// Wanted returns the subjects, sorted, of a native binding that the App asks for, and whether one is left out until its user
// has been evaluated for the App's current generation. existing are the subjects that the binding has.
func (c *Chunk) Wanted(existing []rbacv1.Subject) (subjects []rbacv1.Subject, waiting bool) {
	var named map[rbacv1.Subject]bool
	for i := range c.Members {
		m := &c.Members[i]
		if m.Current {
			subjects = append(subjects, m.Native())
			continue
		}
		if named == nil {
			named = SetOf(existing)
		}
		for _, subject := range m.Natives() {
			if named[subject] {
				subjects = append(subjects, subject)
			}
		}
		waiting = waiting || !m.Kept && !named[m.Native()]
	}
	return sorted(append(subjects, c.successorsOf(existing...)...)), waiting
}

// Retained returns the subjects, sorted, that a native binding keeps which the App no longer asks for: those of users not yet
// evaluated for the App's current generation. waiting says that one of them is to be evaluated.
func (c *Chunk) Retained(existing []rbacv1.Subject) (subjects []rbacv1.Subject, waiting bool) {
	named := SetOf(existing)
	for i := range c.Members {
		if c.Members[i].Current {
			continue
		}
		for _, subject := range c.Members[i].Natives() {
			if named[subject] {
				subjects = append(subjects, subject)
				waiting = waiting || !c.Members[i].Kept
			}
		}
	}
	return sorted(append(subjects, c.successorsOf(existing...)...)), waiting
}
