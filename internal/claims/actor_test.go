package claims

import (
	"context"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/interleave"
)

// actor is a server's request or a controller at work over the store.
type actor = interleave.Actor[memory]

// actorStore is the Store that an actor's protocol runs over. Writes send a copy: what the actor does to its object
// later is not part of a request in flight.
type actorStore struct{ *actor }

func (s actorStore) GetHolder(_ context.Context, name string) (user *v1alpha1.User, err error) {
	err = s.Do("get "+name, false, func(m *memory) (err error) {
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
	err := s.Do(verb+" "+user.Name+" key="+user.Spec.UserNameKey+" pending="+user.Spec.PendingKey, true, func(m *memory) error {
		return write(m, sent)
	})
	if err == nil {
		user.ResourceVersion = sent.ResourceVersion
	}
	return err
}

func (s actorStore) GetClaim(_ context.Context, name string) (claim *v1alpha1.NameClaim, err error) {
	err = s.Do("get claim "+name[:4], false, func(m *memory) (err error) {
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
	return s.Do(verb+" claim "+claim.Name[:4]+" of "+claim.Spec.Value+" for "+claim.Spec.Holder, true, func(m *memory) error {
		return write(m, sent)
	})
}
