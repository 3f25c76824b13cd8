package group

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/membership"
)

var (
	testApp  = types.NamespacedName{Namespace: "n", Name: "demo"}
	testName = types.NamespacedName{Namespace: "n", Name: "g"}
)

// told writes down what memberships tell, in the order of the telling.
type told struct {
	*Memberships
	t       *testing.T
	version int
	texts   []string
}

func newTold(t *testing.T) *told {
	x := &told{Memberships: NewMemberships(nil), t: t}
	x.OnChange(func(change Change) {
		slices.Sort(change.Left)
		slices.Sort(change.Joined)
		x.texts = append(x.texts, fmt.Sprintf("left %s joined %s", strings.Join(change.Left, ","), strings.Join(change.Joined, ",")))
	})
	return x
}

// expect compares what was told since the last time.
func (x *told) expect(want ...string) {
	x.t.Helper()
	if !slices.Equal(x.texts, want) {
		x.t.Errorf("told %q, want %q", x.texts, want)
	}
	x.texts = nil
}

// group returns the next state of a group with a verified name.
func (x *told) group(change func(*v1alpha1.Group)) *v1alpha1.Group {
	x.version++
	g := &v1alpha1.Group{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "g", UID: "uid", Generation: int64(x.version), ResourceVersion: fmt.Sprint(x.version)},
		Spec:       v1alpha1.GroupSpec{App: "demo", DisplayName: "Admins", DisplayNameKey: "admins"},
		Status: v1alpha1.GroupStatus{ReservedKey: "admins", Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionNameReserved, Status: metav1.ConditionTrue,
		}}},
	}
	change(g)
	return g
}

func (x *told) shards(epoch string, members ...string) []v1alpha1.MemberShard {
	byIndex := map[int][]string{}
	for _, id := range members {
		byIndex[membership.ShardOf(id)] = append(byIndex[membership.ShardOf(id)], id)
	}
	var shards []v1alpha1.MemberShard
	for index, part := range byIndex {
		slices.Sort(part)
		x.version++
		shards = append(shards, v1alpha1.MemberShard{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: membership.ShardName("g", epoch, index), ResourceVersion: fmt.Sprint(x.version)},
			Spec:       v1alpha1.MemberShardSpec{App: "demo", Group: "g", Epoch: epoch, Index: int32(index), Members: part},
		})
	}
	return shards
}

func sharded(epoch string) func(*v1alpha1.Group) {
	return func(g *v1alpha1.Group) { g.Spec.Sharding = &v1alpha1.Sharding{Epoch: epoch, Count: membership.Shards} }
}

func inline(members ...string) func(*v1alpha1.Group) {
	return func(g *v1alpha1.Group) { g.Spec.Members = members }
}

// testPolicy is the policy of an App with the role admin, which the group Admins earns.
func testPolicy(t *testing.T) *access.Policy {
	t.Helper()
	policy, errors := access.Compile(&v1alpha1.App{Spec: v1alpha1.AppSpec{Roles: []v1alpha1.Role{{Name: "admin", Groups: []string{"Admins"}}}}})
	if len(errors) > 0 {
		t.Fatal(errors)
	}
	return policy
}

// isIn says whether a user is in a group that counts, and whether that is known.
func (x *told) isIn(user string) (in, known bool) {
	x.t.Helper()
	groups, open := x.groupsOf(testApp, user, testPolicy(x.t))
	return len(groups) > 0, len(open) == 0
}

// A Group that names shards which its informer has not shown takes no role from a user until the shards were read.
func TestFlipIsToldWhenItIsKnown(t *testing.T) {
	const first, second = "aaaaaaaaaa", "bbbbbbbbbb"
	x := newTold(t)
	x.putGroup(x.group(inline("a", "b")))
	x.expect("left  joined a,b")

	shards := x.shards(first, "a", "c")
	x.changeShard(nil, &shards[0]) // one comes before its Group
	x.putGroup(x.group(sharded(first)))
	x.expect()
	if _, known := x.isIn("a"); known {
		t.Error("half a group counts as known")
	}
	asked := *x.states[testName]
	change, _ := x.learn(&asked, shards, "")
	x.tell(change)
	x.expect("left b joined c")
	if in, known := x.isIn("a"); !in || !known {
		t.Errorf("a is in the group: %v, known %v", in, known)
	}
	for i := range shards { // the informer comes late, and tells nothing new
		x.changeShard(nil, &shards[i])
	}
	x.expect()

	after := *shards[0].DeepCopy()
	gone := after.Spec.Members[0]
	x.version++
	after.ResourceVersion, after.Spec.Members = fmt.Sprint(x.version), nil
	x.changeShard(&shards[0], &after)
	x.expect("left " + gone + " joined ")

	// Another epoch comes, and one more before the first of them was read: what was asked for is out of date.
	stale := x.shards(second, "a")
	x.putGroup(x.group(sharded(second)))
	asked = *x.states[testName]
	x.putGroup(x.group(sharded("cccccccccc")))
	change, _ = x.learn(&asked, stale, "")
	x.tell(change)
	x.expect()
	x.putGroup(x.group(inline("d")))
	if in, known := x.isIn("d"); !in || !known {
		t.Errorf("inline again: d is in the group: %v, known %v", in, known)
	}
	if len(x.texts) != 1 || !strings.HasSuffix(x.texts[0], "joined d") {
		t.Errorf("told %q", x.texts)
	}
}

// A new name with an unread claim takes no role from a user; a claim that names another group does.
func TestRenameIsToldWhenItIsKnown(t *testing.T) {
	renamed := func(g *v1alpha1.Group) {
		inline("a")(g)
		g.Spec.DisplayName, g.Spec.DisplayNameKey = "Admins 2", "admins 2"
	}
	for owner, want := range map[string]string{"g": "left a joined ", "another": "left a joined "} {
		x := newTold(t)
		x.putGroup(x.group(inline("a")))
		x.expect("left  joined a")
		x.putGroup(x.group(renamed))
		x.expect()
		asked := *x.states[testName]
		change, _ := x.learn(&asked, nil, owner)
		x.tell(change)
		x.expect(want) // all members are evaluated: the name is another one
		if in := len(mustGroups(x, "a")) > 0; in != (owner == "g") {
			t.Errorf("the claim is %s's, and a is in a group that counts: %v", owner, in)
		}
		x.putGroup(x.group(renamed)) // an event that says no more
		x.expect()
	}
}

func mustGroups(x *told, user string) []access.Group {
	x.t.Helper()
	groups, open := x.groupsOf(testApp, user, testPolicy(x.t))
	if len(open) > 0 {
		x.t.Fatalf("not known: %v", open)
	}
	return groups
}

func TestWhoseNameNeverWasVerifiedDoesNotCount(t *testing.T) {
	x := newTold(t)
	unclaimed := func(g *v1alpha1.Group) {
		inline("a")(g)
		g.Status = v1alpha1.GroupStatus{}
	}
	x.putGroup(x.group(unclaimed))
	x.expect()
	if in, known := x.isIn("a"); in || !known {
		t.Errorf("a is in the group: %v, known %v", in, known)
	}
	x.putGroup(x.group(inline("a")))
	x.expect("left  joined a")
	deleted := x.group(inline("a"))
	deleted.DeletionTimestamp = &metav1.Time{}
	deleted.DeletionTimestamp.Time = deleted.DeletionTimestamp.AddDate(1, 0, 0)
	x.putGroup(deleted)
	x.expect("left a joined ")
	x.removeGroup(deleted)
	x.expect()
	if len(x.states) > 0 || len(x.apps) > 0 || len(x.unsettled) > 0 {
		t.Error("something is remembered of a group that is gone")
	}
}
