package oauthgrant

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// state is what is to be said of a grant.
type state struct {
	active          bool
	reason, message string
	// over is when the grant stopped to matter; zero while it does.
	over time.Time
	// change is when time alone changes the state; zero for never.
	change time.Time
}

// next is how long until the grant is to be looked at again; 0 for never.
func (s state) next(now time.Time) time.Duration {
	at := s.change
	if !s.over.IsZero() {
		at = s.over.Add(keepOver)
	}
	if at.IsZero() {
		return 0
	}
	return max(time.Second, at.Sub(now))
}

// stateOf says what a grant is at a moment. app is nil where there is none of the name.
func stateOf(grant *v1alpha1.OAuthGrant, app *v1alpha1.App, now time.Time) state {
	if grant.Spec.Key != "" {
		return machineState(grant, app, now)
	}
	spec, status := &grant.Spec, &grant.Status
	connected := status.Code != nil && status.Code.UsedAt != nil
	switch {
	case status.Ended != nil:
		return state{reason: status.Ended.Reason, message: ending(status.Ended), over: status.Ended.Time.Time}
	case spec.Decision == v1alpha1.DecisionDenied:
		return state{
			reason: v1alpha1.ReasonDenied, message: fmt.Sprintf("%s denied it: no token is issued, and none that was is accepted.", spec.DecidedBy),
			over: toldAt(grant, v1alpha1.ReasonDenied, now),
		}
	case connected && spec.Decision == v1alpha1.DecisionApproved:
		return connection(grant, app, now)
	case !now.Before(spec.ExpiresAt.Time):
		return state{
			reason: v1alpha1.ReasonExpired, message: "The browser was not sent back to the client in time: it has to ask again.", over: spec.ExpiresAt.Time,
		}
	case spec.Decision == v1alpha1.DecisionApproved:
		return state{
			reason: v1alpha1.ReasonApproved, change: spec.ExpiresAt.Time,
			message: fmt.Sprintf("%s approved it: the browser goes back to the client by itself.", spec.DecidedBy),
		}
	}
	return state{
		reason: v1alpha1.ReasonPending, change: spec.ExpiresAt.Time,
		message: fmt.Sprintf("It waits for kubectl scim oauth approve %s -n %s, until %s.", spec.UserCode, grant.Namespace, spec.ExpiresAt.UTC().Format(time.RFC3339)),
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
func machineState(grant *v1alpha1.OAuthGrant, app *v1alpha1.App, now time.Time) state {
	access := grant.Status.Access
	switch {
	case app == nil || !grant.IsHeldBy(app):
		return state{
			reason: v1alpha1.ReasonNotHeld, over: toldAt(grant, v1alpha1.ReasonNotHeld, now),
			message: fmt.Sprintf("spec.oauth.machineClients of the App %s does not list this client with this key: no token of it is accepted.", grant.Spec.App),
		}
	case access == nil:
		return state{
			reason: v1alpha1.ReasonPending, message: "The client has shown a key that the App lists, and has asked for no token yet.",
			over: toldAt(grant, v1alpha1.ReasonPending, now),
		}
	case !now.Before(access.ExpiresAt.Time):
		return state{
			reason: v1alpha1.ReasonExpired, message: "The client has no token that is accepted. It asks for the next one by itself, when it needs it.",
			over: access.ExpiresAt.Time,
		}
	}
	return state{
		active: true, reason: v1alpha1.ReasonConnected, change: access.ExpiresAt.Time,
		message: fmt.Sprintf("The machine client %s gets tokens for the App %s by this key. To end it, take the key out of spec.oauth.machineClients of the App.",
			grant.Spec.ClientID, grant.Spec.App),
	}
}

// connection is the state of a grant that the client has tokens of.
func connection(grant *v1alpha1.OAuthGrant, app *v1alpha1.App, now time.Time) state {
	if app == nil || !grant.IsHeldBy(app) {
		return state{
			reason: v1alpha1.ReasonNotHeld, message: fmt.Sprintf("The App %s does not have the client %s any more, or was made anew since the approval: "+
				"no token of the connection is accepted. Have the client connect again.", grant.Spec.App, grant.Spec.ClientID),
			over: toldAt(grant, v1alpha1.ReasonNotHeld, now),
		}
	}
	refresh := grant.Status.Refresh
	if refresh == nil || !now.Before(refresh.ExpiresAt.Time) {
		over := grant.Status.Code.UsedAt.Time
		if refresh != nil {
			over = refresh.ExpiresAt.Time
		}
		return state{
			reason: v1alpha1.ReasonExpired, message: "The client did not use its refresh token in time: have it connect again.", over: over,
		}
	}
	return state{
		active: true, reason: v1alpha1.ReasonConnected, change: refresh.ExpiresAt.Time,
		message: fmt.Sprintf("The client %s has tokens for the App %s; %s approved it. To end it: kubectl scim oauth deny %s -n %s.",
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
