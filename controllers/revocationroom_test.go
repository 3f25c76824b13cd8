package controllers_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// secondApp makes another App in the world's namespace.
func (d *directory) secondApp(change func(*v1alpha1.AppSpec)) *v1alpha1.App {
	d.Helper()
	second := d.app.DeepCopy()
	second.ObjectMeta = metav1.ObjectMeta{Namespace: d.namespace, Name: "second"}
	change(&second.Spec)
	d.create(second)
	return second
}

func (d *directory) granted(app *v1alpha1.App, userName string) *v1alpha1.User {
	d.Helper()
	user := d.newUser(userName, "")
	user.Spec.App = app.Name
	d.provision(user)
	d.eventuallyGranted(user)
	return user
}

func (k *cluster) eventuallyAppCondition(app *v1alpha1.App, kind string, status metav1.ConditionStatus) metav1.Condition {
	k.Helper()
	var found metav1.Condition
	k.eventually(func() string {
		if err := env.Client.Get(k.ctx, client.ObjectKeyFromObject(app), app); err != nil {
			return err.Error()
		}
		condition := meta.FindStatusCondition(app.Status.Conditions, kind)
		if condition == nil || condition.Status != status {
			return fmt.Sprintf("condition %+v", condition)
		}
		found = *condition
		return ""
	})
	return found
}

// The leavers of one App take no room of another's: each has a list of its own, and an App with a full list says so.
func TestRevocationListRoomOfOneApp(t *testing.T) {
	w := newStoppedDenyingWorld(t, denying("room:"))
	full := map[string]time.Time{}
	for i := range v1alpha1.MaxRevocations {
		full[fmt.Sprintf("room:before-%04d", i)] = time.Now().Add(23*time.Hour + time.Duration(i)*time.Second)
	}
	w.create(w.newList(full))
	w.start()
	second := w.secondApp(denying("bystander:"))
	bystander := w.granted(second, "leaver")
	update(w, bystander, deactivate)
	w.eventuallyRevoked(bystander)
	leavers := make([]*v1alpha1.User, 3)
	for i := range leavers {
		leavers[i] = w.granted(w.app, fmt.Sprintf("leaver-%d", i))
	}
	for _, leaver := range leavers {
		update(w, leaver, deactivate)
		w.eventuallyRevoked(leaver)
	}
	if got := w.listed(); len(got) != v1alpha1.MaxRevocations+1 || !slices.Contains(got, "bystander:leaver") {
		t.Errorf("%d names are listed, the other App's leaver among them: %v", len(got), slices.Contains(got, "bystander:leaver"))
	}
	told := w.eventuallyAppCondition(w.app, v1alpha1.ConditionRevocationsListed, metav1.ConditionFalse)
	if told.Reason != "ListFull" {
		t.Errorf("condition %+v", told)
	}
	w.eventuallyAppCondition(second, v1alpha1.ConditionRevocationsListed, metav1.ConditionTrue)
	// Users that are back make room.
	for _, leaver := range leavers {
		update(w, leaver, reactivate)
	}
	w.eventuallyAppCondition(w.app, v1alpha1.ConditionRevocationsListed, metav1.ConditionTrue)
	update(w, w.app, func(a *v1alpha1.App) { a.Spec.Deactivation.DenyRequests = false })
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
			return err.Error()
		}
		if meta.FindStatusCondition(w.app.Status.Conditions, v1alpha1.ConditionRevocationsListed) != nil {
			return "an App that denies nothing tells of its list"
		}
		return ""
	})
}

// A name belongs to the App with the longest prefix of it: an App of a shorter one has no user denied under it, and shields
// none.
func TestRevocationListOverlappingPrefixes(t *testing.T) {
	w := newDenyingWorld(t, denying("pine:"))
	second := w.secondApp(func(spec *v1alpha1.AppSpec) {
		denying("pine:x:")(spec)
		spec.Deactivation.DenyRequests = false
	})
	jane := w.granted(second, "jane")
	double, own := w.granted(w.app, "x:jane"), w.granted(w.app, "own")
	for _, user := range []*v1alpha1.User{double, own} {
		update(w, user, deactivate)
	}
	w.eventuallyRevoked(own)
	w.eventuallyCondition(double, v1alpha1.ConditionAccessRevoked, metav1.ConditionFalse, v1alpha1.ReasonBoundByOther)
	if got := w.listed(); !slices.Equal(got, []string{"pine:own"}) {
		t.Errorf("listed are %q: the App of pine: has a user of pine:x: denied", got)
	}
	// An active user of the shorter prefix does not keep the leaver of the longer one off the list.
	update(w, double, reactivate)
	w.eventuallyGranted(double)
	update(w, second, func(a *v1alpha1.App) { a.Spec.Deactivation.DenyRequests = true })
	update(w, jane, deactivate)
	w.eventuallyListed("pine:own", "pine:x:jane")
	// Without the App of the longer prefix, the names are the other's.
	update(w, jane, reactivate)
	w.eventuallyListed("pine:own")
	update(w, second, func(a *v1alpha1.App) { prefix := "elsewhere:"; a.Spec.Kubernetes.UsernamePrefix = &prefix })
	update(w, double, deactivate)
	w.eventuallyListed("pine:own", "pine:x:jane")
	// And they are not as soon as there is such an App, with an active user of the name or without.
	update(w, jane, deactivate)
	w.eventuallyRevoked(jane)
	update(w, second, func(a *v1alpha1.App) { prefix := "pine:x:"; a.Spec.Kubernetes.UsernamePrefix = &prefix })
	w.eventually(func() string {
		if got := slices.Sorted(maps.Keys(w.list().Spec.Users())); !slices.Equal(got, []string{"pine:own"}) {
			return fmt.Sprintf("the App of pine: lists %q", got)
		}
		return ""
	})
}

// Only names that the App bound get on its list: a user that never had a role is denied nothing.
func TestRevocationListNamesTheUserThatTheAppBound(t *testing.T) {
	w := newDenyingWorld(t, func(spec *v1alpha1.AppSpec) {
		denying("bound:")(spec)
		spec.RoleAssignment.Default = nil
	})
	never, once := w.provision(w.newUser("never", "")), w.provision(w.newUser("once", `{"role":"viewer"}`))
	vanished := w.newUser("vanished", "")
	vanished.Finalizers = nil
	w.provision(vanished)
	w.eventuallyCondition(vanished, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonNoRole)
	w.eventuallyCondition(never, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonNoRole)
	w.eventuallyGranted(once)
	// A role that is not earned any more was bound all the same.
	update(w, once, func(u *v1alpha1.User) { u.Spec.Attributes = nil })
	w.eventuallyCondition(once, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonNoRole)
	update(w, vanished, func(u *v1alpha1.User) { u.Finalizers = nil })
	if err := env.Client.Delete(w.ctx, vanished); err != nil {
		t.Fatal(err)
	}
	for _, user := range []*v1alpha1.User{never, once} {
		update(w, user, deactivate)
		w.eventuallyRevoked(user)
	}
	if got := w.listed(); !slices.Equal(got, []string{"bound:once"}) {
		t.Errorf("listed are %q, want the user that the App bound", got)
	}
}

// A user that bindings would name, had the App not only to observe, had no access that could be left.
func TestRevocationListOfAnAppThatObserves(t *testing.T) {
	w := newDenyingWorld(t, func(spec *v1alpha1.AppSpec) {
		denying("observed:")(spec)
		spec.Mode = v1alpha1.ModeObserve
	})
	user := w.provision(w.newUser("jane", ""))
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(user), user); err != nil || user.Status.RoleNames == "" {
			return fmt.Sprintf("the status names the roles %q: %v", user.Status.RoleNames, err)
		}
		return ""
	})
	update(w, user, deactivate)
	w.eventuallyRevoked(user)
	if got := w.listed(); len(got) > 0 {
		t.Errorf("listed are %q", got)
	}
}

// A list that is not called after its App is not the controller's: it counts for nothing, and stays as it is.
func TestRevocationListOfAnotherName(t *testing.T) {
	w := newStoppedDenyingWorld(t, denying("own:"))
	foreign := func(name, user string) *v1alpha1.RevocationList {
		list := w.newList(map[string]time.Time{user: time.Now().Add(time.Hour)})
		list.Name = name
		w.create(list)
		return list
	}
	before := foreign("before", "own:before")
	w.start()
	first := w.granted(w.app, "first")
	update(w, first, deactivate)
	w.eventuallyRevoked(first)
	after := foreign("after", "own:after")
	second := w.granted(w.app, "second")
	update(w, second, deactivate)
	w.eventuallyRevoked(second)
	if got := slices.Sorted(maps.Keys(w.list().Spec.Users())); !slices.Equal(got, []string{"own:first", "own:second"}) {
		t.Errorf("the App's list has %q", got)
	}
	for _, list := range []*v1alpha1.RevocationList{before, after} {
		now := &v1alpha1.RevocationList{}
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(list), now); err != nil || now.ResourceVersion != list.ResourceVersion {
			t.Errorf("the list %s was written: %v", list.Name, err)
		}
	}
}
