package claims

import (
	"errors"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// memory is a store with the API server's semantics: resourceVersions, preconditions, finalizers. It is not safe for
// concurrent use: the exploration runs one call at a time.
type memory struct {
	version int64
	users   map[string]*v1alpha1.User
	claims  map[string]*v1alpha1.NameClaim

	// What a sound protocol cannot do without, to be broken by tests that the exploration finds it.
	ignoreTouches          bool
	ignoreClaimVersions    bool
	ignoreHolderVersions   bool
	forgetTerminatingUsers bool
	// oldSightings has an event of a claim decide about a holder that is newer.
	oldSightings bool
	// trustOldClaims has a claim that is older than its holder decide, and stay as it is.
	trustOldClaims bool

	// events are what a watch of claims shows, in order.
	events []claimEvent
}

type claimEvent struct {
	claim *v1alpha1.NameClaim
	gone  bool
}

// sees says whether a watch that has shown so many events tells that the claim of the holder's key names it, as Sightings has it.
func (m *memory) sees(events int, holder *v1alpha1.User) bool {
	s := &Sightings{}
	for _, event := range m.events[:events] {
		if event.gone {
			s.lost(event.claim)
		} else {
			s.saw(event.claim)
		}
	}
	if m.oldSightings {
		holder = holder.DeepCopy()
		holder.ResourceVersion = "1"
	}
	return s.Names(holder.Spec.App, v1alpha1.ClaimUserName, holder.Spec.UserNameKey, holder)
}

func newMemory() *memory {
	return &memory{users: map[string]*v1alpha1.User{}, claims: map[string]*v1alpha1.NameClaim{}}
}

var errPrecondition = errors.New("the object has been modified")

func (m *memory) next() string {
	m.version++
	return strconv.FormatInt(m.version, 10)
}

func (m *memory) getUser(name string) (*v1alpha1.User, error) {
	user, found := m.users[name]
	if !found || m.forgetTerminatingUsers && user.DeletionTimestamp != nil {
		return nil, apierrors.NewNotFound(v1alpha1.Resource("users"), name)
	}
	return user.DeepCopy(), nil
}

func (m *memory) createUser(user *v1alpha1.User) error {
	if _, found := m.users[user.Name]; found {
		return apierrors.NewAlreadyExists(v1alpha1.Resource("users"), user.Name)
	}
	user.ResourceVersion = m.next()
	m.users[user.Name] = user.DeepCopy()
	return nil
}

// updateUser keeps what a client cannot write: creation and deletion times, and the status.
func (m *memory) updateUser(user *v1alpha1.User) error {
	stored, err := m.matchingUser(user)
	if err != nil {
		return err
	}
	updated := user.DeepCopy()
	updated.CreationTimestamp, updated.DeletionTimestamp, updated.Status = stored.CreationTimestamp, stored.DeletionTimestamp, stored.Status
	updated.ResourceVersion = m.next()
	user.ResourceVersion = updated.ResourceVersion
	m.users[user.Name] = updated
	m.collect(updated)
	return nil
}

func (m *memory) deleteUser(user *v1alpha1.User) error {
	stored, err := m.matchingUser(user)
	if err != nil {
		return err
	}
	if stored.DeletionTimestamp == nil {
		now := metav1.Now()
		stored.DeletionTimestamp = &now
		stored.ResourceVersion = m.next()
	}
	m.collect(stored)
	return nil
}

func (m *memory) collect(user *v1alpha1.User) {
	if user.DeletionTimestamp != nil && len(user.Finalizers) == 0 {
		delete(m.users, user.Name)
	}
}

func (m *memory) matchingUser(user *v1alpha1.User) (*v1alpha1.User, error) {
	stored, found := m.users[user.Name]
	if !found {
		return nil, apierrors.NewNotFound(v1alpha1.Resource("users"), user.Name)
	}
	if stored.ResourceVersion != user.ResourceVersion && !m.ignoreHolderVersions {
		return nil, apierrors.NewConflict(v1alpha1.Resource("users"), user.Name, errPrecondition)
	}
	return stored, nil
}

// reserve is the controller's status write, which has no precondition.
func (m *memory) reserve(name, key string) {
	if user, found := m.users[name]; found {
		user.Status.ReservedKey = key
		user.ResourceVersion = m.next()
	}
}

// report is a status write that reserves nothing: a write of the user that is under way conflicts with it.
func (m *memory) report(name string) {
	if user, found := m.users[name]; found {
		user.ResourceVersion = m.next()
	}
}

func (m *memory) getClaim(name string) (*v1alpha1.NameClaim, error) {
	claim, found := m.claims[name]
	if !found {
		return nil, apierrors.NewNotFound(v1alpha1.Resource("nameclaims"), name)
	}
	return claim.DeepCopy(), nil
}

func (m *memory) createClaim(claim *v1alpha1.NameClaim) error {
	if _, found := m.claims[claim.Name]; found {
		return apierrors.NewAlreadyExists(v1alpha1.Resource("nameclaims"), claim.Name)
	}
	m.putClaim(claim)
	return nil
}

func (m *memory) putClaim(claim *v1alpha1.NameClaim) {
	claim.ResourceVersion = m.next()
	m.claims[claim.Name] = claim.DeepCopy()
	m.events = append(m.events, claimEvent{claim: claim.DeepCopy()})
}

func (m *memory) updateClaim(claim *v1alpha1.NameClaim) error {
	if err := m.matchingClaim(claim); err != nil {
		return err
	}
	if !m.ignoreTouches {
		m.putClaim(claim)
	}
	return nil
}

func (m *memory) deleteClaim(claim *v1alpha1.NameClaim) error {
	if err := m.matchingClaim(claim); err != nil {
		return err
	}
	delete(m.claims, claim.Name)
	gone := claim.DeepCopy()
	gone.ResourceVersion = m.next()
	m.events = append(m.events, claimEvent{claim: gone, gone: true})
	return nil
}

func (m *memory) matchingClaim(claim *v1alpha1.NameClaim) error {
	stored, found := m.claims[claim.Name]
	if !found {
		return apierrors.NewNotFound(v1alpha1.Resource("nameclaims"), claim.Name)
	}
	if stored.ResourceVersion != claim.ResourceVersion && !m.ignoreClaimVersions {
		return apierrors.NewConflict(v1alpha1.Resource("nameclaims"), claim.Name, errPrecondition)
	}
	return nil
}

// effective says whether the claim of the user's key names it.
func (m *memory) effective(user *v1alpha1.User) bool {
	claim, found := m.claims[Name(user.Spec.App, v1alpha1.ClaimUserName, user.Spec.UserNameKey)]
	return found && claim.Spec.Holder == user.Name
}
