package group

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// restoreSkew is how far the clock of the server may be behind that of the API server. An object that is younger than its
// own last change comes from a backup: the requests that it names are history.
const restoreSkew = time.Minute

// Cause is a change of a group by clients' requests.
type Cause struct {
	// Group is the group's SCIM id.
	Group string
	// Requests are the ids of the requests; several where they were written together.
	Requests []string
	// At is when the change was made.
	At time.Time
}

// causeOf tells which requests made the difference between two states of a Group: nil where none did, as after an edit in the
// cluster, and of a state that a backup brought. before is the lastModified of the earlier state; nil stands for no state.
func causeOf(before *metav1.MicroTime, group *v1alpha1.Group) *Cause {
	if group.DeletionTimestamp != nil {
		return deletionOf(group)
	}
	return newCause(group.Name, before, group.Spec.LastModified, group.CreationTimestamp.Time, group.Spec.LastRequests)
}

// causeOfShard is causeOf for a shard. old is nil for one that is new.
func causeOfShard(old, shard *v1alpha1.MemberShard) *Cause {
	var before *metav1.MicroTime
	if old != nil {
		before = old.Spec.LastModified
	}
	return newCause(shard.Spec.Group, before, shard.Spec.LastModified, shard.CreationTimestamp.Time, shard.Spec.LastRequests)
}

func newCause(group string, before, at *metav1.MicroTime, created time.Time, requests []string) *Cause {
	if at == nil || len(requests) == 0 || before.Equal(at) || at.Before(&metav1.MicroTime{Time: created.Add(-restoreSkew)}) {
		return nil
	}
	return &Cause{Group: group, Requests: requests, At: at.Time}
}

// deletionOf tells which request deleted a Group: nil where it was deleted in the cluster.
func deletionOf(group *v1alpha1.Group) *Cause {
	id, when, noted := strings.Cut(group.Annotations[v1alpha1.AnnotationDeletedBy], " ")
	at, err := time.Parse(time.RFC3339Nano, when)
	if !noted || err != nil {
		return nil
	}
	return &Cause{Group: group.Name, Requests: []string{id}, At: at}
}
