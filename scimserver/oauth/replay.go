package oauth

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// replayTime is how long after a replay was written into a grant's status the next one is: each gives an Event.
const replayTime = 10 * time.Minute

// refuseReplay refuses an assertion that was used before, and tells of it: by the metric each time, by the audit trail once a second at
// most, and by the status of the grant, from which the controller makes an Event, once in replayTime.
func (s *Server) refuseReplay(ctx context.Context, call *Call, grant types.NamespacedName, shown *assertion) error {
	call.Replayed()
	if s.limits.replay.allow(grant.String()) {
		call.Refused("replay", grant.Name, "machineClient", shown.clientID)
		// Of a grant that is gone, and where the API server is away, the audit trail tells alone.
		_, _ = s.change(ctx, grant.Namespace, grant.Name, func(grant *v1alpha1.OAuthGrant) error {
			now := s.options.Now()
			if last := grant.Status.Replayed; last != nil && now.Before(last.Time.Add(replayTime)) || !grant.DeletionTimestamp.IsZero() {
				return errUnchanged
			}
			grant.Status.Replayed = &v1alpha1.OAuthReplay{Time: metav1.NewTime(now), From: call.From.String()}
			return nil
		})
	}
	return errAssertion(call, errReplayed)
}
