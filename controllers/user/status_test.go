package user

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
)

func TestVerdicts(t *testing.T) {
	roles := []v1alpha1.EarnedRole{{Role: "admin", Scope: "a"}, {Role: "admin", Scope: "b"}, {Role: "viewer", Scope: "a"}}
	problem := access.Problem{Reason: v1alpha1.ReasonUnknownRole, Message: `attribute role is "x", which is no role of the App`}
	for name, test := range map[string]struct {
		find func(*verdict, *v1alpha1.User)
		// want: status and reason of AccessGranted, AccessRevoked and Ready, and the role names.
		want string
	}{
		"granted": {
			func(v *verdict, _ *v1alpha1.User) {
				v.grantedRoles(access.Decision{Roles: roles}, v1alpha1.ModeEnforce, nil)
			},
			"True Granted, none, True Ready, admin,viewer",
		},
		"granted with a problem": {
			func(v *verdict, _ *v1alpha1.User) {
				v.grantedRoles(access.Decision{Roles: roles, Problems: []access.Problem{problem}}, v1alpha1.ModeEnforce, nil)
			},
			"True Granted, none, False UnknownRole, admin,viewer",
		},
		"no role": {
			func(v *verdict, _ *v1alpha1.User) { v.grantedRoles(access.Decision{}, v1alpha1.ModeEnforce, nil) },
			"False NoRole, none, True NoRole, ",
		},
		"observed": {
			func(v *verdict, _ *v1alpha1.User) {
				v.grantedRoles(access.Decision{Roles: roles}, v1alpha1.ModeObserve, nil)
			},
			"False Observed, none, True Observed, admin,viewer",
		},
		"failed": {
			func(v *verdict, _ *v1alpha1.User) {
				v.grantedRoles(access.Decision{Roles: roles, Problems: []access.Problem{problem}}, v1alpha1.ModeEnforce, errors.New("no"))
			},
			"False BindingFailed, none, False BindingFailed, admin,viewer",
		},
		"inactive": {
			func(v *verdict, u *v1alpha1.User) { u.Spec.Active = false; v.revoked(u) },
			"False Inactive, True Revoked, True Inactive, ",
		},
		"suspended": {
			func(v *verdict, u *v1alpha1.User) { u.Spec.Suspended = true; v.revoked(u) },
			"False Suspended, True Revoked, True Suspended, ",
		},
		"revocation failed": {
			func(v *verdict, u *v1alpha1.User) {
				u.Spec.Active, u.Status.Roles = false, roles[:1]
				v.revocationFailed(u, errors.New("no"))
			},
			"False Inactive, False BindingFailed, False BindingFailed, admin",
		},
	} {
		t.Run(name, func(t *testing.T) {
			user := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Generation: 7}, Spec: v1alpha1.UserSpec{Active: true}}
			v := &verdict{}
			test.find(v, user)
			v.apply(user, time.Now())
			var texts []string
			for _, kind := range []string{v1alpha1.ConditionAccessGranted, v1alpha1.ConditionAccessRevoked, v1alpha1.ConditionReady} {
				c := meta.FindStatusCondition(user.Status.Conditions, kind)
				if c == nil && kind == v1alpha1.ConditionAccessRevoked && user.MayHaveAccess() {
					texts = append(texts, "none")
					continue
				}
				generation, silent := int64(0), c != nil && (c.Reason == v1alpha1.ReasonGranted || c.Reason == v1alpha1.ReasonNoRole)
				if kind == v1alpha1.ConditionAccessRevoked {
					generation = 7
				}
				if c == nil || c.ObservedGeneration != generation || c.Message == "" && (kind != v1alpha1.ConditionAccessGranted || !silent) {
					t.Fatalf("%s = %+v", kind, c)
				}
				texts = append(texts, fmt.Sprintf("%s %s", c.Status, c.Reason))
			}
			if got := strings.Join(append(texts, user.Status.RoleNames), ", "); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if user.Status.ObservedGeneration != 7 {
				t.Errorf("observed generation %d", user.Status.ObservedGeneration)
			}
		})
	}
}

// A status says that the name is reserved by its key alone, and that it is not by a condition, also where the key stays.
func TestReservedName(t *testing.T) {
	user := &v1alpha1.User{Spec: v1alpha1.UserSpec{UserNameKey: "jane", Active: true}}
	for i, reserved := range []bool{true, false, true} {
		v := &verdict{}
		if reserved {
			v.nameReserved(user)
		} else {
			v.nameNotReserved(v1alpha1.ReasonNameTaken, "The userName is reserved for the user jim.")
		}
		v.withheld(v1alpha1.ReasonAppNotReady, "no")
		v.apply(user, time.Now())
		if user.IsNameReserved() != reserved || user.Status.ReservedKey != "jane" {
			t.Errorf("%d: reserved %t, want %t: %+v", i, user.IsNameReserved(), reserved, user.Status)
		}
		if c := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionNameReserved); (c == nil) != reserved {
			t.Errorf("%d: condition %+v", i, c)
		}
	}
	failed := &verdict{}
	failed.nameNotReserved(v1alpha1.ReasonNameTaken, "no")
	failed.withheld(v1alpha1.ReasonNameTaken, "no")
	failed.apply(user, time.Now())
	user.Spec.Active = false
	failed = &verdict{}
	failed.revocationFailed(user, errors.New("no"))
	failed.apply(user, time.Now())
	if user.IsNameReserved() {
		t.Error("a revocation that failed has the name reserved again")
	}
}

// A verdict that says the same again must write nothing: it would come back as an event, for ever.
func TestApplyIsIdempotent(t *testing.T) {
	user := &v1alpha1.User{Spec: v1alpha1.UserSpec{UserNameKey: "jane"}}
	for range 2 {
		v := &verdict{}
		v.nameReserved(user)
		v.revoked(user)
		before := user.Status.DeepCopy()
		v.apply(user, time.Now().Add(time.Hour))
		if before.ObservedGeneration == 0 && len(before.Conditions) == 0 {
			continue
		}
		if fmt.Sprint(*before) != fmt.Sprint(user.Status) {
			t.Errorf("before %+v\nafter  %+v", *before, user.Status)
		}
	}
}

// What an earlier version wrote and still holds is no reason to write: else a new version would write the status of every user.
func TestEarlierStatusStays(t *testing.T) {
	user := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Spec: v1alpha1.UserSpec{UserNameKey: "jane", Active: true, LastRequest: "r1"}}
	find := func(decision access.Decision) *verdict {
		v := &verdict{subject: "okta:jane"}
		v.nameReserved(user)
		v.grantedRoles(decision, v1alpha1.ModeEnforce, nil)
		return v
	}
	user.Status = v1alpha1.UserStatus{
		ObservedGeneration: 1, LastRequest: "r1", KubernetesUsername: "okta:jane", ReservedKey: "jane",
		Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionAccessGranted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNoRole, Message: "The person holds no role.", ObservedGeneration: 1},
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonNoRole, Message: "The person holds no role.", ObservedGeneration: 1},
		},
	}
	before := user.Status.DeepCopy()
	find(access.Decision{}).apply(user, time.Now())
	if fmt.Sprint(*before) != fmt.Sprint(user.Status) {
		t.Errorf("before %+v\nafter  %+v", *before, user.Status)
	}
	find(access.Decision{Roles: []v1alpha1.EarnedRole{{Role: "viewer", Scope: "a"}}}).apply(user, time.Now())
	for _, c := range user.Status.Conditions {
		if c.Status != metav1.ConditionTrue || c.ObservedGeneration != 0 || c.Message == "The person holds no role." {
			t.Errorf("after a change %+v", c)
		}
	}
	user.Generation = 2
	find(access.Decision{}).apply(user, time.Now())
	if user.Status.ObservedGeneration != 2 || user.Status.LastRequest != "r1" || user.Status.Conditions[1].ObservedGeneration != 0 {
		t.Errorf("of the next generation: %+v", user.Status)
	}
}

// The time of suspension does not count towards the deletion of inactive users.
func TestInactiveSince(t *testing.T) {
	user := &v1alpha1.User{Spec: v1alpha1.UserSpec{Active: true, Suspended: true}}
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	step := func(hours int) *metav1.Time {
		v := &verdict{}
		v.revoked(user)
		v.apply(user, at.Add(time.Duration(hours)*time.Hour))
		return user.Status.InactiveSince
	}
	if since := step(0); !since.Time.Equal(at) {
		t.Errorf("suspended since %v", since)
	}
	user.Spec.Active = false
	if since := step(5); !since.Time.Equal(at.Add(5 * time.Hour)) {
		t.Errorf("inactive since %v", since)
	}
	if since := step(9); !since.Time.Equal(at.Add(5 * time.Hour)) {
		t.Errorf("inactive since %v", since)
	}
}

func TestRoleNamesAreBounded(t *testing.T) {
	var roles []v1alpha1.EarnedRole
	for i := range 128 {
		roles = append(roles, v1alpha1.EarnedRole{Role: fmt.Sprintf("%03d", i) + strings.Repeat("é", 125)})
	}
	if names := []rune(roleNames(roles)); len(names) != maxRoleNames || names[len(names)-1] != '…' {
		t.Errorf("%d characters, the last %q", len(names), names[len(names)-1])
	}
}
