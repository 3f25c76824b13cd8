package oauth

import (
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// at is a replica that has run for an hour.
func at(now *time.Time) *Server {
	clock := func() time.Time { return *now }
	spent := NewSpent(clock)
	*now = now.Add(-time.Hour)
	spent.Begin()
	*now = now.Add(time.Hour)
	return &Server{options: Options{Now: clock, Spent: spent}, limits: newLimits()}
}

func TestRecordTakesAnAssertionOnce(t *testing.T) {
	now := noon
	s, app := at(&now), appWith("other", "key")
	shown := &assertion{clientID: "hr", key: "key", id: "1", until: now.Add(time.Minute + 300*time.Millisecond)}
	grant := machineGrant(app, shown)
	access := &v1alpha1.OAuthAccess{RequestedAt: metav1.NewTime(now), ExpiresAt: metav1.NewTime(now.Add(time.Hour))}
	if err := s.record(app, grant, shown, access); err != nil {
		t.Fatal(err)
	}
	if grant.Status.Access != access || len(grant.Status.Assertions) != 1 || grant.Status.Assertions[0].Until.Time.Before(shown.until) {
		t.Errorf("the status is %+v", grant.Status)
	}
	if err := s.record(app, grant, shown, nil); !errors.Is(err, errReplayed) || grant.Status.Access != access {
		t.Errorf("a second time: %v, %+v", err, grant.Status)
	}
	now = now.Add(2 * time.Minute)
	second := &assertion{clientID: "hr", key: "key", id: "2", until: now.Add(time.Minute)}
	if err := s.record(app, grant, second, nil); err != nil || len(grant.Status.Assertions) != 1 {
		t.Errorf("after the first one's end: %v, %+v", err, grant.Status.Assertions)
	}
}

func TestRecordIsBounded(t *testing.T) {
	now := noon
	s, app := at(&now), appWith("other", "key")
	shown := func(i int) *assertion {
		return &assertion{clientID: "hr", key: "key", id: fmt.Sprint(i), until: now.Add(time.Minute)}
	}
	grant := machineGrant(app, shown(0))
	for i := range maxAssertions {
		if err := s.record(app, grant, shown(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.record(app, grant, shown(maxAssertions), nil); !errors.Is(err, ErrBusy) || len(grant.Status.Assertions) != maxAssertions {
		t.Errorf("one more: %v, %d", err, len(grant.Status.Assertions))
	}
	if err := s.record(app, grant, shown(7), nil); !errors.Is(err, errReplayed) {
		t.Errorf("one of them: %v", err)
	}
	now = now.Add(time.Hour)
	if err := s.record(app, grant, shown(maxAssertions), nil); err != nil || len(grant.Status.Assertions) != 1 {
		t.Errorf("later: %v, %d", err, len(grant.Status.Assertions))
	}
}

// The grant of another client or key, and one that the App does not hold any more, takes nothing.
func TestRecordIsForOneClientAndKey(t *testing.T) {
	now := noon
	s, app := at(&now), appWith("other", "key")
	shown := &assertion{clientID: "hr", key: "key", id: "1", until: now.Add(time.Minute)}
	for name, change := range map[string]func(*v1alpha1.OAuthGrant){
		"of another client":  func(g *v1alpha1.OAuthGrant) { g.Spec.ClientID = "erp" },
		"of another key":     func(g *v1alpha1.OAuthGrant) { g.Spec.Key = "other" },
		"of another App":     func(g *v1alpha1.OAuthGrant) { g.Spec.App = "other" },
		"in another place":   func(g *v1alpha1.OAuthGrant) { g.Namespace = "other" },
		"that a person made": func(g *v1alpha1.OAuthGrant) { g.Spec.Key, g.Spec.Decision = "", v1alpha1.DecisionApproved },
		"that has ended":     func(g *v1alpha1.OAuthGrant) { g.Status.Ended = &v1alpha1.OAuthEnd{} },
	} {
		grant := machineGrant(app, shown)
		change(grant)
		if err := s.record(app, grant, shown, nil); !errors.Is(err, errUnchanged) || len(grant.Status.Assertions) != 0 {
			t.Errorf("a grant %s: %v", name, err)
		}
	}
	grant := machineGrant(app, shown)
	grant.DeletionTimestamp = &metav1.Time{Time: now}
	if err := s.record(app, grant, shown, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("a grant that is being deleted: %v", err)
	}
	grant.DeletionTimestamp = nil
	app.Spec.OAuth.MachineClients[0].Keys = []string{"next"}
	if err := s.record(app, grant, shown, nil); !errors.Is(err, errUnchanged) {
		t.Errorf("a key that was taken away: %v", err)
	}
}

func TestMachineID(t *testing.T) {
	seen := map[string]bool{}
	for _, client := range []string{"hr", "erp", "h"} {
		for _, key := range []string{"key", "rkey", "other"} {
			id := machineID(client, key)
			if !isID(id) || seen[id] || id != machineID(client, key) {
				t.Errorf("%s for %s and %s", id, client, key)
			}
			seen[id] = true
		}
	}
}

// What an issued token needs to be accepted, on each replica.
func TestBacks(t *testing.T) {
	app := appWith("other", "key")
	app.UID, app.Spec.OAuth.ClientID = "1", "okta"
	machine := machineGrant(app, &assertion{clientID: "hr", key: "key"})
	machine.UID = "2"
	ownedBy := func(grant *v1alpha1.OAuthGrant) []metav1.OwnerReference {
		return []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "OAuthGrant", Name: grant.Name, UID: grant.UID}}
	}
	approved := &v1alpha1.OAuthGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "okta-bcdfghjk", UID: "3"},
		Spec:       v1alpha1.OAuthGrantSpec{App: "okta", AppUID: "1", ClientID: "okta", Decision: v1alpha1.DecisionApproved},
	}
	for name, grant := range map[string]*v1alpha1.OAuthGrant{"machine": machine, "approved": approved} {
		issued := &v1alpha1.ScimToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "a", OwnerReferences: ownedBy(grant)},
			Spec:       v1alpha1.ScimTokenSpec{App: "okta", Grant: grant.Name, Type: v1alpha1.TokenTypeAccess},
		}
		if !grant.Backs(app, issued) {
			t.Fatalf("%s: the token is refused", name)
		}
		for what, change := range map[string]func(*v1alpha1.App, *v1alpha1.OAuthGrant, *v1alpha1.ScimToken){
			"without spec.oauth": func(a *v1alpha1.App, _ *v1alpha1.OAuthGrant, _ *v1alpha1.ScimToken) { a.Spec.OAuth = nil },
			"with other clients": func(a *v1alpha1.App, _ *v1alpha1.OAuthGrant, _ *v1alpha1.ScimToken) {
				a.Spec.OAuth = &v1alpha1.OAuth{ClientID: "x"}
			},
			"of another name": func(a *v1alpha1.App, _ *v1alpha1.OAuthGrant, _ *v1alpha1.ScimToken) { a.Name = "other" },
			"with a grant that over": func(_ *v1alpha1.App, g *v1alpha1.OAuthGrant, _ *v1alpha1.ScimToken) {
				g.Status.Ended = &v1alpha1.OAuthEnd{}
			},
			"with another grant": func(_ *v1alpha1.App, _ *v1alpha1.OAuthGrant, s *v1alpha1.ScimToken) { s.Spec.Grant = "other" },
			"with a token of another App": func(_ *v1alpha1.App, _ *v1alpha1.OAuthGrant, s *v1alpha1.ScimToken) {
				s.Spec.App = "other"
			},
			"with a grant made anew under its name": func(_ *v1alpha1.App, g *v1alpha1.OAuthGrant, _ *v1alpha1.ScimToken) { g.UID = "4" },
			"with a token of no grant": func(_ *v1alpha1.App, _ *v1alpha1.OAuthGrant, s *v1alpha1.ScimToken) {
				s.OwnerReferences = nil
			},
		} {
			a, g, s := app.DeepCopy(), grant.DeepCopy(), issued.DeepCopy()
			change(a, g, s)
			if g.Backs(a, s) {
				t.Errorf("%s: taken %s", name, what)
			}
		}
	}
	another := app.DeepCopy()
	another.UID = "2"
	token := &v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: "directory", OwnerReferences: ownedBy(approved)}, Spec: v1alpha1.ScimTokenSpec{App: "okta", Grant: approved.Name, Type: v1alpha1.TokenTypeAccess}}
	if approved.Backs(another, token) {
		t.Error("an approval is taken by the App made anew")
	}
	token.Spec.Grant, token.OwnerReferences = machine.Name, ownedBy(machine)
	if !machine.Backs(another, token) {
		t.Error("a machine client is refused by the App made anew with its key")
	}
	token.Spec.Type = v1alpha1.TokenTypeRefresh
	if machine.Backs(app, token) {
		t.Error("a machine client has a refresh token")
	}
}
