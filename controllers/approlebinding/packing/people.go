package packing

import (
	"cmp"
	"slices"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// Facts are what a run knows of the users that it looks at.
type Facts struct {
	// App is the current state of the App.
	App earned.AppGeneration
	// Standings of evaluated users, by name.
	Standings map[string]earned.Standing
	// Names are the RBAC user names that a user may have, now or formerly, by the User object's name: of users that were
	// not evaluated and may have access, and of kept users that are bound under another name.
	Names map[string][]string
}

// NeedsNames reports whether Facts.Names must be gathered for the user of a bound subject.
//
// A user that was not evaluated since this process began stays bound if the User object as such allows it: to prune from a
// state that is half known would take access from users that have earned it. A kept user stays in the native bindings that
// name it: its name may be one by which the App called it before an edit, but never one that it gave away.
func (f Facts) NeedsNames(bound v1alpha1.AppRoleSubject) bool {
	known := f.Standings[bound.User]
	return !known.Evaluated || known.Kept && known.Subject.Name != bound.Name
}

// Decide returns the member that a bound subject becomes, or false where it leaves.
func (f Facts) Decide(bound v1alpha1.AppRoleSubject) (m Member, stays bool) {
	theirs := f.Names[bound.User]
	known := f.Standings[bound.User]
	if !known.Evaluated {
		return Member{AppRoleSubject: bound, Unevaluated: true}, slices.Contains(theirs, bound.Name)
	}
	m = Member{AppRoleSubject: known.Subject, Current: known.IsCurrent(f.App), Kept: known.Kept}
	if slices.Contains(theirs, bound.Name) {
		m.Formerly = theirs
	}
	return m, known.Holds
}

// Newcomer returns the member that an unbound user becomes, or false: a user that was evaluated for the current generation
// and holds the role.
func (f Facts) Newcomer(user string) (m Member, joins bool) {
	known := f.Standings[user]
	return Member{AppRoleSubject: known.Subject, Current: true}, known.Holds && known.IsCurrent(f.App)
}

// IsIn reports whether a binding names a user. It expects subjects sorted by user, as this operator writes them.
func IsIn(binding *v1alpha1.AppRoleBinding, user string) bool {
	_, found := find(binding, user)
	return found
}

// Position of a user in a binding, or -1. It also finds users in bindings that others wrote unsorted.
func Position(binding *v1alpha1.AppRoleBinding, user string) int {
	if i, found := find(binding, user); found {
		return i
	}
	if slices.IsSortedFunc(binding.Spec.Subjects, func(a, b v1alpha1.AppRoleSubject) int { return cmp.Compare(a.User, b.User) }) {
		return -1
	}
	return slices.IndexFunc(binding.Spec.Subjects, func(s v1alpha1.AppRoleSubject) bool { return s.User == user })
}

func find(binding *v1alpha1.AppRoleBinding, user string) (int, bool) {
	return slices.BinarySearchFunc(binding.Spec.Subjects, user, func(s v1alpha1.AppRoleSubject, user string) int {
		return cmp.Compare(s.User, user)
	})
}

// Unbound returns the users that no binding names, in their order.
func Unbound(bindings []*v1alpha1.AppRoleBinding, users []string) []string {
	bound := map[string]bool{}
	for _, binding := range bindings {
		for i := range binding.Spec.Subjects {
			bound[binding.Spec.Subjects[i].User] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(users), func(user string) bool { return bound[user] })
}

// Looked returns the bindings that a run has to look at which does not look at all: those that name a dirty user, those for
// which due is true, and the first ones with room for that many newcomers. It sorts bindings by index.
func Looked(bindings []*v1alpha1.AppRoleBinding, dirty []string, newcomers int, due func(*v1alpha1.AppRoleBinding) bool) []*v1alpha1.AppRoleBinding {
	slices.SortFunc(bindings, func(a, b *v1alpha1.AppRoleBinding) int { return cmp.Compare(a.Spec.Index, b.Spec.Index) })
	var looked []*v1alpha1.AppRoleBinding
	for _, binding := range bindings {
		room := MaxSubjects - len(binding.Spec.Subjects)
		if newcomers > 0 && room > 0 {
			newcomers -= room
			looked = append(looked, binding)
			continue
		}
		if due(binding) || slices.ContainsFunc(dirty, func(user string) bool { return IsIn(binding, user) }) {
			looked = append(looked, binding)
		}
	}
	return looked
}
