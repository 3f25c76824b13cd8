package oauth

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

const (
	// rememberTime is how long after its first use a JWT could be taken once more, if nothing remembered it: it may be used clockSkew before
	// its claim iat, and is taken until replicaSkew and clockSkew after its claim exp.
	rememberTime = assertionTime + 2*clockSkew + replicaSkew
	// freshLeeway is how much older than an OAuthGrant a JWT may be that is shown to a replica which cannot know what was there before.
	freshLeeway = 10 * time.Second
)

// Spent remembers the JWTs of machine clients beyond the OAuthGrants that hold them, in one replica: of a grant that was deleted, or put back
// from a backup, those that it held and holds no more, and of a client's other grants, since an App may list one key in two ways. Feed it with
// Observe, and call Begin once that has caught up. Safe for concurrent use.
type Spent struct {
	now func() time.Time

	mu sync.Mutex
	// since is when this replica began to see each change; zero before.
	since time.Time
	// shown are the grants of machine clients as the watch last told, by name.
	shown map[spender]map[string]*v1alpha1.OAuthGrant
	// lost are JWTs that grants of these clients held, until they expire.
	lost map[spender][]v1alpha1.OAuthAssertion
	// gone is when this replica learned of the end of a client's last grant, for rememberTime.
	gone map[spender]time.Time
}

// spender is a machine client of an App: its JWTs have a claim jti of their own each, whichever key signed them.
type spender struct {
	app      types.NamespacedName
	clientID string
}

func spenderOf(grant *v1alpha1.OAuthGrant) spender {
	return spender{types.NamespacedName{Namespace: grant.Namespace, Name: grant.Spec.App}, grant.Spec.ClientID}
}

// NewSpent returns a Spent that knows of no grant.
func NewSpent(now func() time.Time) *Spent {
	return &Spent{
		now: now, shown: map[spender]map[string]*v1alpha1.OAuthGrant{}, lost: map[spender][]v1alpha1.OAuthAssertion{}, gone: map[spender]time.Time{},
	}
}

// Begin says that all grants that there are were observed: from now on no change is missed.
func (s *Spent) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = s.now()
}

// Observe takes both states of a change; nil stands before what is new, and after what is gone.
func (s *Spent) Observe(before, after *v1alpha1.OAuthGrant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before != nil && before.Spec.Key != "" {
		client, kept := spenderOf(before), map[string]bool{}
		if delete(s.shown[client], before.Name); len(s.shown[client]) == 0 {
			delete(s.shown, client)
		}
		if after != nil {
			for _, held := range after.Status.Assertions {
				kept[held.Digest] = true
			}
		}
		for _, held := range before.Status.Assertions {
			if !kept[held.Digest] && s.now().Before(held.Until.Time) {
				s.lost[client] = append(s.lost[client], held)
			}
		}
		if after == nil || after.UID != before.UID {
			s.gone[client] = s.now()
		}
		s.prune()
	}
	if after != nil && after.Spec.Key != "" {
		client := spenderOf(after)
		if s.shown[client] == nil {
			s.shown[client] = map[string]*v1alpha1.OAuthGrant{}
		}
		s.shown[client][after.Name] = after
	}
}

// prune forgets what has expired. s.mu is held.
func (s *Spent) prune() {
	for client, lost := range s.lost {
		if s.lost[client] = unexpired(lost, s.now()); len(s.lost[client]) == 0 {
			delete(s.lost, client)
		}
	}
	for client, at := range s.gone {
		if s.now().Sub(at) >= rememberTime {
			delete(s.gone, client)
		}
	}
}

// unexpired returns those of a list that could be shown again.
func unexpired(list []v1alpha1.OAuthAssertion, now time.Time) []v1alpha1.OAuthAssertion {
	return slices.DeleteFunc(slices.Clone(list), func(each v1alpha1.OAuthAssertion) bool { return !now.Before(each.Until.Time) })
}

// holds says whether a JWT is among others, by its digest.
func holds(list []v1alpha1.OAuthAssertion, digest string) bool {
	return slices.ContainsFunc(list, func(each v1alpha1.OAuthAssertion) bool { return token.Equal(each.Digest, digest) })
}

// has says whether a JWT of a client was used, as far as this replica was told.
func (s *Spent) has(client spender, digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, shown := range s.shown[client] {
		if holds(unexpired(shown.Status.Assertions, now), digest) {
			return true
		}
	}
	return holds(unexpired(s.lost[client], now), digest)
}

// past is what this replica knows of the time before a grant.
type past struct {
	// known says that the watch has shown the grant, and so whatever was there before it.
	known bool
	// whole says that this replica has seen each use of a JWT that could be shown again.
	whole bool
	// lost are JWTs that a former grant of the client held.
	lost []v1alpha1.OAuthAssertion
}

// before returns what is known of the time before a grant. A grant that is older than each JWT that could be shown again has no such time.
func (s *Spent) before(grant *v1alpha1.OAuthGrant) past {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, client := s.now(), spenderOf(grant)
	lost := unexpired(s.lost[client], now)
	if now.Sub(grant.CreationTimestamp.Time) > rememberTime+replicaSkew {
		return past{known: true, whole: true, lost: lost}
	}
	shown := s.shown[client][grant.Name]
	// After a break of the watch, the last state that was seen of a former grant may lack its last uses: it counts as a start.
	since, begun := s.since, !s.since.IsZero()
	if gone := s.gone[client]; gone.After(since) {
		since = gone
	}
	return past{
		known: shown != nil && shown.UID == grant.UID,
		whole: begun && now.Sub(since) >= rememberTime,
		lost:  lost,
	}
}
