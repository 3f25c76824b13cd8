package membership

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// actor is one thread of control: a server's batch of changes or a controller at work. It stops at every store call until
// the schedule lets the call happen.
type actor struct {
	name  string
	yield func(*call) bool
	next  func() (*call, bool)
	stop  func()

	waiting *call
	over    bool
	// inFlight counts writes that were sent, and answered by nothing, and have not happened yet.
	inFlight int
}

// call is one store call, waiting for its turn. apply has its effect; err is what the actor is told.
type call struct {
	what  string
	write bool
	apply func(*memory) error
	err   error
}

var (
	// errUnavailable is an answer that leaves open whether the write happened.
	errUnavailable = errors.New("the API server did not answer")
	// errCrashed unwinds an actor that never continues.
	errCrashed = errors.New("crashed")
)

func newActor(name string, script func(*actor)) *actor {
	a := &actor{name: name}
	a.next, a.stop = iter.Pull(func(yield func(*call) bool) {
		defer func() {
			if reason := recover(); reason != nil && reason != any(errCrashed) {
				panic(reason)
			}
		}()
		a.yield = yield
		script(a)
	})
	return a
}

// resume lets the actor run to its next store call.
func (a *actor) resume() {
	var alive bool
	a.waiting, alive = a.next()
	a.over = !alive
}

// crash ends the actor where it stands.
func (a *actor) crash() {
	a.stop()
	a.waiting, a.over = nil, true
}

func (a *actor) do(what string, write bool, apply func(*memory) error) error {
	c := &call{what: what, write: write, apply: apply}
	if !a.yield(c) {
		panic(errCrashed)
	}
	return c.err
}

// actorStore is the Store that an actor's protocol runs over. Writes send a copy: what the actor does to its object
// later is not part of a request in flight.
type actorStore struct{ *actor }

func (s actorStore) GetGroup(_ context.Context, name string) (group *v1alpha1.Group, err error) {
	err = s.do("get group", false, func(m *memory) (err error) {
		group, err = m.getGroup(name)
		return err
	})
	return group, err
}

func (s actorStore) UpdateGroup(_ context.Context, group *v1alpha1.Group) error {
	sent := group.DeepCopy()
	what := "update group to " + strings.Join(sent.Spec.Members, ",")
	if sent.Spec.Sharding != nil {
		what = "update group to epoch " + sent.Spec.Sharding.Epoch
	}
	err := s.do(what, true, func(m *memory) error { return m.updateGroup(sent) })
	if err == nil {
		group.ResourceVersion, group.Generation = sent.ResourceVersion, sent.Generation
	}
	return err
}

func (s actorStore) GetShard(_ context.Context, name string) (shard *v1alpha1.MemberShard, err error) {
	err = s.do("get "+name, false, func(m *memory) (err error) {
		shard, err = m.getShard(name)
		return err
	})
	return shard, err
}

func (s actorStore) ListShards(_ context.Context, group, epoch string) (list []v1alpha1.MemberShard, err error) {
	err = s.do("list shards of "+epoch, false, func(m *memory) error {
		list = m.listShards(group, epoch)
		return nil
	})
	return list, err
}

func (s actorStore) CreateShard(_ context.Context, shard *v1alpha1.MemberShard) error {
	return s.writeShard("create", shard, (*memory).createShard)
}

func (s actorStore) UpdateShard(_ context.Context, shard *v1alpha1.MemberShard) error {
	return s.writeShard("update", shard, (*memory).updateShard)
}

func (s actorStore) DeleteShard(_ context.Context, shard *v1alpha1.MemberShard) error {
	return s.writeShard("delete", shard, (*memory).deleteShard)
}

func (s actorStore) writeShard(verb string, shard *v1alpha1.MemberShard, write func(*memory, *v1alpha1.MemberShard) error) error {
	sent := shard.DeepCopy()
	return s.do(verb+" "+shard.Name+" with "+strings.Join(sent.Spec.Members, ","), true, func(m *memory) error {
		return write(m, sent)
	})
}
