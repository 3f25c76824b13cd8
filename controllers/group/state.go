package group

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// state is what is known of one Group, its members apart.
type state struct {
	name types.NamespacedName
	app  types.NamespacedName
	uid  types.UID

	group access.Group
	// counts says that members earn roles by the group: it has the claim of its name, and is not being deleted.
	counts bool
	// epoch of the sharding, empty while inline; complete is the last epoch with all shards read.
	epoch, complete string
	// nameOpen says that the claim of the Group's present key is still to be read. looked is the key that a live read was
	// about, and found what that told.
	nameOpen bool
	looked   string
	found    bool

	// modified is the lastModified of the Group as it was last seen.
	modified *metav1.MicroTime
	// causes are those of changes that people were not told of yet, because the group is not settled.
	causes []*Cause

	// deletion is the request that is about to delete the Group: its shards may be seen to go before the Group is.
	deletion *Cause

	// before is what people were last evaluated by; nil while the group is settled.
	before *view
}

// view is what of a group matters to people.
type view struct {
	group   access.Group
	counts  bool
	members []string
}

func (s *state) settled() bool { return !s.nameOpen && (s.epoch == "" || s.epoch == s.complete) }

// take takes in a state of the Group.
func (s *state) take(group *v1alpha1.Group) {
	if s.uid != group.UID {
		s.uid, s.complete, s.looked, s.found, s.modified = group.UID, "", "", false, nil
	}
	s.addCause(causeOf(s.modified, group))
	s.modified, s.deletion = group.Spec.LastModified, deletionOf(group)
	s.group = namesOf(group)
	s.epoch = epochOf(group)
	claimed, known := nameState(group)
	if !known && s.looked == group.Spec.DisplayNameKey {
		claimed, known = s.found, true
	}
	deleting := !group.DeletionTimestamp.IsZero()
	s.nameOpen = !known && !deleting
	s.counts = claimed && !deleting
}

// addCause keeps a cause until people are told of the change.
func (s *state) addCause(cause *Cause) {
	const most = 64
	if cause != nil && len(s.causes) < most {
		s.causes = append(s.causes, cause)
	}
}

// takeCauses returns the causes of what people are about to be told.
func (s *state) takeCauses() []*Cause {
	causes := s.causes
	s.causes = nil
	return causes
}

func namesOf(group *v1alpha1.Group) access.Group {
	return access.Group{DisplayName: group.Spec.DisplayName, Key: group.Spec.DisplayNameKey, ExternalID: group.Spec.ExternalID}
}

func epochOf(group *v1alpha1.Group) string {
	if group.Spec.Sharding == nil {
		return ""
	}
	return group.Spec.Sharding.Epoch
}

// nameState returns what the Group itself tells of the claim of its name. A Group that was never verified does not count. A
// verified Group that was renamed since has the claim of its new name already, as a rule. A live read has to tell: members
// must not lose their roles until the status catches up. So it has where a backup put another object's status in place of the Group's own.
func nameState(group *v1alpha1.Group) (claimed, known bool) {
	switch {
	case group.HasForeignStatus():
		return false, false
	case group.IsNameReserved():
		return true, true
	}
	reserved := meta.FindStatusCondition(group.Status.Conditions, v1alpha1.ConditionNameReserved)
	refused := reserved != nil && reserved.Status == metav1.ConditionFalse && reserved.ObservedGeneration == group.Generation
	return false, group.Status.ReservedKey == "" || refused
}

func (m *Memberships) putGroup(group *v1alpha1.Group) {
	change, joined := m.takeGroup(group)
	m.tell(change)
	m.tellGroup(client.ObjectKeyFromObject(group), joined)
}

func (m *Memberships) takeGroup(group *v1alpha1.Group) (change Change, joined []string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	s := m.stateOf(group)
	before := view{group: s.group, counts: s.counts}
	// The members of a group that stays in its shards do not change by its own events; to gather them costs.
	gathered := s.epoch != epochOf(group) || s.epoch == ""
	if gathered {
		before.members = m.index.Members(s.name)
	}
	joined = m.index.PutGroup(group)
	s.take(group)
	if !gathered && (before.group != s.group || before.counts != s.counts || !s.settled()) && s.before == nil {
		before.members, gathered = m.index.Members(s.name), true
	}
	if s.before != nil {
		before = *s.before
	} else if !gathered {
		s.causes = nil // nothing that matters to people changed; shards tell of their own
		return Change{}, joined
	}
	return m.conclude(s, before), joined
}

// conclude returns what a new state of a group means for users that were evaluated by an earlier one: nothing yet, where it
// is not settled.
func (m *Memberships) conclude(s *state, before view) Change {
	if !s.settled() {
		s.before = &before
		put(m.unsettled, s.app, s)
		return Change{}
	}
	s.before = nil
	drop(m.unsettled, s.app, s)
	return s.changeFrom(before, view{group: s.group, counts: s.counts, members: m.index.Members(s.name)})
}

func (s *state) changeFrom(before, after view) Change {
	change := Change{App: s.app, Before: before.group, After: after.group}
	if before.counts || after.counts {
		change.Causes = s.takeCauses() // else what people gain by them is told once the name is claimed
	}
	switch {
	case before.counts && after.counts && before.group == after.group:
		change.Left, change.Joined = without(before.members, after.members), without(after.members, before.members)
	case before.counts && after.counts:
		change.Left, change.Joined = before.members, without(after.members, before.members)
	case before.counts:
		change.Left = before.members
	case after.counts:
		change.Joined = after.members
	}
	return change
}

func (m *Memberships) removeGroup(group *v1alpha1.Group) {
	name := client.ObjectKeyFromObject(group)
	m.tell(m.forgetGroup(name, group))
	m.tellGroup(name, nil)
}

func (m *Memberships) forgetGroup(name types.NamespacedName, group *v1alpha1.Group) Change {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	s := m.states[name]
	if s == nil || s.uid != group.UID {
		return Change{}
	}
	before := view{group: s.group, counts: s.counts, members: m.index.Members(name)}
	if s.before != nil {
		before = *s.before
	}
	s.addCause(deletionOf(group))
	m.index.RemoveGroup(group)
	delete(m.states, name)
	drop(m.apps, s.app, s)
	drop(m.unsettled, s.app, s)
	return s.changeFrom(before, view{})
}

// changeShard takes in a state of a shard; the new one is nil where it is gone. Shards of a group that is not settled are told
// of together, when it is.
func (m *Memberships) changeShard(old, shard *v1alpha1.MemberShard) {
	there := shard != nil
	if !there {
		shard = old
	}
	name := types.NamespacedName{Namespace: shard.Namespace, Name: shard.Spec.Group}
	change, joined := m.takeShard(name, old, shard, there)
	m.tell(change)
	m.tellGroup(name, joined)
}

func (m *Memberships) takeShard(name types.NamespacedName, old, shard *v1alpha1.MemberShard, there bool) (change Change, joined []string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var members, former []string
	if old != nil {
		former = old.Spec.Members
	}
	if there {
		joined, members = m.index.PutShard(shard), shard.Spec.Members
	} else {
		m.index.RemoveShard(shard)
	}
	s := m.states[name]
	if s == nil || s.epoch != shard.Spec.Epoch {
		return Change{}, joined
	}
	if there {
		s.addCause(causeOfShard(old, shard))
	} else {
		s.addCause(s.deletion)
	}
	if s.before != nil || !s.counts {
		return Change{}, joined
	}
	return Change{App: s.app, Before: s.group, After: s.group, Left: without(former, members), Joined: joined, Causes: s.takeCauses()}, joined
}

// settle finds out by live reads what informers do not tell: all shards of the epoch that a Group names, which were
// written before it named them, and whether the claim of a new name is the Group's. Callers at the same time share the
// reads.
func (m *Memberships) settle(ctx context.Context, name types.NamespacedName) error {
	_, err, _ := m.flights.Do(name.String(), func() (any, error) { return nil, m.settleOnce(ctx, name) })
	return err
}

func (m *Memberships) settleOnce(ctx context.Context, name types.NamespacedName) error {
	m.mutex.RLock()
	s := m.states[name]
	if s == nil || s.settled() {
		m.mutex.RUnlock()
		return nil
	}
	asked := *s
	m.mutex.RUnlock()

	var shards []v1alpha1.MemberShard
	var owner string
	var err error
	if asked.epoch != "" && asked.epoch != asked.complete {
		if shards, err = membership.NewStore(m.live, name.Namespace, nil).ListShards(ctx, name.Name, asked.epoch); err != nil {
			return err
		}
	}
	if asked.nameOpen {
		if owner, err = claims.ForGroups(m.live, name.Namespace).OwnerOf(ctx, name.Name, asked.app.Name, asked.group.Key); err != nil {
			return err
		}
	}
	change, joined := m.learn(&asked, shards, owner)
	m.tell(change)
	m.tellGroup(name, joined)
	return nil
}

// learn takes in what live reads found for the state that the group had when they were asked for. If the group changed
// since, it stays unsettled, and the next caller of settle reads again.
func (m *Memberships) learn(asked *state, shards []v1alpha1.MemberShard, owner string) (change Change, joined []string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	s := m.states[asked.name]
	if s == nil || s.uid != asked.uid || s.before == nil {
		return Change{}, nil
	}
	if s.epoch == asked.epoch && s.epoch != s.complete {
		for i := range shards {
			shards[i].ManagedFields = nil
			joined = append(joined, m.index.PutShard(&shards[i])...)
		}
		s.complete = s.epoch
	}
	if s.nameOpen && asked.nameOpen && s.group.Key == asked.group.Key {
		s.looked, s.found = s.group.Key, owner == s.name.Name
		s.nameOpen, s.counts = false, s.found
	}
	return m.conclude(s, *s.before), joined
}

func (m *Memberships) stateOf(group *v1alpha1.Group) *state {
	name := client.ObjectKeyFromObject(group)
	s := m.states[name]
	if s == nil {
		s = &state{name: name, app: types.NamespacedName{Namespace: group.Namespace, Name: group.Spec.App}}
		m.states[name] = s
		put(m.apps, s.app, s)
	}
	return s
}

func put(index map[types.NamespacedName]map[string]*state, app types.NamespacedName, s *state) {
	if index[app] == nil {
		index[app] = map[string]*state{}
	}
	index[app][s.name.Name] = s
}

func drop(index map[types.NamespacedName]map[string]*state, app types.NamespacedName, s *state) {
	delete(index[app], s.name.Name)
	if len(index[app]) == 0 {
		delete(index, app)
	}
}
