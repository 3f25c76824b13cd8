package membership

import (
	"errors"
	"strconv"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// memory is a store with the API server's semantics: resourceVersions, generations, preconditions. It is not safe for
// concurrent use: the exploration runs one call at a time.
type memory struct {
	version int64
	groups  map[string]*v1alpha1.Group
	shards  map[string]*v1alpha1.MemberShard

	// What a sound protocol cannot do without, to be broken by tests that the exploration finds it.
	ignoreGroupVersions, ignoreShardVersions bool
	// blindly has a writer of shards raise lastModified on whatever the Group is by then.
	blindly bool
	// formerShards has reads of shards show former states.
	formerShards bool
	// formerGroups has reads of Groups show former states.
	formerGroups bool
	// history has every state that a shard ever had.
	history map[string][]*v1alpha1.MemberShard
	// groupHistory is the same of Groups.
	groupHistory map[string][]*v1alpha1.Group
	// named are the epochs that the Group ever named.
	named map[string]bool
}

func newMemory() *memory {
	return &memory{groups: map[string]*v1alpha1.Group{}, shards: map[string]*v1alpha1.MemberShard{}, named: map[string]bool{},
		history: map[string][]*v1alpha1.MemberShard{}, groupHistory: map[string][]*v1alpha1.Group{}}
}

var errPrecondition = errors.New("the object has been modified")

func (m *memory) next() string {
	m.version++
	return strconv.FormatInt(m.version, 10)
}

func (m *memory) getGroup(name string) (*v1alpha1.Group, error) {
	if group, found := m.groups[name]; found {
		if former := m.knownGroup(name); m.formerGroups && former != nil {
			return former.DeepCopy(), nil
		}
		return group.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(v1alpha1.Resource("groups"), name)
}

func (m *memory) createGroup(group *v1alpha1.Group) {
	group.ResourceVersion, group.Generation = m.next(), 1
	m.put(group)
}

// updateGroup keeps the status, and raises the generation where the specification changes.
func (m *memory) updateGroup(group *v1alpha1.Group) error {
	stored, found := m.groups[group.Name]
	if !found {
		return apierrors.NewNotFound(v1alpha1.Resource("groups"), group.Name)
	}
	if stored.ResourceVersion != group.ResourceVersion && m.blindly && group.Spec.Sharding != nil && m.named[group.Spec.Sharding.Epoch] {
		group.Spec.Members, group.Spec.Sharding, group.ResourceVersion = stored.Spec.Members, stored.Spec.Sharding, stored.ResourceVersion
	}
	if stored.ResourceVersion != group.ResourceVersion && !m.ignoreGroupVersions {
		return apierrors.NewConflict(v1alpha1.Resource("groups"), group.Name, errPrecondition)
	}
	if len(group.Spec.Members) > 0 && group.Spec.Sharding != nil {
		return apierrors.NewInvalid(v1alpha1.SchemeGroupVersion.WithKind("Group").GroupKind(), group.Name, nil)
	}
	if !apiequality.Semantic.DeepEqual(stored.Spec, group.Spec) {
		group.Generation = stored.Generation + 1
	}
	group.Status = stored.Status
	group.ResourceVersion = m.next()
	m.put(group)
	return nil
}

func (m *memory) put(group *v1alpha1.Group) {
	if group.Spec.Sharding != nil {
		m.named[group.Spec.Sharding.Epoch] = true
	}
	m.groups[group.Name] = group.DeepCopy()
	m.groupHistory[group.Name] = append(m.groupHistory[group.Name], group.DeepCopy())
}

// knownGroup is knownShard for a Group: half of the time it is the present one.
func (m *memory) knownGroup(name string) *v1alpha1.Group {
	states := m.groupHistory[name]
	if i := int(m.version) % (2*len(states) + 1); i < 2*len(states) {
		return states[max(i, len(states)-1)%len(states)]
	}
	return nil
}

// report is the controller's status write, which has no precondition.
func (m *memory) report(name string) error {
	if group, found := m.groups[name]; found {
		group = group.DeepCopy()
		group.Status.Members++
		group.ResourceVersion = m.next()
		m.put(group)
	}
	return nil
}

func (m *memory) getShard(name string) (*v1alpha1.MemberShard, error) {
	if shard, found := m.shards[name]; found {
		if former := m.knownShard(name); m.formerShards && former != nil {
			return former.DeepCopy(), nil
		}
		return shard.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(v1alpha1.Resource("membershards"), name)
}

// knownShard returns some state that the shard had, which follows from how much was written since, or nil.
func (m *memory) knownShard(name string) *v1alpha1.MemberShard {
	states := m.history[name]
	if i := int(m.version) % (len(states) + 1); i < len(states) {
		return states[i]
	}
	return nil
}

func (m *memory) putShard(shard *v1alpha1.MemberShard) {
	m.shards[shard.Name] = shard.DeepCopy()
	m.history[shard.Name] = append(m.history[shard.Name], shard.DeepCopy())
}

func (m *memory) listShards(group, epoch string) []v1alpha1.MemberShard {
	var list []v1alpha1.MemberShard
	for _, shard := range m.shards {
		if shard.Spec.Group == group && shard.Spec.Epoch == epoch {
			list = append(list, *shard.DeepCopy())
		}
	}
	return list
}

func (m *memory) createShard(shard *v1alpha1.MemberShard) error {
	if _, found := m.shards[shard.Name]; found {
		return apierrors.NewAlreadyExists(v1alpha1.Resource("membershards"), shard.Name)
	}
	shard.ResourceVersion = m.next()
	m.putShard(shard)
	return nil
}

func (m *memory) updateShard(shard *v1alpha1.MemberShard) error {
	if err := m.matchingShard(shard); err != nil {
		return err
	}
	shard.ResourceVersion = m.next()
	m.putShard(shard)
	return nil
}

func (m *memory) deleteShard(shard *v1alpha1.MemberShard) error {
	if err := m.matchingShard(shard); err != nil {
		return err
	}
	delete(m.shards, shard.Name)
	return nil
}

func (m *memory) matchingShard(shard *v1alpha1.MemberShard) error {
	stored, found := m.shards[shard.Name]
	if !found {
		return apierrors.NewNotFound(v1alpha1.Resource("membershards"), shard.Name)
	}
	if stored.ResourceVersion != shard.ResourceVersion && !m.ignoreShardVersions {
		return apierrors.NewConflict(v1alpha1.Resource("membershards"), shard.Name, errPrecondition)
	}
	return nil
}
