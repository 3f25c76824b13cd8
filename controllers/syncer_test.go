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

// lookCounter is a client that counts looks at the AppRoleBindings that may name a user.
type lookCounter struct {
	client.Client
	looks atomic.Int64
}

func (c *lookCounter) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	var applied client.ListOptions
	applied.ApplyOptions(options)
	if _, isBindings := list.(*v1alpha1.AppRoleBindingList); isBindings && applied.FieldSelector != nil && strings.HasPrefix(applied.FieldSelector.String(), "scim.subject.") {
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
	counter := &lookCounter{Client: syncer.Client}
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
