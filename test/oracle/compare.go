package oracle

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Differences compares what is with what should be, in both directions, and returns a line for each difference, sorted.
// Every binding counts that carries this operator's label or names one of the Apps' people, whatever wrote it. The errors
// are those of Expect.
func (c *Cluster) Differences(expressions map[string]Expression) ([]string, error) {
	expected, err := c.Expect(expressions)
	if err != nil {
		return nil, err
	}
	return c.compare(expected, nil), nil
}

// DifferencesWhileHeld is Differences where spec.safety of Apps may hold roles that people do not earn any more. It also
// returns how many people are held. Which people are held follows from what was before, and not from the objects: that their
// status says so is enough, and AppRoleBindings must agree with it. Native bindings may give held people, and no others,
// more than they earn. The errors are those of Expect.
func (c *Cluster) DifferencesWhileHeld(expressions map[string]Expression) (differences []string, people int, err error) {
	expected, err := c.Expect(expressions)
	if err != nil {
		return nil, 0, err
	}
	held := map[string]bool{}
	for i := range c.Users {
		if user := &c.Users[i]; c.mayHold(user) && c.mayHaveAccess(user) && c.expectHeld(user, expected) {
			held["User/"+user.Status.KubernetesUsername] = true
			people++
		}
	}
	return c.compare(expected, held), people, nil
}

// mayHold says whether the App of a user holds bulk loss of roles.
func (c *Cluster) mayHold(user *v1alpha1.User) bool {
	return slices.ContainsFunc(c.Apps, func(app v1alpha1.App) bool {
		return app.Namespace == user.Namespace && app.Name == user.Spec.App && app.Spec.Safety != nil && app.DeletionTimestamp.IsZero()
	})
}

// expectHeld adds the roles that a user's status tells to be held, and says whether there are any.
func (c *Cluster) expectHeld(user *v1alpha1.User, expected *Expected) (found bool) {
	for _, role := range user.Status.Roles {
		if slices.ContainsFunc(role.Reasons, func(reason string) bool { return strings.HasPrefix(reason, "held by the App's spec.safety") }) {
			found = true
			expected.Holdings[Holding{
				Directory: user.Namespace, App: user.Spec.App, Role: role.Role, Scope: role.Scope,
				User: user.Name, Subject: user.Status.KubernetesUsername,
			}] = true
		}
	}
	return found
}

// compare lists the differences; subjects that are held may have more than is expected.
func (c *Cluster) compare(expected *Expected, held map[string]bool) []string {
	var lines []string
	actual := c.access()
	for access, bindings := range actual {
		if !expected.Access[access] && !held[access.Subject] {
			lines = append(lines, fmt.Sprintf("wrongly, %s, by %s", access, strings.Join(bindings, " and ")))
		}
	}
	for access := range expected.Access {
		if actual[access] == nil {
			lines = append(lines, fmt.Sprintf("missing: %s", access))
		}
	}
	lines = append(lines, c.compareHoldings(expected)...)
	lines = append(lines, c.compareStatus(expected)...)
	slices.Sort(lines)
	return lines
}

// access lists the access that there is, and the bindings that give it.
func (c *Cluster) access() map[Access][]string {
	living := map[string]bool{"": true}
	for i := range c.Namespaces {
		living[c.Namespaces[i].Name] = c.Namespaces[i].DeletionTimestamp.IsZero()
	}
	actual := map[Access][]string{}
	add := func(namespace, name string, marks map[string]string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		if !living[namespace] {
			return
		}
		marked := marks[v1alpha1.LabelManagedBy] == v1alpha1.ManagedByValue && c.isDirectory(marks[v1alpha1.LabelAppNamespace])
		for _, subject := range subjects {
			if marked || c.isPerson(subject) {
				access := Access{Namespace: namespace, Role: ref.Kind + "/" + ref.Name, Subject: subject.Kind + "/" + subject.Name}
				actual[access] = append(actual[access], strings.TrimPrefix(namespace+"/"+name, "/"))
			}
		}
	}
	for i := range c.RoleBindings {
		binding := &c.RoleBindings[i]
		add(binding.Namespace, binding.Name, binding.Labels, binding.RoleRef, binding.Subjects)
	}
	for i := range c.ClusterRoleBindings {
		binding := &c.ClusterRoleBindings[i]
		add("", binding.Name, binding.Labels, binding.RoleRef, binding.Subjects)
	}
	return actual
}

func (c *Cluster) isDirectory(namespace string) bool {
	return slices.ContainsFunc(c.Apps, func(app v1alpha1.App) bool { return app.Namespace == namespace }) ||
		slices.ContainsFunc(c.Users, func(user v1alpha1.User) bool { return user.Namespace == namespace })
}

// isPerson says whether a subject bears the prefix of one of the Apps.
func (c *Cluster) isPerson(subject rbacv1.Subject) bool {
	return subject.Kind == rbacv1.UserKind && slices.ContainsFunc(c.Apps, func(app v1alpha1.App) bool {
		prefix := app.Spec.Kubernetes.UsernamePrefix
		return prefix != nil && *prefix != "" && strings.HasPrefix(subject.Name, *prefix)
	})
}

// compareHoldings holds the AppRoleBindings against the roles held.
func (c *Cluster) compareHoldings(expected *Expected) []string {
	var lines []string
	shown := map[Holding]bool{}
	for i := range c.AppRoleBindings {
		binding := &c.AppRoleBindings[i]
		if !binding.DeletionTimestamp.IsZero() {
			lines = append(lines, fmt.Sprintf("AppRoleBinding %s/%s is still being deleted", binding.Namespace, binding.Name))
		}
		for _, subject := range binding.Spec.Subjects {
			holding := Holding{
				Directory: binding.Namespace, App: binding.Spec.App, Role: binding.Spec.RoleRef.Name, Scope: binding.Spec.Scope,
				User: subject.User, Subject: subject.Name, Group: subject.Group,
			}
			if shown[holding] {
				lines = append(lines, fmt.Sprintf("twice, AppRoleBinding %s says that %s", binding.Name, holding))
			}
			shown[holding] = true
			if !expected.Holdings[holding] {
				lines = append(lines, fmt.Sprintf("wrongly, AppRoleBinding %s says that %s", binding.Name, holding))
			}
		}
	}
	for holding := range expected.Holdings {
		if !shown[holding] {
			lines = append(lines, fmt.Sprintf("no AppRoleBinding says that %s", holding))
		}
	}
	return lines
}

// compareStatus holds what Users say of themselves against what they should have.
func (c *Cluster) compareStatus(expected *Expected) []string {
	held := map[[2]string][]string{}
	for holding := range expected.Holdings {
		user := [2]string{holding.Directory, holding.User}
		held[user] = append(held[user], holding.Role+" in "+holding.Scope)
	}
	var lines []string
	for i := range c.Users {
		user := &c.Users[i]
		want := slices.Sorted(slices.Values(held[[2]string{user.Namespace, user.Name}]))
		have := map[string]bool{}
		for _, role := range user.Status.Roles {
			have[role.Role+" in "+role.Scope] = true
		}
		if got := slices.Sorted(maps.Keys(have)); !slices.Equal(got, want) {
			lines = append(lines, fmt.Sprintf("the status of user %s (%s) lists the roles %q, they hold %q", user.Name, user.Spec.UserName, got, want))
		}
		left := !user.Spec.Active || user.Spec.Suspended
		revoked := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionAccessRevoked)
		said := v1alpha1.IsRevocationSettled(revoked) && revoked.ObservedGeneration == user.Generation
		if left && !said {
			lines = append(lines, fmt.Sprintf("the status of user %s (%s) does not say that their access was revoked", user.Name, user.Spec.UserName))
		}
	}
	return lines
}

// Sorted lists access in a stable order.
func Sorted(set map[Access]bool) []Access {
	return slices.SortedFunc(maps.Keys(set), func(a, b Access) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Role, b.Role))
	})
}
