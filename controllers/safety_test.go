package controllers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
)

func guarded(most int32, change func(*v1alpha1.AppSpec)) func(*v1alpha1.AppSpec) {
	return func(spec *v1alpha1.AppSpec) {
		change(spec)
		spec.Safety = &v1alpha1.Safety{MaxRemovals: most, Window: &metav1.Duration{Duration: time.Hour}}
	}
}

// eventuallyRemovals waits for what the App's status counts, and for how many people are bound.
func (w *world) eventuallyRemovals(count, held int32, bound int) {
	w.Helper()
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
			return err.Error()
		}
		removals := w.app.Status.Removals
		if removals == nil || removals.Count != count || removals.Held != held {
			return fmt.Sprintf("removals %+v, want count %d and held %d", removals, count, held)
		}
		if people := w.peopleBound(); people != bound {
			return fmt.Sprintf("%d people are bound, want %d", people, bound)
		}
		return ""
	})
}

// peopleBound counts people in the native bindings of the role admin, which has two grants.
func (w *world) peopleBound() int {
	w.Helper()
	people := 0
	for _, native := range w.natives() {
		if native.Labels[v1alpha1.LabelRole] == "admin" && native.RoleRef.Name == bindable("delete") {
			people += len(native.Subjects)
		}
	}
	return people
}

func (d *directory) release(value string) {
	d.Helper()
	update(d, d.app, func(app *v1alpha1.App) {
		app.Annotations = map[string]string{v1alpha1.AnnotationReleaseRemovals: value}
	})
}

func (d *directory) staff(count int) (users []*v1alpha1.User, ids []string) {
	d.Helper()
	for i := range count {
		user := d.provision(d.newUser(fmt.Sprintf("staff%d", i), ""))
		users, ids = append(users, user), append(ids, user.Name)
	}
	return users, ids
}

// heldOf returns the held users, by what their status says.
func (k *cluster) heldOf(users []*v1alpha1.User) (held []*v1alpha1.User) {
	k.Helper()
	for _, user := range users {
		if err := env.Client.Get(k.ctx, client.ObjectKeyFromObject(user), user); err != nil {
			k.Fatal(err)
		}
		if strings.Contains(fmt.Sprint(user.Status.Roles), "held by the App's spec.safety") {
			held = append(held, user)
		}
	}
	return held
}

// callBound renames the users in the bindings, as a leader leaves them that dies before a status tells of it.
func (w *world) callBound(otherwise func(name string) string) {
	w.Helper()
	for _, binding := range w.bindings() {
		update(w, &binding, func(b *v1alpha1.AppRoleBinding) {
			for i := range b.Spec.Subjects {
				b.Spec.Subjects[i].Name = otherwise(b.Spec.Subjects[i].Name)
			}
		})
	}
	for _, native := range w.natives() {
		update(w, &native, func(b *rbacv1.RoleBinding) {
			for i := range b.Subjects {
				b.Subjects[i].Name = otherwise(b.Subjects[i].Name)
			}
		})
	}
}

func TestBulkRemovalIsHeldAndReleased(t *testing.T) {
	w := newWorld(t, guarded(3, byGroups("Staff")))
	users, ids := w.staff(10)
	g := w.push("Staff", membership.InlineLimit, ids...)
	w.eventuallyRemovals(0, 0, 10)
	w.eventuallyCondition(w.app, v1alpha1.ConditionRemovalsHeld, metav1.ConditionFalse, v1alpha1.ReasonNoneHeld)

	w.setMembers(g)
	w.eventuallyRemovals(3, 7, 7)
	c := w.eventuallyCondition(w.app, v1alpha1.ConditionRemovalsHeld, metav1.ConditionTrue, v1alpha1.ReasonTooManyRemovals)
	w.eventuallyEvent(w.app, v1alpha1.ReasonTooManyRemovals, "keep roles that they do not earn any more")
	if want := fmt.Sprintf("kubectl annotate sapp demo -n %s scim-operator.io/release-removals=", w.namespace); !strings.Contains(c.Message, want) || !strings.HasPrefix(c.Message, "7 people") {
		t.Errorf("message = %q, want %q", c.Message, want)
	}
	w.eventually(func() string {
		return unless(len(w.heldOf(users)) == 7, "the status of 7 people tells that they are held")
	})
	held := w.heldOf(users)
	for _, user := range held {
		w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTooManyRemovals)
	}

	w.Run("a deactivated user goes at once", func(*testing.T) {
		update(w, held[0], func(u *v1alpha1.User) { u.Spec.Active = false })
		w.eventuallyCondition(held[0], v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
		w.eventuallyRemovals(3, 6, 6)
	})
	w.Run("a change of the profile releases no user", func(*testing.T) {
		update(w, held[1], func(u *v1alpha1.User) { u.Spec.Title = "Dr" })
		w.eventuallyCondition(held[1], v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTooManyRemovals)
		w.eventuallyRemovals(3, 6, 6)
	})
	w.Run("a user that earns the role again is not held any more", func(*testing.T) {
		w.setMembers(g, held[2].Name)
		w.eventuallyCondition(held[2], v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		w.eventuallyRemovals(3, 5, 6)
	})
	w.Run("a restart forgets nothing", func(t *testing.T) {
		w.stop()
		w.setMembers(g)
		w.start()
		w.eventuallyRemovals(3, 6, 6)
		for _, user := range held[1:] {
			w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTooManyRemovals)
		}
		if people := w.peopleBound(); people != 6 {
			t.Errorf("%d people are bound", people)
		}
	})
	w.Run("released", func(*testing.T) {
		w.release("first")
		w.eventuallyRemovals(0, 0, 0)
		w.eventually(func() string {
			if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
				return err.Error()
			}
			return unless(w.app.Status.Removals.Released == "first", "the release is noted")
		})
		w.eventuallyCondition(w.app, v1alpha1.ConditionRemovalsHeld, metav1.ConditionFalse, v1alpha1.ReasonNoneHeld)
		w.eventuallyCondition(held[1], v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonNoRole)
	})
	w.Run("the same value releases once", func(*testing.T) {
		w.setMembers(g, ids...)
		w.eventuallyRemovals(0, 0, 9)
		w.release("first")
		w.setMembers(g)
		w.eventuallyRemovals(3, 6, 6)
		w.release("second")
		w.eventuallyRemovals(0, 0, 0)
	})
}

func unless(holds bool, wanted string) string {
	if holds {
		return ""
	}
	return "not so: " + wanted
}

// What people's own changes take is neither held nor counted, however many they are.
func TestOwnChangesAreNotHeld(t *testing.T) {
	w := newWorld(t, guarded(1, func(*v1alpha1.AppSpec) {}))
	var users []*v1alpha1.User
	for i := range 6 {
		users = append(users, w.provision(w.newUser(fmt.Sprint("person", i), `{"role":"admin"}`)))
	}
	w.eventuallyRemovals(0, 0, 6)
	for _, user := range users[:3] {
		update(w, user, func(u *v1alpha1.User) { u.Spec.Attributes.Raw = []byte(`{"role":"viewer"}`) })
	}
	update(w, users[3], func(u *v1alpha1.User) { u.Spec.Active = false })
	update(w, users[4], func(u *v1alpha1.User) { u.Spec.Suspended = true })
	if err := env.Client.Delete(w.ctx, users[5]); err != nil {
		t.Fatal(err)
	}
	w.eventuallyRemovals(0, 0, 0)
}

// An edit of the App that takes roles from many is held like the change of a group. So is one that drops the role: its
// bindings stay as they are for the held users.
func TestBulkRemovalByAppEdit(t *testing.T) {
	for name, edit := range map[string]func(*v1alpha1.AppSpec){
		"the group is no longer named": func(spec *v1alpha1.AppSpec) { spec.Roles[1].Groups = nil },
		"the role is gone":             func(spec *v1alpha1.AppSpec) { spec.Roles = spec.Roles[:1] },
		"the scope is gone": func(spec *v1alpha1.AppSpec) {
			spec.Scopes.List = []v1alpha1.Scope{{Name: "another", ClusterWide: true}}
			spec.Roles[1].Groups = nil
		},
		"no user has a name": func(spec *v1alpha1.AppSpec) { spec.Kubernetes.UsernameFrom = v1alpha1.IdentifierEmail },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, guarded(2, byGroups("Staff")))
			users, ids := w.staff(6)
			w.push("Staff", membership.InlineLimit, ids...)
			w.eventuallyRemovals(0, 0, 6)
			for _, user := range users {
				w.eventuallyGranted(user)
			}
			update(w, w.app, func(app *v1alpha1.App) { edit(&app.Spec) })
			w.eventuallyRemovals(2, 4, 4)
			w.eventually(func() string {
				return unless(len(w.heldOf(users)) == 4, "the status of 4 users tells that they are held")
			})
			held := w.heldOf(users)
			if len(held) != 4 || !w.can("okta:"+held[0].Spec.UserName, "delete", w.namespace) {
				t.Errorf("%d people are held; or one of them lost access", len(held))
			}
			w.stop()
			w.start()
			for _, user := range users {
				w.eventuallyEvaluated(user)
			}
			w.eventuallyRemovals(2, 4, 4)
			update(w, held[0], func(u *v1alpha1.User) { u.Spec.Active = false })
			w.eventuallyCondition(held[0], v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
			w.eventuallyRemovals(2, 3, 3)
			w.release("now")
			w.eventuallyRemovals(0, 0, 0)
		})
	}
}

// eventuallyEvaluated waits until the App's users were all evaluated by the controllers that run now.
func (k *cluster) eventuallyEvaluated(user *v1alpha1.User) {
	k.Helper()
	k.eventually(func() string {
		if err := env.Client.Get(k.ctx, client.ObjectKeyFromObject(user), user); err != nil {
			return err.Error()
		}
		return unless(user.Status.ObservedGeneration == user.Generation, "the status speaks of the user as it is")
	})
}

// Without spec.safety nothing is held, and dropping it frees all held users.
func TestGuardIsTakenAway(t *testing.T) {
	w := newWorld(t, guarded(1, byGroups("Staff")))
	_, ids := w.staff(4)
	g := w.push("Staff", membership.InlineLimit, ids...)
	w.eventuallyRemovals(0, 0, 4)
	w.setMembers(g)
	w.eventuallyRemovals(1, 3, 3)
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.Safety = nil })
	w.eventually(func() string { return unless(w.peopleBound() == 0, "no user is bound") })
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
			return err.Error()
		}
		return unless(w.app.Status.Removals == nil, "the status tells of no removals")
	})
	var list rbacv1.RoleBindingList
	if err := env.Client.List(w.ctx, &list, matchingApp(w)); err != nil || len(list.Items) > 0 {
		t.Errorf("%d native bindings are left, %v", len(list.Items), err)
	}
}

// A leader renamed users and died before their status said so, and the App names them as before. The names in the bindings
// are unknown then, and are removed. A user that is evaluated at that moment must not be said to be held.
func TestHeldIsWhoIsBound(t *testing.T) {
	w := newWorld(t, guarded(1, byGroups("Staff")))
	users, ids := w.staff(40)
	g := w.push("Staff", membership.InlineLimit, ids...)
	w.eventuallyRemovals(0, 0, 40)
	for _, user := range users {
		w.eventuallyGranted(user)
	}
	w.stop()
	w.callBound(func(name string) string { return name + "@example.com" })
	w.setMembers(g)
	w.start()
	w.eventually(func() string {
		return unless(w.peopleBound() == 0, "no user is bound by a name that is none of theirs")
	})
	w.eventually(func() string {
		bound := map[string]bool{}
		for _, binding := range w.bindings() {
			for _, subject := range binding.Spec.Subjects {
				bound[subject.User] = true
			}
		}
		for _, user := range w.heldOf(users) {
			if !bound[user.Name] {
				return "said to be held, and not bound: " + user.Name
			}
		}
		return ""
	})
}
