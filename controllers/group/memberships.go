package group

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/singleflight"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// Memberships knows the groups of each user, and which of them count: the user controller evaluates by it, the group
// controller counts by it. Informers of Groups and MemberShards feed it, on standbys, too.
//
// Those are two watches, and a claim is in none of them. So a Group may name shards that have not been seen, or a new name
// with a claim that was not read yet. Such a group is not settled: GroupsOf reads live before it answers, so that no user
// loses a role, or gains one, by half-known facts.
type Memberships struct {
	// live reads without informers.
	live client.Client

	// mutex makes what is known of the groups, in states and index, one state of the whole.
	mutex  sync.RWMutex
	index  *membership.Index
	states map[types.NamespacedName]*state
	// apps lists the groups of each App, unsettled those of them that are not settled.
	apps, unsettled map[types.NamespacedName]map[string]*state

	flights   singleflight.Group
	synced    []toolscache.InformerSynced
	onMembers []func(Change)
	onGroup   []func(group types.NamespacedName, joined []string)
}

// Change is a difference that people's roles may depend on.
type Change struct {
	App types.NamespacedName
	// Before and After are the group's names.
	Before, After access.Group
	// Left are the SCIM ids of users that may lose a role by the change, Joined those of other users that may gain one.
	Left, Joined []string
	// Causes are the requests that led to the change, as far as clients' requests did.
	Causes []*Cause
}

// NewMemberships returns memberships that know nothing yet. The client must not read from a cache.
func NewMemberships(live client.Client) *Memberships {
	return &Memberships{
		live:  live,
		index: membership.NewIndex(), states: map[types.NamespacedName]*state{},
		apps: map[types.NamespacedName]map[string]*state{}, unsettled: map[types.NamespacedName]map[string]*state{},
	}
}

// OnChange has f called after each change. It must be called before Watch.
func (m *Memberships) OnChange(f func(Change)) { m.onMembers = append(m.onMembers, f) }

// Watch has the manager's informers feed the memberships. It fails where an informer cannot be had.
func (m *Memberships) Watch(ctx context.Context, mgr manager.Manager) error {
	var err error
	m.synced, err = informers.Feed(ctx,
		informers.Of(mgr.GetCache(), &v1alpha1.Group{}, informers.States(m.putGroup, m.removeGroup)),
		informers.Of(mgr.GetCache(), &v1alpha1.MemberShard{}, informers.Changes(m.changeShard)),
	)
	return err
}

// WaitForSync returns once every group that there was at the start is known. It fails with the end of ctx, and where an
// informer does not fill.
func (m *Memberships) WaitForSync(ctx context.Context) error {
	if !toolscache.WaitForCacheSync(ctx.Done(), m.synced...) && ctx.Err() == nil {
		return errors.New("the informers of groups did not fill")
	}
	return ctx.Err()
}

// attempts of an answer while groups keep changing under it.
const attempts = 16

var errUnsettled = errors.New("the groups of the App keep changing: try again")

// GroupsOf returns the groups of an App that a person is a member of and that count: their names are claimed, and they
// are not being deleted. Only groups that the policy looks at must be settled for it. An error says that something is
// not known: nothing is to be taken away, or given, by what this process believed before.
func (m *Memberships) GroupsOf(ctx context.Context, app types.NamespacedName, user string, policy *access.Policy) ([]access.Group, error) {
	for range attempts {
		groups, open := m.groupsOf(app, user, policy)
		if len(open) == 0 {
			return groups, nil
		}
		for _, name := range open {
			if err := m.settle(ctx, name); err != nil {
				return nil, err
			}
		}
	}
	return nil, errUnsettled
}

func (m *Memberships) groupsOf(app types.NamespacedName, user string, policy *access.Policy) (groups []access.Group, open []types.NamespacedName) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	for _, s := range m.unsettled[app] {
		if policy.Concerns(s.group) || policy.Concerns(s.before.group) {
			open = append(open, s.name)
		}
	}
	for _, name := range m.index.GroupsOf(app.Namespace, user) {
		s := m.states[types.NamespacedName{Namespace: app.Namespace, Name: name}]
		if s != nil && s.app == app && s.counts {
			groups = append(groups, s.group)
		}
	}
	return groups, open
}

// GroupsOfApp returns the names of an App's Groups.
func (m *Memberships) GroupsOfApp(app types.NamespacedName) []types.NamespacedName {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	names := make([]types.NamespacedName, 0, len(m.apps[app]))
	for _, s := range m.apps[app] {
		names = append(names, s.name)
	}
	return names
}

// groupsContaining returns the names and UIDs of all Groups that a user is a member of, whether they count or not.
func (m *Memberships) groupsContaining(user types.NamespacedName) (names []types.NamespacedName, uids []types.UID) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	for _, group := range m.index.GroupsOf(user.Namespace, user.Name) {
		name := types.NamespacedName{Namespace: user.Namespace, Name: group}
		names = append(names, name)
		if s := m.states[name]; s != nil {
			uids = append(uids, s.uid)
		}
	}
	return names, uids
}

// all returns the names of all Groups.
func (m *Memberships) all() []types.NamespacedName {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	names := make([]types.NamespacedName, 0, len(m.states))
	for name := range m.states {
		names = append(names, name)
	}
	return names
}

func (m *Memberships) tell(change Change) {
	if len(change.Left) == 0 && len(change.Joined) == 0 {
		return
	}
	for _, f := range m.onMembers {
		f(change)
	}
}

func (m *Memberships) tellGroup(group types.NamespacedName, joined []string) {
	for _, f := range m.onGroup {
		f(group, joined)
	}
}

// without returns the elements of a that are not in b. Both are sorted.
func without(a, b []string) []string {
	var rest []string
	for _, id := range a {
		if _, found := slices.BinarySearch(b, id); !found {
			rest = append(rest, id)
		}
	}
	return rest
}
