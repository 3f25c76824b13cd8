package grantstate

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

var (
	asked = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	until = asked.Add(10 * time.Minute)
)

const day = 24 * time.Hour

func at(moment time.Time) metav1.Time { return metav1.NewTime(moment) }

// request is a grant that waits for a decision, with edits.
func request(edits ...func(*v1alpha1.OAuthGrant)) *v1alpha1.OAuthGrant {
	grant := &v1alpha1.OAuthGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "quickstart-bcdfghjk"},
		Spec:       v1alpha1.OAuthGrantSpec{App: "quickstart", ClientID: "okta", UserCode: "BCDF-GHJK", ExpiresAt: at(until)},
	}
	for _, edit := range edits {
		edit(grant)
	}
	return grant
}

func decided(decision string) func(*v1alpha1.OAuthGrant) {
	return func(grant *v1alpha1.OAuthGrant) { grant.Spec.Decision, grant.Spec.DecidedBy = decision, "admin" }
}

// redeemed says that the client got a code, and used it at a moment, or not yet.
func redeemed(moment time.Time) func(*v1alpha1.OAuthGrant) {
	return func(grant *v1alpha1.OAuthGrant) {
		grant.Status.Code = &v1alpha1.OAuthCode{ExpiresAt: at(until)}
		if used := at(moment); !moment.IsZero() {
			grant.Status.Code.UsedAt = &used
		}
	}
}

func refreshable(moment time.Time) func(*v1alpha1.OAuthGrant) {
	return func(grant *v1alpha1.OAuthGrant) { grant.Status.Refresh = &v1alpha1.OAuthRefresh{ExpiresAt: at(moment)} }
}

func ended(reason string, moment time.Time) func(*v1alpha1.OAuthGrant) {
	return func(grant *v1alpha1.OAuthGrant) {
		grant.Status.Ended = &v1alpha1.OAuthEnd{Reason: reason, Time: at(moment)}
	}
}

// told says that the condition has had this reason since a moment.
func told(reason string, moment time.Time) func(*v1alpha1.OAuthGrant) {
	return func(grant *v1alpha1.OAuthGrant) {
		grant.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionActive, Status: metav1.ConditionFalse, Reason: reason, LastTransitionTime: at(moment)}}
	}
}

// stateNow is Of, of a grant with its App as it was.
func stateNow(grant *v1alpha1.OAuthGrant, now time.Time) State {
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: grant.Namespace, Name: grant.Spec.App}}
	app.Spec.OAuth = &v1alpha1.OAuth{ClientID: grant.Spec.ClientID}
	return of(grant, app, now)
}

func TestOf(t *testing.T) {
	const approved, denied = v1alpha1.DecisionApproved, v1alpha1.DecisionDenied
	redeemedAt, end := asked.Add(time.Minute), asked.Add(90*day)
	connected := []func(*v1alpha1.OAuthGrant){decided(approved), redeemed(redeemedAt), refreshable(end)}
	with := func(more ...func(*v1alpha1.OAuthGrant)) *v1alpha1.OAuthGrant {
		return request(append(connected[:3:3], more...)...)
	}
	for name, test := range map[string]struct {
		grant  *v1alpha1.OAuthGrant
		now    time.Time
		reason string
		active bool
		over   time.Time     // zero: it matters
		next   time.Duration // 0: never
		says   string        // part of the message
	}{
		"it waits":                                  {request(), asked, v1alpha1.ReasonPending, false, time.Time{}, 10 * time.Minute, "kubectl scim oauth approve BCDF-GHJK -n directory, until 2030-01-01T12:10:00Z"},
		"the last moment":                           {request(), until.Add(-time.Millisecond), v1alpha1.ReasonPending, false, time.Time{}, time.Second, "approve BCDF-GHJK"},
		"no decision in time":                       {request(), until, v1alpha1.ReasonExpired, false, until, KeepOver, "ask again"},
		"approved":                                  {request(decided(approved)), asked, v1alpha1.ReasonApproved, false, time.Time{}, 10 * time.Minute, "admin approved it"},
		"approved, the browser was away":            {request(decided(approved)), until, v1alpha1.ReasonExpired, false, until, KeepOver, "ask again"},
		"the browser has the code":                  {request(decided(approved), redeemed(time.Time{})), asked, v1alpha1.ReasonApproved, false, time.Time{}, 10 * time.Minute, "goes back"},
		"the code was not redeemed":                 {request(decided(approved), redeemed(time.Time{})), until.Add(time.Hour), v1alpha1.ReasonExpired, false, until, KeepOver - time.Hour, "ask again"},
		"connected":                                 {with(), redeemedAt, v1alpha1.ReasonConnected, true, time.Time{}, end.Sub(redeemedAt), "to end it: kubectl scim oauth deny BCDF-GHJK -n directory"},
		"connected, long after":                     {with(), end.Add(-time.Hour), v1alpha1.ReasonConnected, true, time.Time{}, time.Hour, "okta has tokens for the App quickstart"},
		"the refresh token expired":                 {with(), end, v1alpha1.ReasonExpired, false, end, KeepOver, "connect again"},
		"no refresh token is known":                 {request(decided(approved), redeemed(redeemedAt)), redeemedAt.Add(time.Minute), v1alpha1.ReasonExpired, false, redeemedAt, KeepOver - time.Minute, "connect again"},
		"denied":                                    {request(decided(denied)), asked, v1alpha1.ReasonDenied, false, asked, KeepOver, "admin denied it"},
		"denied, told an hour ago":                  {request(decided(denied), told(v1alpha1.ReasonDenied, asked)), asked.Add(time.Hour), v1alpha1.ReasonDenied, false, asked, KeepOver - time.Hour, "none that was is accepted"},
		"denied, not told yet":                      {request(decided(denied), told(v1alpha1.ReasonPending, asked)), asked.Add(time.Hour), v1alpha1.ReasonDenied, false, asked.Add(time.Hour), KeepOver, "admin denied it"},
		"denied while connected":                    {with(decided(denied)), redeemedAt, v1alpha1.ReasonDenied, false, redeemedAt, KeepOver, "admin denied it"},
		"denied after its time":                     {request(decided(denied)), until.Add(day), v1alpha1.ReasonDenied, false, until.Add(day), KeepOver, "admin denied it"},
		"redeemed, and the decision was taken back": {request(redeemed(redeemedAt), refreshable(end)), until, v1alpha1.ReasonExpired, false, until, KeepOver, "ask again"},
		"a code came twice":                         {with(ended(v1alpha1.ReasonCodeReused, redeemedAt)), redeemedAt, v1alpha1.ReasonCodeReused, false, redeemedAt, KeepOver, "authorization code was used a second time"},
		"a refresh token came twice":                {with(ended(v1alpha1.ReasonRefreshTokenReused, redeemedAt)), redeemedAt.Add(day), v1alpha1.ReasonRefreshTokenReused, false, redeemedAt, time.Second, "refresh token was used a second time"},
		"the client revoked it":                     {with(ended(v1alpha1.ReasonRevoked, redeemedAt)), redeemedAt, v1alpha1.ReasonRevoked, false, redeemedAt, KeepOver, "client revoked"},
		"ended for a reason of a later version":     {with(ended("Other", redeemedAt)), redeemedAt, "Other", false, redeemedAt, KeepOver, "all tokens of the connection are refused"},
		"ended, then denied":                        {with(ended(v1alpha1.ReasonRevoked, redeemedAt), decided(denied)), redeemedAt, v1alpha1.ReasonRevoked, false, redeemedAt, KeepOver, "client revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			before := test.grant.DeepCopy()
			got := stateNow(test.grant, test.now)
			if got.Reason != test.reason || got.Active != test.active || !strings.Contains(strings.ToLower(got.Message), strings.ToLower(test.says)) {
				t.Errorf("%s, active %v: %s", got.Reason, got.Active, got.Message)
			}
			if !got.Over.Equal(test.over) || got.Next(test.now) != test.next {
				t.Errorf("over at %s, looked at again after %s; want %s, %s", got.Over, got.Next(test.now), test.over, test.next)
			}
			if got.Active && (!test.grant.IsApproved() || !got.Over.IsZero()) {
				t.Error("a grant that is not approved, or is over, is told to be active")
			}
			if !equality.Semantic.DeepEqual(before, test.grant) {
				t.Error("the grant was changed")
			}
		})
	}
}

// A grant that is over is kept for KeepOver from its end, whenever it is looked at: a controller that starts anew counts on.
func TestGrantsThatAreOverAreKeptADay(t *testing.T) {
	end := asked.Add(time.Hour)
	grant := request(decided(v1alpha1.DecisionApproved), ended(v1alpha1.ReasonRevoked, end))
	for _, after := range []time.Duration{0, time.Minute, 12 * time.Hour, day - time.Second} {
		now := end.Add(after)
		if got := stateNow(grant, now); !got.Over.Equal(end) || got.Next(now) != max(time.Second, day-after) {
			t.Errorf("%s after the end: over at %s, next after %s", after, got.Over, got.Next(now))
		}
	}
	if got := stateNow(grant, end.Add(30*day)).Next(end.Add(30 * day)); got != time.Second {
		t.Errorf("long after its end it is looked at after %s", got)
	}
}

// What no time changes is not looked at again.
func TestNextOfWhatDoesNotChange(t *testing.T) {
	if got := (State{Active: true}).Next(asked); got != 0 {
		t.Errorf("looked at again after %s", got)
	}
}
