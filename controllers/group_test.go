package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/group"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// newGroup returns a group, not written yet. Beyond the limit its members are in shards, which are written.
func (d *directory) newGroup(displayName string, limit int, members ...string) *v1alpha1.Group {
	d.Helper()
	g := &v1alpha1.Group{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: fmt.Sprintf("group-%d", userCount.Add(1))},
		Spec: v1alpha1.GroupSpec{
			App: d.app.Name, DisplayName: displayName, DisplayNameKey: claims.Key(displayName),
			CreatedAt: &metav1.MicroTime{Time: time.Now()},
		},
	}
	store := membership.NewStore(env.Client, d.namespace, nil)
	if err := membership.New(store, limit).Place(d.ctx, g, members...); err != nil {
		d.Fatal(err)
	}
	return g
}

func (d *directory) claimGroup(g *v1alpha1.Group) {
	d.Helper()
	d.create(&v1alpha1.NameClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: claims.Name(g.Spec.App, v1alpha1.ClaimDisplayName, g.Spec.DisplayNameKey)},
		Spec: v1alpha1.NameClaimSpec{
			App: g.Spec.App, Attribute: v1alpha1.ClaimDisplayName, Value: g.Spec.DisplayNameKey, Holder: g.Name,
		},
	})
}

// push writes a group as the server does.
func (d *directory) push(displayName string, limit int, members ...string) *v1alpha1.Group {
	d.Helper()
	g := d.newGroup(displayName, limit, members...)
	d.create(g)
	d.claimGroup(g)
	return g
}

func (d *directory) membersOf(g *v1alpha1.Group) []string {
	d.Helper()
	if err := env.Client.Get(d.ctx, client.ObjectKeyFromObject(g), g); err != nil {
		d.Fatal(err)
	}
	members, _, err := membership.New(membership.NewStore(env.Client, d.namespace, nil), membership.InlineLimit).Members(d.ctx, g)
	if err != nil {
		d.Fatal(err)
	}
	return members
}

func (d *directory) eventuallyMembers(g *v1alpha1.Group, want ...string) {
	d.Helper()
	slices.Sort(want)
	d.eventually(func() string {
		if got := d.membersOf(g); !slices.Equal(got, want) || g.Status.Members != int32(len(want)) {
			return fmt.Sprintf("members %v, counted %d, want %v", got, g.Status.Members, want)
		}
		return ""
	})
}

func TestGroupStatus(t *testing.T) {
	w := newWorld(t, nil)
	ada, bob := w.provision(w.newUser("ada", "")), w.provision(w.newUser("bob", ""))
	g := w.push("Staff", membership.InlineLimit, ada.Name, bob.Name)
	w.eventuallyCondition(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.eventuallyCondition(g, v1alpha1.ConditionNameReserved, metav1.ConditionTrue, v1alpha1.ReasonNameReserved)
	w.eventuallyCondition(g, v1alpha1.ConditionMembersKnown, metav1.ConditionTrue, v1alpha1.ReasonMembersKnown)
	if g.Status.Members != 2 || g.Status.ReservedKey != "staff" {
		t.Errorf("status %+v", g.Status)
	}
	update(w, g, func(g *v1alpha1.Group) {
		g.Annotations = map[string]string{v1alpha1.AnnotationUnknownMembers: `{"count":12,"ids":["a","b"]}`}
	})
	found := w.eventuallyCondition(g, v1alpha1.ConditionMembersKnown, metav1.ConditionFalse, v1alpha1.ReasonMembersUnknown)
	if !strings.Contains(found.Message, `12 members`) || !strings.Contains(found.Message, `"a", "b" and 10 more`) {
		t.Errorf("message %q", found.Message)
	}
	w.eventuallyCondition(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	update(w, g, func(g *v1alpha1.Group) { g.Annotations = nil })
	w.eventuallyCondition(g, v1alpha1.ConditionMembersKnown, metav1.ConditionTrue, v1alpha1.ReasonMembersKnown)

	// A second group of the name never becomes ready, but one written by hand under a free name does.
	second := w.newGroup("STAFF", membership.InlineLimit)
	second.Spec.CreatedAt = nil
	w.create(second)
	w.eventuallyCondition(second, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNameTaken)
	byHand := w.newGroup("By hand", membership.InlineLimit)
	byHand.Spec.CreatedAt = nil
	w.create(byHand)
	w.eventuallyCondition(byHand, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// Deleted users leave their groups, wherever the members are.
func TestDeletedUsersLeaveGroups(t *testing.T) {
	w := newWorld(t, nil)
	var ids []string
	users := map[string]*v1alpha1.User{}
	for i := range 12 {
		user := w.provision(w.newUser(fmt.Sprint("person", i), ""))
		users[user.Name] = user
		ids = append(ids, user.Name)
	}
	groups := []*v1alpha1.Group{w.push("inline", membership.InlineLimit, ids...), w.push("sharded", 0, ids...)}
	for _, g := range groups {
		w.eventuallyMembers(g, ids...)
	}
	for _, id := range ids[:5] {
		if err := env.Client.Delete(w.ctx, users[id]); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range groups {
		before := g.Generation
		w.eventuallyMembers(g, ids[5:]...)
		if g.Generation == before {
			t.Errorf("%s: members went, and the version stayed", g.Spec.DisplayName)
		}
	}
	time.Sleep(1100 * time.Millisecond) // creation times have whole seconds
	for _, id := range ids[5:6] {
		if err := env.Client.Delete(w.ctx, users[id]); err != nil {
			t.Fatal(err)
		}
	}
	ids = ids[1:]
	for _, g := range groups {
		w.eventuallyMembers(g, ids[5:]...)
	}
	// A request that was decided before may still add a user after its deletion was seen.
	update(w, groups[0], func(g *v1alpha1.Group) { g.Spec.Members = append([]string{ids[4]}, g.Spec.Members...) })
	w.eventuallyMembers(groups[0], ids[5:]...)

	// What was deleted while no controller ran is noticed by the next.
	w.stop()
	for _, id := range ids[5:8] {
		if err := env.Client.Delete(w.ctx, users[id]); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	for _, g := range groups {
		w.eventuallyMembers(g, ids[8:]...)
	}
}

// A group under load does not get a status for each of its changes.
func TestGroupStatusIsCoalesced(t *testing.T) {
	w := newWorld(t, nil)
	var ids []string
	for i := range 30 {
		ids = append(ids, w.provision(w.newUser(fmt.Sprint("person", i), "")).Name)
	}
	slices.Sort(ids)
	g := w.push("Staff", membership.InlineLimit)
	w.eventuallyCondition(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	watcher, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	events, err := watcher.Watch(w.ctx, &v1alpha1.GroupList{}, client.InNamespace(w.namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	begun := time.Now()
	for i := range ids {
		update(w, g, func(g *v1alpha1.Group) { g.Spec.Members = ids[:i+1] })
	}
	w.eventuallyMembers(g, ids...)
	took := time.Since(begun)
	written, last := 0, int32(-1)
	for last != int32(len(ids)) {
		event := <-events.ResultChan()
		if seen, ok := event.Object.(*v1alpha1.Group); ok && seen.Status.Members != last {
			written, last = written+1, seen.Status.Members
		}
	}
	if most := 3 + int(took.Seconds()); written > most {
		t.Errorf("%d counts were written within %v, want %d at most", written, took, most)
	}
}

// The reaper takes what crashed requests left of groups, and nothing else.
func TestGroupReaper(t *testing.T) {
	w := newStoppedWorld(t, nil)
	live, err := client.New(w.config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{"ada", "bob", "cyd"}
	effective := w.push("effective", 0, ids...)
	leftover := w.newGroup("leftover", membership.InlineLimit)
	w.create(leftover)
	crashed := w.newGroup("crashed flip", 0, ids...) // its shards, and no Group that names them
	gone := w.newGroup("gone", membership.InlineLimit)
	w.claimGroup(gone)
	former := w.push("former", 0, ids...) // inline again, with its shards still there
	formerEpoch := former.Spec.Sharding.Epoch
	update(w, former, func(g *v1alpha1.Group) { g.Spec.Sharding = nil })

	shards := func(g *v1alpha1.Group, epoch string) int {
		var list v1alpha1.MemberShardList
		err := env.Client.List(w.ctx, &list, client.InNamespace(w.namespace),
			client.MatchingLabels{v1alpha1.LabelGroup: g.Name, v1alpha1.LabelEpoch: epoch})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	there := func(object client.Object) bool {
		err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(object), object)
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		return !apierrors.IsNotFound(err)
	}
	// Others deleted the claim of a group, which had been found to have its name, while no controller watched.
	effective.Status.ReservedKey = effective.Spec.DisplayNameKey
	meta.SetStatusCondition(&effective.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionNameReserved, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonNameReserved,
	})
	if err := env.Client.Status().Update(w.ctx, effective); err != nil {
		t.Fatal(err)
	}
	w.delete(&v1alpha1.NameClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.namespace, Name: claims.Name(w.app.Name, v1alpha1.ClaimDisplayName, effective.Spec.DisplayNameKey),
	}})
	reaper := &group.Reaper{Reconciler: &group.Reconciler{Client: live, Live: live}, Namespaces: []string{w.namespace}}
	if err := reaper.Sweep(w.ctx, time.Hour); err != nil {
		t.Fatal(err)
	}
	if !there(leftover) || shards(crashed, crashed.Spec.Sharding.Epoch) == 0 || shards(former, formerEpoch) == 0 {
		t.Error("reaped before its time")
	}
	time.Sleep(1100 * time.Millisecond) // creation times have whole seconds
	if err := reaper.Sweep(w.ctx, time.Second); err != nil {
		t.Fatal(err)
	}
	if !there(effective) || there(leftover) || !there(former) {
		t.Error("the wrong groups are left")
	}
	if shards(effective, effective.Spec.Sharding.Epoch) == 0 || shards(crashed, crashed.Spec.Sharding.Epoch) != 0 || shards(former, formerEpoch) != 0 {
		t.Error("the wrong shards are left")
	}
	for key, want := range map[string]bool{"effective": true, "gone": false, "former": true} {
		claim := &v1alpha1.NameClaim{ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: claims.Name(w.app.Name, v1alpha1.ClaimDisplayName, key),
		}}
		if there(claim) != want {
			t.Errorf("the claim of %s is there: %v", key, !want)
		}
	}
}
