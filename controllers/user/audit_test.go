package user

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
)

func statusWith(granted metav1.ConditionStatus, reason string, roles ...string) *v1alpha1.UserStatus {
	status := &v1alpha1.UserStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionAccessGranted, Status: granted, Reason: reason}}}
	for _, role := range roles {
		name, state, _ := strings.Cut(role, " ")
		earned := v1alpha1.EarnedRole{Role: name, Scope: "default", Reasons: []string{"by default"}}
		switch state {
		case "held":
			earned.Reasons = []string{access.ReasonHeld}
		case v1alpha1.BoundNo, v1alpha1.BoundPartly:
			earned.Bound = state
		}
		status.Roles = append(status.Roles, earned)
	}
	return status
}

func TestAuditChanges(t *testing.T) {
	bound := func(roles ...string) *v1alpha1.UserStatus {
		return statusWith(metav1.ConditionTrue, v1alpha1.ReasonGranted, roles...)
	}
	none := func(reason string, roles ...string) *v1alpha1.UserStatus {
		return statusWith(metav1.ConditionFalse, reason, roles...)
	}
	for name, test := range map[string]struct {
		before, after *v1alpha1.UserStatus
		want          string
	}{
		"first grant":              {&v1alpha1.UserStatus{}, bound("a", "b"), "granted a,b"},
		"nothing new":              {bound("a"), bound("a"), ""},
		"one comes, one goes":      {bound("a", "b"), bound("b", "c"), "granted c; revoked a"},
		"a grant that failed":      {&v1alpha1.UserStatus{}, none(v1alpha1.ReasonBindingFailed, "a No"), ""},
		"one of two that failed":   {&v1alpha1.UserStatus{}, none(v1alpha1.ReasonForbidden, "a No", "b"), "granted b"},
		"a grant that works later": {none(v1alpha1.ReasonBindingFailed, "a No", "b"), bound("a", "b"), "granted a"},
		"never bound, and lost":    {none(v1alpha1.ReasonBindingFailed, "a No", "b"), none(v1alpha1.ReasonInactive), "revoked b"},
		"bound in part":            {&v1alpha1.UserStatus{}, none(v1alpha1.ReasonBindingFailed, "a Partly"), "granted in part a"},
		"the other part":           {none(v1alpha1.ReasonBindingFailed, "a Partly"), bound("a"), "granted a"},
		"a part is lost":           {none(v1alpha1.ReasonBindingFailed, "a Partly"), none(v1alpha1.ReasonInactive), "revoked a"},
		"a new part is refused":    {bound("a"), none(v1alpha1.ReasonBindingFailed, "a Partly"), ""},
		"its binding is gone":      {bound("a"), none(v1alpha1.ReasonBindingFailed, "a No"), "revoked a"},
		"a wrong App, corrected":   {none(v1alpha1.ReasonAppNotReady, "a"), bound("a"), ""},
		"no namespace yet":         {&v1alpha1.UserStatus{}, none(v1alpha1.ReasonMissingScope, "a No"), ""},
		"from Enforce to Observe":  {bound("a"), none(v1alpha1.ReasonObserved, "a No"), "revoked a"},
		"a leaver":                 {bound("a", "b"), none(v1alpha1.ReasonInactive), "revoked a,b"},
		"a failed revocation":      {bound("a"), none(v1alpha1.ReasonInactive, "a"), ""},
		"observed only":            {&v1alpha1.UserStatus{}, none(v1alpha1.ReasonObserved, "a"), ""},
		"observed no more":         {none(v1alpha1.ReasonObserved, "a"), none(v1alpha1.ReasonObserved), ""},
		"from Observe to Enforce":  {none(v1alpha1.ReasonObserved, "a No"), bound("a"), "granted a"},
		"held":                     {bound("a", "b"), bound("a", "b held"), "held b"},
		"released":                 {bound("a", "b held"), bound("a"), "released b"},
		"earned again":             {bound("a held"), bound("a"), ""},
		"a held leaver":            {bound("a held"), none(v1alpha1.ReasonInactive), "released a"},
	} {
		changes := auditChanges(test.before, test.after)
		var got []string
		for change, roles := range changes {
			action := change.action
			if change.partly {
				action += " in part"
			}
			var names []string
			for _, role := range sortedRoles(roles) {
				names = append(names, role.Role)
			}
			got = append(got, fmt.Sprintf("%s %s", action, strings.Join(names, ",")))
		}
		slices.Sort(got)
		if text := strings.Join(got, "; "); text != test.want {
			t.Errorf("%s: %q, want %q", name, text, test.want)
		}
	}
}

// A role that was taken when its time was over says so; one that a deactivation took does not.
func TestAuditOfEnds(t *testing.T) {
	past, later := metav1.NewTime(time.Now().Add(-time.Second)), metav1.NewTime(time.Now().Add(time.Hour))
	before := statusWith(metav1.ConditionTrue, v1alpha1.ReasonGranted, "a", "b", "c held", "d")
	before.Roles[0].Until, before.Roles[1].Until, before.Roles[2].Until = &past, &later, &past
	after := statusWith(metav1.ConditionTrue, v1alpha1.ReasonGranted)
	left := after.DeepCopy()
	left.InactiveSince = &past
	for _, test := range []struct {
		after *v1alpha1.UserStatus
		want  map[string]bool
	}{
		{after, map[string]bool{"revoked a": true, "revoked b": false, "released c": true, "revoked d": false}},
		{left, map[string]bool{"revoked a": false, "revoked b": false, "released c": false, "revoked d": false}},
	} {
		got := map[string]bool{}
		for change, roles := range auditChanges(before, test.after) {
			for _, role := range roles {
				got[change.action+" "+role.Role] = role.Ended
			}
		}
		if !maps.Equal(got, test.want) {
			t.Errorf("got %v, want %v", got, test.want)
		}
	}
}
