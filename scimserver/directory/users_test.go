package directory

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

func wantStatus(t testing.TB, err error, status int) {
	t.Helper()
	if problem := problemOf(err); problem.Status != status {
		t.Fatalf("error = %v, want status %d", err, status)
	}
}

// problemOf returns the SCIM error that an error is, or an empty one.
func problemOf(err error) *protocol.Error {
	var problem *protocol.Error
	if !errors.As(err, &problem) {
		return &protocol.Error{}
	}
	return problem
}

func userNamesOf(users []*v1alpha1.User) []string {
	var all []string
	for _, user := range users {
		all = append(all, user.Spec.UserName)
	}
	return all
}

func namesOf(users []*Entry) []string {
	var all []string
	for _, user := range users {
		all = append(all, user.userName)
	}
	return all
}

func TestCreateAndRead(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	a, b := replica(t, app), replica(t, app)
	sent := person("Ada.Lovelace@Example.com", "externalId", "00u1", "role", "viewer", "factor", "1.50",
		"emails", []any{map[string]any{"value": "Ada@Example.com", "primary": true}})
	user := mustCreate(t, a, app, sent)
	if !strings.HasPrefix(user.Name, "ada-lovelace-") || len(user.Name) != len("ada-lovelace-")+10 {
		t.Errorf("id = %s", user.Name)
	}
	if user.Labels[v1alpha1.LabelApp] != "wiki" || !reflect.DeepEqual(user.Finalizers, []string{v1alpha1.FinalizerAccess}) || !user.Spec.Active {
		t.Errorf("object = %+v", user)
	}

	// At once, on a replica that has not seen the write, and with no controller running.
	read, err := b.Users.Get(t.Context(), app, user.Name)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Resource(read)
	sent.Attributes["active"] = true
	if err != nil || !reflect.DeepEqual(back, sent) {
		t.Errorf("read back %v (%v), want %v", back, err, sent)
	}
	found, err := b.Users.FindByUserName(t.Context(), app, "ADA.lovelace@example.COM")
	if err != nil || len(found) != 1 || found[0].Name != user.Name {
		t.Errorf("found by userName: %v, %v", userNamesOf(found), err)
	}
	if page, total, err := a.Users.List(app, baseURL, 1, 10); err != nil || total != 1 || len(page) != 1 {
		t.Errorf("the replica that wrote lists %d users, total %d, %v", len(page), total, err)
	}
	// A moment later everywhere: this process verifies what no controller does.
	eventually(t, "the other replica lists the user", func() bool { return b.Users.Count(app) == 1 })
	for _, find := range []func() ([]*v1alpha1.User, error){
		func() ([]*v1alpha1.User, error) { return b.Users.FindByExternalID(t.Context(), app, "00u1") },
		func() ([]*v1alpha1.User, error) { return b.Users.FindByEmail(t.Context(), app, "ADA@example.com") },
	} {
		if found, err := find(); err != nil || len(found) != 1 {
			t.Errorf("found %v, %v", userNamesOf(found), err)
		}
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	other := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: "crm"}}
	user := mustCreate(t, d, app, person("ada"))
	for _, id := range []string{"nobody-aaaaaaaaaa", "", "UPPER", "a/b", "..", strings.Repeat("x", 300), "a%2Fb", "ü"} {
		_, err := d.Users.Get(t.Context(), app, id)
		wantStatus(t, err, 404)
	}
	_, err := d.Users.Get(t.Context(), other, user.Name)
	wantStatus(t, err, 404)
	_, err = d.Users.Update(t.Context(), other, user.Name, setting("title", "x"))
	wantStatus(t, err, 404)
	_, err = d.Users.Delete(t.Context(), other, user.Name, time.Second)
	wantStatus(t, err, 404)
	if found, err := d.Users.FindByUserName(t.Context(), other, "ada"); err != nil || len(found) != 0 {
		t.Errorf("another App finds %v, %v", userNamesOf(found), err)
	}
	// The same name in another App is another name.
	if _, _, err := d.Users.Create(t.Context(), other, person("ada")); err != nil {
		t.Error(err)
	}
}

func TestNameTaken(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	a, b := replica(t, app), replica(t, app)
	mustCreate(t, a, app, person("Straße@x"))
	for _, d := range []*Directory{a, b} {
		_, _, err := d.Users.Create(t.Context(), app, person("STRASSE@x", "externalId", "other"))
		if problem := problemOf(err); problem.Status != 409 || problem.ScimType != "uniqueness" || strings.Contains(problem.Detail, "STRASSE") {
			t.Errorf("problem = %+v", problem)
		}
	}
	users := &v1alpha1.UserList{}
	if err := env.Client.List(t.Context(), users, client.InNamespace(app.Namespace)); err != nil || len(users.Items) != 1 {
		t.Errorf("%d users are there, want the first only (%v)", len(users.Items), err)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	user := mustCreate(t, d, app, person("ada@x", "title", "Dr"))
	user = user.DeepCopy()
	user.Spec.Suspended = true
	if err := env.Client.Update(t.Context(), user); err != nil {
		t.Fatal(err)
	}

	updated, err := d.Users.Replace(t.Context(), app, user.Name, person("ADA@x", "displayName", "Ada"))
	if err != nil {
		t.Fatal(err)
	}
	spec := updated.Spec
	if spec.UserName != "ADA@x" || spec.UserNameKey != "ada@x" || spec.DisplayName != "Ada" || spec.Title != "" ||
		!spec.Active || !spec.Suspended || !spec.CreatedAt.Equal(user.Spec.CreatedAt) || !spec.LastModified.After(user.Spec.ModifiedAt().Time) {
		t.Errorf("after PUT: %+v", spec)
	}

	// What changes nothing writes nothing, whether or not the caller noticed.
	for name, change := range map[string]Change{
		"unchanged": func(r protocol.Resource) (protocol.Resource, bool, error) { return r, false, nil },
		"equal":     func(r protocol.Resource) (protocol.Resource, bool, error) { return r, true, nil },
		"equal, in full": func(protocol.Resource) (protocol.Resource, bool, error) {
			return person("ADA@x", "displayName", "Ada", "active", true), true, nil
		},
	} {
		same, err := d.Users.Update(t.Context(), app, user.Name, change)
		if err != nil || same.ResourceVersion != updated.ResourceVersion {
			t.Errorf("%s: written (%v)", name, err)
		}
	}
	_, err = d.Users.Update(t.Context(), app, user.Name, func(r protocol.Resource) (protocol.Resource, bool, error) {
		return r, true, protocol.InvalidPath("no")
	})
	wantStatus(t, err, 400)
}

func TestRename(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	a, b := replica(t, app), replica(t, app)
	ada, bob := mustCreate(t, a, app, person("ada")), mustCreate(t, a, app, person("bob"))

	_, err := b.Users.Update(t.Context(), app, ada.Name, setting("userName", "BOB"))
	wantStatus(t, err, 409)
	renamed, err := b.Users.Update(t.Context(), app, ada.Name, func(r protocol.Resource) (protocol.Resource, bool, error) {
		r.Attributes["userName"], r.Attributes["title"] = "Augusta", "Lady"
		return r, true, nil
	})
	if err != nil || renamed.Name != ada.Name || renamed.Spec.UserName != "Augusta" || renamed.Spec.Title != "Lady" || renamed.Spec.PendingKey != "" {
		t.Fatalf("renamed: %+v, %v", renamed, err)
	}
	for userName, want := range map[string]string{"ada": "", "augusta": ada.Name, "bob": bob.Name} {
		for _, d := range []*Directory{a, b} {
			found, err := d.Users.FindByUserName(t.Context(), app, userName)
			if err != nil || len(found) > 1 || (len(found) == 1) != (want != "") || len(found) == 1 && found[0].Name != want {
				t.Errorf("%s finds %v, %v", userName, userNamesOf(found), err)
			}
		}
	}
	// The old name is free at once.
	if again := mustCreate(t, a, app, person("Ada")); again.Name == ada.Name {
		t.Error("an id was used again")
	}
}

func TestDeleteAndReuse(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	user := mustCreate(t, d, app, person("ada"))

	if _, err := d.Users.Delete(t.Context(), app, user.Name, 0); err != nil {
		t.Fatal(err)
	}
	// Deleted for every reader, though the controller has not let the object go.
	_, err := d.Users.Get(t.Context(), app, user.Name)
	wantStatus(t, err, 404)
	if d.Users.Count(app) != 0 {
		t.Error("a deleted user is listed")
	}
	if found, err := d.Users.FindByUserName(t.Context(), app, "ada"); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", userNamesOf(found), err)
	}
	_, _, err = d.Users.Create(t.Context(), app, person("ada"))
	var unavailable *UnavailableError
	if !errors.As(err, &unavailable) || unavailable.RetryAfter != time.Second {
		t.Errorf("create while the name is released: %v", err)
	}
	finalize(t, app, user.Name)
	again := mustCreate(t, d, app, person("ADA"))

	// With a controller at work the name is free by the time of the answer.
	deleted := make(chan error, 1)
	go func() { _, err := d.Users.Delete(t.Context(), app, again.Name, time.Minute); deleted <- err }()
	finalize(t, app, again.Name)
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	if owner, err := d.Users.claimsIn(app.Namespace).Owner(t.Context(), app.Name, "ada"); err != nil || owner != "" {
		t.Errorf("the claim still names %q (%v)", owner, err)
	}
	_, err = d.Users.Delete(t.Context(), app, again.Name, 0)
	wantStatus(t, err, 404)
}

func TestRestoreByExternalID(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	a, b := replica(t, app), replica(t, app)
	user := mustCreate(t, a, app, person("ada", "externalId", "00u1", "title", "Dr"))
	if _, err := a.Users.Update(t.Context(), app, user.Name, setting("active", false)); err != nil {
		t.Fatal(err)
	}
	// The claim leads the other replica to the person, even before its watch does.
	back, restored, err := b.Users.Create(t.Context(), app, person("Ada", "externalId", "00u1"))
	if err != nil || !restored || back.Name != user.Name || !back.Spec.Active || back.Spec.Title != "" {
		t.Fatalf("restored %v: %+v, %v", restored, back, err)
	}
	// An active record is never taken over, whatever the userName.
	for _, userName := range []string{"ada", "augusta"} {
		_, _, err = a.Users.Create(t.Context(), app, person(userName, "externalId", "00u1"))
		wantStatus(t, err, 409)
	}
	if kept, err := a.Users.Get(t.Context(), app, user.Name); err != nil || kept.Spec.UserName != "Ada" || !kept.Spec.Active {
		t.Fatalf("after a POST with its externalId: %+v, %v", kept, err)
	}
	// An inactive one comes back under another name, too; and inactive where the client says so.
	if _, err := b.Users.Update(t.Context(), app, user.Name, setting("active", false)); err != nil {
		t.Fatal(err)
	}
	back, restored, err = a.Users.Create(t.Context(), app, person("augusta", "externalId", "00u1", "active", false))
	if err != nil || !restored || back.Name != user.Name || back.Spec.UserName != "augusta" || back.Spec.Active {
		t.Fatalf("restored %v: %+v, %v", restored, back, err)
	}
	mustCreate(t, a, app, person("ada", "externalId", "00u2"))
	_, _, err = a.Users.Create(t.Context(), app, person("ada", "externalId", "00u1"))
	wantStatus(t, err, 409)
}

// Where several records have one externalId, an active one among them, or none with the userName, stops the POST.
func TestRestoreAmongSeveral(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	var records []*v1alpha1.User
	for _, userName := range []string{"ada", "augusta"} {
		record := mustCreate(t, d, app, person(userName, "externalId", "of "+userName))
		if _, err := d.Users.Update(t.Context(), app, record.Name, setting("externalId", "shared")); err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
	}
	refused := func(userName string) {
		t.Helper()
		_, _, err := d.Users.Create(t.Context(), app, person(userName, "externalId", "shared"))
		wantStatus(t, err, 409)
	}
	deactivate := func(record *v1alpha1.User) {
		t.Helper()
		if _, err := d.Users.Update(t.Context(), app, record.Name, setting("active", false)); err != nil {
			t.Fatal(err)
		}
	}
	refused("ada")
	refused("newcomer")
	deactivate(records[0])
	refused("ada") // augusta is active
	deactivate(records[1])
	refused("newcomer")
	back, restored, err := d.Users.Create(t.Context(), app, person("augusta", "externalId", "shared"))
	if err != nil || !restored || back.Name != records[1].Name {
		t.Fatalf("restored %v: %+v, %v; want the record of the userName", restored, back, err)
	}
}

func TestRefusedByTheSchema(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	for name, resource := range map[string]protocol.Resource{
		"userName":    person("system:masters"),
		"title":       person("ada", "title", strings.Repeat("x", 2000)),
		"displayName": person("ada", "displayName", strings.Repeat("x", 2000)),
	} {
		_, _, err := d.Users.Create(t.Context(), app, resource)
		problem := problemOf(err)
		if problem.Status != 400 || problem.ScimType != "invalidValue" || !strings.Contains(problem.Detail, name) || strings.Contains(problem.Detail, "masters") ||
			strings.Contains(problem.Detail, "spec") || strings.Contains(problem.Detail, "Invalid value") {
			t.Errorf("%s: %+v", name, problem)
		}
	}
	user := mustCreate(t, d, app, person("ada"))
	_, err := d.Users.Update(t.Context(), app, user.Name, setting("userName", "system:admin"))
	wantStatus(t, err, 400)
	if kept, err := d.Users.Get(t.Context(), app, user.Name); err != nil || kept.Spec.PendingKey != "" || kept.Spec.UserName != "ada" {
		t.Errorf("after a refused rename: %+v, %v", kept, err)
	}
	_, _, err = d.Users.Create(t.Context(), app, person("bob", "notes", strings.Repeat("x", maxSpecBytes)))
	wantStatus(t, err, 413)
	_, err = d.Users.Update(t.Context(), app, user.Name, setting("notes", strings.Repeat("x", maxSpecBytes)))
	wantStatus(t, err, 413)
	// A profile that is too large already, by whatever hand, does not keep a deactivation out.
	user, err = d.Users.Get(t.Context(), app, user.Name)
	if err != nil {
		t.Fatal(err)
	}
	user.Spec.Attributes = &runtime.RawExtension{Raw: []byte(`{"notes":"` + strings.Repeat("x", maxSpecBytes) + `"}`)}
	if err := env.Client.Update(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	if user, err = d.Users.Update(t.Context(), app, user.Name, setting("active", false)); err != nil || user.Spec.Active {
		t.Errorf("deactivation of a large user: %v", err)
	}
	_, err = d.Users.Update(t.Context(), app, user.Name, setting("title", "x"))
	wantStatus(t, err, 413)
	_, _, err = d.Users.Create(t.Context(), app, protocol.Resource{Attributes: map[string]any{"title": "x"}})
	wantStatus(t, err, 400)
}

func TestWaitRevoked(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	user := mustCreate(t, d, app, person("ada"))
	user, err := d.Users.Update(t.Context(), app, user.Name, setting("active", false))
	if err != nil {
		t.Fatal(err)
	}
	if d.Users.WaitRevoked(t.Context(), user, 50*time.Millisecond) != RevocationPending {
		t.Fatal("revoked, no status says")
	}
	report := func(generation int64) {
		status := user.DeepCopy()
		if err := env.Client.Get(t.Context(), client.ObjectKeyFromObject(user), status); err != nil {
			t.Error(err)
		}
		status.Status.ObservedGeneration = generation
		meta.SetStatusCondition(&status.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionAccessRevoked, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRevoked,
		})
		if err := env.Client.Status().Update(t.Context(), status); err != nil {
			t.Error(err)
		}
	}
	report(user.Generation - 1)
	if d.Users.WaitRevoked(t.Context(), user, 200*time.Millisecond) != RevocationPending {
		t.Fatal("a status about an older generation was believed")
	}
	var reporter sync.WaitGroup
	reporter.Go(func() { report(user.Generation) })
	if d.Users.WaitRevoked(t.Context(), user, time.Minute) != Revoked {
		t.Error("the revocation was not seen")
	}
	reporter.Wait() // the watch may be faster than the answer
}

func TestSlug(t *testing.T) {
	for userName, want := range map[string]string{
		"ada@example.com": "ada", "Ada.Lovelace@x": "ada-lovelace", "--a__b--@x": "a-b", "@x": "user", "": "user",
		"Édouard": "edouard", "李": "user", strings.Repeat("x", 100): strings.Repeat("x", 40), "okta|00u1": "okta-00u1",
		strings.Repeat("x", 39) + ".y": strings.Repeat("x", 39),
	} {
		if got := slug(userName); got != want {
			t.Errorf("slug(%q) = %q, want %q", userName, got, want)
		}
	}
}

// What group bindings outlast is neither gone nor to be waited for.
func TestRevocationOf(t *testing.T) {
	for want, conditions := range map[Revocation][]metav1.Condition{
		RevocationPending:   {{Type: v1alpha1.ConditionAccessRevoked, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonBindingFailed}},
		RevocationOutlasted: {{Type: v1alpha1.ConditionAccessRevoked, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonBoundByGroup}},
		Revoked:             {{Type: v1alpha1.ConditionAccessRevoked, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRevoked}},
	} {
		if got := revocationOf(&v1alpha1.User{Status: v1alpha1.UserStatus{Conditions: conditions}}); got != want {
			t.Errorf("%v: %d, want %d", conditions, got, want)
		}
	}
	if got := revocationOf(&v1alpha1.User{}); got != RevocationPending {
		t.Errorf("without a condition: %d", got)
	}
}
