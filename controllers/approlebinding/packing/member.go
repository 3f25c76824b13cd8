package packing

import (
	"cmp"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/names"
)

// Member is one user of a chunk.
type Member struct {
	v1alpha1.AppRoleSubject
	// Current says that the user was evaluated for the App's current generation. Other members keep the native bindings that
	// name them, and are added to none.
	Current bool
	// Unevaluated says that this process has not evaluated the user for any generation.
	Unevaluated bool
	// Kept marks a member held by spec.safety; runs must not wait for its re-evaluation.
	Kept bool
	// Before is the Kubernetes group that the AppRoleBinding recorded for the user: native bindings may name it until they
	// are rewritten.
	Before string
	// Formerly are the RBAC user names of a kept and renamed user, the current one among them: native bindings that name
	// them are the user's.
	Formerly []string
}

// Native returns the RBAC subject of the member.
func (m *Member) Native() rbacv1.Subject {
	if m.Group != "" {
		return groupSubject(m.Group)
	}
	return userSubject(m.Name)
}

// Natives returns all RBAC subjects that may stand for the member while bindings are being rewritten.
func (m *Member) Natives() []rbacv1.Subject {
	subjects := []rbacv1.Subject{userSubject(m.Name)}
	for _, group := range []string{m.Group, m.Before} {
		if group != "" {
			subjects = append(subjects, groupSubject(group))
		}
	}
	return subjects
}

func userSubject(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}
}

func groupSubject(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: name}
}

// isReserved reports whether a subject must never be bound.
func isReserved(subject v1alpha1.AppRoleSubject) bool {
	return names.IsReserved(subject.Name) || names.IsReserved(subject.Group)
}

// SetOf returns subjects as a set.
func SetOf(subjects []rbacv1.Subject) map[rbacv1.Subject]bool {
	set := make(map[rbacv1.Subject]bool, len(subjects))
	for _, subject := range subjects {
		set[subject] = true
	}
	return set
}

// sorted orders subjects in place and drops duplicates: users share groups.
func sorted(subjects []rbacv1.Subject) []rbacv1.Subject {
	slices.SortFunc(subjects, func(a, b rbacv1.Subject) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(subjects)
}
