package user

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func statusWith(granted metav1.ConditionStatus, reason string, roles ...string) *v1alpha1.UserStatus {
	status := &v1alpha1.UserStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionAccessGranted, Status: granted, Reason: reason}}}
	for _, role := range roles {
		name, held := strings.CutSuffix(role, " held")
		earned := v1alpha1.EarnedRole{Role: name, Scope: "default", Reasons: []string{"by default"}}
		if held {
			earned.Reasons = []string{reasonHeld}
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
		"a grant that failed":      {&v1alpha1.UserStatus{}, none(v1alpha1.ReasonBindingFailed, "a"), ""},
		"a grant that works later": {none(v1alpha1.ReasonBindingFailed, "a"), bound("a"), "granted a"},
		"a leaver":                 {bound("a", "b"), none(v1alpha1.ReasonInactive), "revoked a,b"},
		"a failed revocation":      {bound("a"), none(v1alpha1.ReasonInactive, "a"), ""},
		"observed only":            {&v1alpha1.UserStatus{}, none(v1alpha1.ReasonObserved, "a"), ""},
		"observed no more":         {none(v1alpha1.ReasonObserved, "a"), none(v1alpha1.ReasonObserved), ""},
		"from Observe to Enforce":  {none(v1alpha1.ReasonObserved, "a"), bound("a"), "granted a"},
		"held":                     {bound("a", "b"), bound("a", "b held"), "held b"},
		"released":                 {bound("a", "b held"), bound("a"), "released b"},
		"earned again":             {bound("a held"), bound("a"), ""},
		"a held leaver":            {bound("a held"), none(v1alpha1.ReasonInactive), "released a"},
	} {
		changes := auditChanges(test.before, test.after)
		var got []string
		for action, roles := range changes {
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
