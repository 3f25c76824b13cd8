package directory

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// mailed is a person with one address.
func mailed(userName, email string, extra ...any) protocol.Resource {
	return person(userName, append(extra, "emails", []any{map[string]any{"value": email, "primary": true}})...)
}

// With spec.identifier email, Okta asks for userName and means the address.
func TestIdentifierEmail(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.Spec.Identifier = v1alpha1.IdentifierEmail
	a, b := replica(t, app), replica(t, app)
	ada := mustCreate(t, a, app, mailed("ada", "Ada@Example.com"))
	find := func(d *Directory, value string) string {
		t.Helper()
		users, err := d.Users.FindByUserName(t.Context(), app, value)
		if err != nil || len(users) > 1 {
			t.Fatalf("%d users, %v", len(users), err)
		}
		if len(users) == 0 {
			return ""
		}
		return users[0].Name
	}
	for _, d := range []*Directory{a, b} { // the claim leads the other replica there before its watch does
		for value, want := range map[string]string{"ada@example.com": ada.Name, "ADA": ada.Name, "ada@example.co": ""} {
			if got := find(d, value); got != want {
				t.Errorf("userName eq %q finds %q, want %q", value, got, want)
			}
		}
	}
	_, _, err := b.Users.Create(t.Context(), app, mailed("augusta", "ada@example.com"))
	wantStatus(t, err, 409)
	if got := find(b, "augusta"); got != "" {
		t.Errorf("the refused user is there: %s", got)
	}
	// A refused user leaves nothing behind, and an update is never refused.
	augusta := mustCreate(t, b, app, mailed("augusta", "augusta@example.com"))
	if _, err := b.Users.Update(t.Context(), app, augusta.Name, setting("emails", []any{map[string]any{"value": "ada@example.com"}})); err != nil {
		t.Errorf("an update to an address that is taken: %v", err)
	}
	if got := find(b, "ada@example.com"); got != ada.Name {
		t.Errorf("the shared address finds %q, want its holder %q", got, ada.Name)
	}
	// The address is free once its holder has another.
	if _, err := a.Users.Update(t.Context(), app, ada.Name, setting("emails", []any{map[string]any{"value": "new@example.com"}})); err != nil {
		t.Fatal(err)
	}
	if got := find(a, "new@example.com"); got != ada.Name {
		t.Errorf("the new address finds %q", got)
	}
	mustCreate(t, a, app, mailed("third", "augusta@example.com"))
}

// What Kubernetes names are made of is unique among the users that are created, under any number of replicas.
func TestOneKubernetesNameOfMany(t *testing.T) {
	t.Parallel()
	for _, from := range []string{v1alpha1.IdentifierEmail, v1alpha1.IdentifierExternalID} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			app := newApp(t)
			app.Spec.Kubernetes.UsernameFrom = from
			replicas := []*Directory{replica(t, app), replica(t, app)}
			var clients sync.WaitGroup
			var created atomic.Int64
			for n := range 12 {
				clients.Go(func() {
					someone := mailed(fmt.Sprintf("user%d", n), "shared@example.com", "externalId", "00u1")
					_, _, err := replicas[n%2].Users.Create(t.Context(), app, someone)
					if err == nil {
						created.Add(1)
					} else if !expected(err) {
						t.Error(err)
					}
				})
			}
			clients.Wait()
			if users := effectiveUsers(t, app); created.Load() != 1 || len(users) != 1 {
				t.Errorf("%d users were created, %d are there: %v", created.Load(), len(users), users)
			}
		})
	}
}
