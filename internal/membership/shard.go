package membership

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/names"
)

const (
	// Shards of a sharded group.
	Shards = 128
	// maxShardMembers is what the schema admits; maxShardBytes keeps the object below 256 KiB whatever the ids are.
	maxShardMembers = 8192
	maxShardBytes   = 240 << 10
)

// ShardOf returns the index of the shard that a member belongs to: the first seven bits of the SHA-256 of its id.
func ShardOf(id string) int {
	digest := sha256.Sum256([]byte(id))
	return int(digest[0] >> 1)
}

// ShardName returns the object name of a shard.
func ShardName(group, epoch string, index int) string {
	return group + "-" + epoch + "-" + strconv.Itoa(index)
}

// newEpoch returns 10 random base32 characters (50 bits).
func newEpoch() (string, error) {
	epoch, err := names.Random()
	if err != nil {
		return "", fmt.Errorf("make an epoch: %w", err)
	}
	return epoch, nil
}

// newShard returns a shard that is not written yet. It has no ownerReference: after a restore from a backup its owner
// would have another UID, and the garbage collector would take the members of the group away.
func newShard(group *v1alpha1.Group, epoch string, index int, members []string) *v1alpha1.MemberShard {
	now := metav1.NowMicro()
	shard := &v1alpha1.MemberShard{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: group.Namespace, Name: ShardName(group.Name, epoch, index),
			Labels: map[string]string{v1alpha1.LabelApp: group.Spec.App, v1alpha1.LabelEpoch: epoch},
		},
		Spec: v1alpha1.MemberShardSpec{App: group.Spec.App, Group: group.Name, Epoch: epoch, Index: int32(index), Members: members, LastModified: &now},
	}
	if labelled(group.Name) {
		shard.Labels[v1alpha1.LabelGroup] = group.Name
	}
	stamp(shard, group.Generation)
	return shard
}

// labelled says whether the shards of a group carry its name in a label. The server's own ids always fit.
func labelled(group string) bool { return len(group) <= validation.LabelValueMaxLength }

// stamp notes the generation of the Group that a writer of the shard has read. The writer raises the generation once all
// shards are written. A shard with the generation that the Group still has means that a writer did not come that far.
func stamp(shard *v1alpha1.MemberShard, generation int64) {
	if shard.Annotations == nil {
		shard.Annotations = map[string]string{}
	}
	shard.Annotations[v1alpha1.AnnotationWrittenAt] = strconv.FormatInt(generation, 10)
}

func stamped(shard *v1alpha1.MemberShard, generation int64) bool {
	return shard.Annotations[v1alpha1.AnnotationWrittenAt] == strconv.FormatInt(generation, 10)
}

// fits says whether members may be written to a shard that had before. One that shrinks always may.
func fits(members, before []string) bool {
	return len(members) <= len(before) || len(members) <= maxShardMembers && sizeOf(members) <= maxShardBytes
}

func sizeOf(members []string) int {
	size := 0
	for _, id := range members {
		size += len(id) + len(`"",`)
	}
	return size
}

// nameable says whether shards of the group can have names. Ids that the server gives always can.
func nameable(group string) bool {
	return len(ShardName(group, strings.Repeat("a", 10), Shards-1)) <= validation.DNS1123SubdomainMaxLength
}
