package membership

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// FlipTimeout bounds a flip from its first shard to the Group that names them. Shards that no Group names are removed
// when they are older than SweepGrace, which is longer by far: a flip that takes its time must not find its shards gone.
const FlipTimeout = 2 * time.Minute

// flip writes the shards of a new epoch. Only a write of the Group, as it was read, makes them count.
func (p *Protocol) flip(ctx context.Context, group *v1alpha1.Group, members []string) (string, error) {
	if !nameable(group.Name) {
		return "", ErrTooLarge
	}
	epoch, err := p.epoch()
	if err != nil {
		return "", err
	}
	parts := map[int][]string{}
	for _, id := range members {
		index := ShardOf(id)
		parts[index] = append(parts[index], id)
	}
	for _, part := range parts {
		if !fits(part, nil) {
			return "", ErrTooLarge
		}
	}
	return epoch, p.inParallel(ctx, indexes(parts), func(ctx context.Context, index int) error {
		return p.store.CreateShard(ctx, newShard(group, epoch, index, parts[index]))
	})
}

// writeShards changes the shards that the delta touches. It reports whether that made a difference, or another writer made
// one that the Group does not tell of.
func (c *change) writeShards(ctx context.Context, group *v1alpha1.Group, delta Delta) (bool, error) {
	parts := delta.split()
	touched := indexes(parts)
	// Shards with additions come first: where there is a choice, a crash leaves too many members rather than too few.
	slices.SortStableFunc(touched, func(a, b int) int {
		switch adds, others := parts[a].adds(), parts[b].adds(); {
		case adds == others:
			return 0
		case adds:
			return -1
		}
		return 1
	})
	read, err := c.readMany(ctx, group, len(touched))
	if err != nil {
		return false, err
	}
	differ := make([]bool, Shards)
	err = c.inParallel(ctx, touched, func(ctx context.Context, index int) (err error) {
		differ[index], err = c.writeShard(ctx, group, index, parts[index], read)
		return err
	})
	return slices.Contains(differ, true), err
}

// readMany reads all shards at once where that is cheaper than one by one; nil where it is not.
func (p *Protocol) readMany(ctx context.Context, group *v1alpha1.Group, touched int) (map[int]*v1alpha1.MemberShard, error) {
	if touched < listFrom {
		return nil, nil
	}
	shards, err := p.store.ListShards(ctx, group.Name, group.Spec.Sharding.Epoch)
	if err != nil {
		return nil, err
	}
	read := make(map[int]*v1alpha1.MemberShard, len(shards))
	for i := range shards {
		read[int(shards[i].Spec.Index)] = &shards[i]
	}
	return read, nil
}

// writeShard changes one shard by compare-and-swap, and starts again after a concurrent write. read, where it is not nil, is
// what a list has just shown.
func (c *change) writeShard(ctx context.Context, group *v1alpha1.Group, index int, part Delta, read map[int]*v1alpha1.MemberShard) (bool, error) {
	name := ShardName(group.Name, group.Spec.Sharding.Epoch, index)
	if read == nil {
		if written, err := c.writeKnown(ctx, group, index, part); written || err != nil {
			return written, err
		}
	}
	for attempt := range attempts {
		shard := read[index]
		if read == nil || attempt > 0 {
			var err error
			if shard, err = c.store.GetShard(ctx, name); apierrors.IsNotFound(err) {
				shard = nil
			} else if err != nil {
				return false, err
			}
		}
		differ, err := c.swap(ctx, group, index, part, shard)
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return differ, err
		}
		if err := c.pause(ctx, attempt); err != nil {
			return false, err
		}
	}
	return false, ErrContended
}

// writeKnown writes the change to the shard as it was known, without a read: a write of another state fails. Where that changes
// nothing, or the shard is another one by now, it returns false, and a read has to tell.
func (c *change) writeKnown(ctx context.Context, group *v1alpha1.Group, index int, part Delta) (written bool, err error) {
	known := c.store.KnownShard(group.Name, group.Spec.Sharding.Epoch, index)
	if known == nil {
		return false, nil
	}
	if members, differ := part.apply(known.Spec.Members); !differ || !fits(members, known.Spec.Members) {
		return false, nil
	}
	_, err = c.swap(ctx, group, index, part, known)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// swap writes a shard as it was read, nil for one that is not there, with the change in it.
func (c *change) swap(ctx context.Context, group *v1alpha1.Group, index int, part Delta, shard *v1alpha1.MemberShard) (bool, error) {
	var before []string
	if shard != nil {
		before = shard.Spec.Members
	}
	members, differ := part.apply(before)
	if !differ {
		return shard != nil && stamped(shard, group.Generation), nil
	}
	if !fits(members, before) {
		return false, ErrTooLarge
	}
	var err error
	if shard == nil {
		shard = newShard(group, group.Spec.Sharding.Epoch, index, members)
		shard.Spec.LastRequests = c.requests
		err = c.store.CreateShard(ctx, shard)
	} else {
		shard = shard.DeepCopy()
		now := metav1.NowMicro()
		shard.Spec.Members, shard.Spec.LastModified, shard.Spec.LastRequests = members, &now, c.requests
		stamp(shard, group.Generation)
		err = c.store.UpdateShard(ctx, shard)
	}
	if err == nil {
		c.note(slices.Sorted(slices.Values(before)), members)
	}
	return true, err
}

func indexes[T any](parts map[int]T) []int {
	touched := make([]int, 0, len(parts))
	for index := range parts {
		touched = append(touched, index)
	}
	slices.Sort(touched)
	return touched
}

// unsettled says whether a writer of one of the shards did not come to write the Group.
func unsettled(shards []v1alpha1.MemberShard, generation int64) bool {
	return slices.ContainsFunc(shards, func(shard v1alpha1.MemberShard) bool { return stamped(&shard, generation) })
}
