package claims

import (
	"context"
	"errors"
	"iter"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// actor is one thread of control: a server's request or a controller at work. It stops at every store call until the
// schedule lets the call happen.
type actor struct {
	name  string
	yield func(*call) bool
	next  func() (*call, bool)
	stop  func()

	waiting *call
	// inFlight counts writes that were sent, and answered by nothing, and have not happened yet.
	inFlight int
	over     bool
}

// call is one store call, waiting for its turn. apply has its effect; err is what the actor is told.
type call struct {
	what  string
	write bool
	apply func(*memory) error
	err   error
}

// errUnavailable is an answer that leaves open whether the write happened.
var errUnavailable = errors.New("the API server did not answer")

// errCrashed unwinds an actor that never continues.
var errCrashed = errors.New("crashed")

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

func (s actorStore) GetHolder(_ context.Context, name string) (user *v1alpha1.User, err error) {
	err = s.do("get "+name, false, func(m *memory) (err error) {
		user, err = m.getUser(name)
		return err
	})
	return user, err
}

func (s actorStore) CreateHolder(_ context.Context, user *v1alpha1.User) error {
	return s.writeUser("create", user, (*memory).createUser)
}

func (s actorStore) UpdateHolder(_ context.Context, user *v1alpha1.User) error {
	return s.writeUser("update", user, (*memory).updateUser)
}

func (s actorStore) DeleteHolder(_ context.Context, user *v1alpha1.User) error {
	return s.writeUser("delete", user, (*memory).deleteUser)
}

func (s actorStore) writeUser(verb string, user *v1alpha1.User, write func(*memory, *v1alpha1.User) error) error {
	sent := user.DeepCopy()
	err := s.do(verb+" "+user.Name+" key="+user.Spec.UserNameKey+" pending="+user.Spec.PendingKey, true, func(m *memory) error {
		return write(m, sent)
	})
	if err == nil {
		user.ResourceVersion = sent.ResourceVersion
	}
	return err
}

func (s actorStore) GetClaim(_ context.Context, name string) (claim *v1alpha1.NameClaim, err error) {
	err = s.do("get claim "+name[:4], false, func(m *memory) (err error) {
		claim, err = m.getClaim(name)
		return err
	})
	return claim, err
}

func (s actorStore) CreateClaim(_ context.Context, claim *v1alpha1.NameClaim) error {
	return s.writeClaim("create", claim, (*memory).createClaim)
}

func (s actorStore) UpdateClaim(_ context.Context, claim *v1alpha1.NameClaim) error {
	return s.writeClaim("touch", claim, (*memory).updateClaim)
}

func (s actorStore) DeleteClaim(_ context.Context, claim *v1alpha1.NameClaim) error {
	return s.writeClaim("delete", claim, (*memory).deleteClaim)
}

func (s actorStore) writeClaim(verb string, claim *v1alpha1.NameClaim, write func(*memory, *v1alpha1.NameClaim) error) error {
	sent := claim.DeepCopy()
	return s.do(verb+" claim "+claim.Name[:4]+" of "+claim.Spec.Value+" for "+claim.Spec.Holder, true, func(m *memory) error {
		return write(m, sent)
	})
}
