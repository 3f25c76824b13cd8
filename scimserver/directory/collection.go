package directory

import (
	"cmp"
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

// object is a *v1alpha1.User or a *v1alpha1.Group.
type object interface {
	comparable
	client.Object
	IsNameReserved() bool
}

// kind is what sets users and groups apart, for what works the same with both.
type kind[O object, E entry[E]] struct {
	claims claims.Kind[O]
	// empty returns an object to decode into.
	empty func() O
	// entry returns what the read model keeps of an object, which the caller does not change afterwards.
	entry func(O) E
	// createdAt returns spec.createdAt.
	createdAt func(O) *metav1.MicroTime
	// seen and lost, which may be nil, are told of every state that the read model is offered, and of every object that is gone.
	seen, lost func(E)
	// version is the object's version with what is in memory of other objects; changed is closed when that may have changed.
	version func(O) version
	changed func() <-chan struct{}
	// asClientSees is asClientSees for a request about the object with the id, "" for none.
	asClientSees func(err error, id string) error
	// notFound is the error of an id that no client sees.
	notFound func(id string) error
}

// collection is the users, or the groups, of all Apps: reads that are right at once, and changes by compare-and-swap. The read
// model proposes and live objects confirm.
type collection[O object, E entry[E]] struct {
	kind[O, E]
	live       client.Client
	model      *readModel[E]
	unverified workqueue.TypedRateLimitingInterface[types.NamespacedName]
}

// claimsIn returns the uniqueness protocol of one namespace.
func (c *collection[O, E]) claimsIn(namespace string) *claims.Protocol[O] {
	return claims.New(claims.NewStore(c.live, namespace, c.empty), c.claims)
}

// keyOf returns the folded name of an object, as claims compare it.
func (c *collection[O, E]) keyOf(o O) string { return *c.claims.Names(o).Key }

// put offers the read model a state. verified is readModel's.
func (c *collection[O, E]) put(e E, verified string) (unverified bool) {
	unverified = c.model.put(e, verified)
	if c.seen != nil {
		c.seen(e)
	}
	return unverified
}

// applyOwnWrite puts an object into the read model that this process has just written or read, and that holds its name.
func (c *collection[O, E]) applyOwnWrite(o O) {
	o.SetManagedFields(nil)
	c.put(c.entry(o), c.keyOf(o))
}

// forget takes an object that is gone out of the read model.
func (c *collection[O, E]) forget(e E) {
	c.model.remove(e.head().name(), e.head().uid)
	if c.lost != nil {
		c.lost(e)
	}
}

// Get returns the App's user or group with the id: one live read. Errors are 404 where there is none, where it belongs to
// another App, where it is being deleted, and where its name's claim does not name it; and *UnavailableError.
func (c *collection[O, E]) Get(ctx context.Context, app *v1alpha1.App, id string) (O, error) {
	var none O
	o, err := c.read(ctx, appName(app), id)
	if err != nil {
		return none, c.asClientSees(err, id)
	}
	if o == none {
		return none, c.notFound(id)
	}
	return o, nil
}

// read is Get, with nil for what a client does not see.
func (c *collection[O, E]) read(ctx context.Context, app types.NamespacedName, id string) (O, error) {
	var none O
	o, err := c.readLive(ctx, app, id)
	if err != nil || o == none {
		return none, err
	}
	seen, err := c.sees(ctx, app, o)
	if err != nil || !seen {
		return none, err
	}
	return o, nil
}

// readLive reads one object of the App that is not being deleted, effective or not; nil where there is none.
func (c *collection[O, E]) readLive(ctx context.Context, app types.NamespacedName, id string) (O, error) {
	var none O
	if len(validation.IsDNS1123Subdomain(id)) > 0 {
		return none, nil // no object can have this name
	}
	o := c.empty()
	err := c.live.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: id}, o)
	if apierrors.IsNotFound(err) || err == nil && !c.isOf(app, o) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	return o, nil
}

// isOf says whether an object just read is the App's, and not being deleted.
func (c *collection[O, E]) isOf(app types.NamespacedName, o O) bool {
	return c.claims.Names(o).App == app.Name && o.GetDeletionTimestamp() == nil
}

// sees says whether the App's clients see an object just read. Once the claim of its name names it, it does as long as the
// object has the name, so an earlier look, by the controller or by this process, saves a read.
func (c *collection[O, E]) sees(ctx context.Context, app types.NamespacedName, o O) (bool, error) {
	if !c.isOf(app, o) {
		return false, nil
	}
	if o.IsNameReserved() {
		return true, nil
	}
	key := c.keyOf(o)
	if c.knows(client.ObjectKeyFromObject(o), o.GetUID(), key) {
		return true, nil
	}
	named, err := c.claimsIn(app.Namespace).Verify(ctx, app.Name, key, o.GetName(), o.GetResourceVersion())
	if named {
		c.applyOwnWrite(o.DeepCopyObject().(O))
	}
	return named, err
}

// knows says whether this process has seen the claim of the key name the object.
func (c *collection[O, E]) knows(name types.NamespacedName, uid types.UID, key string) bool {
	var nothing E
	e := c.model.get(name)
	return e != nothing && e.head().uid == uid && e.head().verified && e.head().key == key
}

// readByKey returns the App's object with a folded name, nil where there is none: one live read of what the read model
// proposes, or else of the claim and the object that it names.
func (c *collection[O, E]) readByKey(ctx context.Context, app types.NamespacedName, key string) (O, error) {
	var none O
	var nothing E
	if e := c.model.byKey(app, key); e != nothing {
		o, err := c.read(ctx, app, e.head().id)
		if err != nil || o != none && c.keyOf(o) == key {
			return o, err
		}
	}
	owner, err := c.claimsIn(app.Namespace).Owner(ctx, app.Name, key)
	if err != nil || owner == "" {
		return none, err
	}
	o, err := c.readLive(ctx, app, owner)
	if err != nil || o == none || c.keyOf(o) != key {
		return none, err
	}
	if o.IsNameReserved() {
		c.applyOwnWrite(o.DeepCopyObject().(O))
		return o, nil
	}
	if seen, err := c.sees(ctx, app, o); err != nil || !seen {
		return none, err
	}
	return o, nil
}

// confirm returns those of the proposed that live reads show, and that match, in the order of lists.
func (c *collection[O, E]) confirm(ctx context.Context, app types.NamespacedName, proposed []E, matches func(O) bool) ([]O, error) {
	var none O
	var confirmed []O
	for _, e := range proposed {
		o, err := c.read(ctx, app, e.head().id)
		if err != nil {
			return nil, c.asClientSees(err, "")
		}
		if o != none && matches(o) {
			confirmed = append(confirmed, o)
		}
	}
	slices.SortFunc(confirmed, c.compare)
	return confirmed, nil
}

// compare is the order of lists.
func (c *collection[O, E]) compare(a, b O) int {
	return cmp.Or(createdAt(a, c.createdAt(a)).Compare(createdAt(b, c.createdAt(b))), cmp.Compare(a.GetName(), b.GetName()))
}

// change reads an object live and calls attempt with it, again after a concurrent write.
func (c *collection[O, E]) change(ctx context.Context, app *v1alpha1.App, id string, conditions []Precondition, attempt func(context.Context, O) (O, error)) (O, error) {
	var changed, none O
	err := onConflict(ctx, func(ctx context.Context) error {
		current, err := c.Get(ctx, app, id)
		if err != nil {
			return err
		}
		if err = c.await(ctx, current, conditions); err != nil {
			return err
		}
		changed, err = attempt(ctx, current)
		return err
	})
	if err != nil {
		return none, c.asClientSees(err, id)
	}
	return changed, nil
}

// delete deletes the object as it was read, and reads it again where it changed in between.
func (c *collection[O, E]) delete(ctx context.Context, app *v1alpha1.App, id string, conditions []Precondition) (O, error) {
	return c.change(ctx, app, id, conditions, func(ctx context.Context, o O) (O, error) {
		noteDeletion(ctx, c.live, o)
		return o, c.claimsIn(app.Namespace).Delete(ctx, o)
	})
}

// await is the function await for an object just read.
func (c *collection[O, E]) await(ctx context.Context, o O, conditions []Precondition) error {
	if len(conditions) == 0 {
		return nil
	}
	return await(ctx, conditions, c.changed, func() version { return c.version(o) })
}
