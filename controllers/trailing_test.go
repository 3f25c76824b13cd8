package controllers_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// team is users that hold one role, under a Syncer alone.
type team struct {
	*world
	syncer *approlebinding.Syncer
	key    earned.RoleInScope
}

func newTeam(t *testing.T, members ...string) *team {
	w := newStoppedWorld(t, nil)
	m := &team{world: w, syncer: newSyncer(w), key: earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: "default"}}
	for _, name := range members {
		user := w.newUser(name, "")
		user.Name = name
		w.create(user)
		w.eventually(func() string {
			err := m.syncer.Client.Get(w.ctx, client.ObjectKeyFromObject(user), &v1alpha1.User{})
			return unless(err == nil, "the informer shows "+name)
		})
		m.hold(name)
	}
	m.sync()
	return m
}

func (m *team) user(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: m.namespace, Name: name}
}

func (m *team) hold(name string) {
	m.syncer.Index.Set(m.user(name), earned.Entry{
		App: earned.AppGenerationOf(m.app, &access.Cache{}), Subject: "okta:" + name, Keys: []earned.RoleInScope{m.key},
	})
}

func (m *team) sync() {
	m.Helper()
	if outcome := m.syncer.Sync(m.ctx, m.key); outcome.Err() != nil {
		m.Fatal(outcome.Err())
	}
}

// leave takes the role from a user that left, and says what is wrong by then.
func (m *team) leave(name string) error {
	m.syncer.Index.Set(m.user(name), earned.Entry{})
	if err := m.syncer.SyncLeaver(m.ctx, m.user(name), []earned.RoleInScope{m.key})[m.key]; err != nil {
		return err
	}
	bound, err := m.syncer.Bound(m.ctx, m.user(name))
	if _, isBound := bound[m.key]; err == nil && isBound {
		return fmt.Errorf("%s left and counts as bound", name)
	}
	return err
}

// recorded are the users that the AppRoleBinding names, live, and its generation.
func (m *team) recorded() (users []string, generation int64) {
	m.Helper()
	bindings := m.bindings()
	if len(bindings) != 1 {
		m.Fatalf("%d AppRoleBindings", len(bindings))
	}
	for _, subject := range bindings[0].Spec.Subjects {
		users = append(users, subject.User)
	}
	return users, bindings[0].Generation
}

// leaveBehind has a user leave so that the AppRoleBinding still names it: on a slow machine, in one of several attempts.
func (m *team) leaveBehind(name string) {
	m.Helper()
	for range 20 {
		if err := m.leave(name); err != nil {
			m.Fatal(err)
		}
		if users, _ := m.recorded(); slices.Contains(users, name) {
			return
		}
		m.hold(name)
		m.sync()
	}
	m.Fatal("the AppRoleBinding never trails")
}

// Leavers are denied one by one, and leave their AppRoleBinding together.
func TestLeaversLeaveTheirAppRoleBindingTogether(t *testing.T) {
	leavers := []string{"a", "b", "c", "d", "e", "f"}
	m := newTeam(t, append(leavers, "stays")...)
	_, before := m.recorded()
	var group sync.WaitGroup
	failed := make([]error, len(leavers))
	for i, name := range leavers {
		group.Go(func() {
			if failed[i] = m.leave(name); failed[i] == nil && m.can("okta:"+name, "get", m.namespace) {
				failed[i] = fmt.Errorf("%s left and is allowed", name)
			}
		})
	}
	group.Wait()
	for _, err := range failed {
		if err != nil {
			t.Error(err)
		}
	}
	if !m.can("okta:stays", "get", m.namespace) {
		t.Error("a colleague was taken along")
	}
	m.eventually(func() string {
		users, _ := m.recorded()
		return unless(slices.Equal(users, []string{"stays"}), "the AppRoleBinding names those that stay alone")
	})
	if _, after := m.recorded(); after-before >= int64(len(leavers)) {
		t.Errorf("%d writes for %d leavers", after-before, len(leavers))
	}
	m.eventually(func() string {
		binding := m.bindings()[0]
		return unless(binding.Status.ObservedGeneration == binding.Generation && binding.Status.Subjects == 1, "the status counts them")
	})
}

// A leaver that comes back while its AppRoleBinding still names it counts as bound only once a native binding names it.
func TestTrailingUserComesBack(t *testing.T) {
	m := newTeam(t, "jane", "john")
	m.leaveBehind("jane")
	m.hold("jane")
	subjects, err := m.syncer.Subjects(m.ctx, m.user("jane"))
	if err != nil {
		t.Fatal(err)
	}
	entry, _ := m.syncer.Index.Get(m.user("jane"))
	if m.syncer.IsSettled(m.key, subjects[m.key], entry) {
		t.Error("settled, and no native binding names the user")
	}
	m.sync()
	if problem := m.bound("okta:jane", true); problem != "" {
		t.Error(problem)
	}
	if !m.can("okta:jane", "get", m.namespace) {
		t.Error("the user is back and denied")
	}
	if bound, err := m.syncer.Bound(m.ctx, m.user("jane")); err != nil || bound[m.key] != "okta:jane" {
		t.Errorf("bound %v, %v", bound, err)
	}
}

// A leaver that is back by the index, and left once more, is let into no native binding before that is evaluated.
func TestTrailingUserLeavesOnceMore(t *testing.T) {
	m := newTeam(t, "jane", "john")
	m.leaveBehind("jane")
	jane := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: "jane"}}
	update(m.world, jane, func(u *v1alpha1.User) { u.Spec.Active = false })
	m.eventually(func() string {
		var shown v1alpha1.User
		err := m.syncer.Client.Get(m.ctx, m.user("jane"), &shown)
		return unless(err == nil && !shown.Spec.Active, "the informer shows that jane left")
	})
	m.hold("jane")
	m.sync()
	if m.can("okta:jane", "get", m.namespace) {
		t.Error("a user without access was let in")
	}
	update(m.world, jane, func(u *v1alpha1.User) { u.Spec.Active = true })
	m.eventually(func() string {
		var shown v1alpha1.User
		err := m.syncer.Client.Get(m.ctx, m.user("jane"), &shown)
		return unless(err == nil && shown.Spec.Active, "the informer shows that jane is back")
	})
	m.sync()
	if problem := m.bound("okta:jane", true); problem != "" {
		t.Errorf("back: %s", problem)
	}
}

// A user that only loses the role leaves the AppRoleBinding at once, and takes those along that trail.
func TestLossOfARoleIsWrittenAtOnce(t *testing.T) {
	m := newTeam(t, "leaver", "loser", "stays")
	m.leaveBehind("leaver")
	m.syncer.Index.Set(m.user("loser"), earned.Entry{})
	if err := remove(m.world, m.syncer, m.key, m.user("loser")); err != nil {
		t.Fatal(err)
	}
	if users, _ := m.recorded(); !slices.Equal(users, []string{"stays"}) {
		t.Errorf("the AppRoleBinding names %v", users)
	}
}

// A leader that ends between the denial and the AppRoleBinding leaves the rest to the next one.
func TestSuccessorFinishesAppRoleBindings(t *testing.T) {
	w := newWorld(t, nil)
	leaver, colleague := w.provision(w.newUser("leaver", "")), w.provision(w.newUser("colleague", ""))
	w.eventuallyGranted(leaver)
	w.eventuallyGranted(colleague)
	update(w, leaver, func(u *v1alpha1.User) { u.Spec.Active = false })
	w.eventuallyCondition(leaver, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	w.stop()
	if w.can("okta:leaver", "get", w.namespace) {
		t.Error("revoked, and allowed")
	}
	w.start()
	w.eventually(func() string {
		bindings := w.bindings()
		return unless(len(bindings) == 1 && len(bindings[0].Spec.Subjects) == 1 && bindings[0].Spec.Subjects[0].User == colleague.Name,
			"the AppRoleBinding names the colleague alone")
	})
	w.eventuallyCondition(leaver, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
}
