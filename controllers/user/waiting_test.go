package user

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// A user that waits for the Kubernetes name of another is evaluated when that one gives it up, once, and not before.
func TestWaitingForAName(t *testing.T) {
	holder := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "holder"}}
	holder.Spec.App, holder.Spec.ExternalID = "app", "00u1"
	holder.Spec.Emails = []v1alpha1.MultiValue{{Value: "Jane@example.com", Primary: true}}
	change := func(f func(*v1alpha1.UserSpec)) *v1alpha1.User {
		changed := holder.DeepCopy()
		f(&changed.Spec)
		return changed
	}
	for name, test := range map[string]struct {
		after *v1alpha1.User
		want  []string
	}{
		"gone":                   {nil, []string{"by-email", "by-id"}},
		"another address":        {change(func(s *v1alpha1.UserSpec) { s.Emails[0].Value = "joan@example.com" }), []string{"by-email"}},
		"the address folds same": {change(func(s *v1alpha1.UserSpec) { s.Emails[0].Value = "jane@EXAMPLE.com" }), nil},
		"another externalId":     {change(func(s *v1alpha1.UserSpec) { s.ExternalID = "00u2" }), []string{"by-id"}},
		"the id without case":    {change(func(s *v1alpha1.UserSpec) { s.ExternalID = "00U1" }), []string{"by-id"}},
		"something else":         {change(func(s *v1alpha1.UserSpec) { s.Title = "Lead" }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var w waiting
			if users := w.freed(holder, nil); users != nil {
				t.Errorf("of none that waits: %v", users)
			}
			user := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "ns", Name: name} }
			w.add("ns", "app", v1alpha1.ClaimEmail, claims.Key("jane@example.com"), user("by-email"))
			w.add("ns", "app", v1alpha1.ClaimExternalID, "00u1", user("by-id"))
			w.add("ns", "app", v1alpha1.ClaimExternalID, "00u1", user("by-id"))
			w.add("ns", "other", v1alpha1.ClaimExternalID, "00u1", user("of-another-app"))
			w.add("elsewhere", "app", v1alpha1.ClaimExternalID, "00u1", types.NamespacedName{Namespace: "elsewhere", Name: "of-another-namespace"})
			var names []string
			for _, name := range w.freed(holder, test.after) {
				names = append(names, name.Name)
			}
			slices.Sort(names)
			if !slices.Equal(names, test.want) {
				t.Errorf("freed %v, want %v", names, test.want)
			}
			if again := w.freed(holder, test.after); again != nil {
				t.Errorf("told twice: %v", again)
			}
		})
	}
}

func TestPendingRemovals(t *testing.T) {
	var p pendingRemovals
	jane := types.NamespacedName{Namespace: "ns", Name: "jane"}
	p.set(jane, nil)
	if keys := p.of(jane); keys != nil {
		t.Errorf("of none: %v", keys)
	}
	lost := []earned.RoleInScope{{Namespace: "ns", App: "app", Role: "admin", Scope: "default"}}
	p.set(jane, lost)
	if keys := p.of(jane); !slices.Equal(keys, lost) || p.of(types.NamespacedName{Namespace: "other", Name: "jane"}) != nil {
		t.Errorf("pending are %v", keys)
	}
	p.set(jane, []earned.RoleInScope{})
	if keys := p.of(jane); keys != nil || len(p.keys) > 0 {
		t.Errorf("after they were done: %v", keys)
	}
}
