package claims

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/interleave"
)

// world is one random schedule: a store, actors at work on it, and what has been promised to clients.
type world struct {
	*interleave.Explorer[memory]
	names []string
	users []string // every user ever made, in order
	// absent are users with claims that came back from a backup before them.
	absent []*v1alpha1.User
	// late are those of them that are there by now. A deletion of the claim may be under way that was decided before: until their
	// claim was verified, they may lose it.
	late map[string]bool

	promised map[string]*promise
	before   map[string]string // keys of the users that were effective before this step
}

// promise is what clients were told of one user.
type promise struct {
	acknowledged bool            // a success was answered: the user is effective from now on
	doomed       bool            // a deletion was asked for
	keys         map[string]bool // every key that it was asked to have
	exactly      string          // the key that it must have: that of its only rename, answered with success
	renames      int
	maker        *actor // the actor of its Create; nil once that is over
}

const app = "wiki"

func newWorld(seed uint64) *world {
	w := &world{
		Explorer: interleave.New(seed, newMemory()),
		promised: map[string]*promise{}, before: map[string]string{}, late: map[string]bool{},
	}
	w.Left = w.ageMadeBy
	w.names = []string{"ada", "bob", "cyd"}[:1+w.Random.IntN(3)]
	return w
}

// newUser returns a user as the directory makes it, not written yet.
func (w *world) newUser(key string) *v1alpha1.User {
	now := metav1.Now()
	user := &v1alpha1.User{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("u%d", len(w.users)), CreationTimestamp: now, Finalizers: []string{v1alpha1.FinalizerAccess},
		},
		Spec: v1alpha1.UserSpec{App: app, UserName: key, UserNameKey: key, Active: true, CreatedAt: &metav1.MicroTime{Time: now.Time}},
	}
	w.users = append(w.users, user.Name)
	w.promised[user.Name] = &promise{keys: map[string]bool{key: true}}
	return user
}

// addSettled puts an effective user there before the schedule begins.
func (w *world) addSettled(key string) {
	user := w.newUser(key)
	user.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
	if w.Store.createClaim(claimOf(user)) == nil {
		_ = w.Store.createUser(user)
		w.promised[user.Name].acknowledged = true
	}
}

// addRestored puts a user there that came back from a backup without its claim.
func (w *world) addRestored(key string) {
	user := w.newUser(key)
	user.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
	user.Spec.CreatedAt = &metav1.MicroTime{Time: time.Now().Add(-48 * time.Hour)}
	_ = w.Store.createUser(user)
}

// addRestoredClaim puts a claim there that came back from a backup before its holder.
func (w *world) addRestoredClaim(key string) {
	user := w.newUser(key)
	user.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
	user.Spec.CreatedAt = &metav1.MicroTime{Time: time.Now().Add(-48 * time.Hour)}
	if w.Store.createClaim(claimOf(user)) == nil {
		w.absent = append(w.absent, user)
	}
}

// putBack is a backup that goes on: a holder follows its claim, which may be another's by now.
func (w *world) putBack(a *actor) {
	if len(w.absent) == 0 {
		return
	}
	user := w.absent[0]
	w.absent = w.absent[1:]
	w.late[user.Name] = true
	_ = a.Do("put back "+user.Name, true, func(m *memory) error { return m.createUser(user) })
}

func claimOf(user *v1alpha1.User) *v1alpha1.NameClaim {
	key := user.Spec.UserNameKey
	return &v1alpha1.NameClaim{
		ObjectMeta: metav1.ObjectMeta{Name: Name(app, v1alpha1.ClaimUserName, key)},
		Spec:       v1alpha1.NameClaimSpec{App: app, Attribute: v1alpha1.ClaimUserName, Value: key, Holder: user.Name},
	}
}

func (w *world) create(a *actor) {
	key := w.Pick(w.names)
	user := w.newUser(key)
	told := w.promised[user.Name]
	told.maker = a
	err := New[*v1alpha1.User](actorStore{a}, Users).Create(context.Background(), user)
	told.acknowledged = err == nil
	w.Note(a, "created %s as %s: %v", user.Name, key, err)
	if !a.InFlight() {
		w.age(user.Name)
	}
}

// rename does what the directory does: read, check, change, and again on conflict.
func (w *world) rename(a *actor) {
	name, key := w.Pick(w.users), w.Pick(w.names)
	told := w.promised[name]
	protocol := New[*v1alpha1.User](actorStore{a}, Users)
	told.keys[key], told.exactly = true, ""
	told.renames++
	err := w.renameOnce(a, protocol, name, key)
	for turn := 0; turn < 3 && apierrors.IsConflict(err); turn++ {
		err = w.renameOnce(a, protocol, name, key)
	}
	if err == nil && told.renames == 1 {
		told.exactly = key
	}
	w.Note(a, "renamed %s to %s: %v", name, key, err)
}

var errGone = errors.New("no such user")

func (w *world) renameOnce(a *actor, protocol *Protocol[*v1alpha1.User], name, key string) error {
	ctx := context.Background()
	user, err := actorStore{a}.GetHolder(ctx, name)
	if err != nil {
		return err
	}
	effective, err := w.verify(protocol, user)
	if err != nil {
		return err
	}
	if !effective || user.DeletionTimestamp != nil {
		return errGone
	}
	if user.Spec.UserNameKey == key {
		return actorStore{a}.UpdateHolder(ctx, user)
	}
	_, err = protocol.Rename(ctx, user, key, func(user *v1alpha1.User) error {
		user.Spec.UserName, user.Spec.UserNameKey = key, key
		return nil
	})
	return err
}

func (w *world) remove(a *actor) {
	name := w.Pick(w.users)
	protocol := New[*v1alpha1.User](actorStore{a}, Users)
	ctx := context.Background()
	for range 4 {
		user, err := actorStore{a}.GetHolder(ctx, name)
		if err != nil {
			return
		}
		if !w.promised[name].acknowledged {
			return
		}
		w.promised[name].doomed = true
		if err = protocol.Delete(ctx, user); apierrors.IsConflict(err) {
			continue
		}
		w.Note(a, "deleted %s: %v", name, err)
		if err == nil {
			w.finalizeUser(a, name)
			_ = protocol.Release(ctx, user)
		}
		return
	}
}

// finalize is the controller that takes a deleted user's bindings away and lets the object go.
func (w *world) finalize(a *actor) { w.finalizeUser(a, w.Pick(w.users)) }

func (w *world) finalizeUser(a *actor, name string) {
	user, err := actorStore{a}.GetHolder(context.Background(), name)
	if err == nil && user.DeletionTimestamp != nil {
		user.Finalizers = nil
		_ = actorStore{a}.UpdateHolder(context.Background(), user)
	}
}

// control is the controller that verifies a user's claim, repairs it where it must, and writes the status.
func (w *world) control(a *actor) {
	name := w.Pick(w.users)
	user, err := actorStore{a}.GetHolder(context.Background(), name)
	if err != nil {
		return
	}
	key := user.Spec.UserNameKey
	protocol := New[*v1alpha1.User](actorStore{a}, Users)
	reserved, err := w.verify(protocol, user)
	if err == nil && !reserved {
		_, _ = protocol.Ensure(context.Background(), name)
		_ = a.Do("status of "+name, true, func(m *memory) error { m.report(name); return nil })
		return
	}
	if err == nil {
		_ = a.Do("status of "+name, true, func(m *memory) error { m.reserve(name, key); return nil })
	}
}

func (w *world) verify(protocol *Protocol[*v1alpha1.User], user *v1alpha1.User) (bool, error) {
	if w.Store.trustOldClaims {
		owner, err := protocol.Owner(context.Background(), app, user.Spec.UserNameKey)
		return err == nil && owner == user.Name, err
	}
	return protocol.Verify(context.Background(), app, user.Spec.UserNameKey, user.Name, user.ResourceVersion)
}

// controlBySight is the controller that knows a user's claim by a watch, however far behind that is, and writes the status.
func (w *world) controlBySight(a *actor) {
	name := w.Pick(w.users)
	user, err := actorStore{a}.GetHolder(context.Background(), name)
	if err != nil {
		return
	}
	seen := false
	_ = a.Do("recall the claim of "+name, false, func(m *memory) error {
		seen = m.sees(w.Random.IntN(len(m.events)+1), user)
		return nil
	})
	if seen {
		_ = a.Do("status of "+name, true, func(m *memory) error { m.reserve(name, user.Spec.UserNameKey); return nil })
	}
}

func (w *world) reap(a *actor) {
	name := w.Pick(w.users)
	changed, err := New[*v1alpha1.User](actorStore{a}, Users).Reap(context.Background(), name, 10*time.Minute)
	w.Note(a, "reaped %s: %v %v", name, changed, err)
}

// sweep applies the deletion rule to the claim of one name.
func (w *world) sweep(a *actor) {
	claim, err := actorStore{a}.GetClaim(context.Background(), Name(app, v1alpha1.ClaimUserName, w.Pick(w.names)))
	if err == nil {
		_, _ = New[*v1alpha1.User](actorStore{a}, Users).ReleaseStale(context.Background(), claim)
	}
}

// age lets ten minutes pass for a user after its Create, with nothing in flight.
func (w *world) age(name string) {
	w.promised[name].maker = nil
	if user, found := w.Store.users[name]; found {
		user.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
	}
}

func (w *world) ageMadeBy(a *actor) {
	for _, name := range w.users {
		if w.promised[name].maker == a {
			w.age(name)
		}
	}
}

// check holds the world against what was promised. It runs after every step.
func (w *world) check() error {
	effective, holders := map[string]string{}, map[string]string{}
	for name, user := range w.Store.users {
		key := user.Spec.UserNameKey
		isEffective := w.Store.effective(user)
		if isEffective {
			effective[name] = key
			if other, found := holders[key]; found {
				return fmt.Errorf("%s and %s are both effective as %s", other, name, key)
			}
			holders[key] = name
		}
		if w.before[name] == key && !isEffective && !w.late[name] {
			return fmt.Errorf("%s, effective as %s, lost its claim", name, key)
		}
		if user.Status.ReservedKey == key && !isEffective {
			return fmt.Errorf("the status of %s says that %s is reserved, and it is not", name, key)
		}
	}
	for name := range w.before {
		if _, found := w.Store.users[name]; !found && !w.promised[name].doomed {
			return fmt.Errorf("%s was effective, and was removed without a request", name)
		}
	}
	w.before = effective
	return w.checkPromises(effective)
}

func (w *world) checkPromises(effective map[string]string) error {
	for name, told := range w.promised {
		if !told.acknowledged || told.doomed {
			continue
		}
		key, found := effective[name]
		switch {
		case !found:
			return fmt.Errorf("%s was acknowledged and is not effective", name)
		case !told.keys[key]:
			return fmt.Errorf("%s is %s without a request", name, key)
		case told.exactly != "" && told.exactly != key:
			return fmt.Errorf("%s was renamed to %s and is %s", name, told.exactly, key)
		}
	}
	return nil
}
