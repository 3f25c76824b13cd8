package directory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// effectiveUsers returns the effective users by folded name. It asks the API server and uses no replica's memory.
func effectiveUsers(t testing.TB, app *v1alpha1.App) map[string][]string {
	t.Helper()
	var users v1alpha1.UserList
	if err := env.Client.List(t.Context(), &users, client.InNamespace(app.Namespace)); err != nil {
		t.Fatal(err)
	}
	protocol := claims.ForUsers(env.Client, app.Namespace)
	effective := map[string][]string{}
	for _, user := range users.Items {
		key := user.Spec.UserNameKey
		owner, err := protocol.Owner(t.Context(), app.Name, key)
		if err != nil {
			t.Fatal(err)
		}
		if owner == user.Name {
			effective[key] = append(effective[key], user.Name)
		}
	}
	return effective
}

// expected says whether an error is one that a client may get when many want the same name.
func expected(err error) bool {
	var problem *protocol.Error
	var unavailable *UnavailableError
	return err == nil || errors.As(err, &problem) && (problem.Status == 409 || problem.Status == 404) || errors.As(err, &unavailable)
}

// TestSameNamesOverTwoReplicas has 16 clients on two replicas create the same few names and rename to them.
func TestSameNamesOverTwoReplicas(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	replicas := []*Directory{replica(t, app), replica(t, app)}
	wanted := []string{"Ada", "bob", "CYD"}
	var acknowledged sync.Map // id → folded name of the last acknowledged write; each goroutine changes only its own users
	var created atomic.Int64
	var clients sync.WaitGroup
	for n := range 16 {
		clients.Go(func() {
			d := replicas[n%2]
			for round := range 12 {
				user, _, err := d.Users.Create(t.Context(), app, person(wanted[round%3]))
				if !expected(err) {
					t.Errorf("create: %v", err)
				}
				if err != nil {
					if user, _, err = d.Users.Create(t.Context(), app, person(fmt.Sprintf("own-%d-%d", n, round))); err != nil {
						t.Errorf("create under a name of one's own: %v", err)
						continue
					}
				}
				created.Add(1)
				acknowledged.Store(user.Name, user.Spec.UserNameKey)
				renamed, err := d.Users.Update(t.Context(), app, user.Name, setting("userName", wanted[(round+n)%3]))
				if !expected(err) {
					t.Errorf("rename: %v", err)
				}
				if err == nil {
					acknowledged.Store(user.Name, renamed.Spec.UserNameKey)
				}
				// Free the name for others in every second round.
				if round%2 == 0 {
					if _, err := d.Users.Update(t.Context(), app, user.Name, setting("userName", fmt.Sprintf("free-%d-%d", n, round))); err != nil {
						t.Errorf("rename to a name of one's own: %v", err)
					}
					acknowledged.Store(user.Name, fmt.Sprintf("free-%d-%d", n, round))
				}
			}
		})
	}
	clients.Wait()

	effective := effectiveUsers(t, app)
	holders := map[string]string{}
	for key, users := range effective {
		if len(users) != 1 {
			t.Errorf("%s is held by %v", key, users)
		}
		holders[users[0]] = key
	}
	acknowledged.Range(func(id, key any) bool {
		if holders[id.(string)] != key {
			t.Errorf("%s was acknowledged as %s and is %q", id, key, holders[id.(string)])
		}
		return true
	})
	if int64(len(holders)) != created.Load() {
		t.Errorf("%d users are effective, %d were acknowledged", len(holders), created.Load())
	}
	for _, d := range replicas {
		eventually(t, "every replica lists every user", func() bool { return d.Users.Count(app) == len(holders) })
	}
}

// TestConcurrentChangesOfOneUser loses no change to a conflict, and shows no client one.
func TestConcurrentChangesOfOneUser(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	replicas := []*Directory{replica(t, app), replica(t, app)}
	user := mustCreate(t, replicas[0], app, person("ada"))
	var clients sync.WaitGroup
	for n := range 16 {
		clients.Go(func() {
			for round := range 4 {
				attribute := fmt.Sprintf("field%d", n)
				// A client tries again what it is told to try again.
				err := wait.PollUntilContextTimeout(t.Context(), time.Second, time.Minute, true, func(ctx context.Context) (bool, error) {
					_, err := replicas[(n+round)%2].Users.Update(ctx, app, user.Name, setting(attribute, fmt.Sprint(round)))
					var unavailable *UnavailableError
					if errors.As(err, &unavailable) {
						return false, nil
					}
					return err == nil, err
				})
				if err != nil {
					t.Errorf("update: %v", err)
				}
			}
		})
	}
	clients.Wait()
	final, err := replicas[0].Users.Get(t.Context(), app, user.Name)
	if err != nil {
		t.Fatal(err)
	}
	resource, err := Resource(final)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 16 {
		if got := resource.Attributes[fmt.Sprintf("field%d", n)]; got != "3" {
			t.Errorf("field%d = %v: a change was lost", n, got)
		}
	}
}

// TestManyRestoreOnePerson posts the same externalId from all sides: one person comes of it.
func TestManyRestoreOnePerson(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	replicas := []*Directory{replica(t, app), replica(t, app)}
	var clients sync.WaitGroup
	for n := range 16 {
		clients.Go(func() {
			_, _, err := replicas[n%2].Users.Create(t.Context(), app, person("ada", "externalId", "00u1", "title", fmt.Sprint(n)))
			if !expected(err) {
				t.Errorf("create: %v", err)
			}
		})
	}
	clients.Wait()
	if effective := effectiveUsers(t, app); len(effective) != 1 || len(effective["ada"]) != 1 {
		t.Errorf("effective users: %v", effective)
	}
	var users v1alpha1.UserList
	if err := env.Client.List(t.Context(), &users, client.InNamespace(app.Namespace)); err != nil || len(users.Items) != 1 {
		t.Errorf("%d objects are left (%v)", len(users.Items), err)
	}
}

// One new externalId under many userNames at once is one person, on one replica: the first POST makes the user, the others
// are refused.
func TestOneExternalIDUnderManyNames(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	var clients sync.WaitGroup
	var refused atomic.Int64
	for n := range 8 {
		clients.Go(func() {
			_, _, err := d.Users.Create(t.Context(), app, person(fmt.Sprintf("name%d@example.com", n), "externalId", "00u1"))
			var problem *protocol.Error
			if errors.As(err, &problem) && problem.Status == 409 && problem.ScimType == "uniqueness" {
				refused.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	if users := effectiveUsers(t, app); len(users) != 1 || refused.Load() != 7 {
		t.Errorf("%d users have the externalId, %d requests were refused", len(users), refused.Load())
	}
}

// TestLeftoversStayUnseen is what a crash between the two writes of a create leaves, and its repair.
func TestLeftoversStayUnseen(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	leftover, err := d.Users.newUser(app, person("ada"))
	if err != nil {
		t.Fatal(err)
	}
	if err := env.Client.Create(t.Context(), leftover); err != nil {
		t.Fatal(err)
	}
	_, err = d.Users.Get(t.Context(), app, leftover.Name)
	wantStatus(t, err, 404)
	if found, err := d.Users.FindByUserName(t.Context(), app, "ada"); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", userNamesOf(found), err)
	}
	user := mustCreate(t, d, app, person("ADA"))
	eventually(t, "the read model knows both", func() bool {
		d.Users.model.mu.RLock()
		defer d.Users.model.mu.RUnlock()
		return len(d.Users.model.entries) == 2
	})
	if d.Users.Count(app) != 1 {
		t.Errorf("%d users are listed", d.Users.Count(app))
	}

	protocol := claims.ForUsers(env.Client, app.Namespace)
	if reaped, err := protocol.Reap(t.Context(), leftover.Name, 10*time.Minute); reaped || err != nil {
		t.Errorf("reaped within the grace time: %v, %v", reaped, err)
	}
	if ensured, err := protocol.Ensure(t.Context(), leftover.Name); ensured || err != nil {
		t.Errorf("a leftover was given the name: %v, %v", ensured, err)
	}
	if reaped, err := protocol.Reap(t.Context(), user.Name, 0); reaped || err != nil {
		t.Errorf("an effective user was reaped: %v, %v", reaped, err)
	}
	if reaped, err := protocol.Reap(t.Context(), leftover.Name, 0); !reaped || err != nil {
		t.Errorf("not reaped: %v, %v", reaped, err)
	}
}

// TestSweepReleasesClaimsOfNobody also shows that the repair of a backup without claims finds its way.
func TestSweepReleasesClaimsOfNobody(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	kept, gone := mustCreate(t, d, app, person("ada")), mustCreate(t, d, app, person("bob"))
	if _, err := d.Users.Delete(t.Context(), app, gone.Name, 0); err != nil {
		t.Fatal(err)
	}
	finalize(t, app, gone.Name)
	protocol := claims.ForUsers(env.Client, app.Namespace)
	all := func(*v1alpha1.NameClaim) bool { return true }
	seen, err := claims.Sweep(t.Context(), env.Client, app.Namespace, protocol, all)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"ada": true, "bob": true, "cyd": false} {
		if seen.Has(app.Name, v1alpha1.ClaimUserName, key) != want {
			t.Errorf("the claim of %s was seen: %t", key, !want)
		}
	}
	if owner, err := protocol.Owner(t.Context(), app.Name, "bob"); owner != "" || err != nil {
		t.Errorf("bob is held by %q, %v", owner, err)
	}
	if owner, err := protocol.Owner(t.Context(), app.Name, "ada"); owner != kept.Name || err != nil {
		t.Errorf("ada is held by %q, %v", owner, err)
	}

	// Written by hand, or restored: no claim, and no Create that could be at work.
	manual := &v1alpha1.User{Spec: v1alpha1.UserSpec{App: app.Name, UserName: "Cyd", UserNameKey: "cyd", Active: true}}
	manual.Namespace, manual.Name = app.Namespace, "cyd"
	if err := env.Client.Create(t.Context(), manual); err != nil {
		t.Fatal(err)
	}
	if ensured, err := protocol.Ensure(t.Context(), manual.Name); !ensured || err != nil {
		t.Errorf("ensured: %v, %v", ensured, err)
	}
	if found, err := d.Users.FindByUserName(t.Context(), app, "cyd"); err != nil || len(found) != 1 {
		t.Errorf("found %v, %v", userNamesOf(found), err)
	}
}

// TestRenamesElsewhereHideNobody renames a user and a group on one replica again and again. Another replica's lists miss no
// user for a moment: a client that imports would take a missing user for deleted. The new names are seen in the end. A name
// without a claim is not seen.
func TestRenamesElsewhereHideNobody(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	here, there := replica(t, app), replica(t, app)
	const count = 5
	var ids []string
	for i := range count {
		ids = append(ids, mustCreate(t, here, app, person(fmt.Sprint("ada", i), "externalId", fmt.Sprint("x", i))).Name)
	}
	group := mustCreateGroup(t, here, app, "Staff", ids...)
	groups := func() int { _, total := there.Groups.After(app, time.Time{}, "", 10); return total }
	eventually(t, "all are in the other replica's lists", func() bool {
		return there.Users.Count(app) == count && groups() == 1 && len(there.Users.GroupsOf(app, ids[0])) == 1
	})
	var renaming sync.WaitGroup
	var done atomic.Bool
	const renames = 30
	renaming.Go(func() {
		defer done.Store(true)
		for i := range renames {
			_, err := here.Users.Update(t.Context(), app, ids[0], setting("userName", fmt.Sprint("grace", i)))
			if err == nil {
				_, _, err = here.Groups.Update(t.Context(), app, group.Name, setting("displayName", fmt.Sprint("Crew ", i)), MembersChange{})
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	looks := 0
	for ; !done.Load() && !t.Failed(); looks++ {
		if users, total := there.Users.Page(app, 1, 10); total != count || len(users) != count {
			t.Errorf("%d of %d users are listed, %d in all", len(users), count, total)
		}
		if proposed := there.Users.model.byExternalID(appName(app), "x0"); len(proposed) != 1 {
			t.Errorf("%d users are known by externalId", len(proposed))
		}
		if total := groups(); total != 1 {
			t.Errorf("%d groups are listed", total)
		}
		if refs := there.Users.GroupsOf(app, ids[0]); len(refs) != 1 {
			t.Errorf("the user is in %d groups", len(refs))
		}
		time.Sleep(time.Millisecond)
	}
	renaming.Wait()
	eventually(t, "the last names are known, and were looked at", func() bool {
		user, group := there.Users.model.get(types.NamespacedName{Namespace: app.Namespace, Name: ids[0]}), there.Groups.model.get(nameOf(group))
		return user.userName == fmt.Sprint("grace", renames-1) && !user.needsVerification() && user.visible() &&
			group.group.Spec.DisplayName == fmt.Sprint("Crew ", renames-1) && !group.needsVerification() && group.visible()
	})
	if looks < renames {
		t.Errorf("looked %d times only", looks)
	}

	// By hand, past the claims.
	forged := &v1alpha1.User{}
	if err := env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: ids[1]}, forged); err != nil {
		t.Fatal(err)
	}
	forged.Spec.UserName, forged.Spec.UserNameKey = "ada2", "ada2"
	if err := env.Client.Update(t.Context(), forged); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the name that is another's is not shown", func() bool { return there.Users.Count(app) == count-1 })
	guests := mustCreateGroup(t, here, app, "Guests")
	eventually(t, "both groups are listed", func() bool { return groups() == 2 })
	crew := read(t, here, app, group.Name).DeepCopy()
	crew.Spec.DisplayName, crew.Spec.DisplayNameKey = guests.Spec.DisplayName, guests.Spec.DisplayNameKey
	if err := env.Client.Update(t.Context(), crew); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nor is a group's", func() bool { return groups() == 1 })
}
