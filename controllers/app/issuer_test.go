package app

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// The condition says what a server told of the issuer as it is named now, for an hour, and nothing where no issuer is asked.
func TestIssuerIsTold(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	told := func(generation int64, reachable bool, ago time.Duration) *v1alpha1.ForeignIssuerStatus {
		return &v1alpha1.ForeignIssuerStatus{
			ObservedGeneration: generation, Reachable: reachable, Message: "told", CheckedTime: &metav1.Time{Time: now.Add(-ago)},
		}
	}
	for name, test := range map[string]struct {
		spec   *v1alpha1.ForeignIssuer
		seen   *v1alpha1.ForeignIssuerStatus
		status metav1.ConditionStatus // "" for no condition
		again  time.Duration
	}{
		"no issuer":              {nil, told(3, true, 0), "", 0},
		"suspended":              {&v1alpha1.ForeignIssuer{Suspended: true}, told(3, true, 0), "", 0},
		"nothing told":           {&v1alpha1.ForeignIssuer{}, nil, metav1.ConditionUnknown, 0},
		"only used":              {&v1alpha1.ForeignIssuer{}, &v1alpha1.ForeignIssuerStatus{LastSubject: "a"}, metav1.ConditionUnknown, 0},
		"reachable":              {&v1alpha1.ForeignIssuer{}, told(3, true, time.Minute), metav1.ConditionTrue, 59 * time.Minute},
		"not reachable":          {&v1alpha1.ForeignIssuer{}, told(3, false, 0), metav1.ConditionFalse, time.Hour},
		"as it was named before": {&v1alpha1.ForeignIssuer{}, told(2, true, 0), metav1.ConditionUnknown, 0},
		"long ago":               {&v1alpha1.ForeignIssuer{}, told(3, true, time.Hour), metav1.ConditionUnknown, 0},
	} {
		app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Generation: 3}, Spec: v1alpha1.AppSpec{OIDC: test.spec}, Status: v1alpha1.AppStatus{OIDC: test.seen}}
		set(app, metav1.Condition{Type: v1alpha1.ConditionIssuerReachable, Status: metav1.ConditionTrue, Reason: "Former"})
		again := setIssuer(app, now)
		var status metav1.ConditionStatus
		if condition := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionIssuerReachable); condition != nil {
			status = condition.Status
		}
		if status != test.status || again != test.again {
			t.Errorf("%s: %q, and again in %v; want %q, %v", name, status, again, test.status, test.again)
		}
		if test.spec == nil && app.Status.OIDC != nil {
			t.Errorf("%s: the report stays", name)
		}
	}
}
