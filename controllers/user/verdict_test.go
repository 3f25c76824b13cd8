package user

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// stated applies a verdict to a User of generation 7, and returns a condition as "True Reason: message".
func stated(v *verdict, user *v1alpha1.User, kind string) string {
	user.Generation = 7
	v.apply(user, time.Now())
	c := meta.FindStatusCondition(user.Status.Conditions, kind)
	if c == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

// AccessRevoked is True only where no binding names the user: one of another App or a group that the user was in says otherwise.
func TestWhatOutlastsARevocation(t *testing.T) {
	byHand := v1alpha1.ResidualAccess{Kind: "ClusterRoleBinding", Name: "admins", Role: "ClusterRole/admin", Subject: "User/okta:jane"}
	byApp := v1alpha1.ResidualAccess{Kind: "RoleBinding", Namespace: "a", Name: "b", Role: "ClusterRole/view", Subject: "User/okta:jane", App: "ns/other"}
	for name, test := range map[string]struct {
		byGroup        bool
		found          otherBindings
		revoked, ready string
		residual       string
		settled        bool
	}{
		"nothing": {revoked: "True Revoked", ready: "True Inactive", residual: "False NoOtherBindings: No other binding", settled: true},
		"a binding by hand": {
			found: otherBindings{list: []v1alpha1.ResidualAccess{byHand}, count: 1}, revoked: "True Revoked", ready: "True Inactive",
			residual: "True OtherBindings: A binding by other hands still gives access: ClusterRoleBinding admins names User/okta:jane", settled: true,
		},
		"more than are listed": {
			found: otherBindings{list: []v1alpha1.ResidualAccess{byHand}, count: 40}, revoked: "True Revoked", ready: "True Inactive",
			residual: "True OtherBindings: A binding by other hands still gives access: ClusterRoleBinding admins names User/okta:jane and binds ClusterRole/admin; and 39 more.", settled: true,
		},
		"a binding of another App": {
			found: otherBindings{list: []v1alpha1.ResidualAccess{byApp, byHand}, count: 2}, revoked: "False BoundByOtherUser: The person's roles are gone, but RoleBinding a/b of App ns/other",
			ready: "False BoundByOtherUser", residual: "True OtherBindings: A binding of App ns/other still gives access: RoleBinding a/b", settled: true,
		},
		"a group": {byGroup: true, revoked: "False BoundByGroup", ready: "False BoundByGroup", residual: "False NoOtherBindings", settled: true},
	} {
		t.Run(name, func(t *testing.T) {
			user := &v1alpha1.User{}
			v := &verdict{byGroup: test.byGroup}
			v.revoked(user)
			v.foundResidual(test.found)
			for kind, want := range map[string]string{
				v1alpha1.ConditionAccessRevoked: test.revoked, v1alpha1.ConditionReady: test.ready, v1alpha1.ConditionResidualAccess: test.residual,
			} {
				if got := stated(v, user, kind); !strings.HasPrefix(got, want) {
					t.Errorf("%s is %s, want %s", kind, got, want)
				}
			}
			if int(user.Status.ResidualAccessCount) != test.found.count || len(user.Status.ResidualAccess) != len(test.found.list) {
				t.Errorf("residual access: %d, %v", user.Status.ResidualAccessCount, user.Status.ResidualAccess)
			}
			if isRevoked(user) != test.settled {
				t.Errorf("revoked %t", !test.settled)
			}
		})
	}
}

// A revocation is settled for the generation that it speaks of, and not where it failed.
func TestIsRevoked(t *testing.T) {
	user := &v1alpha1.User{}
	v := &verdict{}
	v.revoked(user)
	stated(v, user, v1alpha1.ConditionReady)
	if !isRevoked(user) {
		t.Error("not revoked")
	}
	user.Generation++
	if isRevoked(user) {
		t.Error("revoked for a generation that was not looked at")
	}
	failed := &verdict{}
	failed.revocationFailed(user, errors.New("no"))
	stated(failed, user, v1alpha1.ConditionReady)
	if isRevoked(user) {
		t.Error("revoked after a failure")
	}
	stated(v, user, v1alpha1.ConditionReady)
	user.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	if isRevoked(user) {
		t.Error("a user that is being deleted must be revoked again before its finalizer goes")
	}
}

// Access that comes back takes what the status told of the revocation with it.
func TestAccessComesBack(t *testing.T) {
	user := &v1alpha1.User{}
	left := &verdict{}
	left.revoked(user)
	left.foundResidual(otherBindings{list: []v1alpha1.ResidualAccess{{Kind: "RoleBinding", Name: "a"}}, count: 1})
	stated(left, user, v1alpha1.ConditionReady)
	user.Spec.Active = true
	back := &verdict{subject: "okta:jane"}
	back.grantedRoles(access.Decision{Roles: []v1alpha1.EarnedRole{{Role: "viewer", Scope: "default"}}}, v1alpha1.ModeEnforce, nil)
	for _, kind := range []string{v1alpha1.ConditionAccessRevoked, v1alpha1.ConditionResidualAccess} {
		if got := stated(back, user, kind); got != "none" {
			t.Errorf("%s stays: %s", kind, got)
		}
	}
	if user.Status.ResidualAccessCount != 0 || user.Status.InactiveSince != nil || user.Status.BoundAs != "okta:jane" {
		t.Errorf("status %+v", user.Status)
	}
}

// Held roles are shown beside the earned ones, in order, and the user is not Ready until they are released.
func TestHeldRoles(t *testing.T) {
	role := func(name, scope string) v1alpha1.EarnedRole { return v1alpha1.EarnedRole{Role: name, Scope: scope} }
	user := &v1alpha1.User{Spec: v1alpha1.UserSpec{Active: true}}
	v := &verdict{}
	v.grantedRoles(access.Decision{}, v1alpha1.ModeEnforce, nil)
	v.addHeld(nil)
	if got := stated(v, user, v1alpha1.ConditionReady); !strings.HasPrefix(got, "True NoRole") {
		t.Errorf("nothing is held: %s", got)
	}
	v.addHeld([]v1alpha1.EarnedRole{role("viewer", "b"), role("admin", "z"), role("viewer", "a")})
	if got := stated(v, user, v1alpha1.ConditionReady); !strings.HasPrefix(got, "False TooManyRemovals") || !strings.Contains(got, "viewer in b, admin in z, viewer in a.") {
		t.Errorf("Ready is %s", got)
	}
	if got := stated(v, user, v1alpha1.ConditionAccessGranted); !strings.HasPrefix(got, "True Granted") {
		t.Errorf("AccessGranted is %s", got)
	}
	if got := fmt.Sprint(user.Status.Roles); user.Status.RoleNames != "admin,viewer" || got != fmt.Sprint([]v1alpha1.EarnedRole{role("admin", "z"), role("viewer", "a"), role("viewer", "b")}) {
		t.Errorf("roles %s, %s", user.Status.RoleNames, got)
	}
	failed := &verdict{}
	failed.grantedRoles(access.Decision{}, v1alpha1.ModeEnforce, errors.New("no"))
	failed.addHeld([]v1alpha1.EarnedRole{role("viewer", "a")})
	if got := stated(failed, user, v1alpha1.ConditionAccessGranted); !strings.HasPrefix(got, "False BindingFailed") {
		t.Errorf("held after a failure: AccessGranted is %s", got)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	var list []access.Problem
	var roles []v1alpha1.EarnedRole
	for i := range 12 {
		list = append(list, access.Problem{Message: fmt.Sprintf("problem %d", i)})
		roles = append(roles, v1alpha1.EarnedRole{Role: fmt.Sprint("r", i), Scope: "s"})
	}
	if got := problems(list); got != "Problem 0; problem 1; problem 2; problem 3; problem 4; and 7 more." {
		t.Error(got)
	}
	if got := difference(roles, roles[3:]); got != "r0 in s, r1 in s, r2 in s" {
		t.Error(got)
	}
	if got := difference(roles, nil); !strings.HasSuffix(got, "r9 in s, and 2 more") {
		t.Error(got)
	}
}

// A scope without a namespace is the user's matter where an attribute names it, and AccessGranted is not True where all are such.
func TestScopesWithoutNamespaces(t *testing.T) {
	app := &v1alpha1.App{}
	app.Spec.Scopes.FromAttribute = "regions"
	app.Status.MissingScopes = []v1alpha1.MissingScope{{Name: "mars", Message: "No namespace is in scope mars."}}
	user := &v1alpha1.User{Spec: v1alpha1.UserSpec{Active: true}}
	user.Spec.Attributes = &runtime.RawExtension{Raw: []byte(`{"regions":["mars","us1"]}`)}
	mars, us1 := v1alpha1.EarnedRole{Role: "viewer", Scope: "mars"}, v1alpha1.EarnedRole{Role: "viewer", Scope: "us1"}
	e := &evaluation{app: app, user: user}
	both := []v1alpha1.EarnedRole{mars, us1}
	if found := e.missingScopes(both); len(found) != 1 || found[0].Reason != v1alpha1.ReasonMissingScope || found[0].Message != `attribute regions names "mars": No namespace is in scope mars` {
		t.Errorf("missing: %+v", found)
	}
	if found := e.missingScopes(both[1:]); found != nil {
		t.Errorf("missing where none is: %+v", found)
	}
	user.Spec.Attributes = nil
	if found := e.missingScopes(both); found != nil {
		t.Errorf("told to a user with an attribute that names no scope: %+v", found)
	}
	for name, test := range map[string]struct {
		roles []v1alpha1.EarnedRole
		err   error
		want  string
	}{
		"all":        {both[:1], nil, "False MissingScope: The roles are held, and bound nowhere yet: No namespace is in scope mars."},
		"one of two": {both, nil, "True Granted"},
		"no role":    {nil, nil, "False NoRole"},
		"failed":     {both[:1], errors.New("no"), "False BindingFailed"},
	} {
		v := &verdict{}
		v.grantedRoles(access.Decision{Roles: test.roles}, v1alpha1.ModeEnforce, test.err)
		v.setNoNamespaces(app, test.roles)
		if got := stated(v, user, v1alpha1.ConditionAccessGranted); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: AccessGranted is %s, want %s", name, got, test.want)
		}
	}
}

// The answer to a leaver that a group stood for must not say that the access is gone.
func TestIsBoundByGroup(t *testing.T) {
	key := earned.RoleInScope{Namespace: "ns", App: "app", Role: "viewer", Scope: "default"}
	byGroup := earned.Entry{Groups: map[earned.RoleInScope]string{key: "okta:Staff"}}
	told := func(u *v1alpha1.User) {
		meta.SetStatusCondition(&u.Status.Conditions, condition(v1alpha1.ConditionAccessRevoked, false, v1alpha1.ReasonBoundByGroup, "x"))
	}
	for name, test := range map[string]struct {
		change func(*v1alpha1.App, *v1alpha1.User)
		entry  earned.Entry
		want   bool
	}{
		"by the index":         {entry: byGroup, want: true},
		"never":                {},
		"told before":          {change: func(_ *v1alpha1.App, u *v1alpha1.User) { told(u) }, want: true},
		"the App names people": {change: func(a *v1alpha1.App, _ *v1alpha1.User) { a.Spec.SubjectMode = "User" }, entry: byGroup},
		"the App observes":     {change: func(a *v1alpha1.App, _ *v1alpha1.User) { a.Spec.Mode = v1alpha1.ModeObserve }, entry: byGroup},
	} {
		app, user := &v1alpha1.App{}, &v1alpha1.User{}
		app.Spec.SubjectMode, app.Spec.Mode = v1alpha1.SubjectModeGroup, v1alpha1.ModeEnforce
		if test.change != nil {
			test.change(app, user)
		}
		if got := (&evaluation{app: app, user: user}).isBoundByGroup(test.entry); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if (&evaluation{user: &v1alpha1.User{}}).isBoundByGroup(byGroup) {
		t.Error("without an App")
	}
}

// Where an App is invalid its users may be bound by either of two names; the one that the status tells comes first.
func TestNamesAmongBindings(t *testing.T) {
	app, user := &v1alpha1.App{}, &v1alpha1.User{}
	user.Spec.App, user.Spec.UserName, user.Status.KubernetesUsername, user.Status.BoundAs = "app", "new", "okta:old", "okta:old"
	prefix := "okta:"
	app.Spec.Kubernetes.UsernamePrefix = &prefix
	e := &evaluation{app: app, user: user}
	key := func(app, role string) earned.RoleInScope {
		return earned.RoleInScope{Namespace: "ns", App: app, Role: role, Scope: "default"}
	}
	for name, test := range map[string]struct {
		bound map[earned.RoleInScope]string
		want  string
	}{
		"none":           {nil, "[]"},
		"the new one":    {map[earned.RoleInScope]string{key("app", "a"): "okta:new"}, "[okta:new]"},
		"both":           {map[earned.RoleInScope]string{key("app", "a"): "okta:new", key("app", "b"): "okta:old"}, "[okta:old okta:new]"},
		"of another App": {map[earned.RoleInScope]string{key("other", "a"): "okta:old"}, "[]"},
		"a stranger's":   {map[earned.RoleInScope]string{key("app", "a"): "okta:mallory"}, "[]"},
	} {
		if got := fmt.Sprint(e.namesAmong(test.bound)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
