package directory

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
	"github.com/scim-operator/scim-operator/test/testenv"
)

var env *testenv.Env

func TestMain(m *testing.M) {
	// Watches complain when a test ends them; the log would only hide failures.
	log.SetLogger(logr.Discard())
	testenv.Main(m, &env, testenv.Options{})
}

const baseURL = "https://scim.example.com/scim/v2"

// newApp makes an App in a namespace of its own.
func newApp(t testing.TB, attributes ...v1alpha1.CustomAttribute) *v1alpha1.App {
	t.Helper()
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace(t, nil), Name: "wiki"}}
	app.Spec.Attributes = attributes
	if err := env.Client.Create(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	return app
}

// replica is a Directory as one server process runs it, with a cache of its own, on the App's namespace only.
func replica(t testing.TB, app *v1alpha1.App) *Directory {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	informers, err := cache.New(env.Config, cache.Options{
		Scheme: env.Scheme, DefaultTransform: Compact, ReaderFailOnMissingInformer: true,
		DefaultNamespaces: map[string]cache.Config{app.Namespace: {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	live, err := client.New(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(ctx, live, informers)
	if err != nil {
		t.Fatal(err)
	}
	finished := make(chan struct{}, 2)
	go func() { _ = informers.Start(ctx); finished <- struct{}{} }()
	go func() { _ = d.Start(ctx); finished <- struct{}{} }()
	t.Cleanup(func() { cancel(); <-finished; <-finished })
	eventually(t, "the read model is in sync", func() bool {
		_, known := d.App(appName(app))
		return d.Synced() && known
	})
	return d
}

// eventually waits for what a watch brings.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, time.Minute, true,
		func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		t.Fatalf("never came about: %s", what)
	}
}

func person(userName string, more ...any) protocol.Resource {
	attributes := map[string]any{"userName": userName}
	for i := 0; i < len(more); i += 2 {
		attributes[more[i].(string)] = more[i+1]
	}
	return protocol.Resource{Attributes: attributes}
}

func mustCreate(t testing.TB, d *Directory, app *v1alpha1.App, resource protocol.Resource) *v1alpha1.User {
	t.Helper()
	user, restored, err := d.Users.Create(t.Context(), app, resource)
	if err != nil || restored {
		t.Fatalf("create: %v (restored %v)", err, restored)
	}
	return user
}

func setting(name string, value any) Change {
	return func(current protocol.Resource) (protocol.Resource, bool, error) {
		current.Attributes[name] = value
		return current, true, nil
	}
}

// finalize does what the controller does with a deleted user that has no bindings.
func finalize(t testing.TB, app *v1alpha1.App, id string) {
	t.Helper()
	user := &v1alpha1.User{}
	key := client.ObjectKey{Namespace: app.Namespace, Name: id}
	eventually(t, "the user is being deleted", func() bool {
		return env.Client.Get(t.Context(), key, user) == nil && user.DeletionTimestamp != nil
	})
	user.Finalizers = nil
	if err := env.Client.Update(t.Context(), user); err != nil {
		t.Fatal(err)
	}
}
