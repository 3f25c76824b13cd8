package grantstate

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func appWith(oauth *v1alpha1.OAuth) *v1alpha1.App {
	return &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "quickstart", UID: "1"}, Spec: v1alpha1.AppSpec{OAuth: oauth}}
}

// of is Of, for an App; nil is none.
func of(grant *v1alpha1.OAuthGrant, app *v1alpha1.App, now time.Time) State {
	return Of(grant, app != nil && grant.IsHeldBy(app), now)
}

// A connection is no active one where the App does not have its client, or is another one.
func TestConnectionsThatTheAppDoesNotHold(t *testing.T) {
	ofApp := func(grant *v1alpha1.OAuthGrant) { grant.Spec.AppUID = "1" }
	grant := request(ofApp, decided(v1alpha1.DecisionApproved), redeemed(asked), refreshable(asked.Add(90*day)))
	if got := of(grant, appWith(&v1alpha1.OAuth{ClientID: "okta"}), asked); !got.Active {
		t.Fatalf("held: %s, %s", got.Reason, got.Message)
	}
	anew := appWith(&v1alpha1.OAuth{ClientID: "okta"})
	anew.UID = "2"
	for name, app := range map[string]*v1alpha1.App{
		"no App": nil, "without clients": appWith(nil), "with another client": appWith(&v1alpha1.OAuth{ClientID: "other"}), "made anew": anew,
	} {
		if got := of(grant, app, asked); got.Active || got.Reason != v1alpha1.ReasonNotHeld || !got.Over.Equal(asked) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestStateOfAMachineClient(t *testing.T) {
	access := func(grant *v1alpha1.OAuthGrant) {
		grant.Status.Access = &v1alpha1.OAuthAccess{RequestedAt: at(asked), ExpiresAt: at(asked.Add(time.Hour))}
	}
	listed := appWith(&v1alpha1.OAuth{MachineClients: []v1alpha1.MachineClient{{ClientID: "okta", Keys: []string{"other", "key"}}}})
	for name, test := range map[string]struct {
		edit   func(*v1alpha1.OAuthGrant)
		app    *v1alpha1.App
		now    time.Time
		reason string
		over   time.Time
		says   string
	}{
		"with a token":               {access, listed, asked, v1alpha1.ReasonConnected, time.Time{}, "take the key out of spec.oauth.machineClients"},
		"without one yet":            {func(*v1alpha1.OAuthGrant) {}, listed, asked, v1alpha1.ReasonPending, asked, "no token yet"},
		"its token has expired":      {access, listed, asked.Add(time.Hour), v1alpha1.ReasonExpired, asked.Add(time.Hour), "by itself"},
		"its key was taken away":     {access, appWith(&v1alpha1.OAuth{MachineClients: []v1alpha1.MachineClient{{ClientID: "okta", Keys: []string{"other"}}}}), asked, v1alpha1.ReasonNotHeld, asked, "no token of it is accepted"},
		"its key is another's":       {access, appWith(&v1alpha1.OAuth{MachineClients: []v1alpha1.MachineClient{{ClientID: "hr", Keys: []string{"key"}}}}), asked, v1alpha1.ReasonNotHeld, asked, "does not list"},
		"taken away, told before":    {func(g *v1alpha1.OAuthGrant) { access(g); told(v1alpha1.ReasonNotHeld, asked)(g) }, appWith(nil), asked.Add(time.Minute), v1alpha1.ReasonNotHeld, asked, "does not list"},
		"the App is gone":            {access, nil, asked, v1alpha1.ReasonNotHeld, asked, "does not list"},
		"a decision changes nothing": {func(g *v1alpha1.OAuthGrant) { access(g); decided(v1alpha1.DecisionApproved)(g) }, appWith(nil), asked, v1alpha1.ReasonNotHeld, asked, "does not list"},
	} {
		grant := request(func(g *v1alpha1.OAuthGrant) { g.Spec.Key, g.Spec.ExpiresAt = "key", metav1.Time{} }, test.edit)
		got := of(grant, test.app, test.now)
		if got.Active != (test.reason == v1alpha1.ReasonConnected) || got.Reason != test.reason || !got.Over.Equal(test.over) || !strings.Contains(got.Message, test.says) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
