package group

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// tellingCauses has each change told with the requests that led to it.
func tellingCauses(t *testing.T) *told {
	x := &told{Memberships: NewMemberships(nil), t: t}
	x.OnChange(func(change Change) {
		var requests []string
		for _, cause := range change.Causes {
			requests = append(requests, cause.Requests...)
		}
		slices.Sort(change.Left)
		slices.Sort(change.Joined)
		x.texts = append(x.texts, fmt.Sprintf("left %s joined %s by %s", strings.Join(change.Left, ","), strings.Join(change.Joined, ","), strings.Join(requests, ",")))
	})
	return x
}

// written gives a Group what the server's write of these requests leaves on it.
func (x *told) written(change func(*v1alpha1.Group), requests ...string) *v1alpha1.Group {
	return x.group(func(g *v1alpha1.Group) {
		at := metav1.NewMicroTime(time.Unix(1_000_000, int64(x.version)*int64(time.Millisecond)))
		g.CreationTimestamp, g.Spec.LastModified, g.Spec.LastRequests = metav1.Unix(999_990, 0), &at, requests
		change(g)
	})
}

func TestChangesNameTheirRequests(t *testing.T) {
	x := tellingCauses(t)
	unclaimed := x.written(inline("a"), "create")
	unclaimed.Status = v1alpha1.GroupStatus{}
	x.putGroup(unclaimed)
	x.expect()
	claimed := unclaimed.DeepCopy()
	claimed.Status, claimed.ResourceVersion = x.group(inline()).Status, "100"
	x.version = 100
	x.putGroup(claimed) // the status says that the name is reserved: now the members earn by the group
	x.expect("left  joined a by create")

	x.putGroup(x.written(inline("a", "b"), "one", "two"))
	x.expect("left  joined b by one,two")
	edited := x.written(inline("b"), "one", "two")
	edited.Spec.LastModified = x.states[testName].modified // as kubectl edit leaves it
	x.putGroup(edited)
	x.expect("left a joined  by ")
	x.putGroup(x.written(inline(), "out"))
	x.expect("left b joined  by out")
	x.putGroup(x.written(inline("c")))
	x.expect("left  joined c by ")

	gone := x.written(inline("c"), "last")
	gone.Annotations = map[string]string{v1alpha1.AnnotationDeletedBy: "delete 2026-01-02T03:04:05.6Z"}
	x.removeGroup(gone)
	x.expect("left c joined  by delete")
}

func TestRestoredGroupsNameNoRequests(t *testing.T) {
	x := tellingCauses(t)
	restored := x.written(inline("a"), "long ago")
	restored.CreationTimestamp = metav1.Unix(1_000_100, 0)
	x.putGroup(restored)
	x.expect("left  joined a by ")
}

func TestShardsNameTheirRequests(t *testing.T) {
	const epoch = "aaaaaaaaaa"
	x := tellingCauses(t)
	x.putGroup(x.written(inline("a"), "create"))
	x.expect("left  joined a by create")
	shards := x.shards(epoch, "a", "b")
	x.putGroup(x.written(sharded(epoch), "flip"))
	x.expect()
	change, _ := x.learn(x.states[testName], shards, "")
	x.tell(change)
	x.expect("left  joined b by flip")

	before, after := shards[0], *shards[0].DeepCopy()
	member := before.Spec.Members[0]
	at := metav1.NewMicroTime(time.Unix(1_000_010, 0))
	x.version++
	after.ResourceVersion, after.Spec.Members, after.Spec.LastModified, after.Spec.LastRequests = fmt.Sprint(x.version), nil, &at, []string{"out"}
	x.changeShard(&before, &after)
	x.expect("left " + member + " joined  by out")
	ended := x.written(sharded(epoch), "out") // the write that ends the change tells nothing more
	x.putGroup(ended)
	x.expect()

	noted := ended.DeepCopy()
	x.version++
	noted.ResourceVersion, noted.Annotations = fmt.Sprint(x.version), map[string]string{v1alpha1.AnnotationDeletedBy: "delete 2026-01-02T03:04:05.6Z"}
	x.putGroup(noted)
	x.expect()
	x.changeShard(&shards[1], nil) // seen before the Group's end
	x.expect("left " + shards[1].Spec.Members[0] + " joined  by delete")
}
