package controllers_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// cast is a Syncer with people, and the test says what each was evaluated for.
type cast struct {
	*world
	syncer *approlebinding.Syncer
	key    earned.RoleInScope
	users  []types.NamespacedName
}

func newCast(t *testing.T, people int) *cast {
	t.Helper()
	w := newStoppedWorld(t, nil)
	c := &cast{world: w, syncer: newSyncer(w)}
	c.key = earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: "default"}
	for i := range people {
		user := w.newUser(fmt.Sprintf("person-%d", i), "")
		w.create(user)
		c.users = append(c.users, client.ObjectKeyFromObject(user))
	}
	for _, user := range c.users {
		w.eventually(func() string {
			if err := c.syncer.Client.Get(w.ctx, user, &v1alpha1.User{}); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	return c
}

// evaluate says of a person that they hold the key by the App as it is, as the member of a group if there is one.
func (c *cast) evaluate(i int, change func(*earned.Entry)) {
	entry := earned.Entry{
		App: earned.AppGenerationOf(c.app, &access.Cache{}), Subject: fmt.Sprintf("okta:person-%d", i), Keys: []earned.RoleInScope{c.key},
	}
	if change != nil {
		change(&entry)
	}
	c.syncer.Index.Set(c.users[i], entry)
}

func (c *cast) sync() {
	c.Helper()
	if outcome := c.syncer.SyncUrgently(c.ctx, []earned.RoleInScope{c.key})[0]; outcome.Err() != nil {
		c.Fatal(outcome.Err())
	}
}

// edit changes the App and waits until the Syncer knows.
func (c *cast) edit(change func(*v1alpha1.AppSpec)) {
	c.Helper()
	update(c.world, c.app, func(app *v1alpha1.App) { change(&app.Spec) })
	c.eventually(func() string {
		app := &v1alpha1.App{}
		if err := c.syncer.Client.Get(c.ctx, client.ObjectKeyFromObject(c.app), app); err != nil || app.Generation != c.app.Generation {
			return fmt.Sprintf("generation %d, %v", app.Generation, err)
		}
		return ""
	})
}

// named compares the subjects of the one native binding of a ClusterRole; none wanted means no binding.
func (c *cast) named(clusterRole string, want ...string) {
	c.Helper()
	var got []string
	for _, native := range c.natives() {
		if native.RoleRef.Name == clusterRole {
			for _, subject := range native.Subjects {
				got = append(got, subject.Kind+" "+subject.Name)
			}
		}
	}
	if !slices.Equal(got, want) {
		c.Errorf("%s: got %q, want %q", clusterRole, got, want)
	}
}

// A binding that an edit of the App asks for names only users that were evaluated for that edit. Until then the others keep
// what they have, also what the edit took away.
func TestOnlyTheEvaluatedAreBoundToWhatIsNew(t *testing.T) {
	c := newCast(t, 3)
	get, list, remove := bindable("get"), bindable("list"), bindable("delete")
	c.edit(func(spec *v1alpha1.AppSpec) {
		spec.Roles[0].Grants = []v1alpha1.Grant{{ClusterRole: get}, {ClusterRole: list}}
	})
	for i := range c.users {
		c.evaluate(i, nil)
	}
	c.sync()
	all := []string{"User okta:person-0", "User okta:person-1", "User okta:person-2"}
	c.named(get, all...)
	c.named(list, all...)

	c.edit(func(spec *v1alpha1.AppSpec) {
		spec.Roles[0].Grants = []v1alpha1.Grant{{ClusterRole: get}, {ClusterRole: remove}}
	})
	c.sync()
	c.named(get, all...)
	c.named(list, all...)
	c.named(remove)

	c.evaluate(0, nil)
	c.sync()
	c.named(get, all...)
	c.named(list, all[1:]...)
	c.named(remove, all[0])

	// One earns nothing by the edit; one is held.
	c.evaluate(1, func(e *earned.Entry) { e.Keys = nil })
	c.evaluate(2, func(e *earned.Entry) { e.Kept = map[earned.RoleInScope]bool{c.key: true} })
	c.sync()
	c.named(get, all[0], all[2])
	c.named(list, all[2])
	c.named(remove, all[0])

	c.evaluate(2, nil)
	c.sync()
	c.named(get, all[0], all[2])
	c.named(list)
	c.named(remove, all[0], all[2])
}

// A user that was evaluated for no App at all, or for a former one of the same name, is not bound.
func TestOtherEvaluationsBindNobody(t *testing.T) {
	c := newCast(t, 3)
	c.evaluate(0, func(e *earned.Entry) { e.App = earned.AppGeneration{} })
	c.evaluate(1, func(e *earned.Entry) { e.App.UID = "another" })
	c.sync()
	if bindings := c.bindings(); len(bindings) > 0 {
		t.Errorf("bindings = %+v", bindings)
	}
	c.evaluate(2, nil)
	c.sync()
	c.named(bindable("get"), "User okta:person-2")
}

// Groups stand for people, each once; a group goes with the last of its people. On the way from one mode to the other no
// person is without access for a moment.
func TestGroupsInNativeBindings(t *testing.T) {
	c := newCast(t, 3)
	in := func(group string) func(*earned.Entry) {
		return func(e *earned.Entry) { e.Groups = map[earned.RoleInScope]string{c.key: group} }
	}
	for i := range c.users {
		c.evaluate(i, nil)
	}
	c.sync()
	var mutex sync.Mutex
	var gaps []string
	stop := c.watchNatives(func(kind watch.EventType, binding *rbacv1.RoleBinding) {
		mutex.Lock()
		defer mutex.Unlock()
		staff := slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Kind == "Group" && s.Name == "okta:staff" })
		for i := range 2 {
			name := fmt.Sprintf("okta:person-%d", i)
			if kind == watch.Deleted || !staff && !slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Name == name }) {
				gaps = append(gaps, fmt.Sprintf("%s: %v", kind, binding.Subjects))
			}
		}
	})
	get := bindable("get")
	c.evaluate(0, in("okta:staff"))
	c.sync()
	c.named(get, "Group okta:staff", "User okta:person-1", "User okta:person-2")
	c.evaluate(1, in("okta:staff"))
	c.sync()
	c.named(get, "Group okta:staff", "User okta:person-2")
	if got := c.bindings()[0].Spec.Subjects[0]; got.Group != "okta:staff" || got.Name != "okta:person-0" {
		t.Errorf("the AppRoleBinding says %+v", got)
	}
	c.evaluate(2, in("system:masters"))
	c.sync()
	c.named(get, "Group okta:staff")

	for i := range 2 { // and back
		c.evaluate(i, nil)
		c.sync()
	}
	c.named(get, "User okta:person-0", "User okta:person-1")
	stop()
	if len(gaps) > 0 {
		t.Errorf("a user was without access: %q", gaps)
	}

	c.evaluate(0, in("okta:staff"))
	c.evaluate(1, in("okta:staff"))
	c.sync()
	c.evaluate(0, func(e *earned.Entry) { e.Keys = nil })
	c.sync()
	c.named(get, "Group okta:staff")
	c.evaluate(1, func(e *earned.Entry) { e.Keys = nil })
	c.sync()
	c.named(get)
}

// A user that was bound before this process began, and turns out to have lost the role, leaves the binding: although the
// index never had the role, and a run that looked at everything came before.
func TestTheLateEvaluatedLeave(t *testing.T) {
	c := newCast(t, 2)
	c.evaluate(0, nil)
	c.evaluate(1, nil)
	c.sync()
	c.syncer.Index.Forget(c.users[1])
	for range 2 {
		c.sync()
		c.named(bindable("get"), "User okta:person-0", "User okta:person-1")
	}
	c.evaluate(1, func(e *earned.Entry) { e.Keys = nil })
	if err := remove(c.world, c.syncer, c.key, c.users[1]); err != nil {
		t.Fatal(err)
	}
	c.named(bindable("get"), "User okta:person-0")
}
