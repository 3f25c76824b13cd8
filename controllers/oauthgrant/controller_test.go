package oauthgrant

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/grantstate"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// A replay is told for a day from its time on, by one Event each, whatever else the grant is.
func TestReplaysAreTold(t *testing.T) {
	recorder := events.NewFakeRecorder(10)
	r := &Reconciler{Recorder: recorder}
	grant := &v1alpha1.OAuthGrant{Spec: v1alpha1.OAuthGrantSpec{ClientID: "hr", Key: "key"}}
	connected := grantstate.State{Active: true, Reason: v1alpha1.ReasonConnected, Change: noon.Add(time.Hour)}
	look := func(state grantstate.State, now time.Time) (told []string, next time.Duration) {
		t.Helper()
		conditions, next := conditionsOf(grant, state, now)
		if conditions != nil {
			was := grant.DeepCopy()
			grant.Status.Conditions = conditions
			r.tell(was, grant)
		}
		for {
			select {
			case event := <-recorder.Events:
				told = append(told, event)
			default:
				return told, next
			}
		}
	}
	if told, _ := look(connected, noon); len(told) != 1 || !strings.HasPrefix(told[0], "Normal Connected") {
		t.Fatalf("connected: %q", told)
	}
	grant.Status.Replayed = &v1alpha1.OAuthReplay{Time: metav1.NewTime(noon), From: "198.51.100.7"}
	told, next := look(connected, noon)
	if len(told) != 1 || !strings.HasPrefix(told[0], "Warning AssertionReplayed") || !strings.Contains(told[0], "hr") || !strings.Contains(told[0], "from 198.51.100.7") || next != time.Hour {
		t.Fatalf("replayed: %q, next after %s", told, next)
	}
	if told, _ := look(connected, noon.Add(time.Minute)); len(told) != 0 {
		t.Errorf("the same replay is told again: %q", told)
	}
	grant.Status.Replayed.Time = metav1.NewTime(noon.Add(10 * time.Minute))
	if told, _ := look(connected, noon.Add(10*time.Minute)); len(told) != 1 {
		t.Errorf("another replay: %q", told)
	}
	over := grantstate.State{Reason: v1alpha1.ReasonExpired, Over: noon.Add(20 * time.Hour)}
	if told, next := look(over, noon.Add(20*time.Hour)); len(told) != 1 || next != 4*time.Hour+10*time.Minute {
		t.Errorf("expired: %q, next after %s", told, next)
	}
	if told, _ := look(over, noon.Add(24*time.Hour+10*time.Minute)); len(told) != 0 || meta.FindStatusCondition(grant.Status.Conditions, v1alpha1.ConditionReplayed) != nil {
		t.Errorf("a day after: %q, %+v", told, grant.Status.Conditions)
	}
}
