package membership

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// SweepGrace is how old a shard must be before it is looked at: FlipTimeout has passed several times by then.
const SweepGrace = 10 * time.Minute

// Sweep removes a shard, as it was read, that no Group names and that is older than grace. The Group is read live, and the
// shard's resourceVersion is the precondition. It says whether the shard was removed; a shard that changed or is gone is no
// error. Errors are the API server's.
func (p *Protocol) Sweep(ctx context.Context, shard *v1alpha1.MemberShard, grace time.Duration) (bool, error) {
	if time.Since(shard.CreationTimestamp.Time) < grace {
		return false, nil
	}
	group, err := p.store.GetGroup(ctx, shard.Spec.Group)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, err
	}
	if err == nil && group.Spec.Sharding != nil && group.Spec.Sharding.Epoch == shard.Spec.Epoch {
		return false, nil
	}
	err = p.store.DeleteShard(ctx, shard)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// RemoveShards removes the shards of a group that is gone, or was never written, as far as it can. Sweep removes the rest
// later. Errors are the API server's.
func (p *Protocol) RemoveShards(ctx context.Context, group *v1alpha1.Group) error {
	if group.Spec.Sharding == nil {
		return nil
	}
	shards, err := p.store.ListShards(ctx, group.Name, group.Spec.Sharding.Epoch)
	if err != nil {
		return err
	}
	order := make([]int, len(shards))
	for i := range order {
		order[i] = i
	}
	return p.inParallel(ctx, order, func(ctx context.Context, i int) error {
		err := p.store.DeleteShard(ctx, &shards[i])
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}
