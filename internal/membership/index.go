package membership

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
)

// Index is the membership of all groups in memory: the members of each group, and the groups of each user. Watches feed it,
// and so may the process' own writes. It drops a state that is older than the one it has. It keeps the objects that it is
// given. Safe for concurrent use.
//
// Groups and shards may come in any order: shards count while their Group, as last seen, names their epoch.
type Index struct {
	mu     sync.RWMutex
	groups map[types.NamespacedName]*indexed
	// users has, by namespace and id, what is known of a user.
	users map[string]map[string]person
	// changed is closed by the next change; nil while no caller waits for one.
	changed chan struct{}
	// gone remembers which Groups went, so that the late answer to an earlier write brings none back.
	gone map[types.UID]time.Time
}

// indexed is one group, or what is known of its shards before it is.
type indexed struct {
	name    types.NamespacedName
	uid     types.UID // empty while only shards are known
	app     string
	version string
	group   *v1alpha1.Group
	names   uint64 // the sum of the NameDigests of the members that have one
	epoch   string // of the sharding; empty: inline
	inline  []string
	epochs  map[string]*parts
}

type parts struct {
	shards [Shards]*v1alpha1.MemberShard
	count  int
}

// GoneFor is how long memory fed by watches remembers a removal: longer than any request lasts.
const GoneFor = 5 * time.Minute

// NewIndex returns an empty index.
func NewIndex() *Index {
	return &Index{
		groups: map[types.NamespacedName]*indexed{},
		users:  map[string]map[string]person{},
		gone:   map[types.UID]time.Time{},
	}
}

// PutGroup takes in a state of a Group. It returns the ids that became members by it.
func (x *Index) PutGroup(group *v1alpha1.Group) (joined []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.notify()
	if _, gone := x.gone[group.UID]; gone {
		return nil
	}
	g := x.get(types.NamespacedName{Namespace: group.Namespace, Name: group.Name})
	if g.uid == group.UID && informers.Older(group.ResourceVersion, g.version) {
		return nil
	}
	epoch := ""
	if group.Spec.Sharding != nil {
		epoch = group.Spec.Sharding.Epoch
	}
	x.belongs(g, group.Spec.App)
	known := g.uid != ""
	g.uid, g.version, g.group = group.UID, group.ResourceVersion, group
	if known && epoch != "" && epoch == g.epoch {
		return nil
	}
	before := g.members()
	g.epoch, g.inline = epoch, nil
	if epoch == "" {
		g.inline = sorted(group.Spec.Members)
	}
	return x.exchange(g, before, g.members())
}

// RemoveGroup forgets a Group that is gone.
func (x *Index) RemoveGroup(group *v1alpha1.Group) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.notify()
	now := time.Now()
	if len(x.gone) > 1024 {
		for uid, when := range x.gone {
			if now.Sub(when) > GoneFor {
				delete(x.gone, uid)
			}
		}
	}
	x.gone[group.UID] = now
	g := x.groups[types.NamespacedName{Namespace: group.Namespace, Name: group.Name}]
	if g == nil || g.uid != group.UID {
		return
	}
	x.exchange(g, g.members(), nil)
	g.uid, g.version, g.group, g.epoch, g.inline = "", "", nil, "", nil
	x.tidy(g)
}

// PutShard takes in a state of a shard. It returns the ids that became members by it.
func (x *Index) PutShard(shard *v1alpha1.MemberShard) (joined []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.notify()
	index := int(shard.Spec.Index)
	if index < 0 || index >= Shards || shard.Name != ShardName(shard.Spec.Group, shard.Spec.Epoch, index) {
		return nil
	}
	g := x.get(types.NamespacedName{Namespace: shard.Namespace, Name: shard.Spec.Group})
	if g.epochs == nil {
		g.epochs = map[string]*parts{}
	}
	p := g.epochs[shard.Spec.Epoch]
	if p == nil {
		p = &parts{}
		g.epochs[shard.Spec.Epoch] = p
	}
	var before []string
	if old := p.shards[index]; old == nil {
		p.count++
	} else if informers.Older(shard.ResourceVersion, old.ResourceVersion) {
		return nil
	} else {
		before = old.Spec.Members
	}
	p.shards[index] = shard
	if g.uid == "" || g.epoch != shard.Spec.Epoch {
		return nil
	}
	return x.exchange(g, before, shard.Spec.Members)
}

// RemoveShard forgets a shard that is gone.
func (x *Index) RemoveShard(shard *v1alpha1.MemberShard) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.notify()
	g := x.groups[types.NamespacedName{Namespace: shard.Namespace, Name: shard.Spec.Group}]
	index := int(shard.Spec.Index)
	if g == nil || g.epochs[shard.Spec.Epoch] == nil || index < 0 || index >= Shards {
		return
	}
	p := g.epochs[shard.Spec.Epoch]
	old := p.shards[index]
	if old == nil {
		return
	}
	if g.uid != "" && g.epoch == shard.Spec.Epoch {
		x.exchange(g, old.Spec.Members, nil)
	}
	p.shards[index] = nil
	if p.count--; p.count == 0 {
		delete(g.epochs, shard.Spec.Epoch)
	}
	x.tidy(g)
}

// GroupsOf returns the names of the Groups that a user is a member of, in order.
func (x *Index) GroupsOf(namespace, id string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	of := x.users[namespace][id].groups
	if len(of) == 0 {
		return nil
	}
	names := make([]string, len(of))
	for i, g := range of {
		names[i] = g.name.Name
	}
	slices.Sort(names)
	return names
}

// Members returns the ids of a group's members, in order. The slice is shared where the group is inline: not to be
// changed.
func (x *Index) Members(group types.NamespacedName) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if g := x.groups[group]; g != nil {
		return g.members()
	}
	return nil
}

// Contains says whether a user is a member of a group.
func (x *Index) Contains(group types.NamespacedName, id string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	g := x.groups[group]
	if g == nil || g.uid == "" {
		return false
	}
	members := g.inline
	if g.epoch != "" {
		members = nil
		if p := g.epochs[g.epoch]; p != nil && p.shards[ShardOf(id)] != nil {
			members = p.shards[ShardOf(id)].Spec.Members
		}
	}
	_, found := slices.BinarySearch(members, id)
	return found
}

// group returns a Group as it was last put, nil for an unknown one. It is shared: not to be changed.
func (x *Index) group(name types.NamespacedName) *v1alpha1.Group {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if g := x.groups[name]; g != nil {
		return g.group
	}
	return nil
}

// shard returns a shard as it was last put, nil for an unknown one. It is shared: not to be changed.
func (x *Index) shard(group types.NamespacedName, epoch string, index int) *v1alpha1.MemberShard {
	x.mu.RLock()
	defer x.mu.RUnlock()
	g := x.groups[group]
	if g == nil || g.epochs[epoch] == nil {
		return nil
	}
	return g.epochs[epoch].shards[index]
}

// Count returns how many members a group has.
func (x *Index) Count(group types.NamespacedName) int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	g := x.groups[group]
	if g == nil {
		return 0
	}
	count := len(g.inline)
	if p := g.epochs[g.epoch]; p != nil && g.uid != "" {
		for _, shard := range p.shards {
			if shard != nil {
				count += len(shard.Spec.Members)
			}
		}
	}
	return count
}

func (x *Index) get(name types.NamespacedName) *indexed {
	g := x.groups[name]
	if g == nil {
		g = &indexed{name: name}
		x.groups[name] = g
	}
	return g
}

// tidy forgets a group of which nothing is known any more.
func (x *Index) tidy(g *indexed) {
	if g.uid == "" && len(g.epochs) == 0 {
		delete(x.groups, g.name)
	}
}

// members gathers what counts, sorted.
func (g *indexed) members() []string {
	p := g.epochs[g.epoch]
	if g.uid == "" || g.epoch == "" || p == nil {
		return g.inline
	}
	shards := make([]v1alpha1.MemberShard, 0, p.count)
	for _, shard := range p.shards {
		if shard != nil {
			shards = append(shards, *shard)
		}
	}
	return membersOf(shards)
}

// exchange notes the members of a group, or of one of its parts, and returns the new ones. Both lists are sorted.
func (x *Index) exchange(g *indexed, before, after []string) (joined []string) {
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0] < after[0]:
			somebody := x.users[g.name.Namespace][before[0]]
			somebody.groups = slices.DeleteFunc(somebody.groups, func(other *indexed) bool { return other == g })
			g.names -= somebody.digestIn(g)
			x.setPerson(g.name.Namespace, before[0], somebody)
			before = before[1:]
		case len(before) == 0 || after[0] < before[0]:
			somebody := x.users[g.name.Namespace][after[0]]
			somebody.groups = append(somebody.groups, g)
			g.names += somebody.digestIn(g)
			x.setPerson(g.name.Namespace, after[0], somebody)
			joined = append(joined, after[0])
			after = after[1:]
		default:
			before, after = before[1:], after[1:]
		}
	}
	return joined
}

// sorted returns a list that people may have written as the server writes it.
func sorted(members []string) []string {
	if slices.IsSorted(members) && len(slices.Compact(slices.Clone(members))) == len(members) {
		return members
	}
	next, _ := Delta{}.apply(members)
	return next
}
