package membership

import (
	"context"
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/interleave"
)

// actor is a server's batch of changes or a controller at work over the store.
type actor = interleave.Actor[memory]

// actorStore is the Store that an actor's protocol runs over. Writes send a copy: what the actor does to its object
// later is not part of a request in flight.
type actorStore struct{ *actor }

func (s actorStore) GetGroup(_ context.Context, name string) (group *v1alpha1.Group, err error) {
	err = s.Do("get group", false, func(m *memory) (err error) {
		group, err = m.getGroup(name)
		return err
	})
	return group, err
}

func (s actorStore) KnownGroup(name string) (known *v1alpha1.Group) {
	_ = s.Do("recall group", false, func(m *memory) error {
		known = m.knownGroup(name)
		return nil
	})
	return known
}

func (s actorStore) UpdateGroup(_ context.Context, group *v1alpha1.Group) error {
	sent := group.DeepCopy()
	what := "update group to " + strings.Join(sent.Spec.Members, ",")
	if sent.Spec.Sharding != nil {
		what = "update group to epoch " + sent.Spec.Sharding.Epoch
	}
	err := s.Do(what, true, func(m *memory) error { return m.updateGroup(sent) })
	if err == nil {
		group.ResourceVersion, group.Generation = sent.ResourceVersion, sent.Generation
	}
	return err
}

func (s actorStore) GetShard(_ context.Context, name string) (shard *v1alpha1.MemberShard, err error) {
	err = s.Do("get "+name, false, func(m *memory) (err error) {
		shard, err = m.getShard(name)
		return err
	})
	return shard, err
}

func (s actorStore) KnownShard(group, epoch string, index int) (known *v1alpha1.MemberShard) {
	name := ShardName(group, epoch, index)
	_ = s.Do("recall "+name, false, func(m *memory) error {
		known = m.knownShard(name)
		return nil
	})
	return known
}

func (s actorStore) ListShards(_ context.Context, group, epoch string) (list []v1alpha1.MemberShard, err error) {
	err = s.Do("list shards of "+epoch, false, func(m *memory) error {
		list = m.listShards(group, epoch)
		return nil
	})
	return list, err
}

func (s actorStore) CreateShard(_ context.Context, shard *v1alpha1.MemberShard) error {
	return s.writeShard("create", shard, (*memory).createShard)
}

func (s actorStore) UpdateShard(_ context.Context, shard *v1alpha1.MemberShard) error {
	return s.writeShard("update", shard, (*memory).updateShard)
}

func (s actorStore) DeleteShard(_ context.Context, shard *v1alpha1.MemberShard) error {
	return s.writeShard("delete", shard, (*memory).deleteShard)
}

func (s actorStore) writeShard(verb string, shard *v1alpha1.MemberShard, write func(*memory, *v1alpha1.MemberShard) error) error {
	sent := shard.DeepCopy()
	return s.Do(verb+" "+shard.Name+" with "+strings.Join(sent.Spec.Members, ","), true, func(m *memory) error {
		return write(m, sent)
	})
}
