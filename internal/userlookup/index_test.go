package userlookup_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/userlookup"
)

var version int

// person is a user of the App with a userName that the controller verified; change may be nil.
func person(app, name, userName string, change func(*v1alpha1.User)) *v1alpha1.User {
	version++
	user := &v1alpha1.User{
		ObjectMeta: metav1.ObjectMeta{Namespace: "staff", Name: name, ResourceVersion: fmt.Sprint(version)},
		Spec:       v1alpha1.UserSpec{App: app, UserName: userName, UserNameKey: userName, Active: true},
		Status: v1alpha1.UserStatus{ReservedKey: userName, BoundAs: "okta:" + userName, Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionNameReserved, Status: metav1.ConditionTrue},
		}},
	}
	if change != nil {
		change(user)
	}
	return user
}

func inactive(user *v1alpha1.User) { user.Spec.Active = false }

func app(name string, denies bool, prefix string) *v1alpha1.App {
	return &v1alpha1.App{
		ObjectMeta: metav1.ObjectMeta{Namespace: "staff", Name: name},
		Spec: v1alpha1.AppSpec{
			Kubernetes:   v1alpha1.KubernetesMapping{UsernamePrefix: &prefix},
			Deactivation: v1alpha1.Deactivation{DenyRequests: denies},
		},
	}
}

// index is one with a watch that has seen these users.
func index(users ...*v1alpha1.User) *userlookup.Index {
	x := userlookup.New(func(app types.NamespacedName) []*v1alpha1.User {
		var found []*v1alpha1.User
		for _, user := range users {
			if user.Namespace == app.Namespace && user.Spec.App == app.Name {
				found = append(found, user)
			}
		}
		return found
	})
	for _, user := range users {
		x.PutUser(user)
	}
	return x
}

func expect(t *testing.T, x *userlookup.Index, name string, want userlookup.State) {
	t.Helper()
	if got := x.State(name); got != want {
		t.Errorf("State(%q) = %v, want %v", name, got, want)
	}
}

func TestState(t *testing.T) {
	jane := person("one", "jane", "jane", nil)
	x := index(jane, person("one", "left", "left", inactive), person("two", "left-2", "left", inactive))
	expect(t, x, "okta:left", userlookup.Unknown) // no App denies anything

	x.PutApp(app("one", true, "okta:"))
	expect(t, x, "okta:jane", userlookup.Active)
	expect(t, x, "okta:left", userlookup.Revoked)

	x.PutUser(person("one", "jane", "jane", func(u *v1alpha1.User) { u.Spec.Suspended = true }))
	expect(t, x, "okta:jane", userlookup.Revoked)
	x.PutUser(jane) // an event that comes late
	expect(t, x, "okta:jane", userlookup.Revoked)
	x.PutUser(person("one", "jane", "jane", func(u *v1alpha1.User) { u.DeletionTimestamp = new(metav1.Now()) }))
	expect(t, x, "okta:jane", userlookup.Revoked)
	x.PutUser(person("one", "jane", "jane", nil))
	expect(t, x, "okta:jane", userlookup.Active)

	if names, hadAccess := x.RemoveUser(&v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: "staff", Name: "jane"}}); !hadAccess || !slices.Equal(names, []string{"okta:jane"}) {
		t.Errorf("removed %v, had access %v", names, hadAccess)
	}
	expect(t, x, "okta:jane", userlookup.Unknown)
	x.Refresh(jane) // does not bring her back
	expect(t, x, "okta:jane", userlookup.Unknown)

	touched := x.PutApp(app("one", false, "okta:"))
	if !slices.Contains(touched, "okta:left") {
		t.Errorf("touched %v", touched)
	}
	expect(t, x, "okta:left", userlookup.Unknown)
}

// An active user under a name anywhere keeps a leaver of the same name from being denied.
func TestActiveElsewhere(t *testing.T) {
	x := index(person("one", "a", "jane", inactive), person("two", "b", "jane", nil), person("three", "c", "jane", nil))
	x.PutApp(app("one", true, "okta:"))
	expect(t, x, "okta:jane", userlookup.Revoked) // active only in Apps that have no say

	x.PutApp(app("two", true, "okta:"))
	expect(t, x, "okta:jane", userlookup.Active)
	x.RemoveApp(&v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "staff", Name: "two"}})
	expect(t, x, "okta:jane", userlookup.Revoked)
}

// A User with a userName that belongs to another, or was not verified, speaks for no name.
func TestNotReserved(t *testing.T) {
	x := index(
		person("one", "a", "jane", func(u *v1alpha1.User) { inactive(u); u.Status.ReservedKey = "other" }),
		person("one", "b", "john", func(u *v1alpha1.User) { u.Status.Conditions[0].Status = metav1.ConditionFalse }),
		person("one", "d", "john", func(u *v1alpha1.User) { u.Status.ReservedKey, u.Status.Conditions = "", nil }),
		person("one", "c", "john", inactive),
	)
	x.PutApp(app("one", true, "okta:"))
	expect(t, x, "okta:jane", userlookup.Unknown)
	expect(t, x, "okta:john", userlookup.Revoked)
}

func TestNames(t *testing.T) {
	mapping := func(prefix, from string) v1alpha1.KubernetesMapping {
		return v1alpha1.KubernetesMapping{UsernamePrefix: &prefix, UsernameFrom: from}
	}
	for name, test := range map[string]struct {
		mapping v1alpha1.KubernetesMapping
		user    *v1alpha1.User
		want    []string
	}{
		"active": {mapping("okta:", ""), person("one", "a", "Jane", nil), []string{"okta:Jane"}},
		"renamed and deactivated at once": {
			mapping("okta:", ""),
			person("one", "a", "jane", func(u *v1alpha1.User) { inactive(u); u.Status.KubernetesUsername = "okta:old" }),
			[]string{"okta:jane", "okta:old"},
		},
		"known under a prefix that the App has no more": {
			mapping("okta:", ""),
			person("one", "a", "jane", func(u *v1alpha1.User) { inactive(u); u.Status.KubernetesUsername = "victim:admin" }),
			[]string{"okta:jane"},
		},
		"one of Kubernetes' own": {
			mapping("", v1alpha1.IdentifierExternalID),
			person("one", "a", "jane", func(u *v1alpha1.User) {
				inactive(u)
				u.Spec.ExternalID, u.Status.KubernetesUsername = "system:apiserver", "system:masters"
			}),
			nil,
		},
		"put together": {
			mapping("sys", ""),
			person("one", "a", "tem:kube-scheduler", inactive),
			nil,
		},
		"without the attribute": {mapping("okta:", v1alpha1.IdentifierEmail), person("one", "a", "jane", inactive), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := userlookup.Names(test.mapping, test.user); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A name belongs to the App with the longest prefix of it, whether that App denies anything or not.
func TestOutranked(t *testing.T) {
	x := index(person("one", "a", "x:jane", inactive), person("two", "b", "jane", nil))
	x.PutApp(app("one", true, "pine:"))
	expect(t, x, "pine:x:jane", userlookup.Revoked)
	if x.Outranked("pine:", "pine:x:jane") {
		t.Error("outranked by no other App")
	}
	x.PutApp(app("two", false, "pine:x:"))
	expect(t, x, "pine:x:jane", userlookup.Unknown)
	if !x.Outranked("pine:", "pine:x:jane") || x.Outranked("pine:x:", "pine:x:jane") || x.Outranked("pine:", "pine:y") {
		t.Error("the longest prefix of a name has it, and no other")
	}
	x.PutApp(app("three", false, "pine:x:")) // two Apps of one prefix
	x.PutApp(app("two", true, "pine:x:"))
	expect(t, x, "pine:x:jane", userlookup.Active)
	x.PutApp(app("two", false, "elsewhere:"))
	expect(t, x, "pine:x:jane", userlookup.Unknown)
	x.RemoveApp(app("three", false, "pine:x:"))
	expect(t, x, "pine:x:jane", userlookup.Revoked)
}

// A User that vanishes had access only where the App bound it, and until it left.
func TestRemovedWithoutAccess(t *testing.T) {
	for title, change := range map[string]func(*v1alpha1.User){
		"never bound": func(u *v1alpha1.User) { u.Status.BoundAs = "" },
		"left before": inactive,
	} {
		jane := person("one", "jane", "jane", change)
		x := index(jane)
		x.PutApp(app("one", true, "okta:"))
		if names, hadAccess := x.RemoveUser(jane); hadAccess || len(names) == 0 {
			t.Errorf("%s: removed %v, had access %v", title, names, hadAccess)
		}
	}
}

// An App that names its people differently has them found under the new names.
func TestNamesFollowTheApp(t *testing.T) {
	x := index(person("one", "a", "jane", inactive))
	x.PutApp(app("one", true, "okta:"))
	if touched := x.PutApp(app("one", true, "okta:")); len(touched) > 0 {
		t.Errorf("nothing changed, and touched are %q", touched)
	}
	touched := x.PutApp(app("one", true, "staff:"))
	if !slices.Contains(touched, "okta:jane") || !slices.Contains(touched, "staff:jane") {
		t.Errorf("touched are %q", touched)
	}
	expect(t, x, "staff:jane", userlookup.Revoked)
	expect(t, x, "okta:jane", userlookup.Unknown)
}

// A user is revoked from the last end of the roles that bindings give, and not while one has no end.
func TestStateAt(t *testing.T) {
	noon := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	ending := func(after time.Duration, bound string) v1alpha1.EarnedRole {
		return v1alpha1.EarnedRole{Role: "r", Scope: "s", Until: &metav1.Time{Time: noon.Add(after)}, Bound: bound}
	}
	for title, test := range map[string]struct {
		roles         []v1alpha1.EarnedRole
		before, after userlookup.State
	}{
		"no role":          {nil, userlookup.Active, userlookup.Active},
		"one role":         {[]v1alpha1.EarnedRole{ending(0, "")}, userlookup.Active, userlookup.Revoked},
		"the last counts":  {[]v1alpha1.EarnedRole{ending(-time.Hour, ""), ending(0, v1alpha1.BoundPartly)}, userlookup.Active, userlookup.Revoked},
		"a later one":      {[]v1alpha1.EarnedRole{ending(0, ""), ending(time.Hour, "")}, userlookup.Active, userlookup.Active},
		"one without end":  {[]v1alpha1.EarnedRole{ending(0, ""), {Role: "viewer", Scope: "s"}}, userlookup.Active, userlookup.Active},
		"one not bound":    {[]v1alpha1.EarnedRole{ending(0, ""), {Role: "viewer", Scope: "s", Bound: v1alpha1.BoundNo}}, userlookup.Active, userlookup.Revoked},
		"nothing is bound": {[]v1alpha1.EarnedRole{ending(0, v1alpha1.BoundNo)}, userlookup.Active, userlookup.Active},
	} {
		x := index(person("one", "jane", "jane", func(user *v1alpha1.User) { user.Status.Roles = test.roles }))
		x.PutApp(app("one", true, "okta:"))
		if before, after := x.StateAt("okta:jane", noon.Add(-time.Second)), x.StateAt("okta:jane", noon); before != test.before || after != test.after {
			t.Errorf("%s: %v before noon and %v at noon, want %v and %v", title, before, after, test.before, test.after)
		}
		expect(t, x, "okta:jane", userlookup.Active)
	}
}
