package directory

import (
	"context"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// reads counts what a directory reads live.
type reads struct{ metadata, whole, claims int }

func (r *reads) count(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	switch object.(type) {
	case *metav1.PartialObjectMetadata:
		r.metadata++
	case *v1alpha1.User:
		r.whole++
	case *v1alpha1.NameClaim:
		r.claims++
	}
	return c.Get(ctx, key, object, options...)
}

// unfed is a Directory that no watch feeds: its read model has what its own requests left there, however old.
func unfed(t *testing.T) (*Directory, *reads) {
	t.Helper()
	counted := &reads{}
	live, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDirectory(interceptor.NewClient(live, interceptor.Funcs{Get: counted.count}))
	if err != nil {
		t.Fatal(err)
	}
	return d, counted
}

// A read answers from memory only what a live read has just proven, and is right whatever memory has.
func TestReadIsProven(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d, counted := unfed(t)
	user := mustCreate(t, d, app, person("ada", "title", "Countess"))
	other := mustCreate(t, d, app, person("bob"))
	stored := &v1alpha1.User{}
	edit := func(change func()) {
		t.Helper()
		if err := env.Client.Get(t.Context(), client.ObjectKeyFromObject(user), stored); err != nil {
			t.Fatal(err)
		}
		change()
		if err := env.Client.Update(t.Context(), stored); err != nil {
			t.Fatal(err)
		}
	}
	step := func(what string, want reads, status int, title any) {
		t.Helper()
		*counted = reads{}
		e, err := d.Users.Read(t.Context(), app, user.Name)
		if *counted != want {
			t.Errorf("%s: live reads %+v, want %+v", what, *counted, want)
		}
		if status != 0 {
			wantStatus(t, err, status)
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if resource, err := e.resource(); err != nil || !reflect.DeepEqual(resource.Attributes["title"], title) {
			t.Errorf("%s: title %v, want %v (%v)", what, resource.Attributes["title"], title, err)
		}
		sameAsGet(t, d, app, e)
	}
	step("as this process wrote it", reads{metadata: 1}, 0, "Countess")
	edit(func() { stored.Spec.Title = "Lady" })
	step("edited elsewhere", reads{metadata: 1, whole: 1}, 0, "Lady")
	d.Users.applyOwnWrite(stored.DeepCopy())
	step("once that was seen", reads{metadata: 1}, 0, "Lady")
	if found, err := d.Users.readByUserName(t.Context(), app, "ADA"); err != nil || len(found) != 1 || found[0].id != user.Name {
		t.Errorf("found by userName: %v, %v", namesOf(found), err)
	}
	crm := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: "crm"}}
	_, err := d.Users.Read(t.Context(), crm, user.Name)
	wantStatus(t, err, 404)

	// The object with the name is another one by now.
	if err := env.Client.Get(t.Context(), client.ObjectKeyFromObject(user), stored); err != nil {
		t.Fatal(err)
	}
	back := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: user.Name, Labels: stored.Labels}, Spec: *stored.Spec.DeepCopy()}
	back.Spec.Title = "Ghost"
	edit(func() { stored.Finalizers = nil })
	if err := env.Client.Delete(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	step("gone", reads{metadata: 1}, 404, nil)
	if found, err := d.Users.readByUserName(t.Context(), app, "ada"); err != nil || len(found) != 0 {
		t.Errorf("found by userName after its end: %v, %v", namesOf(found), err)
	}
	if err := env.Client.Create(t.Context(), back); err != nil {
		t.Fatal(err)
	}
	step("put back", reads{metadata: 1, whole: 1, claims: 1}, 0, "Ghost")

	// Memory that is not certain is not asked.
	if _, err := d.Users.Delete(t.Context(), app, other.Name, 0); err != nil {
		t.Fatal(err)
	}
	*counted = reads{}
	_, err = d.Users.Read(t.Context(), app, other.Name)
	wantStatus(t, err, 404)
	if counted.metadata != 0 {
		t.Errorf("a user that this process deleted was looked for by metadata: %+v", *counted)
	}
}

// sameAsGet compares an answer with that of a whole live read, byte by byte.
func sameAsGet(t *testing.T, d *Directory, app *v1alpha1.App, e *Entry) {
	t.Helper()
	user, err := d.Users.Get(t.Context(), app, e.id)
	if err != nil {
		t.Fatal(err)
	}
	resource, err := Resource(user)
	if err != nil {
		t.Fatal(err)
	}
	meta := d.Users.Meta(user, baseURL)
	want, err := d.Users.Schemas(app).Render(resource, meta, protocol.Projection{})
	if err != nil {
		t.Fatal(err)
	}
	groups := d.Users.GroupsOf(app, e.id)
	got, err := d.Users.RenderIn(app, baseURL, e, groups, protocol.Projection{})
	if err != nil || string(got) != string(want) || e.Version(groups) != meta.Version {
		t.Errorf("answered %s with the version %s (%v), want %s with %s", got, e.Version(groups), err, want, meta.Version)
	}
}

// A user that another replica renames is found by the new name and not by the old one, at once.
func TestReadByNameAfterARenameElsewhere(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d, _ := unfed(t)
	elsewhere, _ := unfed(t)
	user := mustCreate(t, d, app, person("ada"))
	if _, err := elsewhere.Users.Update(t.Context(), app, user.Name, setting("userName", "countess")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"ada": 0, "countess": 1} {
		if found, err := d.Users.readByUserName(t.Context(), app, name); err != nil || len(found) != want {
			t.Errorf("userName eq %q found %v, %v", name, namesOf(found), err)
		}
	}
}
