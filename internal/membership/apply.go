package membership

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Decision is what a change of a group comes to, on its current state.
type Decision struct {
	// Members is the change of the members.
	Members Delta
	// Attributes says that the decision changed the Group as clients see it, members apart; Notes, that it changed what
	// only the cluster sees.
	Attributes, Notes bool
	// Requests are the ids of the client's requests that make the change: the Group and the shards that it writes name them.
	Requests []string
	// Observe, where it is set, is told once, after the whole change was written, which ids became members by it and which
	// are members no more, each list in order.
	Observe func(joined, left []string)
}

// Decide makes the decision. next is a copy of the Group's live state, to be changed in place: everything but members,
// sharding, lastModified and the names' keys. It is called again with a newer state after a concurrent write, so it must not
// have effects of its own.
type Decide func(next *v1alpha1.Group) (Decision, error)

// Apply changes a group. It returns the Group as it is afterwards, and whether clients see a difference; where there is
// none, nothing was written, and lastModified stays.
//
// Errors are decide's own, NotFound where the group is gone or going, ErrTooLarge, ErrContended, and the API server's:
// after those some of the change may have happened, and the same change, repeated, completes it.
func (p *Protocol) Apply(ctx context.Context, name string, decide Decide) (*v1alpha1.Group, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, FlipTimeout)
	defer cancel()
	c := &change{Protocol: p, decide: decide}
	group, changed, err := c.attemptKnown(ctx, name)
	if err == nil || !needsRead(err) {
		return group, changed, err
	}
	for attempt := range attempts {
		group, changed, err = c.attempt(ctx, name)
		if err == nil {
			return group, changed, nil
		}
		if !apierrors.IsConflict(err) {
			return nil, false, err
		}
		if err := p.pause(ctx, attempt); err != nil {
			return nil, false, err
		}
	}
	return nil, false, ErrContended
}

// change is one Apply under way.
type change struct {
	*Protocol
	decide Decide
	// known says that the attempt under way is on the Group as it was known, without a read.
	known bool
	// written is the epoch of the shards that have the change already; the Group does not speak of it yet.
	written string
	// differ says that this made a difference, which the Group has to tell, whatever it is now.
	differ bool
	// requests are those of the decision.
	requests []string
	// moved maps the ids that this change made members, or members no more, to whether they are members now.
	mutex sync.Mutex
	moved map[string]bool
}

// note keeps what a write of members, both sorted, changed.
func (c *change) note(before, after []string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.moved == nil {
		c.moved = map[string]bool{}
	}
	for _, id := range missingFrom(before, after) {
		c.moved[id] = false
	}
	for _, id := range missingFrom(after, before) {
		c.moved[id] = true
	}
}

// missingFrom lists what of one list is not in another, sorted one.
func missingFrom(list, other []string) (missing []string) {
	for _, id := range list {
		if _, found := slices.BinarySearch(other, id); !found {
			missing = append(missing, id)
		}
	}
	return missing
}

// tell reports what the change did to the members.
func (c *change) tell(observe func(joined, left []string)) {
	if observe == nil {
		return
	}
	var joined, left []string
	for id, member := range c.moved {
		if member {
			joined = append(joined, id)
		} else {
			left = append(left, id)
		}
	}
	slices.Sort(joined)
	slices.Sort(left)
	observe(joined, left)
}

// errUnproven ends an attempt on the Group as it was known: only a read can tell what comes of the change.
var errUnproven = errors.New("the group must be read")

// needsRead says whether an error of attemptKnown may come from the Group being another one by now.
func needsRead(err error) bool {
	return errors.Is(err, errUnproven) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrContended) ||
		apierrors.IsConflict(err) || apierrors.IsNotFound(err)
}

// attemptKnown makes the change on the Group as it was last known, without a read. Only a write of the Group proves that it still is
// so. A change that the known state refuses, that makes no difference to it, or that moves all members, needs a read.
func (c *change) attemptKnown(ctx context.Context, name string) (*v1alpha1.Group, bool, error) {
	known := c.store.KnownGroup(name)
	if known == nil || known.DeletionTimestamp != nil {
		return nil, false, errUnproven
	}
	c.known = true
	defer func() { c.known = false }()
	return c.change(ctx, known)
}

// attempt makes the change on the Group as it is now. Conflict asks for another attempt.
func (c *change) attempt(ctx context.Context, name string) (*v1alpha1.Group, bool, error) {
	current, err := c.live(ctx, name)
	if err != nil {
		return nil, false, err
	}
	return c.change(ctx, current)
}

// change makes the change on a state of the Group.
func (c *change) change(ctx context.Context, current *v1alpha1.Group) (*v1alpha1.Group, bool, error) {
	next := current.DeepCopy()
	decision, err := c.decide(next)
	if err != nil && c.known {
		return nil, false, errUnproven
	}
	if err != nil {
		return nil, false, err
	}
	c.requests = decision.Requests
	var differ bool
	var before, after []string // of a change that the write of the Group makes true
	switch {
	case current.Spec.Sharding == nil:
		before = slices.Sorted(slices.Values(current.Spec.Members))
		after, differ, err = c.inline(ctx, next, decision.Members)
	case c.known && decision.Members.replace:
		err = errUnproven
	case decision.Members.replace && len(decision.Members.wanted) <= c.inlineAgain():
		before, after, differ, err = c.backInline(ctx, current, next, decision.Members)
	default:
		err = c.sharded(ctx, current, decision.Members)
	}
	if err != nil {
		return nil, false, err
	}
	changed := differ || c.differ || decision.Attributes
	if !changed && !decision.Notes {
		if c.known {
			return nil, false, errUnproven
		}
		err := c.confirm(ctx, current, decision.Members)
		if err == nil {
			c.tell(decision.Observe)
		}
		return current, false, err
	}
	if changed {
		Touch(next)
		next.Spec.LastRequests = decision.Requests
	}
	if err := c.store.UpdateGroup(ctx, next); err != nil {
		return nil, false, err
	}
	if differ {
		c.note(before, after)
	}
	c.tell(decision.Observe)
	return next, changed, nil
}

// confirm says whether a change that found nothing to do in shards looked at shards that count: Conflict where the Group
// does not name their epoch any more.
func (c *change) confirm(ctx context.Context, current *v1alpha1.Group, delta Delta) error {
	if current.Spec.Sharding == nil || delta.IsZero() {
		return nil
	}
	after, err := c.live(ctx, current.Name)
	if err != nil {
		return err
	}
	if after.Spec.Sharding == nil || after.Spec.Sharding.Epoch != current.Spec.Sharding.Epoch {
		c.written = ""
		return apierrors.NewConflict(v1alpha1.Resource("groups"), current.Name, errors.New("it names other shards by now"))
	}
	return nil
}

// live reads the Group. One that is being deleted is gone.
func (p *Protocol) live(ctx context.Context, name string) (*v1alpha1.Group, error) {
	group, err := p.store.GetGroup(ctx, name)
	if err == nil && group.DeletionTimestamp != nil {
		return nil, apierrors.NewNotFound(v1alpha1.Resource("groups"), name)
	}
	return group, err
}

// inline changes the members of an inline group, or flips it. It returns them, sorted.
func (c *change) inline(ctx context.Context, next *v1alpha1.Group, delta Delta) (members []string, differ bool, err error) {
	members, differ = delta.apply(next.Spec.Members)
	if !differ {
		return nil, false, nil
	}
	if c.known && len(members) > c.inlineLimit {
		return nil, false, errUnproven // a flip is 128 writes
	}
	return members, true, c.place(ctx, next, members)
}

// backInline puts few members in the place of all that a sharded group has.
func (c *change) backInline(ctx context.Context, current, next *v1alpha1.Group, delta Delta) (before, after []string, differ bool, err error) {
	shards, err := c.store.ListShards(ctx, current.Name, current.Spec.Sharding.Epoch)
	if err != nil {
		return nil, nil, false, err
	}
	before = slices.Sorted(slices.Values(membersOf(shards)))
	after, differ = delta.apply(before)
	if !differ && !unsettled(shards, current.Generation) {
		return nil, nil, false, nil
	}
	return before, after, true, c.place(ctx, next, after)
}

// sharded writes the change to the shards of the Group's epoch. The write of the Group follows, and fails if the Group
// changed since it was read.
func (c *change) sharded(ctx context.Context, current *v1alpha1.Group, delta Delta) error {
	epoch := current.Spec.Sharding.Epoch
	if c.written == epoch {
		return nil
	}
	differ, err := c.writeShards(ctx, current, delta)
	if err != nil {
		return err
	}
	c.written, c.differ = epoch, c.differ || differ
	return nil
}

// Place sets the members of a group before its first write: inline, or in shards that Place writes at once. Errors are
// ErrTooLarge and the API server's; shards written before an error stay for Sweep.
func (p *Protocol) Place(ctx context.Context, group *v1alpha1.Group, members ...string) error {
	var delta Delta
	delta.Replace(members...)
	sorted, _ := delta.apply(nil)
	return p.place(ctx, group, sorted)
}

// place puts sorted members into the Group, or into shards of a new epoch that it names. It becomes true when the Group
// is written.
func (p *Protocol) place(ctx context.Context, group *v1alpha1.Group, members []string) error {
	if len(members) <= p.inlineLimit {
		group.Spec.Members, group.Spec.Sharding = members, nil
		return nil
	}
	epoch, err := p.flip(ctx, group, members)
	group.Spec.Members, group.Spec.Sharding = nil, &v1alpha1.Sharding{Epoch: epoch, Count: Shards}
	return err
}

// Touch raises lastModified, which never goes back, and with it the generation.
func Touch(group *v1alpha1.Group) {
	now := metav1.NowMicro()
	if last := group.Spec.LastModified; last != nil && !last.Time.Before(now.Time) {
		now = metav1.NewMicroTime(last.Add(time.Microsecond))
	}
	group.Spec.LastModified = &now
}

// pause spreads the writers of one group out: up to a quarter of a second before another attempt.
func pause(ctx context.Context, attempt int) error {
	longest := min(4*time.Millisecond<<min(attempt, 6), 250*time.Millisecond)
	timer := time.NewTimer(time.Millisecond + rand.N(longest))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
