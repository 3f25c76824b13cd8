package membership

import (
	"context"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// NewStore returns the API server's objects of one namespace as a Store. The client must not read from a cache. index, which
// may be nil, is told of every shard that was written, and knows Groups and shards.
func NewStore(live client.Client, namespace string, index *Index) Store {
	return &apiServer{client: live, namespace: namespace, index: index}
}

type apiServer struct {
	client    client.Client
	namespace string
	index     *Index
}

func (s *apiServer) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.namespace, Name: name}
}

func (s *apiServer) GetGroup(ctx context.Context, name string) (*v1alpha1.Group, error) {
	group := &v1alpha1.Group{}
	return group, s.client.Get(ctx, s.key(name), group)
}

func (s *apiServer) KnownGroup(name string) *v1alpha1.Group {
	if s.index == nil {
		return nil
	}
	return s.index.group(s.key(name))
}

func (s *apiServer) UpdateGroup(ctx context.Context, group *v1alpha1.Group) error {
	group.ManagedFields = nil // absent: the API server keeps its own
	return s.client.Update(ctx, group)
}

func (s *apiServer) GetShard(ctx context.Context, name string) (*v1alpha1.MemberShard, error) {
	shard := &v1alpha1.MemberShard{}
	return shard, s.client.Get(ctx, s.key(name), shard)
}

func (s *apiServer) KnownShard(group, epoch string, index int) *v1alpha1.MemberShard {
	if s.index == nil {
		return nil
	}
	return s.index.shard(s.key(group), epoch, index)
}

// ListShards asks for one list by label, which is one state of the whole. A group with a name that no label can have gets a
// read for each of its shards. Errors are the API server's.
func (s *apiServer) ListShards(ctx context.Context, group, epoch string) ([]v1alpha1.MemberShard, error) {
	if !labelled(group) {
		return s.getShards(ctx, group, epoch)
	}
	var list v1alpha1.MemberShardList
	err := s.client.List(ctx, &list, client.InNamespace(s.namespace),
		client.MatchingLabels{v1alpha1.LabelGroup: group, v1alpha1.LabelEpoch: epoch})
	if err != nil {
		return nil, err
	}
	// A label is not the place of a shard: its name is.
	kept := list.Items[:0]
	for _, shard := range list.Items {
		if shard.Name == ShardName(group, epoch, int(shard.Spec.Index)) {
			kept = append(kept, shard)
		}
	}
	return kept, nil
}

func (s *apiServer) getShards(ctx context.Context, group, epoch string) ([]v1alpha1.MemberShard, error) {
	read := make([]*v1alpha1.MemberShard, Shards)
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(parallelism)
	for index := range Shards {
		workers.Go(func() error {
			shard, err := s.GetShard(ctx, ShardName(group, epoch, index))
			if apierrors.IsNotFound(err) {
				return nil
			}
			read[index] = shard
			return err
		})
	}
	err := workers.Wait()
	var shards []v1alpha1.MemberShard
	for _, shard := range read {
		if shard != nil && err == nil {
			shards = append(shards, *shard)
		}
	}
	return shards, err
}

func (s *apiServer) CreateShard(ctx context.Context, shard *v1alpha1.MemberShard) error {
	return s.told(shard, s.client.Create(ctx, shard))
}

func (s *apiServer) UpdateShard(ctx context.Context, shard *v1alpha1.MemberShard) error {
	shard.ManagedFields = nil
	return s.told(shard, s.client.Update(ctx, shard))
}

func (s *apiServer) told(shard *v1alpha1.MemberShard, err error) error {
	if err == nil && s.index != nil {
		shard.ManagedFields = nil
		s.index.PutShard(shard)
	}
	return err
}

func (s *apiServer) DeleteShard(ctx context.Context, shard *v1alpha1.MemberShard) error {
	uid, version := shard.UID, shard.ResourceVersion
	return s.client.Delete(ctx, shard, client.Preconditions{UID: &uid, ResourceVersion: &version})
}
