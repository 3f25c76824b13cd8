package controllers_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// statusGate is a client that reports each update of a status and waits for leave to do it.
type statusGate struct {
	client.Client
	asked, may chan struct{}
}

func (g *statusGate) Status() client.SubResourceWriter {
	return &gatedStatus{SubResourceWriter: g.Client.Status(), gate: g}
}

type gatedStatus struct {
	client.SubResourceWriter
	gate *statusGate
}

func (s *gatedStatus) Update(ctx context.Context, object client.Object, options ...client.SubResourceUpdateOption) error {
	s.gate.asked <- struct{}{}
	<-s.gate.may
	return s.SubResourceWriter.Update(ctx, object, options...)
}

// letAll gives leave to all that ask a gate from now on, until ctx ends.
func letAll[T any](ctx context.Context, asked <-chan T, may chan<- struct{}) {
	for {
		select {
		case <-asked:
		case may <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// updateGate is a client that reports each update and waits for leave to do it.
type updateGate struct {
	client.Client
	asked chan client.Object
	may   chan struct{}
}

func (g *updateGate) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	g.asked <- object
	<-g.may
	return g.Client.Update(ctx, object, options...)
}

// A run that a removal interrupts has written the users that join into the AppRoleBinding, and not yet into the RoleBinding. Until the next run has
// done that, nothing says that the role is granted.
func TestWhatIsHalfWrittenIsNotGranted(t *testing.T) {
	w := newStoppedWorld(t, nil)
	syncer := newSyncer(w)
	key := earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: "default"}
	enter := func(userName string) (types.NamespacedName, earned.Entry) {
		user := w.newUser(userName, "")
		w.create(user)
		name := client.ObjectKeyFromObject(user)
		w.eventually(func() string {
			return unless(syncer.Client.Get(w.ctx, name, &v1alpha1.User{}) == nil, "the informer shows the user")
		})
		entry := earned.Entry{App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: "okta:" + userName, Keys: []earned.RoleInScope{key}}
		syncer.Index.Set(name, entry)
		return name, entry
	}
	john, _ := enter("john")
	if outcome := syncer.Sync(w.ctx, key); outcome.Err() != nil {
		t.Fatal(outcome.Err())
	}
	gate := &updateGate{Client: syncer.Client, asked: make(chan client.Object), may: make(chan struct{})}
	syncer.Client = gate
	jane, entry := enter("jane")
	granted, removed := make(chan error, 1), make(chan error, 1)
	settled := func() bool {
		bound, err := syncer.Subjects(w.ctx, jane)
		return err == nil && syncer.IsSettled(key, bound[key], entry)
	}
	go func() { granted <- syncer.Sync(w.ctx, key).Err() }()
	if _, isBinding := (<-gate.asked).(*v1alpha1.AppRoleBinding); !isBinding {
		t.Fatal("the AppRoleBinding is not written first")
	}
	syncer.Index.Set(john, earned.Entry{})
	ask(w, syncer, key, john)
	go func() { removed <- remove(w, syncer, key, john) }()
	gate.may <- struct{}{}
	object := <-gate.asked
	if _, isNative := object.(*rbacv1.RoleBinding); !isNative || w.boundSubjects(1) != "" {
		t.Fatalf("the next write is of %T %s, and jane may be bound", object, object.GetName())
	}
	if settled() {
		t.Error("the grant is taken as done, and the user has no access")
	}
	go letAll(w.ctx, gate.asked, gate.may)
	if err := <-removed; err != nil {
		t.Error(err)
	}
	if err := <-granted; err != nil {
		t.Error(err)
	}
	w.eventually(func() string { return unless(w.bound("okta:jane", true) == "" && settled(), "the grant is done") })
}

// What only grants waits before each of its writes while a user of another role loses access.
func TestEachGrantWaitsForRemovals(t *testing.T) {
	w := newStoppedWorld(t, nil)
	syncer := newSyncer(w)
	key := earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: "default"}
	hold := func(userName string) {
		user := w.newUser(userName, "")
		w.create(user)
		name := client.ObjectKeyFromObject(user)
		w.eventually(func() string {
			return unless(syncer.Client.Get(w.ctx, name, &v1alpha1.User{}) == nil, "the informer shows the user")
		})
		syncer.Index.Set(name, earned.Entry{App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: "okta:" + userName, Keys: []earned.RoleInScope{key}})
	}
	hold("john")
	if outcome := syncer.Sync(w.ctx, key); outcome.Err() != nil {
		t.Fatal(outcome.Err())
	}
	gate := &updateGate{Client: syncer.Client, asked: make(chan client.Object), may: make(chan struct{})}
	syncer.Client = gate
	hold("jane")
	granted := make(chan error, 1)
	go func() { granted <- syncer.Sync(w.ctx, key).Err() }()
	if _, isBinding := (<-gate.asked).(*v1alpha1.AppRoleBinding); !isBinding {
		t.Fatal("the AppRoleBinding is not written first")
	}
	begun, over := time.Now(), syncer.Removals.Begin() // by a user with another role
	defer over()
	gate.may <- struct{}{}
	if object := <-gate.asked; time.Since(begun) < 250*time.Millisecond {
		t.Errorf("the %T is written while a user loses access", object)
	}
	go letAll(w.ctx, gate.asked, gate.may)
	if err := <-granted; err != nil {
		t.Error(err)
	}
	if problem := w.bound("okta:jane", true); problem != "" {
		t.Errorf("endless removals keep a grant back: %s", problem)
	}
}

// A role of many people has many AppRoleBindings, and their statuses are written one after the other. A removal does not
// wait for all of them.
func TestRemovalInterruptsStatuses(t *testing.T) {
	w := newStoppedWorld(t, nil)
	syncer := newSyncer(w)
	gate := &statusGate{Client: syncer.Client, asked: make(chan struct{}), may: make(chan struct{})}
	syncer.Client = gate
	key := earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: "default"}
	const people = 280 // in three AppRoleBindings
	var last types.NamespacedName
	for i := range people {
		user := w.newUser(fmt.Sprintf("user-%d", i), "")
		w.create(user)
		last = client.ObjectKeyFromObject(user)
	}
	w.eventually(func() string {
		var users v1alpha1.UserList
		err := syncer.Client.List(w.ctx, &users, client.InNamespace(w.namespace))
		return unless(err == nil && len(users.Items) == people, "the informer shows the users")
	})
	for i := range people {
		name := types.NamespacedName{Namespace: w.namespace, Name: fmt.Sprintf("user-%d", int(userCount.Load())-people+1+i)}
		syncer.Index.Set(name, earned.Entry{App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: "okta:" + name.Name, Keys: []earned.RoleInScope{key}})
	}
	if outcome := syncer.Sync(w.ctx, key); outcome.Err() != nil {
		t.Fatal(outcome.Err())
	}
	<-gate.asked // the run that writes the statuses, a second later
	syncer.Index.Set(last, earned.Entry{})
	removed := make(chan error, 1)
	ask(w, syncer, key, last)
	go func() { removed <- remove(w, syncer, key, last) }()
	gate.may <- struct{}{}
	<-gate.asked
	if problem := w.bound("okta:"+last.Name, false); problem != "" {
		t.Errorf("a second status is written before the removal: %s", problem)
	}
	go letAll(w.ctx, gate.asked, gate.may)
	if err := <-removed; err != nil {
		t.Error(err)
	}
	w.eventually(func() string {
		for _, binding := range w.bindings() {
			if binding.Status.ObservedGeneration != binding.Generation {
				return "no status of " + binding.Name
			}
		}
		return unless(len(w.bindings()) == 3, "there are three AppRoleBindings")
	})
}

// A run may meet a user that left and is back before either was evaluated: what the user holds has not changed, and the next
// run adds the user.
func TestWhoIsBackAtOnceIsLetIn(t *testing.T) {
	w := newStoppedWorld(t, nil)
	syncer := newSyncer(w)
	key := earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: "viewer", Scope: "default"}
	jane, john := w.newUser("jane", ""), w.newUser("john", "")
	jane.Spec.Active = false
	hold := func(user *v1alpha1.User) {
		syncer.Index.Set(client.ObjectKeyFromObject(user), earned.Entry{
			App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: "okta:" + user.Spec.UserName, Keys: []earned.RoleInScope{key},
		})
	}
	sync := func() {
		t.Helper()
		if outcome := syncer.Sync(w.ctx, key); outcome.Err() != nil {
			t.Fatal(outcome.Err())
		}
	}
	shown := func(user *v1alpha1.User) {
		w.eventually(func() string {
			var cached v1alpha1.User
			err := syncer.Client.Get(w.ctx, client.ObjectKeyFromObject(user), &cached)
			return unless(err == nil && cached.Spec.Active == user.Spec.Active, "the informer shows the user")
		})
	}
	for _, user := range []*v1alpha1.User{jane, john} {
		w.create(user)
		shown(user)
		hold(user)
	}
	sync()
	if problem := w.bound("okta:jane", false); problem != "" {
		t.Fatalf("inactive: %s", problem)
	}
	update(w, jane, func(u *v1alpha1.User) { u.Spec.Active = true })
	shown(jane)
	hold(jane)
	sync()
	for _, subject := range []string{"okta:jane", "okta:john"} {
		if problem := w.bound(subject, true); problem != "" {
			t.Errorf("%s: %s", subject, problem)
		}
	}
}
