package approlebinding

import (
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
)

// differences says how a native binding differs from what this operator made of it, subjects apart that come or go by this run
// itself.
func (p *plan) differences(id overlay.ID, object client.Object) string {
	want, found := p.desired[id]
	have := nativeOf(object)
	var texts []string
	if found && have.roleRef != want.roleRef {
		texts = append(texts, fmt.Sprintf("it bound %s %s", have.roleRef.Kind, have.roleRef.Name))
	}
	texts = append(texts, p.lacking("%s %s had been added", have.subjects, want.subjects)...)
	texts = append(texts, p.lacking("%s %s was missing", want.subjects, have.subjects)...)
	if found && !isMarkedFor(p.key, object, want.chunk.Index) {
		texts = append(texts, "its labels or annotations had been changed")
	}
	return listed(append(texts, held(object)...))
}

// held says by what others decide when an object ends.
func held(object client.Object) []string {
	var texts []string
	for _, finalizer := range object.GetFinalizers() {
		if finalizer != v1alpha1.FinalizerBindings {
			texts = append(texts, "finalizer "+finalizer+" had been added")
		}
	}
	for _, owner := range object.GetOwnerReferences() {
		texts = append(texts, fmt.Sprintf("%s %s had been made its owner", owner.Kind, owner.Name))
	}
	if !object.GetDeletionTimestamp().IsZero() {
		texts = append(texts, "it was being deleted")
	}
	return texts
}

func (p *plan) lacking(format string, subjects, others []rbacv1.Subject) []string {
	known := packing.SetOf(others)
	var texts []string
	for _, subject := range subjects {
		if !known[subject] && !p.moved[subject] {
			texts = append(texts, fmt.Sprintf(format, subject.Kind, subject.Name))
		}
	}
	return texts
}

func listed(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	if len(texts) > maxNamed {
		texts = append(texts[:maxNamed:maxNamed], fmt.Sprintf("and %d more", len(texts)-maxNamed))
	}
	return ": " + strings.Join(texts, ", ")
}

// bindingDifferences says how an AppRoleBinding differed from what this operator made of it, subjects apart that come or go by
// this run itself.
func (p *plan) bindingDifferences(have, want *v1alpha1.AppRoleBinding) string {
	var texts []string
	lacks := func(format string, subjects, others []v1alpha1.AppRoleSubject) {
		for _, subject := range subjects {
			if !slices.Contains(others, subject) && !p.movedUsers[subject.User] && !p.trailing[subject.User] {
				texts = append(texts, fmt.Sprintf(format, subject.User, subject.Name))
			}
		}
	}
	lacks("%s as %s had been added", have.Spec.Subjects, want.Spec.Subjects)
	lacks("%s as %s was missing", want.Spec.Subjects, have.Spec.Subjects)
	if !contains(have.Labels, want.Labels) || !slices.Contains(have.Finalizers, v1alpha1.FinalizerBindings) {
		texts = append(texts, "its labels or finalizers had been changed")
	}
	return listed(append(texts, held(have)...))
}
