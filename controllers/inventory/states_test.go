package inventory

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func user(active bool, kind string, status metav1.ConditionStatus, reason string, generation int64) *v1alpha1.User {
	object := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Generation: 2}, Spec: v1alpha1.UserSpec{App: "app", Active: active}}
	object.Status.ObservedGeneration = generation
	object.Status.Conditions = []metav1.Condition{{Type: kind, Status: status, Reason: reason, ObservedGeneration: generation}}
	return object
}

func TestUserState(t *testing.T) {
	granted, revoked := v1alpha1.ConditionAccessGranted, v1alpha1.ConditionAccessRevoked
	suspended := user(true, revoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked, 2)
	suspended.Spec.Suspended = true
	deleted := user(true, granted, metav1.ConditionTrue, v1alpha1.ReasonGranted, 2)
	deleted.DeletionTimestamp = new(metav1.Now())
	for name, test := range map[string]struct {
		user *v1alpha1.User
		want string
	}{
		"new":                     {&v1alpha1.User{Spec: v1alpha1.UserSpec{Active: true}}, StatePending},
		"granted":                 {user(true, granted, metav1.ConditionTrue, v1alpha1.ReasonGranted, 2), StateGranted},
		"granted as it was":       {user(true, granted, metav1.ConditionTrue, v1alpha1.ReasonGranted, 1), StatePending},
		"without a role":          {user(true, granted, metav1.ConditionFalse, v1alpha1.ReasonNoRole, 2), StateNoRole},
		"observed":                {user(true, granted, metav1.ConditionFalse, v1alpha1.ReasonObserved, 2), StateObserved},
		"refused":                 {user(true, granted, metav1.ConditionFalse, v1alpha1.ReasonForbidden, 2), StateNotGranted},
		"revoked":                 {user(false, revoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked, 2), StateRevoked},
		"revoked before a change": {user(false, revoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked, 1), StateLeaving},
		"failed":                  {user(false, revoked, metav1.ConditionFalse, v1alpha1.ReasonBindingFailed, 2), StateLeaving},
		"no controller yet":       {user(false, granted, metav1.ConditionTrue, v1alpha1.ReasonGranted, 1), StateLeaving},
		"a group's binding":       {user(false, revoked, metav1.ConditionFalse, v1alpha1.ReasonBoundByGroup, 2), StateOutlasted},
		"suspended":               {suspended, StateRevoked},
		"being deleted":           {deleted, StateLeaving},
	} {
		if got := UserState(test.user); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// Counts follow watches, also where a deletion was missed.
func TestCounts(t *testing.T) {
	inventory := &Inventory{apps: map[types.NamespacedName]*Counts{}}
	app := types.NamespacedName{Namespace: "ns", Name: "app"}
	active := user(true, v1alpha1.ConditionAccessGranted, metav1.ConditionTrue, v1alpha1.ReasonGranted, 2)
	left := user(false, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked, 2)
	left.Status.ResidualAccessCount = 1
	handler := inventory.handler(inventory.countUser)
	expect := func(granted, revoked, residual int) {
		t.Helper()
		counts := inventory.Of(app)
		if counts.Users[StateGranted] != granted || counts.Users[StateRevoked] != revoked || counts.Residual != residual {
			t.Errorf("counts %v, want %d granted, %d revoked, %d residual", counts, granted, revoked, residual)
		}
	}
	handler.OnAdd(active, true)
	handler.OnAdd(active, false)
	expect(2, 0, 0)
	handler.OnUpdate(active, left)
	expect(1, 1, 1)
	handler.OnDelete(toolscache.DeletedFinalStateUnknown{Obj: active})
	expect(0, 1, 1)
	group := &v1alpha1.Group{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: v1alpha1.GroupSpec{App: "app"}}
	groups := inventory.handler(inventory.countGroup)
	groups.OnAdd(group, true)
	handler.OnDelete(left)
	expect(0, 0, 0)
	if inventory.Of(app).Groups[StateNotReady] != 1 {
		t.Error("the group was forgotten with the users")
	}
	groups.OnDelete(group)
	if len(inventory.apps) != 0 {
		t.Errorf("counts of an App without users and groups are kept: %v", inventory.apps)
	}
}
