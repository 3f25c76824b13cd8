// Package grantstate says what an OAuthGrant is at a moment: the controller writes it into the condition Active, and kubectl scim shows it.
// Pure: it reads no clock and no other object.
package grantstate

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// KeepOver is how long a grant that gives no access any more is kept to be seen.
const KeepOver = 24 * time.Hour

// State is what is to be said of a grant.
type State struct {
	// Active says that tokens of the grant open its App.
	Active bool
	// Reason in one word, and Message, are those of the condition Active.
	Reason, Message string
	// Over is when the grant stopped to matter; zero while it does.
	Over time.Time
	// Change is when time alone changes the state; zero for never.
	Change time.Time
}

// Next is how long until the grant is to be looked at again; 0 for never.
func (s State) Next(now time.Time) time.Duration {
	at := s.Change
	if !s.Over.IsZero() {
		at = s.Over.Add(KeepOver)
	}
	if at.IsZero() {
		return 0
	}
	return max(time.Second, at.Sub(now))
}

// Of says what a grant is at a moment. held says whether its App lets the client in (OAuthGrant.IsHeldBy); it matters of machine clients and
// of connections alone.
func Of(grant *v1alpha1.OAuthGrant, held bool, now time.Time) State {
	if grant.Spec.Key != "" {
		return machineState(grant, held, now)
	}
	spec, status := &grant.Spec, &grant.Status
	connected := status.Code != nil && status.Code.UsedAt != nil
	switch {
	case status.Ended != nil:
		return State{Reason: status.Ended.Reason, Message: ending(status.Ended), Over: status.Ended.Time.Time}
	case spec.Decision == v1alpha1.DecisionDenied:
		return State{
			Reason: v1alpha1.ReasonDenied, Message: fmt.Sprintf("%s denied it: no token is issued, and none that was is accepted.", spec.DecidedBy),
			Over: toldAt(grant, v1alpha1.ReasonDenied, now),
		}
	case connected && spec.Decision == v1alpha1.DecisionApproved:
		return connection(grant, held, now)
	case !now.Before(spec.ExpiresAt.Time):
		return State{
			Reason: v1alpha1.ReasonExpired, Message: "The browser was not sent back to the client in time: it has to ask again.", Over: spec.ExpiresAt.Time,
		}
	case spec.Decision == v1alpha1.DecisionApproved:
		return State{
			Reason: v1alpha1.ReasonApproved, Change: spec.ExpiresAt.Time,
			Message: fmt.Sprintf("%s approved it: the browser goes back to the client by itself.", spec.DecidedBy),
		}
	}
	return State{
		Reason: v1alpha1.ReasonPending, Change: spec.ExpiresAt.Time,
		Message: fmt.Sprintf("It waits for kubectl scim oauth approve %s -n %s, until %s.", spec.UserCode, grant.Namespace, spec.ExpiresAt.UTC().Format(time.RFC3339)),
	}
}

// toldAt is since about when a grant has a reason to be inactive: what the condition says, or now.
func toldAt(grant *v1alpha1.OAuthGrant, reason string, now time.Time) time.Time {
	told := meta.FindStatusCondition(grant.Status.Conditions, v1alpha1.ConditionActive)
	if told == nil || told.Reason != reason {
		return now
	}
	return told.LastTransitionTime.Time
}

// machineState is the state of a machine client's grant.
func machineState(grant *v1alpha1.OAuthGrant, held bool, now time.Time) State {
	access := grant.Status.Access
	switch {
	case !held:
		return State{
			Reason: v1alpha1.ReasonNotHeld, Over: toldAt(grant, v1alpha1.ReasonNotHeld, now),
			Message: fmt.Sprintf("spec.oauth.machineClients of the App %s does not list this client with this key: no token of it is accepted.", grant.Spec.App),
		}
	case access == nil:
		return State{
			Reason: v1alpha1.ReasonPending, Message: "The client has shown a key that the App lists, and has asked for no token yet.",
			Over: toldAt(grant, v1alpha1.ReasonPending, now),
		}
	case !now.Before(access.ExpiresAt.Time):
		return State{
			Reason: v1alpha1.ReasonExpired, Message: "The client has no token that is accepted. It asks for the next one by itself, when it needs it.",
			Over: access.ExpiresAt.Time,
		}
	}
	return State{
		Active: true, Reason: v1alpha1.ReasonConnected, Change: access.ExpiresAt.Time,
		Message: fmt.Sprintf("The machine client %s gets tokens for the App %s by this key. To end it, take the key out of spec.oauth.machineClients of the App.",
			grant.Spec.ClientID, grant.Spec.App),
	}
}

// connection is the state of a grant that the client has tokens of.
func connection(grant *v1alpha1.OAuthGrant, held bool, now time.Time) State {
	if !held {
		return State{
			Reason: v1alpha1.ReasonNotHeld, Message: fmt.Sprintf("The App %s does not have the client %s any more, or was made anew since the approval: "+
				"no token of the connection is accepted. Have the client connect again.", grant.Spec.App, grant.Spec.ClientID),
			Over: toldAt(grant, v1alpha1.ReasonNotHeld, now),
		}
	}
	refresh := grant.Status.Refresh
	if refresh == nil || !now.Before(refresh.ExpiresAt.Time) {
		over := grant.Status.Code.UsedAt.Time
		if refresh != nil {
			over = refresh.ExpiresAt.Time
		}
		return State{
			Reason: v1alpha1.ReasonExpired, Message: "The client did not use its refresh token in time: have it connect again.", Over: over,
		}
	}
	return State{
		Active: true, Reason: v1alpha1.ReasonConnected, Change: refresh.ExpiresAt.Time,
		Message: fmt.Sprintf("The client %s has tokens for the App %s; %s approved it. To end it: kubectl scim oauth deny %s -n %s.",
			grant.Spec.ClientID, grant.Spec.App, grant.Spec.DecidedBy, grant.Spec.UserCode, grant.Namespace),
	}
}

func ending(end *v1alpha1.OAuthEnd) string {
	switch end.Reason {
	case v1alpha1.ReasonRefreshTokenReused:
		return "A refresh token was used a second time: it may be in other hands. All tokens of the connection are refused; have the client connect again."
	case v1alpha1.ReasonCodeReused:
		return "An authorization code was used a second time: it may be in other hands. All tokens of the connection are refused; have the client connect again."
	case v1alpha1.ReasonRevoked:
		return "The client revoked its refresh token: all tokens of the connection are refused."
	}
	return "It has ended: all tokens of the connection are refused."
}
