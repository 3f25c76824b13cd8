package controllers_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding"
	"github.com/scim-operator/scim-operator/controllers/residualaccess"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// newSyncer runs a Syncer without the other controllers: the test itself says what each user earned.
func newSyncer(w *world) *approlebinding.Syncer {
	w.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	mgr, err := ctrl.NewManager(w.config, ctrl.Options{
		Scheme: env.Scheme, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Controller: config.Controller{SkipNameValidation: new(true)},
		Cache: cache.Options{
			ReaderFailOnMissingInformer: true,
			ByObject: map[client.Object]cache.ByObject{
				&rbacv1.RoleBinding{}:        {Label: approlebinding.CacheLabel()},
				&rbacv1.ClusterRoleBinding{}: {Label: approlebinding.CacheLabel()},
			},
		},
	})
	if err != nil {
		w.Fatal(err)
	}
	syncer := &approlebinding.Syncer{
		Client: mgr.GetClient(), Live: env.Client, Policies: &access.Cache{}, Index: &earned.Index{},
		Recorder: mgr.GetEventRecorder("test"), Namespaces: []string{w.namespace},
	}
	others, err := residualaccess.NewCache(mgr)
	if err != nil {
		w.Fatal(err)
	}
	if err := approlebinding.Add(ctx, mgr, syncer, others); err != nil {
		w.Fatal(err)
	}
	namespaces := &metav1.PartialObjectMetadata{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	for _, object := range []client.Object{&v1alpha1.User{}, &v1alpha1.App{}, namespaces} {
		if _, err := mgr.GetCache().GetInformer(ctx, object); err != nil {
			w.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.Error(err)
		}
	})
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		w.Fatal("the cache did not fill")
	}
	return syncer
}

// Informers lag behind the Syncer's own writes. A user that is added and removed again at once must be out, and the other
// way round: by the API server's word, at the moment that Sync returns.
func TestSyncerSeesItsOwnWrites(t *testing.T) {
	w := newStoppedWorld(t, nil)
	syncer := newSyncer(w)
	user := w.newUser("jane", "")
	w.create(user)
	w.eventually(func() string {
		if err := syncer.Client.Get(w.ctx, client.ObjectKeyFromObject(user), &v1alpha1.User{}); err != nil {
			return err.Error()
		}
		return ""
	})
	name := client.ObjectKeyFromObject(user)
	key := earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: "default"}
	granted := earned.Entry{App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: "okta:jane", Keys: []earned.RoleInScope{key}}
	colleague := types.NamespacedName{Namespace: w.namespace, Name: "colleague"}
	const rounds = 150
	var granting, removing time.Duration
	for round := range rounds {
		if round == rounds/2 { // from here on the binding shrinks instead of going
			second := w.newUser("second", "")
			second.Name = colleague.Name
			w.create(second)
			w.eventually(func() string {
				if err := syncer.Client.Get(w.ctx, colleague, &v1alpha1.User{}); err != nil {
					return err.Error()
				}
				return ""
			})
			syncer.Index.Set(colleague, earned.Entry{App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: "okta:second", Keys: []earned.RoleInScope{key}})
		}
		syncer.Index.Set(name, granted)
		begin := time.Now()
		if outcome := syncer.Sync(w.ctx, key); outcome.Err() != nil {
			t.Fatal(outcome.Err())
		}
		granting += time.Since(begin)
		// To look at the API server here would give the informers the time that they must not need.
		if round%2 == 1 {
			if problem := w.bound("okta:jane", true); problem != "" {
				t.Fatalf("round %d, granted: %s", round, problem)
			}
		}
		syncer.Index.Set(name, earned.Entry{})
		begin = time.Now()
		if err := remove(w, syncer, key, name); err != nil {
			t.Fatal(err)
		}
		removing += time.Since(begin)
		if round%2 == 1 {
			continue
		}
		if w.can("okta:jane", "get", w.namespace) {
			t.Fatalf("round %d: revoked, and allowed", round)
		}
		if problem := w.bound("okta:jane", false); problem != "" {
			t.Fatalf("round %d, revoked: %s", round, problem)
		}
	}
	t.Logf("a grant took %v, a removal %v on average", granting/rounds, removing/rounds)
}

// remove is SyncRemovals of one key.
func remove(w *world, syncer *approlebinding.Syncer, key earned.RoleInScope, user types.NamespacedName) error {
	return syncer.SyncRemovals(w.ctx, user, []earned.RoleInScope{key})[key]
}

// ask asks for a removal as remove does, and does not wait for it.
func ask(w *world, syncer *approlebinding.Syncer, key earned.RoleInScope, user types.NamespacedName) {
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	syncer.SyncRemovals(ctx, user, []earned.RoleInScope{key})
}

// lookCounter is a client that counts looks at the AppRoleBindings that name one user.
type lookCounter struct {
	client.Client
	user  string
	looks atomic.Int64
}

func (c *lookCounter) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	var applied client.ListOptions
	applied.ApplyOptions(options)
	if _, isBindings := list.(*v1alpha1.AppRoleBindingList); isBindings && applied.FieldSelector != nil && strings.HasSuffix(applied.FieldSelector.String(), "="+c.user) {
		c.looks.Add(1)
	}
	return c.Client.List(ctx, list, options...)
}

// A user that loses many roles has its bindings looked at once, and not once a role: they are as many as the roles, and a look a role
// kept the controller from everything else for minutes when an edit took a thousand roles from each user of an App.
func TestALossOfManyRolesIsOneLook(t *testing.T) {
	const roles = 300
	w := newStoppedWorld(t, nil)
	syncer := newSyncer(w)
	name := types.NamespacedName{Namespace: w.namespace, Name: "jane"}
	counter := &lookCounter{Client: syncer.Client, user: name.Name}
	syncer.Client = counter
	var keys []earned.RoleInScope
	for i := range roles {
		keys = append(keys, earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: fmt.Sprint("scope-", i)})
	}
	if failed := syncer.SyncRemovals(w.ctx, name, keys); len(failed) > 0 {
		t.Fatal(failed)
	}
	if looks := counter.looks.Load(); looks != 1 {
		t.Errorf("%d looks at the bindings of one user", looks)
	}
}

// bound says what is wrong with the live bindings of a subject.
func (w *world) bound(subject string, want bool) string {
	for _, binding := range w.bindings() {
		for _, s := range binding.Spec.Subjects {
			if s.Name == subject && !want {
				return "the AppRoleBinding names the subject"
			}
		}
	}
	found := false
	for _, native := range w.natives() {
		for _, s := range native.Subjects {
			found = found || s.Name == subject
		}
	}
	if found != want {
		return fmt.Sprintf("in the RoleBinding: %v", found)
	}
	return ""
}

// Many requests for the same key at once share runs, and each is served by a run that began after its call.
func TestSyncIsBatched(t *testing.T) {
	w := newStoppedWorld(t, nil)
	syncer := newSyncer(w)
	key := earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: "default"}
	const people = 60
	users := make([]types.NamespacedName, people)
	for i := range users {
		user := w.newUser(fmt.Sprintf("user-%d", i), "")
		w.create(user)
		users[i] = client.ObjectKeyFromObject(user)
	}
	for _, user := range users {
		w.eventually(func() string {
			if err := syncer.Client.Get(w.ctx, user, &v1alpha1.User{}); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	problems := make(chan string, people)
	for i, user := range users {
		go func() {
			subject := fmt.Sprintf("okta:user-%d", i)
			syncer.Index.Set(user, earned.Entry{App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: subject, Keys: []earned.RoleInScope{key}})
			if outcome := syncer.Sync(w.ctx, key); outcome.Err() != nil {
				problems <- outcome.Err().Error()
				return
			}
			problems <- w.bound(subject, true)
		}()
	}
	for range people {
		if problem := <-problems; problem != "" {
			t.Error(problem)
		}
	}
	natives := w.natives()
	if len(natives) != 1 || len(natives[0].Subjects) != people {
		t.Fatalf("natives = %+v", natives)
	}
	// One write creates the binding; the rest are updates, one a run.
	if binding := w.bindings()[0]; binding.Generation > people/3 {
		t.Errorf("%d writes for %d people", binding.Generation, people)
	}
}

// What only grants waits while a user loses access under another key, and not for long; what removes does not wait.
func TestGrantsYieldToRemovals(t *testing.T) {
	const yield = 250 * time.Millisecond
	w := newStoppedWorld(t, nil)
	syncer := newSyncer(w)
	key := earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: "default"}
	jane := w.newUser("jane", "")
	w.create(jane)
	name := client.ObjectKeyFromObject(jane)
	w.eventually(func() string {
		if err := syncer.Client.Get(w.ctx, name, &v1alpha1.User{}); err != nil {
			return err.Error()
		}
		return ""
	})
	defer syncer.Removals.Begin()()
	begun := time.Now()
	entry := earned.Entry{App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: "okta:jane", Keys: []earned.RoleInScope{key}}
	syncer.Index.Set(name, entry)
	if outcome := syncer.Sync(w.ctx, key); outcome.Err() != nil {
		t.Fatal(outcome.Err())
	}
	if took := time.Since(begun); took < yield {
		t.Errorf("granted after %s", took)
	}
	if problem := w.bound("okta:jane", true); problem != "" {
		t.Error(problem)
	}
	entry.Keys = nil
	syncer.Index.Set(name, entry)
	if err := remove(w, syncer, key, name); err != nil {
		t.Fatal(err)
	}
	if problem := w.bound("okta:jane", false); problem != "" {
		t.Error(problem)
	}
}

// statusGate is a client that reports each update of a status and waits for leave to do it.
type statusGate struct {
	client.Client
	asked, may chan struct{}
}

func (g *statusGate) Status() client.SubResourceWriter {
	return &gatedStatus{SubResourceWriter: g.Client.Status(), gate: g}
}

type gatedStatus struct {
	client.SubResourceWriter
	gate *statusGate
}

func (s *gatedStatus) Update(ctx context.Context, object client.Object, options ...client.SubResourceUpdateOption) error {
	s.gate.asked <- struct{}{}
	<-s.gate.may
	return s.SubResourceWriter.Update(ctx, object, options...)
}

// letAll gives leave to all that ask a gate from now on, until ctx ends.
func letAll[T any](ctx context.Context, asked <-chan T, may chan<- struct{}) {
	for {
		select {
		case <-asked:
		case may <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// updateGate is a client that reports each update and waits for leave to do it.
type updateGate struct {
	client.Client
	asked chan client.Object
	may   chan struct{}
}

func (g *updateGate) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	g.asked <- object
	<-g.may
	return g.Client.Update(ctx, object, options...)
}

// A run that a removal interrupts has written who joins into the AppRoleBinding, and not yet into the RoleBinding. Until the next run has
// done that, nothing says that the role is granted.
func TestWhatIsHalfWrittenIsNotGranted(t *testing.T) {
	w := newStoppedWorld(t, nil)
	syncer := newSyncer(w)
	key := earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: "default"}
	enter := func(userName string) (types.NamespacedName, earned.Entry) {
		user := w.newUser(userName, "")
		w.create(user)
		name := client.ObjectKeyFromObject(user)
		w.eventually(func() string {
			return unless(syncer.Client.Get(w.ctx, name, &v1alpha1.User{}) == nil, "the informer shows the user")
		})
		entry := earned.Entry{App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: "okta:" + userName, Keys: []earned.RoleInScope{key}}
		syncer.Index.Set(name, entry)
		return name, entry
	}
	john, _ := enter("john")
	if outcome := syncer.Sync(w.ctx, key); outcome.Err() != nil {
		t.Fatal(outcome.Err())
	}
	gate := &updateGate{Client: syncer.Client, asked: make(chan client.Object), may: make(chan struct{})}
	syncer.Client = gate
	jane, entry := enter("jane")
	granted, removed := make(chan error, 1), make(chan error, 1)
	settled := func() bool {
		bound, err := syncer.Subjects(w.ctx, jane)
		return err == nil && syncer.IsSettled(key, bound[key], entry)
	}
	go func() { granted <- syncer.Sync(w.ctx, key).Err() }()
	if _, isBinding := (<-gate.asked).(*v1alpha1.AppRoleBinding); !isBinding {
		t.Fatal("the AppRoleBinding is not written first")
	}
	syncer.Index.Set(john, earned.Entry{})
	ask(w, syncer, key, john)
	go func() { removed <- remove(w, syncer, key, john) }()
	gate.may <- struct{}{}
	object := <-gate.asked
	if _, isNative := object.(*rbacv1.RoleBinding); !isNative || w.boundSubjects(1) != "" {
		t.Fatalf("the next write is of %T %s, and jane may be bound", object, object.GetName())
	}
	if settled() {
		t.Error("the grant is taken as done, and the user has no access")
	}
	go letAll(w.ctx, gate.asked, gate.may)
	if err := <-removed; err != nil {
		t.Error(err)
	}
	if err := <-granted; err != nil {
		t.Error(err)
	}
	w.eventually(func() string { return unless(w.bound("okta:jane", true) == "" && settled(), "the grant is done") })
}

// A role of many people has many AppRoleBindings, and their statuses are written one after the other. A removal does not
// wait for all of them.
func TestRemovalInterruptsStatuses(t *testing.T) {
	w := newStoppedWorld(t, nil)
	syncer := newSyncer(w)
	gate := &statusGate{Client: syncer.Client, asked: make(chan struct{}), may: make(chan struct{})}
	syncer.Client = gate
	key := earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: "default"}
	const people = 280 // in three AppRoleBindings
	var last types.NamespacedName
	for i := range people {
		user := w.newUser(fmt.Sprintf("user-%d", i), "")
		w.create(user)
		last = client.ObjectKeyFromObject(user)
	}
	w.eventually(func() string {
		var users v1alpha1.UserList
		err := syncer.Client.List(w.ctx, &users, client.InNamespace(w.namespace))
		return unless(err == nil && len(users.Items) == people, "the informer shows the users")
	})
	for i := range people {
		name := types.NamespacedName{Namespace: w.namespace, Name: fmt.Sprintf("user-%d", int(userCount.Load())-people+1+i)}
		syncer.Index.Set(name, earned.Entry{App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: "okta:" + name.Name, Keys: []earned.RoleInScope{key}})
	}
	if outcome := syncer.Sync(w.ctx, key); outcome.Err() != nil {
		t.Fatal(outcome.Err())
	}
	<-gate.asked // the run that writes the statuses, a second later
	syncer.Index.Set(last, earned.Entry{})
	removed := make(chan error, 1)
	ask(w, syncer, key, last)
	go func() { removed <- remove(w, syncer, key, last) }()
	gate.may <- struct{}{}
	<-gate.asked
	if problem := w.bound("okta:"+last.Name, false); problem != "" {
		t.Errorf("a second status is written before the removal: %s", problem)
	}
	go letAll(w.ctx, gate.asked, gate.may)
	if err := <-removed; err != nil {
		t.Error(err)
	}
	w.eventually(func() string {
		for _, binding := range w.bindings() {
			if binding.Status.ObservedGeneration != binding.Generation {
				return "no status of " + binding.Name
			}
		}
		return unless(len(w.bindings()) == 3, "there are three AppRoleBindings")
	})
}

// A run may meet a user that left and is back before either was evaluated: what the user holds has not changed, and the next
// run adds the user.
func TestWhoIsBackAtOnceIsLetIn(t *testing.T) {
	w := newStoppedWorld(t, nil)
	syncer := newSyncer(w)
	key := earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: "default"}
	jane, john := w.newUser("jane", ""), w.newUser("john", "")
	jane.Spec.Active = false
	hold := func(user *v1alpha1.User) {
		syncer.Index.Set(client.ObjectKeyFromObject(user), earned.Entry{
			App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: "okta:" + user.Spec.UserName, Keys: []earned.RoleInScope{key},
		})
	}
	sync := func() {
		t.Helper()
		if outcome := syncer.Sync(w.ctx, key); outcome.Err() != nil {
			t.Fatal(outcome.Err())
		}
	}
	shown := func(user *v1alpha1.User) {
		w.eventually(func() string {
			var cached v1alpha1.User
			err := syncer.Client.Get(w.ctx, client.ObjectKeyFromObject(user), &cached)
			return unless(err == nil && cached.Spec.Active == user.Spec.Active, "the informer shows the user")
		})
	}
	for _, user := range []*v1alpha1.User{jane, john} {
		w.create(user)
		shown(user)
		hold(user)
	}
	sync()
	if problem := w.bound("okta:jane", false); problem != "" {
		t.Fatalf("inactive: %s", problem)
	}
	update(w, jane, func(u *v1alpha1.User) { u.Spec.Active = true })
	shown(jane)
	hold(jane)
	sync()
	for _, subject := range []string{"okta:jane", "okta:john"} {
		if problem := w.bound(subject, true); problem != "" {
			t.Errorf("%s: %s", subject, problem)
		}
	}
}
