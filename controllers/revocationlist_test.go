package controllers_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
