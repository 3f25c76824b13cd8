package membership

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/interleave"
)

const (
	groupName = "staff"
	tinyLimit = 2 // members inline
)

// people are a few members. The first two share a shard.
var people = func() []string {
	list := []string{"ada", ""}
	for n := 0; list[1] == ""; n++ {
		if id := fmt.Sprintf("bob%d", n); ShardOf(id) == ShardOf(list[0]) {
			list[1] = id
		}
	}
	return append(list, "cyd", "dee")
}()

// world is one random schedule: a store, actors at work on it, and the history of what they asked for and were told.
type world struct {
	*interleave.Explorer[memory]
	epochs int

	clock   int
	initial []string
	history []*operation
	// maker of each shard ever made, which is not old as long as that actor is at work.
	maker map[string]*actor

	readOnce, sweepYoung bool
	// moves has an actor copy members from epoch to epoch, and no actor crash.
	moves bool
}

// operation is one change of the members, as its client knows it.
type operation struct {
	delta      Delta
	start, end int // end is math.MaxInt where no success was answered
}

func newWorld(seed uint64) *world {
	w := &world{Explorer: interleave.New(seed, newMemory()), maker: map[string]*actor{}}
	w.Applied = w.claim
	return w
}

func (w *world) now() int {
	w.clock++
	return w.clock
}

func (w *world) protocol(a *actor) *Protocol {
	p := New(actorStore{a}, tinyLimit)
	p.parallelism = 1
	p.pause = func(context.Context, int) error { return nil }
	p.epoch = func() (string, error) {
		w.epochs++
		return fmt.Sprintf("epoch%05d", w.epochs), nil
	}
	return p
}

// change asks for a random delta, often several at once, as a batch does.
func (w *world) change(a *actor) {
	var delta Delta
	for range 1 + w.Random.IntN(2) {
		delta.Then(w.delta())
	}
	o := &operation{delta: delta, start: w.now(), end: math.MaxInt}
	w.history = append(w.history, o)
	renamed := w.Random.IntN(6) == 0
	_, changed, err := w.protocol(a).Apply(context.Background(), groupName, func(next *v1alpha1.Group) (Decision, error) {
		if renamed {
			next.Spec.DisplayName = fmt.Sprint("name", o.start)
		}
		return Decision{Members: delta, Attributes: renamed}, nil
	})
	if err == nil {
		o.end = w.now()
	}
	w.Note(a, "changed %v: %v %v", delta, changed, err)
}

func (w *world) delta() (delta Delta) {
	ids := slices.Clone(people)
	w.Random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	switch some := ids[:1+w.Random.IntN(3)]; w.Random.IntN(8) {
	case 0, 1, 2, 3:
		delta.Add(some...)
	case 4, 5:
		delta.Remove(some...)
	case 6:
		delta.Replace(some...)
	default:
		delta.Replace(ids[:w.Random.IntN(2)]...)
	}
	return delta
}

// read is a client's reading of the members, held against the history at once.
func (w *world) read(a *actor) {
	start := w.now()
	group, err := actorStore{a}.GetGroup(context.Background(), groupName)
	if err != nil || w.moves {
		return // while members move, only the end counts
	}
	members, err := w.members(a, group)
	if err != nil {
		return
	}
	w.Note(a, "read %v", members)
	if err := w.possible(members, start, w.now()); err != nil {
		panic(wrongReadError{err})
	}
}

func (w *world) members(a *actor, group *v1alpha1.Group) ([]string, error) {
	if w.readOnce && group.Spec.Sharding != nil {
		shards, err := actorStore{a}.ListShards(context.Background(), groupName, group.Spec.Sharding.Epoch)
		return membersOf(shards), err
	}
	members, _, err := w.protocol(a).Members(context.Background(), group)
	return members, err
}

// wrongReadError carries what a reader found out of its actor.
type wrongReadError struct{ error }

// rename writes the Group twice, as the protocol of names does.
func (w *world) rename(a *actor) {
	for _, pending := range []string{"wanted", ""} {
		group, err := actorStore{a}.GetGroup(context.Background(), groupName)
		if err != nil {
			return
		}
		group.Spec.PendingKey = pending
		if err = (actorStore{a}).UpdateGroup(context.Background(), group); err != nil {
			return
		}
	}
}

// move copies the members of a sharded group into shards of another epoch. No code does so today: epochs change only where
// all members are replaced. A repair might, and must not lose a change that is under way.
func (w *world) move(a *actor) {
	group, err := actorStore{a}.GetGroup(context.Background(), groupName)
	if err != nil || group.Spec.Sharding == nil {
		return
	}
	shards, err := actorStore{a}.ListShards(context.Background(), groupName, group.Spec.Sharding.Epoch)
	if err != nil {
		return
	}
	if group.Spec.Sharding.Epoch, err = w.protocol(a).flip(context.Background(), group, membersOf(shards)); err == nil {
		_ = (actorStore{a}).UpdateGroup(context.Background(), group)
	}
}

func (w *world) reportStatus(a *actor) {
	_ = a.Do("status", true, func(m *memory) error { return m.report(groupName) })
}

// sweep applies the rule to every shard that is old.
func (w *world) sweep(a *actor) {
	var old []v1alpha1.MemberShard
	for name, shard := range w.Store.shards {
		if maker := w.maker[name]; w.sweepYoung || maker.Gone() {
			old = append(old, *shard.DeepCopy())
		}
	}
	slices.SortFunc(old, func(a, b v1alpha1.MemberShard) int { return strings.Compare(a.Name, b.Name) })
	for i := range old {
		_, _ = w.protocol(a).Sweep(context.Background(), &old[i], 0)
	}
}

// possible says whether a reading, which lasted from start to end, can show these members. Each is looked at alone: what
// is read was written last, by some order of the operations that agrees with real time, unless something acknowledged
// came surely after it and before the reading.
func (w *world) possible(members []string, start, end int) error {
	for _, id := range people {
		member := slices.Contains(members, id)
		if !w.explained(id, member, start, end) {
			return fmt.Errorf("%s is a member: %v, which no order of the changes explains", id, member)
		}
	}
	return nil
}

func (w *world) explained(id string, member bool, start, end int) bool {
	overwritten := func(since int) bool {
		return slices.ContainsFunc(w.history, func(o *operation) bool {
			value, said := o.says(id)
			return said && value != member && o.start > since && o.end < start
		})
	}
	if slices.Contains(w.initial, id) == member && !overwritten(0) {
		return true
	}
	return slices.ContainsFunc(w.history, func(o *operation) bool {
		value, said := o.says(id)
		return said && value == member && o.start < end && !overwritten(o.end)
	})
}

// says returns what the operation makes of an id, and whether it makes anything of it.
func (o *operation) says(id string) (member, said bool) {
	member, said = o.delta.wanted[id]
	return member, said || o.delta.replace
}

// populate puts the group there, inline or sharded, and sets the actors to work.
func (w *world) populate() {
	w.initial = slices.Clone(people[:w.Random.IntN(len(people)+1)])
	group := &v1alpha1.Group{
		ObjectMeta: metav1.ObjectMeta{Name: groupName},
		Spec:       v1alpha1.GroupSpec{App: "wiki", DisplayName: "Staff", DisplayNameKey: "staff"},
	}
	_ = w.RunAlone(interleave.NewActor("maker", func(a *actor) {
		_ = w.protocol(a).Place(context.Background(), group, w.initial...)
	}), nil)
	w.Store.createGroup(group)
	works := []func(*actor){w.change, w.change, w.change, w.change, w.read, w.read, w.rename, w.sweep, w.reportStatus}
	if w.moves {
		works = append(works, w.move)
	}
	w.Calm = w.moves
	w.Populate(works...)
}

// settled checks the group after all actors are done.
func (w *world) settled() error {
	group := w.Store.groups[groupName]
	members := group.Spec.Members
	if group.Spec.Sharding != nil {
		members = nil
		for _, shard := range w.Store.listShards(groupName, group.Spec.Sharding.Epoch) {
			for _, id := range shard.Spec.Members {
				if ShardOf(id) != int(shard.Spec.Index) {
					return fmt.Errorf("%s is in shard %d", id, shard.Spec.Index)
				}
			}
			members = append(members, shard.Spec.Members...)
		}
	}
	slices.Sort(members)
	if len(slices.Compact(slices.Clone(members))) != len(members) {
		return fmt.Errorf("a member is there twice: %v", members)
	}
	if err := w.possible(members, math.MaxInt, math.MaxInt); err != nil {
		return err
	}
	return w.repeat(members)
}

// repeat asks for every change anew that was not acknowledged: that must complete it.
func (w *world) repeat([]string) error {
	for _, o := range slices.Clone(w.history) {
		if o.end != math.MaxInt {
			continue
		}
		var err error
		if runErr := w.RunAlone(interleave.NewActor("again", func(a *actor) {
			_, _, err = w.protocol(a).Apply(context.Background(), groupName, func(*v1alpha1.Group) (Decision, error) {
				return Decision{Members: o.delta}, nil
			})
			if err != nil {
				return
			}
			group, _ := actorStore{a}.GetGroup(context.Background(), groupName)
			var members []string
			members, _, err = w.protocol(a).Members(context.Background(), group)
			if _, differ := o.delta.apply(members); differ {
				err = fmt.Errorf("repeated alone, %v left %v", o.delta, members)
			}
		}), nil); runErr != nil {
			return runErr
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
