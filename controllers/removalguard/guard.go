// Package removalguard holds bulk loss of roles: more users than spec.safety of an App allows in a window, by changes of groups or
// edits of the App. It does not hold what a user loses by a change of its own attributes, by deactivation, suspension or
// deletion.
//
// The user controller asks the Guard before it takes a role away, and keeps the role where the answer is to hold. The count
// is in the App's status before a user loses anything, so that it survives a restart. The app controller writes what the
// Guard says into the status, and has the held users evaluated anew once an administrator releases them.
package removalguard

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// defaultWindow holds where spec.safety names none.
const defaultWindow = time.Hour

// maxReleased is what the schema admits of status.removals.released, in characters.
const maxReleased = 256

// Guard of all Apps. Its exported fields are set before it is used.
type Guard struct {
	// Live reads and writes Apps without informers: what a former leader counted must not be missed.
	Live client.Client

	// changed has the App's status written, evaluate has people evaluated.
	changed  func(app types.NamespacedName)
	evaluate func(users []types.NamespacedName)

	mutex sync.Mutex
	apps  map[types.NamespacedName]*guarded
}

type guarded struct {
	uid types.UID
	// busy is held while the App's status is read or written.
	busy chan struct{}
	// ledger is nil until the status was read; the Guard's mutex guards it.
	ledger *ledger
}

// OnChange has f called when what Status says may have changed. It must be called before the Guard is used.
func (g *Guard) OnChange(f func(app types.NamespacedName)) { g.changed = f }

// OnRelease has f called with held users that may lose their roles now. It must be called before the Guard is used.
func (g *Guard) OnRelease(f func(users []types.NamespacedName)) { g.evaluate = f }

// Hold says whether a user must keep a role that it is about to lose by no change of its own. wasHeld says that the user's
// status tells of held roles. Where Hold answers no, the removal counts, and the App's status says so already. Errors are
// those of reading and writing the App's status. With an error there is no answer: the user keeps the role until there is.
func (g *Guard) Hold(ctx context.Context, app *v1alpha1.App, user string, wasHeld bool) (bool, error) {
	a, err := g.load(ctx, app)
	if err != nil {
		return true, err
	}
	g.mutex.Lock()
	a.ledger.expire(time.Now(), WindowOf(app.Spec.Safety))
	a.ledger.begin(releaseValue(app))
	before := a.ledger.heldCount()
	answered := a.ledger.ask(user, wasHeld, app.Spec.Safety.MaxRemovals, time.Now())
	differs := a.ledger.heldCount() != before
	g.mutex.Unlock()
	if differs {
		g.tell(app)
	}
	if answered == record {
		return false, g.write(ctx, app, a, user)
	}
	return answered == hold, nil
}

// Settle says that nothing is held of a person any more.
func (g *Guard) Settle(app types.NamespacedName, user string) {
	g.mutex.Lock()
	a := g.apps[app]
	differs := a != nil && a.ledger != nil && a.ledger.settle(user)
	g.mutex.Unlock()
	if differs && g.changed != nil {
		g.changed(app)
	}
}

// Status returns what the App's status is to say, and begins a release that an administrator asked for. evaluated says that
// this process evaluated every user of the App once: before that it does not know all held users. Errors are those of
// reading the App's status.
func (g *Guard) Status(ctx context.Context, app *v1alpha1.App, evaluated bool) (*v1alpha1.Removals, error) {
	if app.Spec.Safety == nil {
		g.Forget(client.ObjectKeyFromObject(app))
		return nil, nil
	}
	a, err := g.load(ctx, app)
	if err != nil {
		return nil, err
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	a.ledger.expire(time.Now(), WindowOf(app.Spec.Safety))
	a.ledger.begin(releaseValue(app))
	if evaluated {
		a.ledger.conclude()
	}
	removals := a.ledger.status()
	if before := app.Status.Removals; before != nil && !evaluated {
		removals.Held = max(removals.Held, before.Held)
	}
	return removals, nil
}

// Releasing says whether a release is under way. If so, it has the freed users evaluated.
func (g *Guard) Releasing(app *v1alpha1.App) bool {
	name := client.ObjectKeyFromObject(app)
	g.mutex.Lock()
	a := g.apps[name]
	if app.Spec.Safety == nil || a == nil || a.ledger == nil || a.ledger.pending == "" {
		g.mutex.Unlock()
		return false
	}
	users := make([]types.NamespacedName, 0, len(a.ledger.freed))
	for user := range a.ledger.freed {
		users = append(users, types.NamespacedName{Namespace: name.Namespace, Name: user})
	}
	g.mutex.Unlock()
	if g.evaluate != nil {
		g.evaluate(users)
	}
	return true
}

// Expiry returns how long it takes until the count changes by itself; 0 for never.
func (g *Guard) Expiry(app *v1alpha1.App) time.Duration {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	a := g.apps[client.ObjectKeyFromObject(app)]
	if app.Spec.Safety == nil || a == nil || a.ledger == nil || a.ledger.count() == 0 {
		return 0
	}
	return max(time.Until(a.ledger.oldest().Add(WindowOf(app.Spec.Safety))), time.Second)
}

// Forget drops what is known of an App that is gone, or is not guarded any more.
func (g *Guard) Forget(app types.NamespacedName) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	delete(g.apps, app)
}

// WindowOf is the time over which removals are counted.
func WindowOf(safety *v1alpha1.Safety) time.Duration {
	if safety.Window == nil {
		return defaultWindow
	}
	return safety.Window.Duration
}

func releaseValue(app *v1alpha1.App) string {
	value := []rune(app.Annotations[v1alpha1.AnnotationReleaseRemovals])
	return string(value[:min(len(value), maxReleased)])
}

func (l *ledger) status() *v1alpha1.Removals {
	removals := &v1alpha1.Removals{Count: l.count(), Held: l.heldCount(), Released: l.released}
	if oldest := l.oldest(); !oldest.IsZero() {
		removals.Since = &metav1.Time{Time: oldest.Truncate(time.Second)}
	}
	return removals
}

func (g *Guard) tell(app *v1alpha1.App) {
	if g.changed != nil {
		g.changed(client.ObjectKeyFromObject(app))
	}
}

// load returns what is known of an App, with what its status says if this process does not know anything yet.
func (g *Guard) load(ctx context.Context, app *v1alpha1.App) (*guarded, error) {
	name := client.ObjectKeyFromObject(app)
	g.mutex.Lock()
	if g.apps == nil {
		g.apps = map[types.NamespacedName]*guarded{}
	}
	a := g.apps[name]
	if a == nil || a.uid != app.UID {
		a = &guarded{uid: app.UID, busy: make(chan struct{}, 1)}
		g.apps[name] = a
	}
	loaded := a.ledger != nil
	g.mutex.Unlock()
	if loaded {
		return a, nil
	}
	if err := a.acquire(ctx); err != nil {
		return nil, err
	}
	defer a.free()
	if g.isLoaded(a) {
		return a, nil
	}
	current := &v1alpha1.App{}
	if err := g.Live.Get(ctx, name, current); err != nil {
		return nil, err
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	a.ledger = newLedger()
	if removals := current.Status.Removals; removals != nil && current.UID == a.uid {
		a.ledger.released = removals.Released
		if removals.Since != nil {
			a.ledger.earlier, a.ledger.since = removals.Count, removals.Since.Time
		}
	}
	return a, nil
}

func (g *Guard) isLoaded(a *guarded) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return a.ledger != nil
}

func (a *guarded) acquire(ctx context.Context) error {
	select {
	case a.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *guarded) free() { <-a.busy }

// write returns when the App's status counts a user. Each write takes along all users that wait.
func (g *Guard) write(ctx context.Context, app *v1alpha1.App, a *guarded, user string) error {
	if err := a.acquire(ctx); err != nil {
		return err
	}
	defer a.free()
	g.mutex.Lock()
	if a.ledger.written[user] {
		g.mutex.Unlock()
		return nil
	}
	var users []string
	for name := range a.ledger.removed {
		users = append(users, name)
	}
	slices.Sort(users)
	removals := a.ledger.status()
	g.mutex.Unlock()
	if before := app.Status.Removals; before != nil {
		removals.Held = max(removals.Held, before.Held) // the app controller counts them
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": a.uid},
		"status":   map[string]any{"removals": removals},
	})
	if err != nil {
		return err
	}
	target := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: app.Name}}
	if err := g.Live.Status().Patch(ctx, target, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return err
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for _, name := range users {
		if _, counted := a.ledger.removed[name]; counted {
			a.ledger.written[name] = true
		}
	}
	return nil
}
