package controllers_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Bindings are filled with 100 people each; a leaver changes one of them.
func TestManyUsersArePacked(t *testing.T) {
	w := newWorld(t, nil)
	const count = 120
	users := make([]*v1alpha1.User, count)
	slots := make(chan struct{}, 8)
	var group sync.WaitGroup
	for i := range users {
		users[i] = w.newUser(fmt.Sprintf("user-%04d", i), "")
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			w.provision(users[i])
		})
	}
	group.Wait()
	for _, user := range users {
		w.eventuallyGranted(user)
	}
	bindings, natives := w.bindings(), w.natives()
	if len(bindings) != 2 || len(natives) != 2 {
		t.Fatalf("%d AppRoleBindings and %d RoleBindings", len(bindings), len(natives))
	}
	slices.SortFunc(bindings, func(a, b v1alpha1.AppRoleBinding) int { return int(a.Spec.Index - b.Spec.Index) })
	if a, b := len(bindings[0].Spec.Subjects), len(bindings[1].Spec.Subjects); a != 100 || b != 20 {
		t.Errorf("chunks of %d and %d people", a, b)
	}
	for i := range bindings {
		w.eventuallyCondition(&bindings[i], v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}

	leaver := client.ObjectKey{Namespace: w.namespace, Name: bindings[0].Spec.Subjects[50].User}
	user := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: leaver.Namespace, Name: leaver.Name}}
	update(w, user, func(u *v1alpha1.User) { u.Spec.Active = false })
	w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	if w.can("okta:"+user.Spec.UserName, "get", w.namespace) {
		t.Error("the leaver is still bound")
	}
	versions := map[string]string{}
	for _, native := range natives {
		versions[native.Name] = native.ResourceVersion
	}
	changed := 0
	for _, native := range w.natives() {
		if versions[native.Name] != native.ResourceVersion {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("a leaver changed %d RoleBindings", changed)
	}

	// A newcomer takes the place that became free.
	newcomer := w.provision(w.newUser("newcomer", ""))
	w.eventuallyGranted(newcomer)
	after := w.bindings()
	if len(after) != 2 {
		t.Errorf("%d AppRoleBindings", len(after))
	}
	for _, binding := range after {
		if binding.Spec.Index == 0 && len(binding.Spec.Subjects) != 100 {
			t.Errorf("the first has %d people", len(binding.Spec.Subjects))
		}
	}
}

// Whatever the order of grants and revocations, in the end exactly the right people are bound.
func TestHammering(t *testing.T) {
	w := newWorld(t, nil)
	const people, rounds = 12, 40
	users := make([]*v1alpha1.User, people)
	for i := range users {
		users[i] = w.provision(w.newUser(fmt.Sprintf("user-%d", i), ""))
	}
	attributes := []string{`{"role":"admin"}`, `{"role":"viewer"}`, `{"role":"nobody"}`, `{}`}
	var group sync.WaitGroup
	for i, user := range users {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		group.Go(func() {
			for round := range rounds {
				update(w, user, func(u *v1alpha1.User) {
					switch random.IntN(4) {
					case 0:
						u.Spec.Active = !u.Spec.Active
					case 1:
						u.Spec.Suspended = !u.Spec.Suspended
					case 2:
						u.Spec.Attributes = w.newUser("x", attributes[random.IntN(len(attributes))]).Spec.Attributes
					case 3:
						u.Spec.UserName = u.Spec.UserNameKey
						if round%2 == 0 {
							u.Spec.UserName = "U" + u.Spec.UserNameKey[1:] // another subject
						}
					}
				})
			}
		})
	}
	group.Wait()
	want := map[string][]string{} // by role of the cluster
	for _, user := range users {
		kind, status, reason := v1alpha1.ConditionAccessGranted, metav1.ConditionTrue, v1alpha1.ReasonGranted
		if !user.MayHaveAccess() {
			kind, reason = v1alpha1.ConditionAccessRevoked, v1alpha1.ReasonRevoked
		} else {
			want[bindable("get")] = append(want[bindable("get")], "okta:"+user.Spec.UserName)
			if user.Spec.Attributes != nil && string(user.Spec.Attributes.Raw) == attributes[0] {
				want[bindable("delete")] = append(want[bindable("delete")], "okta:"+user.Spec.UserName)
			}
		}
		w.eventuallyCondition(user, kind, status, reason)
	}
	w.eventually(func() string {
		got := map[string][]string{}
		for _, native := range w.natives() {
			for _, subject := range native.Subjects {
				got[native.RoleRef.Name] = append(got[native.RoleRef.Name], subject.Name)
			}
		}
		for _, role := range []string{bindable("get"), bindable("delete")} {
			slices.Sort(got[role])
			slices.Sort(want[role])
			if !slices.Equal(got[role], want[role]) {
				return fmt.Sprintf("%s: bound %q, want %q", role, got[role], want[role])
			}
		}
		return ""
	})
	for _, user := range users {
		subject := "okta:" + user.Spec.UserName
		if got, want := w.can(subject, "get", w.namespace), slices.Contains(want[bindable("get")], subject); got != want {
			t.Errorf("%s: allowed %v, want %v", subject, got, want)
		}
	}
}

// A controller that begins must not take from users that it has not evaluated yet, and must take from users that left while
// none ran.
func TestRestart(t *testing.T) {
	w := newWorld(t, nil)
	stay := make([]*v1alpha1.User, 30)
	for i := range stay {
		stay[i] = w.provision(w.newUser(fmt.Sprintf("stays-%d", i), ""))
	}
	leaver, vanished := w.provision(w.newUser("leaver", "")), w.provision(w.newUser("vanished", ""))
	for _, user := range append(slices.Clone(stay), leaver, vanished) {
		w.eventuallyGranted(user)
	}
	w.stop()

	update(w, leaver, func(u *v1alpha1.User) { u.Spec.Active = false })
	update(w, vanished, func(u *v1alpha1.User) { u.Finalizers = nil })
	w.delete(vanished)
	arrival := w.provision(w.newUser("arrival", ""))

	watching, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	events, err := watching.Watch(ctx, &rbacv1.RoleBindingList{}, client.InNamespace(w.namespace))
	if err != nil {
		t.Fatal(err)
	}
	checked := make(chan string, 1)
	go func() { // every state on the way must bind the users that stay
		problem := ""
		for event := range events.ResultChan() {
			binding, isBinding := event.Object.(*rbacv1.RoleBinding)
			if !isBinding || binding.Labels[v1alpha1.LabelApp] == "" || problem != "" {
				continue
			}
			for _, user := range stay {
				if !slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Name == "okta:"+user.Spec.UserName }) {
					problem = fmt.Sprintf("%s: %s was pruned", event.Type, user.Spec.UserName)
				}
			}
		}
		checked <- problem
	}()

	w.start()
	w.eventuallyGranted(arrival)
	w.eventuallyCondition(leaver, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	w.eventuallyCan("okta:vanished", "get", w.namespace, false)
	for subject, want := range map[string]bool{"okta:leaver": false, "okta:arrival": true, "okta:stays-0": true} {
		if got := w.can(subject, "get", w.namespace); got != want {
			t.Errorf("%s: allowed %v", subject, got)
		}
	}
	cancel()
	if problem := <-checked; problem != "" {
		t.Error(problem)
	}
}
