package controllers_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// A namespace on its way out is an error for no user. One that is gone is told of, and keeps no user from coming or leaving.
func TestNamespacesThatGo(t *testing.T) {
	stays, goes := env.Namespace(t, nil), fmt.Sprintf("goes-%d", time.Now().UnixNano())
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.Scopes.List = []v1alpha1.Scope{{Name: "some", Namespaces: []string{stays, goes}}}
	})
	w.createNamespace(goes)
	jane := w.provision(w.newUser("jane", ""))
	w.eventuallyCan("okta:jane", "get", goes, true)

	namespace := w.namespaceObject(goes)
	w.delete(namespace) // nothing ends it here: it is terminating until the test says so
	w.eventuallyCan("okta:jane", "get", goes, false)
	john := w.provision(w.newUser("john", ""))
	for _, user := range []*v1alpha1.User{jane, john} {
		w.eventuallyGranted(user)
	}
	binding := func() *v1alpha1.AppRoleBinding { return &w.bindings()[0] }
	w.eventuallyCondition(binding(), v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if !w.can("okta:john", "get", stays) || w.can("okta:john", "get", goes) {
		t.Error("john is not bound where he should be")
	}

	if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(namespace), namespace); err != nil {
		t.Fatal(err)
	}
	namespace.Spec.Finalizers = nil
	if err := env.Client.SubResource("finalize").Update(w.ctx, namespace); err != nil {
		t.Fatal(err)
	}
	w.eventuallyCondition(binding(), v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonMissingScope)
	update(w, john, func(u *v1alpha1.User) { u.Spec.Active = false })
	w.eventuallyCondition(john, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	w.provision(w.newUser("jim", ""))
	w.eventuallyCan("okta:jim", "get", stays, true)

	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: goes}}) // another one of the name
	w.eventuallyCan("okta:jim", "get", goes, true)
	w.eventuallyCondition(binding(), v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A user with requested grants is told when all runs ended, gets the answer once, and needs no other while nothing changes.
func TestAskedRuns(t *testing.T) {
	c := newCast(t, 2)
	told := make(chan types.NamespacedName, 100)
	c.syncer.OnChange(func(users []types.NamespacedName) {
		for _, user := range users {
			told <- user
		}
	})
	other := c.key
	other.Role = "admin"
	entry := earned.Entry{
		App: earned.AppGenerationOf(c.app, &access.Cache{}), Subject: "okta:person-0", Keys: []earned.RoleInScope{c.key, other},
	}
	revision := c.syncer.Index.Set(c.users[0], entry)
	if c.syncer.IsSettled(c.key, v1alpha1.AppRoleSubject{}, entry) {
		t.Error("settled before a run")
	}
	c.syncer.RequestGrants(t.Context(), c.users[0], revision, entry.Keys)
	c.syncer.RequestGrants(t.Context(), c.users[0], revision, entry.Keys)
	select {
	case user := <-told:
		if user != c.users[0] {
			t.Errorf("told %v", user)
		}
	case <-time.After(deadline):
		t.Fatal("no user was told")
	}
	if failed, ok := c.syncer.GrantResults(c.users[0], revision); !ok || len(failed) != 0 {
		t.Errorf("answer %v, %v", failed, ok)
	}
	if _, again := c.syncer.GrantResults(c.users[0], revision); again {
		t.Error("answered twice")
	}
	c.named(bindable("delete"), "User okta:person-0")
	bound, err := c.syncer.Subjects(c.ctx, c.users[0])
	if err != nil || len(bound) != 2 {
		t.Fatalf("bound %v, %v", bound, err)
	}
	for _, key := range entry.Keys {
		if !c.syncer.IsSettled(key, bound[key], entry) {
			t.Errorf("%v is not settled", key)
		}
	}
	if same := c.syncer.Index.Set(c.users[0], entry); same != revision {
		t.Error("the same entry is another revision")
	}
	entry.Groups = map[earned.RoleInScope]string{c.key: "okta:staff"}
	if c.syncer.Index.Set(c.users[0], entry) == revision || c.syncer.IsSettled(c.key, bound[c.key], entry) {
		t.Error("a group changes nothing")
	}
	// An edit of the App settles no user, and a request for what was before gets no answer.
	c.edit(func(spec *v1alpha1.AppSpec) { spec.RoleAssignment.Default = []string{"another"} })
	entry.App = earned.AppGenerationOf(c.app, &access.Cache{})
	if c.syncer.IsSettled(other, bound[other], entry) {
		t.Error("settled for an App that no run has seen")
	}
	if !slices.Contains(entry.Keys, other) {
		t.Error("the entry was changed")
	}
}
