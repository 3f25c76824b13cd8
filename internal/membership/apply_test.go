package membership

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/interleave"
)

// direct is a Store without a schedule. fail, where it is set, may refuse a write.
type direct struct {
	*memory
	fail   func(what string) error
	writes int
	// reads counts reads of shards; known, where it is set, is KnownShard.
	reads int
	known func(name string) *v1alpha1.MemberShard
	// groupReads counts reads of the Group; group, where it is set, is KnownGroup.
	groupReads int
	group      func() *v1alpha1.Group
}

func (d *direct) write(what string) error {
	if d.fail != nil {
		if err := d.fail(what); err != nil {
			return err
		}
	}
	d.writes++
	return nil
}

func (d *direct) GetGroup(_ context.Context, name string) (*v1alpha1.Group, error) {
	d.groupReads++
	return d.getGroup(name)
}

func (d *direct) KnownGroup(name string) *v1alpha1.Group {
	if d.group != nil {
		return d.group()
	}
	return d.groups[name]
}

func (d *direct) UpdateGroup(_ context.Context, group *v1alpha1.Group) error {
	if err := d.write("group"); err != nil {
		return err
	}
	return d.updateGroup(group)
}

func (d *direct) GetShard(_ context.Context, name string) (*v1alpha1.MemberShard, error) {
	d.reads++
	return d.getShard(name)
}

func (d *direct) KnownShard(group, epoch string, index int) *v1alpha1.MemberShard {
	name := ShardName(group, epoch, index)
	if d.known != nil {
		return d.known(name)
	}
	return d.knownShard(name)
}

func (d *direct) ListShards(_ context.Context, group, epoch string) ([]v1alpha1.MemberShard, error) {
	return d.listShards(group, epoch), nil
}

func (d *direct) CreateShard(_ context.Context, shard *v1alpha1.MemberShard) error {
	if err := d.write("shard"); err != nil {
		return err
	}
	return d.createShard(shard)
}

func (d *direct) UpdateShard(_ context.Context, shard *v1alpha1.MemberShard) error {
	if err := d.write("shard"); err != nil {
		return err
	}
	return d.updateShard(shard)
}

func (d *direct) DeleteShard(_ context.Context, shard *v1alpha1.MemberShard) error {
	return d.deleteShard(shard)
}

// newStaff returns a group with members over a store of its own.
func newStaff(t *testing.T, limit int, members ...string) (*direct, *Protocol) {
	t.Helper()
	store := &direct{memory: newMemory()}
	p := New(store, limit)
	p.parallelism = 1
	group := &v1alpha1.Group{ObjectMeta: metav1.ObjectMeta{Name: groupName}, Spec: v1alpha1.GroupSpec{App: "wiki"}}
	if err := p.Place(t.Context(), group, members...); err != nil {
		t.Fatal(err)
	}
	store.createGroup(group)
	store.writes = 0
	return store, p
}

func deciding(delta Delta) Decide {
	return func(*v1alpha1.Group) (Decision, error) { return Decision{Members: delta}, nil }
}

func adding(ids ...string) (delta Delta) {
	delta.Add(ids...)
	return delta
}

func removing(ids ...string) (delta Delta) {
	delta.Remove(ids...)
	return delta
}

func replacing(ids ...string) (delta Delta) {
	delta.Replace(ids...)
	return delta
}

// TestRepeatedChangeRaisesTheVersion is a crash after the shards and before the Group: clients that have the old version
// must learn that it is old, from the same change repeated.
func TestRepeatedChangeRaisesTheVersion(t *testing.T) {
	store, p := newStaff(t, 0, "ada")
	version := store.groups[groupName].Generation
	store.fail = func(what string) error {
		if what == "group" {
			return interleave.ErrUnavailable
		}
		return nil
	}
	if _, _, err := p.Apply(t.Context(), groupName, deciding(adding("bob"))); !errors.Is(err, interleave.ErrUnavailable) {
		t.Fatal(err)
	}
	store.fail = nil
	group, changed, err := p.Apply(t.Context(), groupName, deciding(adding("bob")))
	if err != nil || !changed || group.Generation == version {
		t.Errorf("repeated: changed %v, generation %d, %v", changed, group.Generation, err)
	}
	store.writes = 0
	if _, changed, err := p.Apply(t.Context(), groupName, deciding(adding("bob"))); err != nil || changed || store.writes != 0 {
		t.Errorf("once more: changed %v, %d writes, %v", changed, store.writes, err)
	}
}

// TestOneWriteForEachShard counts the writes of changes that come together.
func TestOneWriteForEachShard(t *testing.T) {
	store, p := newStaff(t, 0, people...)
	delta := adding(people...)
	delta.Then(adding("new1"))
	delta.Remove(people[0], people[1]) // one shard
	if _, _, err := p.Apply(t.Context(), groupName, deciding(delta)); err != nil {
		t.Fatal(err)
	}
	if want := 3; store.writes != want {
		t.Errorf("%d writes, want %d", store.writes, want)
	}
}

// TestKnownShards counts the reads of shards: none where the last known state tells what to write, one where that is another by
// now, and one where it tells that there is nothing to do, which may be long past.
func TestKnownShards(t *testing.T) {
	store, p := newStaff(t, 0, "ada")
	shard := ShardOf("ada")
	step := func(what string, known int, delta Delta, wantChanged bool, wantReads int, want ...string) {
		t.Helper()
		store.reads = 0
		store.known = func(name string) *v1alpha1.MemberShard {
			if known < 0 || !strings.HasSuffix(name, fmt.Sprintf("-%d", shard)) {
				return nil
			}
			return store.history[name][known]
		}
		group, changed, err := p.Apply(t.Context(), groupName, deciding(delta))
		if err != nil || changed != wantChanged || store.reads != wantReads {
			t.Fatalf("%s: changed %v, %d reads, want %v and %d: %v", what, changed, store.reads, wantChanged, wantReads, err)
		}
		if members, _, err := p.Members(t.Context(), group); err != nil || !slices.Equal(members, want) {
			t.Errorf("%s: members %v, want %v: %v", what, members, want, err)
		}
	}
	var leaves Delta
	leaves.Remove("ada")
	step("a current state", 0, leaves, true, 0)
	step("a former state that shows nothing to do", 0, adding("ada"), true, 1, "ada")
	step("a former state that shows the member", 0, leaves, true, 1)
	step("no state", -1, adding("ada"), true, 1, "ada")
	step("nothing to do", 3, adding("ada"), false, 1, "ada")
}

// TestKnownGroups counts the reads of the Group: none where a write of its last known state tells that it is the present one. A
// conflict, no difference, a refusal and a move of all members need a read.
func TestKnownGroups(t *testing.T) {
	for _, limit := range []int{0, 3} {
		store, p := newStaff(t, limit, "ada", "bob")
		former := store.groups[groupName]
		refused := errors.New("refused")
		var known *v1alpha1.Group
		store.group = func() *v1alpha1.Group { return known }
		step := func(what string, on *v1alpha1.Group, decide Decide, wantChanged bool, wantReads int, wantErr error) {
			t.Helper()
			known, store.groupReads = on, 0
			if _, changed, err := p.Apply(t.Context(), groupName, decide); !errors.Is(err, wantErr) || changed != wantChanged || store.groupReads != wantReads {
				t.Errorf("limit %d, %s: changed %v, %d reads, want %v and %d: %v", limit, what, changed, store.groupReads, wantChanged, wantReads, err)
			}
		}
		refusing := func(group *v1alpha1.Group) (Decision, error) {
			if group.ResourceVersion == former.ResourceVersion {
				return Decision{}, refused
			}
			return Decision{Members: adding("dee")}, nil
		}
		confirmed := 1 // a group in shards is read again where nothing differs
		if limit == 0 {
			confirmed = 2
		}
		step("the present state", former, deciding(adding("cyd")), true, 0, nil)
		step("a former state", former, deciding(removing("cyd")), true, 1, nil)
		step("nothing to do", store.groups[groupName], deciding(adding("ada")), false, confirmed, nil)
		step("a former state that refuses", former, refusing, true, 1, nil)
		step("a present state that refuses", store.groups[groupName], func(*v1alpha1.Group) (Decision, error) { return Decision{}, refused }, false, 1, refused)
		step("no state", nil, deciding(removing("dee")), true, 1, nil)
		step("all are replaced", store.groups[groupName], deciding(replacing("ada", "bob", "cyd", "dee")), true, 1, nil)
	}
}

// TestGoneGroupIsNotWritten holds for one that this process still knows, and for one that is being deleted.
func TestGoneGroupIsNotWritten(t *testing.T) {
	for _, limit := range []int{0, 3} {
		store, p := newStaff(t, limit, "ada")
		known := store.groups[groupName].DeepCopy()
		store.group = func() *v1alpha1.Group { return known }
		delete(store.groups, groupName)
		if _, _, err := p.Apply(t.Context(), groupName, deciding(adding("bob"))); !apierrors.IsNotFound(err) {
			t.Errorf("limit %d: a group that is gone: %v", limit, err)
		}
		now := metav1.Now()
		known.DeletionTimestamp = &now
		store.groups[groupName] = known
		if _, _, err := p.Apply(t.Context(), groupName, deciding(adding("cyd"))); !apierrors.IsNotFound(err) {
			t.Errorf("limit %d: a group that is going: %v", limit, err)
		}
	}
}

func TestShardsAreBounded(t *testing.T) {
	var ids []string
	for n := 0; len(ids) < 1000; n++ {
		if id := fmt.Sprintf("%s-%d", strings.Repeat("x", 240), n); ShardOf(id) == 5 {
			ids = append(ids, id)
		}
	}
	store, p := newStaff(t, 0, ids[:900]...)
	if _, _, err := p.Apply(t.Context(), groupName, deciding(adding(ids...))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("added past the bound: %v", err)
	}
	if err := p.Place(t.Context(), &v1alpha1.Group{}, ids...); !errors.Is(err, ErrTooLarge) {
		t.Errorf("placed past the bound: %v", err)
	}
	var removal Delta
	removal.Remove(ids[0])
	if _, changed, err := p.Apply(t.Context(), groupName, deciding(removal)); err != nil || !changed {
		t.Errorf("removed from a full shard: %v, %v", changed, err)
	}
	for _, shard := range store.shards {
		if size := sizeOf(shard.Spec.Members); size > maxShardBytes {
			t.Errorf("a shard has %d bytes of members", size)
		}
	}
	long := &v1alpha1.Group{ObjectMeta: metav1.ObjectMeta{Name: strings.Repeat("g", 250)}}
	if err := p.Place(t.Context(), long, "ada"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("shards of a group with a name that leaves no room: %v", err)
	}
}

func TestApplyToAGroupThatIsGone(t *testing.T) {
	store, p := newStaff(t, 10, "ada")
	now := metav1.Now()
	store.groups[groupName].DeletionTimestamp = &now
	if _, _, err := p.Apply(t.Context(), groupName, deciding(adding("bob"))); !apierrors.IsNotFound(err) {
		t.Errorf("changed a group that is going: %v", err)
	}
	delete(store.groups, groupName)
	if _, _, err := p.Apply(t.Context(), groupName, deciding(adding("bob"))); !apierrors.IsNotFound(err) {
		t.Errorf("changed a group that is gone: %v", err)
	}
}

// TestHandWrittenMembers are in no order, and some are there twice.
func TestHandWrittenMembers(t *testing.T) {
	store, p := newStaff(t, 10)
	store.groups[groupName].Spec.Members = []string{"cyd", "ada", "cyd"}
	if _, changed, err := p.Apply(t.Context(), groupName, deciding(adding("ada"))); err != nil || changed {
		t.Errorf("a member was added: %v, %v", changed, err)
	}
	group, changed, err := p.Apply(t.Context(), groupName, deciding(adding("bob")))
	if err != nil || !changed || !slices.Equal(group.Spec.Members, []string{"ada", "bob", "cyd"}) {
		t.Errorf("%v, %v, %v", group.Spec.Members, changed, err)
	}
}

// TestDeltasCompose compares deltas that were put together with the same ones, applied one after the other to a set, and
// with what the shards make of their parts.
func TestDeltasCompose(t *testing.T) {
	ids := make([]string, 12)
	for i := range ids {
		ids[i] = fmt.Sprint("id", i)
	}
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 3))
		some := func() (list []string) {
			for range random.IntN(5) {
				list = append(list, ids[random.IntN(len(ids))])
			}
			return list
		}
		members := some()
		slices.Sort(members)
		members = slices.Compact(members)
		set := map[string]bool{}
		for _, id := range members {
			set[id] = true
		}
		var sum Delta
		for range random.IntN(6) {
			var step Delta
			list := some()
			switch random.IntN(3) {
			case 0:
				step.Add(list...)
				for _, id := range list {
					set[id] = true
				}
			case 1:
				step.Remove(list...)
				for _, id := range list {
					delete(set, id)
				}
			default:
				step.Replace(list...)
				set = map[string]bool{}
				for _, id := range list {
					set[id] = true
				}
			}
			sum.Then(step)
		}
		want := []string{}
		for id := range set {
			want = append(want, id)
		}
		slices.Sort(want)
		got, changed := sum.apply(members)
		if !slices.Equal(got, want) || changed == slices.Equal(members, want) {
			t.Fatalf("seed %d: %v and %v make %v (%v), want %v", seed, members, sum, got, changed, want)
		}
		var parts []string
		split := sum.split()
		for index := range Shards {
			held := slices.DeleteFunc(slices.Clone(members), func(id string) bool { return ShardOf(id) != index })
			next, _ := split[index].apply(held)
			parts = append(parts, next...)
		}
		slices.Sort(parts)
		if !slices.Equal(parts, want) {
			t.Fatalf("seed %d: in parts %v, want %v", seed, parts, want)
		}
	}
}

// TestShardOf pins the function: another one would lose every member that is stored.
func TestShardOf(t *testing.T) {
	for id, want := range map[string]int{"": 0xe3 >> 1, "abc": 0xba >> 1} {
		if got := ShardOf(id); got != want {
			t.Errorf("ShardOf(%q) = %d, want %d", id, got, want)
		}
	}
}
