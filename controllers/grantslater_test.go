package controllers_test

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// createGate is a client that holds up creates of AppRoleBindings of other roles than one, until may is closed.
type createGate struct {
	client.Client
	role  string
	asked chan struct{}
	may   chan struct{}
}

func (g *createGate) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	if binding, isBinding := object.(*v1alpha1.AppRoleBinding); isBinding && binding.Spec.RoleRef.Name != g.role {
		select {
		case g.asked <- struct{}{}:
			<-g.may
		case <-g.may:
		}
	}
	return g.Client.Create(ctx, object, options...)
}

// busyWithGrants is a Syncer with as many grants of one App under way as it may have, which do not end before may is closed. jane has
// earned a third role, and no run was asked for.
func busyWithGrants(w *world) (syncer *approlebinding.Syncer, third earned.RoleInScope, may chan struct{}) {
	w.Helper()
	syncer = newSyncer(w)
	gate := &createGate{Client: syncer.Client, role: "viewer", asked: make(chan struct{}), may: make(chan struct{})}
	syncer.Client = gate
	jane := w.newUser("jane", "")
	w.create(jane)
	name := client.ObjectKeyFromObject(jane)
	w.eventually(func() string {
		return unless(syncer.Client.Get(w.ctx, name, &v1alpha1.User{}) == nil, "the informer shows the user")
	})
	key := func(role string) earned.RoleInScope {
		return earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: role, Scope: "default"}
	}
	entry := earned.Entry{App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: "okta:jane", Keys: []earned.RoleInScope{key("admin"), key("owner")}}
	syncer.Index.Set(name, entry)
	done := make(chan error, len(entry.Keys))
	for _, busy := range entry.Keys {
		go func() { done <- syncer.Sync(w.ctx, busy).Err() }()
		<-gate.asked
	}
	w.Cleanup(func() {
		for range cap(done) {
			if err := <-done; err != nil && w.ctx.Err() == nil {
				w.Error(err)
			}
		}
	})
	entry.Keys = append(entry.Keys, key(gate.role))
	syncer.Index.Set(name, entry)
	return syncer, key(gate.role), gate.may
}

func withOwner(spec *v1alpha1.AppSpec) {
	spec.Roles = append(spec.Roles, v1alpha1.Role{Name: "owner", Grants: []v1alpha1.Grant{{ClusterRole: bindable("get")}}})
}

// A removal writes nothing that only grants: that waits for the App's other grants. An App that is edited again and again takes roles from
// all its users that they were about to get; with what only grants written as urgently, each edit had a thousand objects created ahead of
// what other Apps asked for.
func TestARemovalGrantsNothing(t *testing.T) {
	w := newStoppedWorld(t, withOwner)
	syncer, key, may := busyWithGrants(w)
	john := types.NamespacedName{Namespace: w.namespace, Name: "john"}
	for range 2 { // the second one begins after the first one's end
		if err := remove(w, syncer, key, john); err != nil {
			t.Fatal(err)
		}
	}
	if bindings, natives := w.bindings(), w.natives(); len(bindings)+len(natives) > 0 {
		t.Errorf("a removal wrote %d AppRoleBindings and %d RoleBindings, and took nothing away", len(bindings), len(natives))
	}
	close(may)
	w.eventually(func() string { // two of the native bindings are the admin's
		return unless(len(w.bindings()) == 3 && len(w.natives()) == 4, "what was left is granted")
	})
}

// Removals that go on keep nothing from being granted.
func TestGrantsAreNotPutOffForEver(t *testing.T) {
	const interruptions = 8
	w := newStoppedWorld(t, withOwner)
	syncer, key, may := busyWithGrants(w)
	defer close(may)
	john := types.NamespacedName{Namespace: w.namespace, Name: "john"}
	for range interruptions + 2 {
		if err := remove(w, syncer, key, john); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually(func() string { return unless(w.bound("okta:jane", true) == "", "jane is bound") })
}
