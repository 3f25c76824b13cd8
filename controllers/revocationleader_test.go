package controllers_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

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
