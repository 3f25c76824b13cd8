package membership

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// TestIndexAgainstModel feeds the index with the events of random changes, in the order of each object but otherwise in
// any, some of them twice or late, and compares it in the end with the objects.
func TestIndexAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		x := NewIndex()
		m := newModel(random)
		for range 200 {
			m.change()
		}
		m.deliver(x)
		for name, group := range m.groups {
			key := types.NamespacedName{Namespace: "ns", Name: name}
			want := m.members(group)
			if got := x.Members(key); !slices.Equal(got, want) || x.Count(key) != len(want) {
				t.Fatalf("seed %d: members of %s are %v (%d), want %v", seed, name, got, x.Count(key), want)
			}
		}
		for _, id := range m.ids {
			var want []string
			for name, group := range m.groups {
				in := slices.Contains(m.members(group), id)
				if in {
					want = append(want, name)
				}
				if x.Contains(types.NamespacedName{Namespace: "ns", Name: name}, id) != in {
					t.Fatalf("seed %d: %s in %s = %v", seed, id, name, !in)
				}
			}
			slices.Sort(want)
			if got := x.GroupsOf("ns", id); !slices.Equal(got, want) {
				t.Fatalf("seed %d: groups of %s are %v, want %v", seed, id, got, want)
			}
		}
	}
}

type model struct {
	random  *rand.Rand
	version int
	ids     []string
	groups  map[string]*v1alpha1.Group
	shards  map[string]*v1alpha1.MemberShard
	events  map[string][]func(*Index) // by object
}

func newModel(random *rand.Rand) *model {
	m := &model{
		random: random, groups: map[string]*v1alpha1.Group{}, shards: map[string]*v1alpha1.MemberShard{},
		events: map[string][]func(*Index){},
	}
	for n := range 6 {
		m.ids = append(m.ids, fmt.Sprint("id", n))
	}
	return m
}

func (m *model) next() string {
	m.version++
	return strconv.Itoa(m.version)
}

func (m *model) some() []string {
	var list []string
	for _, id := range m.ids {
		if m.random.IntN(2) == 0 {
			list = append(list, id)
		}
	}
	return list
}

func (m *model) change() {
	name := fmt.Sprint("g", m.random.IntN(3))
	group := m.groups[name]
	switch fate := m.random.IntN(10); {
	case group == nil || fate == 0:
		group = &v1alpha1.Group{}
		group.Namespace, group.Name, group.UID = "ns", name, types.UID(m.next())
		group.Spec.Members = m.some()
		m.remove(name)
		m.putGroup(group)
	case fate == 1:
		m.remove(name)
	case fate < 5:
		group = group.DeepCopy()
		group.Spec.Members, group.Spec.Sharding = m.some(), nil
		m.putGroup(group)
	case fate < 7:
		group = group.DeepCopy()
		group.Spec.Members, group.Spec.Sharding = nil, &v1alpha1.Sharding{Epoch: fmt.Sprint("e", m.random.IntN(2)), Count: Shards}
		m.putGroup(group)
	default:
		m.changeShard(group, fmt.Sprint("e", m.random.IntN(2)), m.random.IntN(len(m.ids)))
	}
}

func (m *model) changeShard(group *v1alpha1.Group, epoch string, n int) {
	index := ShardOf(m.ids[n])
	name := ShardName(group.Name, epoch, index)
	if old := m.shards[name]; old != nil && m.random.IntN(3) == 0 {
		delete(m.shards, name)
		m.events[name] = append(m.events[name], func(x *Index) { x.RemoveShard(old) })
		return
	}
	shard := newShard(group, epoch, index, slices.DeleteFunc(m.some(), func(id string) bool { return ShardOf(id) != index }))
	shard.ResourceVersion = m.next()
	m.shards[name] = shard
	m.events[name] = append(m.events[name], func(x *Index) { x.PutShard(shard) })
}

func (m *model) putGroup(group *v1alpha1.Group) {
	group.ResourceVersion = m.next()
	m.groups[group.Name] = group
	m.events[group.Name] = append(m.events[group.Name], func(x *Index) { x.PutGroup(group) })
}

func (m *model) remove(name string) {
	if old := m.groups[name]; old != nil {
		delete(m.groups, name)
		m.events[name] = append(m.events[name], func(x *Index) { x.RemoveGroup(old) })
	}
}

func (m *model) members(group *v1alpha1.Group) []string {
	if group.Spec.Sharding == nil {
		return group.Spec.Members
	}
	var members []string
	for _, shard := range m.shards {
		if shard.Spec.Group == group.Name && shard.Spec.Epoch == group.Spec.Sharding.Epoch {
			members = append(members, shard.Spec.Members...)
		}
	}
	slices.Sort(members)
	return members
}

// deliver has the index see every object's events. A write of this process may be told of once more, later.
func (m *model) deliver(x *Index) {
	var names []string
	for name := range m.events {
		names = append(names, name)
	}
	slices.Sort(names)
	for len(names) > 0 {
		i := m.random.IntN(len(names))
		events := m.events[names[i]]
		events[0](x)
		if len(m.groups) > 0 && m.random.IntN(3) == 0 {
			for _, group := range m.groups {
				if len(m.events[group.Name]) == 0 {
					x.PutGroup(group)
				}
			}
		}
		m.events[names[i]] = events[1:]
		if len(events) == 1 {
			names = slices.Delete(names, i, i+1)
		}
	}
}

func TestIndexKeepsNoGhosts(t *testing.T) {
	x := NewIndex()
	group := &v1alpha1.Group{Spec: v1alpha1.GroupSpec{Members: []string{"ada"}}}
	group.Namespace, group.Name, group.UID, group.ResourceVersion = "ns", "g", "u1", "5"
	x.PutGroup(group)
	late := group.DeepCopy()
	late.ResourceVersion = "7"
	x.RemoveGroup(group)
	x.PutGroup(late)
	if got := x.GroupsOf("ns", "ada"); got != nil || len(x.groups) != 0 || len(x.users) != 0 {
		t.Errorf("a late answer brought a group back: %v, %d groups, %d namespaces", got, len(x.groups), len(x.users))
	}
}

func TestIndexTellsWhoJoined(t *testing.T) {
	x := NewIndex()
	group := &v1alpha1.Group{Spec: v1alpha1.GroupSpec{Members: []string{"ada", "bob"}}}
	group.Namespace, group.Name, group.UID, group.ResourceVersion = "ns", "g", "u1", "5"
	if got := x.PutGroup(group); !slices.Equal(got, []string{"ada", "bob"}) {
		t.Errorf("joined at first: %v", got)
	}
	group = group.DeepCopy()
	group.Spec.Members, group.ResourceVersion = []string{"bob", "cyd"}, "6"
	if got := x.PutGroup(group); !slices.Equal(got, []string{"cyd"}) {
		t.Errorf("joined then: %v", got)
	}
	shard := newShard(group, "e2", ShardOf("dee"), []string{"dee"})
	if got := x.PutShard(shard); got != nil {
		t.Errorf("joined by a shard of no epoch: %v", got)
	}
	group = group.DeepCopy()
	group.Spec.Members, group.Spec.Sharding, group.ResourceVersion = nil, &v1alpha1.Sharding{Epoch: "e2", Count: Shards}, "7"
	if got := x.PutGroup(group); !slices.Equal(got, []string{"dee"}) {
		t.Errorf("joined by a flip: %v", got)
	}
}
