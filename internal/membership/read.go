package membership

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Members returns the ids of a group's members, sorted and each once, with the Group that they belong to: group itself, read
// live by the caller a moment ago, or a newer state of it. Errors are NotFound where the group is gone by now, ErrContended
// where its epochs kept changing, and the API server's.
//
// Shards are read by one list, and the Group once more after it: where it does not name their epoch any more, they may have
// been removed under the list.
func (p *Protocol) Members(ctx context.Context, group *v1alpha1.Group) ([]string, *v1alpha1.Group, error) {
	for range attempts {
		if group.Spec.Sharding == nil {
			members, _ := Delta{}.apply(group.Spec.Members)
			return members, group, nil
		}
		epoch := group.Spec.Sharding.Epoch
		shards, err := p.store.ListShards(ctx, group.Name, epoch)
		if err != nil {
			return nil, nil, err
		}
		after, err := p.live(ctx, group.Name)
		if err != nil {
			return nil, nil, err
		}
		if after.Spec.Sharding != nil && after.Spec.Sharding.Epoch == epoch {
			return membersOf(shards), group, nil
		}
		group = after
	}
	return nil, nil, ErrContended
}

// membersOf gathers the members of shards, sorted and each once.
func membersOf(shards []v1alpha1.MemberShard) []string {
	total := 0
	for i := range shards {
		total += len(shards[i].Spec.Members)
	}
	members := make([]string, 0, total)
	for i := range shards {
		members = append(members, shards[i].Spec.Members...)
	}
	slices.Sort(members)
	return slices.Compact(members)
}

// Contains says whether a user is a member of a group that was just read. It reads one shard where the group is sharded, and
// the Group after it where the shard says no. Errors are NotFound where the group is gone by now, ErrContended, and the API
// server's.
func (p *Protocol) Contains(ctx context.Context, group *v1alpha1.Group, id string) (bool, error) {
	for range attempts {
		if group.Spec.Sharding == nil {
			return slices.Contains(group.Spec.Members, id), nil
		}
		epoch := group.Spec.Sharding.Epoch
		shard, err := p.store.GetShard(ctx, ShardName(group.Name, epoch, ShardOf(id)))
		if err == nil && slices.Contains(shard.Spec.Members, id) {
			return true, nil
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return false, err
		}
		if group, err = p.live(ctx, group.Name); err != nil {
			return false, err
		}
		if group.Spec.Sharding != nil && group.Spec.Sharding.Epoch == epoch {
			return false, nil
		}
	}
	return false, ErrContended
}
