package controllers_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

// denying has requests of leavers denied, under a prefix that no other test has.
func denying(prefix string) func(*v1alpha1.AppSpec) {
	return func(spec *v1alpha1.AppSpec) {
		spec.Kubernetes.UsernamePrefix = &prefix
		spec.Deactivation.DenyRequests = true
	}
}

// lists is a world with its RevocationLists in its own namespace, so that no other test writes them.
type lists struct{ *world }

func newDenyingWorld(t *testing.T, change func(*v1alpha1.AppSpec)) lists {
	t.Helper()
	w := newStoppedDenyingWorld(t, change)
	w.start()
	return w
}

func newStoppedDenyingWorld(t *testing.T, change func(*v1alpha1.AppSpec)) lists {
	t.Helper()
	w := lists{newStoppedWorld(t, change)}
	w.operatorNamespace = w.namespace
	w.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "revocations"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"revocationlists"}, Verbs: []string{"get", "list", "watch", "create", "update", "delete"},
	}}})
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "revocations"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "revocations"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "scim-operator-system", Name: "scim-operator-controller"}},
	})
	return w
}

// with returns the same world for a subtest.
func (w lists) with(t *testing.T) lists { return lists{w.world.with(t)} }

// newList is the RevocationList of the world's App.
func (w lists) newList(users map[string]time.Time) *v1alpha1.RevocationList {
	app := client.ObjectKeyFromObject(w.app)
	list := &v1alpha1.RevocationList{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.operatorNamespace, Name: v1alpha1.RevocationListName(app)},
		Spec: v1alpha1.RevocationListSpec{
			App: v1alpha1.RevocationListApp{Namespace: app.Namespace, Name: app.Name}, Prefix: w.app.Spec.Kubernetes.Prefix(),
		},
	}
	list.Spec.SetUsers(users)
	return list
}

// list returns the RevocationList of the world's App, empty where there is none.
func (w lists) list() *v1alpha1.RevocationList {
	w.Helper()
	list := w.newList(nil)
	if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(list), list); err != nil && !apierrors.IsNotFound(err) {
		w.Fatal(err)
	}
	return list
}

// listed returns the names on the lists of all Apps.
func (w lists) listed() []string {
	w.Helper()
	var lists v1alpha1.RevocationListList
	if err := env.Client.List(w.ctx, &lists, client.InNamespace(w.operatorNamespace)); err != nil {
		w.Fatal(err)
	}
	var names []string
	for i := range lists.Items {
		names = slices.AppendSeq(names, maps.Keys(lists.Items[i].Spec.Users()))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// editUsers changes the entries of the list of the world's App by another hand.
func (w lists) editUsers(change func(users map[string]time.Time)) {
	w.Helper()
	update(w, w.list(), func(list *v1alpha1.RevocationList) {
		users := list.Spec.Users()
		change(users)
		list.Spec.SetUsers(users)
	})
}

func (w lists) eventuallyListed(want ...string) {
	w.Helper()
	w.eventually(func() string {
		if got := w.listed(); !slices.Equal(got, want) {
			return fmt.Sprintf("listed are %q, want %q", got, want)
		}
		return ""
	})
}

func (k *cluster) eventuallyRevoked(user *v1alpha1.User) {
	k.Helper()
	k.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
}

func deactivate(u *v1alpha1.User) { u.Spec.Active = false }
func reactivate(u *v1alpha1.User) { u.Spec.Active, u.Spec.Suspended = true, false }

// When AccessRevoked is True the list names the person already; when they are back, it does not.
func TestRevocationList(t *testing.T) {
	w := newDenyingWorld(t, denying("list:"))
	for name, leave := range map[string]func(*world, *v1alpha1.User){
		"deactivated": func(w *world, u *v1alpha1.User) { update(w, u, deactivate) },
		"suspended":   func(w *world, u *v1alpha1.User) { update(w, u, func(u *v1alpha1.User) { u.Spec.Suspended = true }) },
	} {
		w.Run(name, func(t *testing.T) {
			w := w.with(t)
			user := w.provision(w.newUser(name, ""))
			w.eventuallyGranted(user)
			for range 3 {
				leave(w.world, user)
				w.eventuallyRevoked(user)
				expires, found := w.list().Spec.Users()["list:"+name]
				if remaining := time.Until(expires); !found || remaining < 23*time.Hour || remaining > 24*time.Hour {
					t.Fatalf("AccessRevoked is True, and the list has %v, which expires in %v", w.listed(), remaining)
				}
				update(w, user, reactivate)
				w.eventuallyGranted(user)
				w.eventuallyListed()
			}
		})
	}
	w.Run("deleted", func(t *testing.T) {
		w := w.with(t)
		user := w.provision(w.newUser("deleted", ""))
		w.eventuallyGranted(user)
		if err := env.Client.Delete(w.ctx, user); err != nil {
			t.Fatal(err)
		}
		w.eventually(func() string {
			if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(user), user); !apierrors.IsNotFound(err) {
				return fmt.Sprintf("the User is still there: %v", err)
			}
			return ""
		})
		if got := w.listed(); !slices.Contains(got, "list:deleted") {
			t.Fatalf("the User is gone, and the list has %q", got)
		}
		// Another user that gets the name is not denied.
		w.eventuallyGranted(w.provisionAgain("deleted"))
		w.eventuallyListed()
	})
	w.Run("vanished", func(t *testing.T) {
		w := w.with(t)
		user := w.newUser("vanished", "")
		user.Finalizers = nil
		w.provision(user)
		w.eventuallyGranted(user)
		update(w, user, func(u *v1alpha1.User) { u.Finalizers = nil })
		if err := env.Client.Delete(w.ctx, user); err != nil {
			t.Fatal(err)
		}
		w.eventually(func() string {
			if got := w.listed(); !slices.Contains(got, "list:vanished") {
				return fmt.Sprintf("the list has %q", got)
			}
			return ""
		})
	})
	w.Run("renamed", func(t *testing.T) {
		w := w.with(t)
		user := w.provision(w.newUser("maiden", ""))
		w.eventuallyGranted(user)
		w.renameUser(user, "married")
		w.eventually(func() string {
			if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(user), user); err != nil || user.Status.KubernetesUsername != "list:married" {
				return fmt.Sprintf("the status has %s: %v", user.Status.KubernetesUsername, err)
			}
			return ""
		})
		if got := w.listed(); !slices.Contains(got, "list:maiden") || slices.Contains(got, "list:married") {
			t.Fatalf("renamed from maiden to married, and the list has %q", got)
		}
	})
	w.Run("inactive from the beginning", func(t *testing.T) {
		w := w.with(t)
		user := w.newUser("never", "")
		user.Spec.Active = false
		w.eventuallyRevoked(w.provision(user))
		if got := w.listed(); slices.Contains(got, "list:never") {
			t.Fatalf("nothing was revoked, and the list has %q", got)
		}
	})
}

// provisionAgain makes a user with a name that another one had before.
func (d *directory) provisionAgain(userName string) *v1alpha1.User {
	d.Helper()
	user := d.newUser(userName, "")
	d.create(user)
	d.eventually(func() string {
		err := env.Client.Create(d.ctx, d.claimOf(user))
		if err != nil {
			return err.Error()
		}
		return ""
	})
	return user
}

// renameUser does what the server does, without competition for the name.
func (d *directory) renameUser(user *v1alpha1.User, userName string) {
	d.Helper()
	renamed := user.DeepCopy()
	renamed.Spec.UserName, renamed.Spec.UserNameKey = userName, claims.Key(userName)
	d.create(d.claimOf(renamed))
	update(d, user, func(u *v1alpha1.User) { u.Spec.UserName, u.Spec.UserNameKey = userName, claims.Key(userName) })
}

// Apps that do not ask for it, and names that Kubernetes keeps for itself, leave no trace on the list.
func TestRevocationListLeavesOut(t *testing.T) {
	w := newDenyingWorld(t, func(spec *v1alpha1.AppSpec) {
		denying("")(spec)
		spec.Kubernetes.UsernameFrom = v1alpha1.IdentifierExternalID
	})
	silent := w.app.DeepCopy()
	silent.ObjectMeta = metav1.ObjectMeta{Namespace: w.namespace, Name: "silent"}
	silent.Spec.Deactivation.DenyRequests = false
	w.create(silent)

	for i, test := range []struct {
		app, externalID string
		listed          bool
	}{
		{"silent", "leaver", false},
		{"demo", "system:kube-scheduler", false},
		{"demo", "system:serviceaccount:scim-operator-system:scim-operator-controller", false},
		{"demo", "ordinary", true},
	} {
		user := w.newUser(fmt.Sprintf("person-%d", i), "")
		user.Spec.App, user.Spec.ExternalID = test.app, test.externalID
		w.provision(user)
		w.eventuallyReserved(user)
		if test.listed {
			w.eventuallyGranted(user)
		}
		update(w, user, deactivate)
		w.eventuallyRevoked(user)
		if got := slices.Contains(w.listed(), test.externalID); got != test.listed {
			t.Errorf("%s of App %s: listed %v, want %v", test.externalID, test.app, got, test.listed)
		}
	}
	// Not even by another's hand.
	w.editUsers(func(users map[string]time.Time) {
		users["system:apiserver"] = time.Now().Add(time.Hour)
		users["by-hand"] = time.Now().Add(time.Hour)
	})
	w.eventuallyListed("by-hand", "ordinary")
}

// The same person in two Apps: leaving one of them denies them nothing while they are active in the other.
func TestRevocationListActiveElsewhere(t *testing.T) {
	w := newDenyingWorld(t, denying("both:"))
	second := w.app.DeepCopy()
	second.ObjectMeta = metav1.ObjectMeta{Namespace: w.namespace, Name: "second"}
	w.create(second)
	one := w.provision(w.newUser("jane", ""))
	other := w.newUser("jane", "")
	other.Spec.App = "second"
	w.provision(other)
	w.eventuallyGranted(one)
	w.eventuallyGranted(other)

	update(w, one, deactivate)
	w.eventuallyCondition(one, v1alpha1.ConditionAccessRevoked, metav1.ConditionFalse, v1alpha1.ReasonBoundByOther)
	if got := w.listed(); len(got) > 0 {
		t.Errorf("active in another App, and the list has %q", got)
	}
	update(w, other, deactivate)
	w.eventuallyRevoked(other)
	if got := w.listed(); !slices.Equal(got, []string{"both:jane"}) {
		t.Errorf("active nowhere, and the list has %q", got)
	}
	update(w, one, reactivate)
	w.eventuallyListed()

	// An App that stops asking for it lifts the denial of its people.
	update(w, one, deactivate)
	w.eventuallyListed("both:jane")
	for _, app := range []*v1alpha1.App{w.app, second} {
		update(w, app, func(a *v1alpha1.App) { a.Spec.Deactivation.DenyRequests = false })
	}
	w.eventuallyListed()
	update(w, w.app, func(a *v1alpha1.App) { a.Spec.Deactivation.DenyRequests = true })
	w.eventuallyListed("both:jane")
}

// An App that stops asking for it lifts every entry of its list: of Users that are gone, of former names, and by other hands; also where
// no controller ran when it was edited.
func TestRevocationListOfAnAppThatDeniesNoMore(t *testing.T) {
	w := newDenyingWorld(t, denying("lift:"))
	deny := func(denies bool) {
		update(w, w.app, func(a *v1alpha1.App) { a.Spec.Deactivation.DenyRequests = denies })
	}
	deleted, renamed, left := w.provision(w.newUser("deleted", "")), w.provision(w.newUser("maiden", "")), w.provision(w.newUser("left", ""))
	for _, user := range []*v1alpha1.User{deleted, renamed, left} {
		w.eventuallyGranted(user)
	}
	w.renameUser(renamed, "married")
	if err := env.Client.Delete(w.ctx, deleted); err != nil {
		t.Fatal(err)
	}
	update(w, left, deactivate)
	w.eventuallyListed("lift:deleted", "lift:left", "lift:maiden")
	w.editUsers(func(users map[string]time.Time) { users["lift:by-hand"] = time.Now().Add(time.Hour) })
	w.eventuallyListed("lift:by-hand", "lift:deleted", "lift:left", "lift:maiden")

	deny(false)
	w.eventuallyListed()
	// What another hand writes then means nothing.
	w.create(w.newList(map[string]time.Time{"lift:late": time.Now().Add(time.Hour)}))
	w.eventuallyListed()
	// A User that is still there is denied again.
	deny(true)
	w.eventuallyListed("lift:left")

	w.stop()
	deny(false)
	w.start()
	w.eventuallyListed()
}

// Entries go when they expire, without anything else happening.
func TestRevocationListExpiry(t *testing.T) {
	w := newStoppedDenyingWorld(t, denying("expiry:"))
	soon := time.Now().Add(5 * time.Second)
	w.create(w.newList(map[string]time.Time{
		"expiry:past": time.Now().Add(-time.Second), "expiry:soon": soon, "expiry:later": soon.Add(time.Hour),
		"expiry:too-late": time.Now().Add(1000 * time.Hour),
	}))
	// A user that left nearly a day ago, as a new leader finds it: the list need not have known.
	left := w.provision(w.newUser("left", ""))
	w.start()
	w.eventuallyGranted(left)
	update(w, left, deactivate)
	w.eventuallyRevoked(left)
	w.stop()
	left.Status.InactiveSince = &metav1.Time{Time: time.Now().Add(time.Minute - 24*time.Hour)}
	if err := env.Client.Status().Update(w.ctx, left); err != nil {
		t.Fatal(err)
	}
	w.editUsers(func(users map[string]time.Time) { delete(users, "expiry:left") })
	w.start()
	w.eventuallyListed("expiry:later", "expiry:left", "expiry:too-late")
	if early := time.Until(soon); early > time.Second {
		t.Errorf("an entry went %v before its time", early)
	}
	users := w.list().Spec.Users()
	if remaining := time.Until(users["expiry:too-late"]); remaining > 24*time.Hour {
		t.Errorf("an entry is to stay for %v", remaining)
	}
	if remaining := time.Until(users["expiry:left"]); remaining > time.Minute {
		t.Errorf("a leaver of a day ago stays for %v", remaining)
	}
}

// Many leavers at once cost few writes, and beyond the limit those with the oldest revocation are left out.
func TestRevocationListMany(t *testing.T) {
	const people = 60
	w := newStoppedDenyingWorld(t, denying("many:"))
	full := map[string]time.Time{}
	for i := range v1alpha1.MaxRevocations {
		full[fmt.Sprintf("many:before-%04d", i)] = time.Now().Add(time.Hour + time.Duration(i)*time.Second)
	}
	w.create(w.newList(full))
	w.start()
	users := make([]*v1alpha1.User, people)
	for i := range users {
		users[i] = w.provision(w.newUser(fmt.Sprintf("person-%d", i), ""))
	}
	for _, user := range users {
		w.eventuallyGranted(user)
	}
	w.stop()
	for _, user := range users {
		update(w, user, deactivate)
	}
	writes := w.countWrites(w.list())
	w.start()
	for _, user := range users {
		w.eventuallyRevoked(user)
	}
	list := w.list()
	onList := list.Spec.Users()
	if len(onList) != v1alpha1.MaxRevocations || list.Spec.Omitted != people {
		t.Errorf("%d listed, %d omitted", len(onList), list.Spec.Omitted)
	}
	for i := range people {
		if _, found := onList[fmt.Sprintf("many:person-%d", i)]; !found {
			t.Errorf("person %d left last, and is not on the list", i)
		}
		if _, found := onList[fmt.Sprintf("many:before-%04d", i)]; found {
			t.Errorf("entry %d of those longest ago is still on the list", i)
		}
	}
	// 128 reconciles run at a time: one write has them all, but for those that come while it is under way.
	if got := writes.Load(); got > people/4 {
		t.Errorf("%d people cost %d writes", people, got)
	} else {
		t.Logf("%d people cost %d writes", people, got)
	}
	// A user that is back makes room for one that was left out.
	update(w, users[0], reactivate)
	w.eventually(func() string {
		list := w.list()
		if _, back := list.Spec.Users()[fmt.Sprintf("many:before-%04d", people-1)]; !back || list.Spec.Omitted != people-1 {
			return fmt.Sprintf("%d listed, %d omitted, the one left out last is back: %v", len(list.Spec.Users()), list.Spec.Omitted, back)
		}
		return ""
	})
}

// countWrites counts the changes of an object from now on.
func (k *cluster) countWrites(object *v1alpha1.RevocationList) *atomic.Int64 {
	k.Helper()
	watching, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		k.Fatal(err)
	}
	ctx, cancel := context.WithCancel(k.ctx)
	k.Cleanup(cancel)
	events, err := watching.Watch(ctx, &v1alpha1.RevocationListList{}, client.InNamespace(object.Namespace),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: object.ResourceVersion}})
	if err != nil {
		k.Fatal(err)
	}
	var count atomic.Int64
	go func() {
		for event := range events.ResultChan() {
			if event.Type == watch.Modified || event.Type == watch.Added {
				count.Add(1)
			}
		}
	}()
	return &count
}

// What one leader did not get to do, the next one does: the list and the Users say all that there is to know.
func TestRevocationListLeaderChange(t *testing.T) {
	w := newDenyingWorld(t, denying("leader:"))
	deleted, left, back := w.provision(w.newUser("deleted", "")), w.provision(w.newUser("left", "")), w.provision(w.newUser("back", ""))
	staying := w.provision(w.newUser("staying", ""))
	for _, user := range []*v1alpha1.User{deleted, left, back, staying} {
		w.eventuallyGranted(user)
	}
	if err := env.Client.Delete(w.ctx, deleted); err != nil {
		t.Fatal(err)
	}
	update(w, back, deactivate)
	w.eventuallyListed("leader:back", "leader:deleted")
	expires := w.list().Spec.Users()["leader:deleted"]

	w.stop()
	update(w, left, deactivate)
	update(w, back, reactivate)
	w.start()
	w.eventuallyRevoked(left)
	w.eventuallyListed("leader:deleted", "leader:left")
	if now := w.list().Spec.Users()["leader:deleted"]; !now.Equal(expires) {
		t.Errorf("the entry of a deleted User expires at %v, was %v", now, expires)
	}

	// An edit by another hand removes no leaver; one without a User may go.
	w.editUsers(func(users map[string]time.Time) { clear(users) })
	w.eventuallyListed("leader:left")
	if err := env.Client.Delete(w.ctx, w.list()); err != nil {
		t.Fatal(err)
	}
	w.eventuallyListed("leader:left")
}

// While the list cannot be written no status says that access is gone; without denyRequests it does.
func TestRevocationListForbidden(t *testing.T) {
	w := newStoppedDenyingWorld(t, denying("forbidden:"))
	update(w, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "revocations"}}, func(role *rbacv1.Role) {
		role.Rules[0].Verbs = []string{"get", "list", "watch"}
	})
	w.start()
	user := w.provision(w.newUser("leaver", ""))
	w.eventuallyGranted(user)
	update(w, user, deactivate)
	failure := w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionFalse, v1alpha1.ReasonBindingFailed)
	if !strings.Contains(failure.Message, "RevocationList") {
		t.Errorf("message %q", failure.Message)
	}
	w.eventuallyCan("forbidden:leaver", "get", w.namespace, false) // the bindings go all the same
	update(w, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "revocations"}}, func(role *rbacv1.Role) {
		role.Rules[0].Verbs = []string{"get", "list", "watch", "create", "update", "delete"}
	})
	w.eventuallyRevoked(user)
	w.eventuallyListed("forbidden:leaver")
}
