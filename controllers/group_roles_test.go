package controllers_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// byGroups has the role admin of the App earned by groups alone, and no default role.
func byGroups(names ...string) func(*v1alpha1.AppSpec) {
	return func(spec *v1alpha1.AppSpec) {
		spec.RoleAssignment.Default = nil
		spec.Roles[1].Groups = names
	}
}

// eventuallyRoles waits until a user holds roles for these reasons: role names and reasons, one text.
func (k *cluster) eventuallyRoles(user *v1alpha1.User, want string) {
	k.Helper()
	k.eventually(func() string {
		if err := env.Client.Get(k.ctx, client.ObjectKeyFromObject(user), user); err != nil {
			return err.Error()
		}
		var texts []string
		for _, role := range user.Status.Roles {
			texts = append(texts, role.Role+": "+strings.Join(role.Reasons, ", "))
		}
		if got := strings.Join(texts, "; "); got != want || user.Status.ObservedGeneration != user.Generation {
			return fmt.Sprintf("roles of %s = %q, want %q", user.Spec.UserName, got, want)
		}
		return ""
	})
}

func (d *directory) setMembers(g *v1alpha1.Group, members ...string) {
	d.Helper()
	slices.Sort(members)
	update(d, g, func(g *v1alpha1.Group) { g.Spec.Members = members })
}

// rename renames a group as the server does, as often as it takes.
func (d *directory) rename(g *v1alpha1.Group, displayName string) {
	d.Helper()
	d.eventually(func() string {
		if err := env.Client.Get(d.ctx, client.ObjectKeyFromObject(g), g); err != nil {
			return err.Error()
		}
		renamed, err := claims.ForGroups(env.Client, d.namespace).Rename(d.ctx, g.DeepCopy(), claims.Key(displayName), func(g *v1alpha1.Group) error {
			g.Spec.DisplayName, g.Spec.DisplayNameKey = displayName, claims.Key(displayName)
			return nil
		})
		if err != nil {
			return err.Error()
		}
		*g = *renamed
		return ""
	})
}

// apply changes members as the server does, sharded or not.
func (d *directory) apply(g *v1alpha1.Group, change func(*membership.Delta)) {
	d.Helper()
	var delta membership.Delta
	change(&delta)
	_, _, err := membership.New(membership.NewStore(env.Client, d.namespace, nil), membership.InlineLimit).
		Apply(d.ctx, g.Name, func(*v1alpha1.Group) (membership.Decision, error) {
			return membership.Decision{Members: delta}, nil
		})
	if err != nil {
		d.Fatal(err)
	}
}

// keepsHolding watches the AppRoleBindings of one role from now on. The function that it returns lists the users that were
// out of them at some moment since.
func (w *world) keepsHolding(role string, users ...string) func() []string {
	w.Helper()
	watcher, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		w.Fatal(err)
	}
	var list v1alpha1.AppRoleBindingList
	events, err := watcher.Watch(w.ctx, &list, client.InNamespace(w.namespace))
	if err != nil {
		w.Fatal(err)
	}
	marker := &v1alpha1.AppRoleBinding{}
	lost := map[string]bool{}
	bindings, seen := map[string][]v1alpha1.AppRoleSubject{}, map[string]bool{}
	done := make(chan struct{})
	take := func(event watch.Event) (last bool) {
		binding, isBinding := event.Object.(*v1alpha1.AppRoleBinding)
		switch {
		case !isBinding:
			return false
		case binding.Spec.App == "marker":
			return true
		case binding.Spec.RoleRef.Name != role:
			return false
		}
		bindings[binding.Name] = binding.Spec.Subjects
		if event.Type == watch.Deleted {
			delete(bindings, binding.Name)
		}
		named := map[string]bool{}
		for _, subjects := range bindings {
			for i := range subjects {
				named[subjects[i].User] = true
			}
		}
		for _, user := range users {
			if seen[user] && !named[user] {
				lost[user] = true
			}
			seen[user] = seen[user] || named[user]
		}
		return false
	}
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			if take(event) {
				return
			}
		}
	}()
	return func() []string {
		// What the marker's event comes after has been seen.
		marker.Namespace, marker.Name = w.namespace, fmt.Sprintf("marker-%d", userCount.Add(1))
		marker.Spec = v1alpha1.AppRoleBindingSpec{App: "marker", RoleRef: v1alpha1.AppRoleRef{Name: "marker"}, Scope: "marker"}
		w.create(marker)
		<-done
		events.Stop()
		for _, user := range users {
			if !seen[user] {
				lost[user] = true
			}
		}
		var names []string
		for user := range lost {
			names = append(names, user)
		}
		slices.Sort(names)
		return names
	}
}

func TestRolesByGroup(t *testing.T) {
	w := newWorld(t, byGroups("platform ADMINS", "00g-exact"))
	ada, bob := w.provision(w.newUser("ada", "")), w.provision(w.newUser("bob", ""))
	g := w.push("Platform Admins", membership.InlineLimit, ada.Name)
	w.eventuallyRoles(ada, `admin: member of group "Platform Admins"`)
	w.eventuallyCan("okta:ada", "delete", w.namespace, true)
	w.eventuallyRoles(bob, "")
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(g), g); err != nil {
			return err.Error()
		}
		if !slices.Equal(g.Status.Roles, []string{"admin"}) {
			return fmt.Sprintf("the group confers %v", g.Status.Roles)
		}
		return ""
	})

	// A member that is a User of another App, or no User, earns nothing; users that come and go do.
	w.setMembers(g, bob.Name)
	w.eventuallyRoles(ada, "")
	w.eventuallyCan("okta:ada", "delete", w.namespace, false)
	w.eventuallyRoles(bob, `admin: member of group "Platform Admins"`)

	w.rename(g, "Former Admins")
	w.eventuallyRoles(bob, "")
	w.eventuallyCan("okta:bob", "delete", w.namespace, false)
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(g), g); err != nil {
			return err.Error()
		}
		if len(g.Status.Roles) > 0 || g.Status.ReservedKey != g.Spec.DisplayNameKey {
			return fmt.Sprintf("status %+v", g.Status)
		}
		return ""
	})
	update(w, g, func(g *v1alpha1.Group) { g.Spec.ExternalID = "00G-EXACT" })
	update(w, g, func(g *v1alpha1.Group) { g.Spec.ExternalID = "00g-exact" })
	w.eventuallyRoles(bob, `admin: member of group "Former Admins"`)

	// A rename takes nothing from users with a role that does not depend on the name.
	lost := w.keepsHolding("admin", bob.Name)
	w.rename(g, "Renamed")
	w.eventuallyRoles(bob, `admin: member of group "Renamed"`)
	if names := lost(); len(names) > 0 {
		t.Errorf("%v lost the role for a moment", names)
	}
	if err := env.Client.Delete(w.ctx, g); err != nil {
		t.Fatal(err)
	}
	w.eventuallyRoles(bob, "")
	w.eventuallyCan("okta:bob", "delete", w.namespace, false)
}

// A Group without the claim of its name grants nothing, and one that loses its claim grants nothing any more.
func TestUnclaimedGroupGrantsNothing(t *testing.T) {
	w := newWorld(t, byGroups("Admins"))
	ada, bob := w.provision(w.newUser("ada", "")), w.provision(w.newUser("bob", ""))
	first := w.push("Admins", membership.InlineLimit, ada.Name)
	w.eventuallyRoles(ada, `admin: member of group "Admins"`)
	second := w.newGroup("ADMINS", membership.InlineLimit, bob.Name)
	w.create(second)
	w.eventuallyRoles(bob, "")
	w.eventuallyCondition(second, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNameTaken)
	w.eventuallyCondition(bob, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonNoRole)
	if len(second.Status.Roles) > 0 {
		t.Errorf("the second group confers %v", second.Status.Roles)
	}
	// A key that was written past the protocol has no claim.
	update(w, first, func(g *v1alpha1.Group) { g.Spec.DisplayNameKey, g.Spec.ExternalID = "stolen", "Admins" })
	w.eventuallyRoles(ada, "")
}

func TestExpressionOverGroups(t *testing.T) {
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.RoleAssignment.Default = nil
		spec.Roles[1].When = `user.department == "Platform" && "admins" in groups`
	})
	ada, bob := w.newUser("ada", ""), w.newUser("bob", "")
	ada.Spec.Enterprise = &v1alpha1.EnterpriseUser{Department: "Platform"}
	w.provision(ada)
	w.provision(bob)
	g := w.push("admins", membership.InlineLimit, ada.Name, bob.Name)
	w.eventuallyRoles(ada, "admin: expression of role admin")
	w.eventuallyRoles(bob, "")
	update(w, ada, func(u *v1alpha1.User) { u.Spec.Enterprise.Department = "Sales" })
	w.eventuallyRoles(ada, "")
	update(w, bob, func(u *v1alpha1.User) { u.Spec.Enterprise = &v1alpha1.EnterpriseUser{Department: "Platform"} })
	w.eventuallyRoles(bob, "admin: expression of role admin")
	w.setMembers(g)
	w.eventuallyRoles(bob, "")
}

// A member that stays in a group never loses a role for a moment while the group outgrows its object, is put into other
// shards, comes back inline, or the controllers start anew.
func TestLargeGroupKeepsRoles(t *testing.T) {
	w := newWorld(t, byGroups("Everybody"))
	const people = 620
	ids := make([]string, people)
	for i := range ids {
		ids[i] = w.provision(w.newUser(fmt.Sprintf("person%d", i), "")).Name
	}
	g := w.push("Everybody", membership.InlineLimit, ids[:490]...)
	holders := func(want ...string) {
		t.Helper()
		slices.Sort(want)
		w.eventually(func() string {
			var got []string
			for _, binding := range w.bindings() {
				for i := range binding.Spec.Subjects {
					got = append(got, binding.Spec.Subjects[i].User)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				return fmt.Sprintf("%d people hold the role, want %d", len(got), len(want))
			}
			return ""
		})
	}
	holders(ids[:490]...)
	lost := w.keepsHolding("admin", ids[:200]...)
	w.apply(g, func(d *membership.Delta) { d.Add(ids[490:]...) }) // to shards
	holders(ids...)
	w.apply(g, func(d *membership.Delta) { d.Remove(ids[300:]...) })
	holders(ids[:300]...)
	w.apply(g, func(d *membership.Delta) { d.Replace(ids[:200]...) }) // inline again
	holders(ids[:200]...)
	w.apply(g, func(d *membership.Delta) { d.Add(ids[200:]...) }) // to shards of another epoch
	holders(ids...)
	w.stop()
	w.start()
	leaver := types.NamespacedName{Namespace: w.namespace, Name: ids[619]}
	w.apply(g, func(d *membership.Delta) { d.Remove(leaver.Name) })
	holders(ids[:619]...)
	w.rename(g, "everybody")
	user := &v1alpha1.User{}
	if err := env.Client.Get(context.Background(), types.NamespacedName{Namespace: w.namespace, Name: ids[0]}, user); err != nil {
		t.Fatal(err)
	}
	w.eventuallyRoles(user, `admin: member of group "everybody"`)
	if names := lost(); len(names) > 0 {
		t.Errorf("%d people lost the role for a moment, such as %s", len(names), names[0])
	}
}
