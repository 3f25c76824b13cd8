package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
	"github.com/scim-operator/scim-operator/test/testenv"
)

// withContracts has the role admin end with each user's contract.
func withContracts(spec *v1alpha1.AppSpec) {
	spec.Attributes = []v1alpha1.CustomAttribute{{Name: "contractEnd", Type: "dateTime"}}
	spec.Roles[1].UntilAttribute = "contractEnd"
	spec.RoleAssignment.Default = nil
}

// contract are the attributes of an admin until then.
func contract(end string) string { return fmt.Sprintf(`{"role": "admin", "contractEnd": %q}`, end) }

func text(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// inSeconds is a second that is at least so many away.
func inSeconds(seconds int) time.Time {
	return time.Now().Add(time.Duration(seconds+1) * time.Second).Truncate(time.Second)
}

// endsSoon sets an end so near that the test can wait for it, and so far that all is ready before it comes: further away each time that
// ready, which is asked until then, did not say so. A busy machine needs longer.
func (w *world) endsSoon(set func(end time.Time), ready func(end time.Time) bool) (end time.Time) {
	w.Helper()
	for seconds := 4; seconds < 100; seconds *= 2 {
		end = inSeconds(seconds)
		set(end)
		for time.Now().Before(end) {
			if ready(end) && time.Now().Before(end) {
				return end
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	w.Fatal("not ready before an end, however far away")
	return end
}

// isTold says whether the status of users tells of the end of a role.
func (w *world) isTold(end time.Time, users ...*v1alpha1.User) bool {
	w.Helper()
	for _, user := range users {
		status := w.userNow(user).Status
		ends := func(role v1alpha1.EarnedRole) bool { return role.Until != nil && role.Until.Time.Equal(end) }
		if !slices.ContainsFunc(status.Roles, ends) || !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionAccessEnding) {
			return false
		}
	}
	return true
}

func setAttributes(json string) func(*v1alpha1.User) {
	return func(user *v1alpha1.User) { user.Spec.Attributes = &runtime.RawExtension{Raw: []byte(json)} }
}

// A role goes at the second that the attribute names, comes back with a later one, and is told of before and after.
func TestRoleEndsOnTheSecond(t *testing.T) {
	w := newWorld(t, withContracts)
	jane := w.provision(w.newUser("jane", contract("2099-01-31")))
	w.eventuallyGranted(jane)
	var end time.Time
	testenv.MostlyWithin(t, "from the end to the denial", 2*time.Second, 1, func() time.Duration {
		end = w.endsSoon(func(end time.Time) { update(w, jane, setAttributes(contract(text(end)))) }, func(end time.Time) bool { return w.isTold(end, jane) })
		c := meta.FindStatusCondition(w.userNow(jane).Status.Conditions, v1alpha1.ConditionAccessEnding)
		if want := "Ends soon: admin in default at " + text(end) + "."; c == nil || c.Message != want {
			t.Errorf("condition %+v, want the message %q", c, want)
		}
		if !w.can("okta:jane", "delete", w.namespace) && time.Now().Before(end) {
			t.Error("the access was taken before its end")
		}
		w.eventuallyCan("okta:jane", "delete", w.namespace, false)
		late := time.Since(end)
		if late < 0 {
			t.Errorf("the access was taken %s before its end", -late)
		}
		return late
	})
	w.eventuallyEvent(jane, v1alpha1.ConditionAccessEnding, "Ends within 7 days: admin in default")
	c := w.eventuallyCondition(jane, v1alpha1.ConditionAccessEnded, metav1.ConditionTrue, v1alpha1.ReasonRolesEnded)
	if want := "Ended: admin in default at " + text(end) + "."; c.Message != want {
		t.Errorf("message = %q, want %q", c.Message, want)
	}
	w.eventuallyWithout(jane, v1alpha1.ConditionAccessEnding)
	w.eventuallyCondition(jane, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonNoRole)
	w.eventuallyEvent(jane, v1alpha1.ConditionAccessEnded, "The time is over of admin in default")

	update(w, jane, setAttributes(contract(text(end.AddDate(1, 0, 0)))))
	w.eventuallyCan("okta:jane", "delete", w.namespace, true)
	w.eventuallyWithout(jane, v1alpha1.ConditionAccessEnded)
	w.eventuallyWithout(jane, v1alpha1.ConditionAccessEnding)
	// What the client ends at once is gone at once, and the reminder of another time with it.
	update(w, jane, setAttributes(contract("2001-01-31")))
	w.eventuallyCan("okta:jane", "delete", w.namespace, false)
	w.eventuallyCondition(jane, v1alpha1.ConditionAccessEnded, metav1.ConditionTrue, v1alpha1.ReasonRolesEnded)
}

// The reminder comes seven days before the end, by no event but the clock, and an edit of the App moves the end of all.
func TestReminderOfAnEnd(t *testing.T) {
	remind := inSeconds(4)
	end := remind.Add(7 * 24 * time.Hour)
	w := newWorld(t, func(spec *v1alpha1.AppSpec) { spec.Roles[0].Until = &metav1.Time{Time: end} })
	jane := w.provision(w.newUser("jane", ""))
	w.eventuallyGranted(jane)
	if early := time.Until(remind); early > 0 && meta.FindStatusCondition(jane.Status.Conditions, v1alpha1.ConditionAccessEnding) != nil && time.Now().Before(remind) {
		t.Errorf("reminded %s too early", early)
	}
	w.eventuallyCondition(jane, v1alpha1.ConditionAccessEnding, metav1.ConditionTrue, v1alpha1.ReasonEndsSoon)
	if early := time.Until(remind); early > 0 {
		t.Errorf("reminded %s too early", early)
	}
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.Roles[0].Until = nil })
	w.eventuallyWithout(jane, v1alpha1.ConditionAccessEnding)
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.Roles[0].Until = &metav1.Time{Time: time.Now().Add(-time.Second)} })
	w.eventuallyCan("okta:jane", "get", w.namespace, false)
	w.eventuallyCondition(jane, v1alpha1.ConditionAccessEnded, metav1.ConditionTrue, v1alpha1.ReasonRolesEnded)
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.Roles[0].Until = nil })
	w.eventuallyCan("okta:jane", "get", w.namespace, true)
	w.eventuallyWithout(jane, v1alpha1.ConditionAccessEnded)
}

// What ended while no controller ran goes before anything is granted.
func TestRoleEndsWithoutController(t *testing.T) {
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		withContracts(spec)
		spec.RoleAssignment.Default = []string{"viewer"}
	})
	var contractors []*v1alpha1.User
	for i := range 20 {
		contractors = append(contractors, w.provision(w.newUser(fmt.Sprintf("contractor%d", i), contract("2099-01-31"))))
	}
	kept := w.provision(w.newUser("kept", contract("2099-01-31")))
	for _, user := range append(contractors, kept) {
		w.eventuallyGranted(user)
	}
	running := true
	end := w.endsSoon(func(end time.Time) {
		if !running {
			w.start()
		}
		running = true
		for _, user := range contractors {
			update(w, user, setAttributes(contract(text(end))))
		}
	}, func(end time.Time) bool {
		if running && w.isTold(end, contractors...) {
			w.stop()
			running = false
		}
		return !running
	})
	for i := range 20 {
		w.provision(w.newUser(fmt.Sprintf("newcomer%d", i), ""))
	}
	time.Sleep(time.Until(end) + 100*time.Millisecond)
	if !w.can("okta:contractor0", "delete", w.namespace) {
		t.Fatal("the access ended without a controller: the test shows nothing")
	}
	w.start()
	w.eventually(func() string {
		for i := range 20 {
			if w.can(fmt.Sprintf("okta:newcomer%d", i), "get", w.namespace) {
				return ""
			}
		}
		return "no newcomer has access"
	})
	for i := range contractors {
		if w.can(fmt.Sprintf("okta:contractor%d", i), "delete", w.namespace) {
			t.Errorf("contractor%d has access after its end, and newcomers have theirs", i)
		}
	}
	for _, user := range contractors {
		w.eventuallyCondition(user, v1alpha1.ConditionAccessEnded, metav1.ConditionTrue, v1alpha1.ReasonRolesEnded)
	}
	w.eventuallyGranted(kept)
	if !w.can("okta:kept", "delete", w.namespace) {
		t.Error("a contract of next year ended with the others")
	}
}

// A value that is no time grants nothing and is told, shortened; so is an App that names no time.
func TestEndThatIsNoTime(t *testing.T) {
	w := newWorld(t, withContracts)
	for title, test := range map[string]struct{ attributes, message string }{
		"malformed": {contract("next summer"), `attribute contractEnd is "next summer", and not a time`},
		"long":      {contract(strings.Repeat("9", 4000)), strings.Repeat("9", 128) + "…"},
		"absent":    {`{"role": "admin"}`, "the user has no contractEnd"},
		"an object": {`{"role": "admin", "contractEnd": {"year": 2027}}`, "contractEnd holds no text that could be a time"},
	} {
		user := w.provision(w.newUser(strings.ReplaceAll(title, " ", "-"), test.attributes))
		c := w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRoleNotGranted)
		if !strings.Contains(c.Message, test.message) || len(c.Message) > 512 {
			t.Errorf("%s: message %q", title, c.Message)
		}
		if len(user.Status.Roles) > 0 || w.can("okta:"+user.Spec.UserName, "get", w.namespace) {
			t.Errorf("%s: the user holds %v", title, user.Status.Roles)
		}
		update(w, user, setAttributes(contract("2099-01-31T00:00:00Z")))
		w.eventuallyGranted(user)
	}
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.Attributes[0].Type = "string" })
	c := w.eventuallyCondition(w.app, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec)
	if !strings.Contains(c.Message, "spec.roles[1].untilAttribute") {
		t.Errorf("message = %q", c.Message)
	}
}

// An end comes also while the App is invalid, though nothing else of it is followed then.
func TestRoleEndsInAnInvalidApp(t *testing.T) {
	w := newWorld(t, withContracts)
	jane := w.provision(w.newUser("jane", contract("2099-01-31")))
	jack := w.provision(w.newUser("jack", contract("2099-01-31")))
	w.eventuallyGranted(jane)
	w.eventuallyGranted(jack)
	end := w.endsSoon(func(end time.Time) {
		update(w, w.app, func(app *v1alpha1.App) { app.Spec.Roles[0].When = "" })
		update(w, jane, setAttributes(contract(text(end))))
	}, func(end time.Time) bool {
		if !w.isTold(end, jane) {
			return false
		}
		update(w, w.app, func(app *v1alpha1.App) { app.Spec.Roles[0].When = "nonsense(" })
		w.eventuallyCondition(jane, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotReady)
		return true
	})
	w.eventuallyCan("okta:jane", "delete", w.namespace, false)
	if early := time.Until(end); early > 0 {
		t.Errorf("the access was gone %s before its end", early)
	}
	w.eventuallyCondition(jane, v1alpha1.ConditionAccessEnded, metav1.ConditionTrue, v1alpha1.ReasonRolesEnded)
	if !w.can("okta:jack", "delete", w.namespace) {
		t.Error("another user lost a role that did not end")
	}
}

// spec.safety does not hold what the status told to end, and holds what an edit of the App ends at once.
func TestAnnouncedEndIsNotHeld(t *testing.T) {
	w := newWorld(t, guarded(1, byGroups("Staff")))
	users, ids := w.staff(5)
	w.push("Staff", membership.InlineLimit, ids...)
	w.eventuallyRemovals(0, 0, 5)
	until := func(at time.Time) func(*v1alpha1.App) {
		return func(app *v1alpha1.App) {
			for i := range app.Spec.Roles {
				app.Spec.Roles[i].Until = &metav1.Time{Time: at}
			}
		}
	}
	end := w.endsSoon(func(end time.Time) { update(w, w.app, until(end)) }, func(end time.Time) bool { return w.isTold(end, users...) })
	w.eventuallyRemovals(0, 0, 0)
	if late := time.Since(end); late < 0 {
		t.Errorf("the access was taken %s before its end", -late)
	}

	update(w, w.app, until(time.Now().Add(time.Hour)))
	w.eventuallyRemovals(0, 0, 5)
	update(w, w.app, until(time.Now().Add(-time.Hour)))
	w.eventuallyRemovals(1, 4, 4)
	w.eventually(func() string {
		return unless(len(w.heldOf(users)) == 4, "the status of 4 users tells that they are held")
	})
	w.release("1")
	w.eventuallyRemovals(0, 0, 0)
}

// With subjectMode Group, each member's end holds for that member.
func TestEndOfOneMember(t *testing.T) {
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		withContracts(spec)
		spec.SubjectMode = v1alpha1.SubjectModeGroup
		spec.Roles[1].Groups = []string{"Staff"}
	})
	contract := func(end string) string { return fmt.Sprintf(`{"contractEnd": %q}`, end) }
	jane := w.provision(w.newUser("jane", contract("2099-01-31")))
	jack := w.provision(w.newUser("jack", contract("2099-01-31")))
	w.push("Staff", membership.InlineLimit, jane.Name, jack.Name)
	w.eventuallyCan("okta:jane", "delete", w.namespace, true)
	end := w.endsSoon(func(end time.Time) { update(w, jane, setAttributes(contract(text(end)))) }, func(end time.Time) bool { return w.isTold(end, jane) })
	w.eventuallyCan("okta:jane", "delete", w.namespace, false)
	if late := time.Since(end); late < 0 {
		t.Errorf("the access was taken %s before its end", -late)
	}
	w.eventuallyCan("okta:jack", "delete", w.namespace, true)
	for _, native := range w.natives() {
		for _, subject := range native.Subjects {
			if subject.Kind != "User" {
				t.Errorf("binding %s names %s %s", native.Name, subject.Kind, subject.Name)
			}
		}
	}
	update(w, jack, deactivate)
	w.eventuallyCondition(jack, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
}
