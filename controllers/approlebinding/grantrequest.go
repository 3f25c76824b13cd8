package approlebinding

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/internal/earned"
)

// grantRequest is what one person asked for.
type grantRequest struct {
	user types.NamespacedName
	// revision of the person's entry in the index, for which it was asked.
	revision uint64
	// pending are keys that have not run yet.
	pending int
	// failed are keys that ran, and tell why people who hold them may not be bound: nil for none.
	failed map[earned.RoleInScope]error
}

// Ask has keys run for a person whose entry in the index has a revision. It returns at once; who is told by OnChange is the
// person, when all of them ran. To ask again for the same revision before that changes nothing, so that people who are
// many do not make runs more.
func (s *Syncer) RequestGrants(user types.NamespacedName, revision uint64, keys []earned.RoleInScope) {
	s.mutex.Lock()
	if asked := s.grantRequests[user]; asked != nil && asked.revision == revision && asked.pending > 0 {
		s.mutex.Unlock()
		return
	}
	asked := &grantRequest{user: user, revision: revision, pending: len(keys)}
	if s.grantRequests == nil {
		s.grantRequests = map[types.NamespacedName]*grantRequest{}
	}
	s.grantRequests[user] = asked
	s.mutex.Unlock()
	for _, key := range keys {
		s.enqueue(key, request{asked: asked})
	}
}

// Answer returns, once, which runs failed that a person asked for with that revision of their entry: by key, why it may not be
// bound. It is false where they have not ended, or nobody asked.
func (s *Syncer) GrantResults(user types.NamespacedName, revision uint64) (map[earned.RoleInScope]error, bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	asked := s.grantRequests[user]
	if asked == nil || asked.revision != revision || asked.pending > 0 {
		return nil, false
	}
	delete(s.grantRequests, user)
	return asked.failed, true
}

// Withdraw forgets what a person asked for: they are gone, or hold nothing any more.
func (s *Syncer) Cancel(user types.NamespacedName) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.grantRequests, user)
}

// answer notes the end of a run for those who asked for it, and tells them whose last one it was.
func (s *Syncer) answer(key earned.RoleInScope, asked []*grantRequest, outcome Outcome) {
	var answered []types.NamespacedName
	s.mutex.Lock()
	for _, one := range asked {
		if outcome.Grant != nil {
			if one.failed == nil {
				one.failed = map[earned.RoleInScope]error{}
			}
			one.failed[key] = outcome.Grant
		}
		if one.pending--; one.pending == 0 && s.grantRequests[one.user] == one {
			answered = append(answered, one.user)
		}
	}
	changed := s.changed
	s.mutex.Unlock()
	if changed != nil && len(answered) > 0 {
		changed(answered)
	}
}
