package directory

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

func team(displayName string, members ...string) protocol.GroupResource {
	return protocol.GroupResource{
		Attributes: protocol.Resource{Attributes: map[string]any{"displayName": displayName}},
		Members:    members, MembersSet: true,
	}
}

// people makes users, one after the other.
func people(t testing.TB, d *Directory, app *v1alpha1.App, count int) []string {
	t.Helper()
	ids := make([]string, count)
	var clients sync.WaitGroup
	for worker := range 8 {
		clients.Go(func() {
			for i := worker; i < count; i += 8 {
				user, _, err := d.Users.Create(t.Context(), app, person(fmt.Sprintf("person%d", i)))
				if err != nil {
					t.Errorf("create: %v", err)
					return
				}
				ids[i] = user.Name
			}
		})
	}
	clients.Wait()
	if t.Failed() {
		t.FailNow()
	}
	slices.Sort(ids)
	return ids
}

func mustCreateGroup(t testing.TB, d *Directory, app *v1alpha1.App, displayName string, members ...string) *v1alpha1.Group {
	t.Helper()
	group, err := d.Groups.Create(t.Context(), app, team(displayName, members...))
	if err != nil {
		t.Fatalf("create group: %v", err)
	}
	return group
}

func replaceAll(ids ...string) MembersChange {
	return MembersChange{Delta: protocol.MembershipDelta{ReplaceAll: true, Add: ids}}
}

func addMembers(ids ...string) MembersChange {
	return MembersChange{Delta: protocol.MembershipDelta{Add: ids}}
}

func removeMembers(ids ...string) MembersChange {
	return MembersChange{Delta: protocol.MembershipDelta{Remove: ids}}
}

// memberIDs reads the members from the API server, as a GET does.
func memberIDs(t testing.TB, d *Directory, app *v1alpha1.App, id string) []string {
	t.Helper()
	group, err := d.Groups.Get(t.Context(), app, id)
	if err != nil {
		t.Fatal(err)
	}
	members, err := d.Groups.Members(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	return idsOf(members)
}

func idsOf(members []protocol.Member) []string {
	ids := make([]string, len(members))
	for i, member := range members {
		ids[i] = member.ID
	}
	return ids
}

func wantMembers(t testing.TB, d *Directory, app *v1alpha1.App, id string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := memberIDs(t, d, app, id); !slices.Equal(got, want) {
		t.Fatalf("%d members %.200q, want %d %.200q", len(got), got, len(want), want)
	}
}

func TestGroupLife(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	ids := people(t, d, app, 3)
	group, err := d.Groups.Create(t.Context(), app, protocol.GroupResource{
		Attributes: protocol.Resource{Attributes: map[string]any{
			"displayName": "Platform Admins", "externalId": "00g1", "costCenter": "77",
			"urn:example:ext:2.0:Group": map[string]any{"floor": "3"},
		}},
		Members: []string{ids[1], ids[0], ids[1]}, MembersSet: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	read, err := d.Groups.Get(t.Context(), app, group.Name)
	if err != nil {
		t.Fatal(err)
	}
	resource, err := GroupAttributes(read)
	if err != nil {
		t.Fatal(err)
	}
	extension, _ := resource.Attributes["urn:example:ext:2.0:Group"].(map[string]any)
	if resource.Attributes["displayName"] != "Platform Admins" || resource.Attributes["externalId"] != "00g1" ||
		resource.Attributes["costCenter"] != "77" || extension["floor"] != "3" || len(resource.Attributes) != 4 {
		t.Errorf("read %v", resource.Attributes)
	}
	wantMembers(t, d, app, group.Name, ids[0], ids[1])
	members, err := d.Groups.Members(t.Context(), read)
	if err != nil || members[0].Display == "" {
		t.Errorf("members %v, %v", members, err)
	}
	for _, id := range ids[:2] {
		if refs := d.Users.GroupsOf(app, id); len(refs) != 1 || refs[0] != (GroupRef{ID: group.Name, Display: "Platform Admins"}) {
			t.Errorf("%s is in %v", id, refs)
		}
	}
	if refs := d.Users.GroupsOf(app, ids[2]); refs != nil {
		t.Errorf("a stranger is in %v", refs)
	}

	if err := d.Groups.Delete(t.Context(), app, group.Name); err != nil {
		t.Fatal(err)
	}
	_, err = d.Groups.Get(t.Context(), app, group.Name)
	wantStatus(t, err, 404)
	wantStatus(t, d.Groups.Delete(t.Context(), app, group.Name), 404)
	_, _, err = d.Groups.Update(t.Context(), app, group.Name, nil, addMembers(ids[2]))
	wantStatus(t, err, 404)
	if refs := d.Users.GroupsOf(app, ids[0]); refs != nil {
		t.Errorf("after the deletion still in %v", refs)
	}
	if _, total := d.Groups.Page(app, 1, 10); total != 0 {
		t.Errorf("%d groups are listed after the deletion", total)
	}
	mustCreateGroup(t, d, app, "PLATFORM admins")
}

func TestGroupNames(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d, other := replica(t, app), replica(t, app)
	first := mustCreateGroup(t, d, app, "Staff")
	second := mustCreateGroup(t, other, app, "Guests")
	_, err := other.Groups.Create(t.Context(), app, team("STAFF"))
	wantStatus(t, err, 409)
	if problem := problemOf(err); problem.ScimType != "uniqueness" {
		t.Errorf("scimType %q", problem.ScimType)
	}

	// Its own name is no conflict, in whatever case, and the name of another is one.
	for _, name := range []string{"Staff", "sTAFF"} {
		group, _, err := other.Groups.Update(t.Context(), app, first.Name, setting("displayName", name), MembersChange{})
		if err != nil || group.Spec.DisplayName != name {
			t.Fatalf("rename to its own name: %v", err)
		}
	}
	_, _, err = d.Groups.Update(t.Context(), app, second.Name, setting("displayName", "staff"), MembersChange{})
	wantStatus(t, err, 409)

	renamed, changed, err := d.Groups.Update(t.Context(), app, first.Name, setting("displayName", "Crew"), MembersChange{})
	if err != nil || !changed || renamed.Spec.DisplayName != "Crew" || renamed.Name != first.Name {
		t.Fatalf("renamed: %v %v", changed, err)
	}
	for _, d := range []*Directory{d, other} {
		found, err := d.Groups.FindByName(t.Context(), app, "crew")
		if err != nil || len(found) != 1 || found[0].Name != first.Name {
			t.Errorf("found %v, %v", found, err)
		}
		if found, err = d.Groups.FindByName(t.Context(), app, "staff"); err != nil || len(found) != 0 {
			t.Errorf("found by the old name %v, %v", found, err)
		}
	}
	mustCreateGroup(t, other, app, "staff")
	_, _, err = d.Groups.Update(t.Context(), app, first.Name, setting("displayName", ""), MembersChange{})
	wantStatus(t, err, 400)

	// A user and a group may have one name; so may groups of two Apps.
	mustCreate(t, d, app, person("crew"))
	elsewhere := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: "desk"}}
	if err := env.Client.Create(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	mustCreateGroup(t, d, elsewhere, "crew")
	_, err = d.Groups.Get(t.Context(), elsewhere, first.Name)
	wantStatus(t, err, 404)
}

// TestMemberDeltas runs every shape of a change on an inline group, on one in shards, and on one that crosses.
func TestMemberDeltas(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	ids := people(t, d, app, 60)
	for name, limit := range map[string]int{"inline": 500, "sharded": 0, "crossing": 20} {
		t.Run(name, func(t *testing.T) {
			d.members.inlineLimit = limit
			group := mustCreateGroup(t, d, app, name, ids[:10]...)
			version := func() string { return d.Groups.Meta(read(t, d, app, group.Name), "").Version }
			step := func(what string, change MembersChange, changes bool, want ...string) {
				t.Helper()
				before := version()
				_, changed, err := d.Groups.Update(t.Context(), app, group.Name, nil, change)
				if err != nil || changed != changes || (version() != before) != changes {
					t.Fatalf("%s: changed %v, version from %s to %s, %v", what, changed, before, version(), err)
				}
				wantMembers(t, d, app, group.Name, slices.Clone(want)...)
				if got := idsOf(d.Groups.CachedMembers(read(t, d, app, group.Name))); !slices.Equal(got, memberIDs(t, d, app, group.Name)) {
					t.Fatalf("%s: in memory %v", what, got)
				}
			}
			step("nothing", MembersChange{}, false, ids[:10]...)
			step("add one", addMembers(ids[10]), true, ids[:11]...)
			step("add it again", addMembers(ids[10], ids[3]), false, ids[:11]...)
			step("remove a stranger", removeMembers(ids[50], "nobody"), false, ids[:11]...)
			step("add many", addMembers(ids...), true, ids...)
			step("replace by the same", replaceAll(ids...), false, ids...)
			step("remove some", removeMembers(ids[30:]...), true, ids[:30]...)
			step("both", MembersChange{Delta: protocol.MembershipDelta{Add: ids[55:], Remove: ids[:5]}}, true,
				slices.Concat(ids[5:30], ids[55:])...)
			step("by a filter", MembersChange{Resolve: func(current, _ iter.Seq[protocol.Member]) (delta protocol.MembershipDelta) {
				for member := range current {
					if member.ID < ids[20] {
						delta.Remove = append(delta.Remove, member.ID)
					}
				}
				return delta
			}}, true, slices.Concat(ids[20:30], ids[55:])...)
			step("replace", replaceAll(ids[40:45]...), true, ids[40:45]...)
			step("replace by none", replaceAll(), true)
			step("replace none by none", replaceAll(), false)
			step("add after that", addMembers(ids[0]), true, ids[0])

			// Attributes and members in one request; attributes that stay as they are.
			_, changed, err := d.Groups.Update(t.Context(), app, group.Name, setting("displayName", name), addMembers(ids[0]))
			if err != nil || changed {
				t.Errorf("its own name and its own member: %v %v", changed, err)
			}
			updated, changed, err := d.Groups.Update(t.Context(), app, group.Name, setting("displayName", name+" two"), addMembers(ids[1]))
			if err != nil || !changed || updated.Spec.DisplayName != name+" two" {
				t.Errorf("rename and add: %v %v", changed, err)
			}
			wantMembers(t, d, app, group.Name, ids[0], ids[1])
			// A request that is refused has no effect on members either.
			mustCreateGroup(t, d, app, name+" three")
			_, _, err = d.Groups.Update(t.Context(), app, group.Name, setting("displayName", name+" three"), replaceAll(ids[2]))
			wantStatus(t, err, 409)
			_, _, err = d.Groups.Update(t.Context(), app, group.Name, setting("displayName", nil), replaceAll(ids[2]))
			wantStatus(t, err, 400)
			wantMembers(t, d, app, group.Name, ids[0], ids[1])
			epoch := "none"
			if sharding := read(t, d, app, group.Name).Spec.Sharding; sharding != nil {
				epoch = sharding.Epoch
			}
			if err := d.Groups.Delete(t.Context(), app, group.Name); err != nil {
				t.Fatal(err)
			}
			var shards v1alpha1.MemberShardList
			err = env.Client.List(t.Context(), &shards, client.InNamespace(app.Namespace), client.MatchingLabels{v1alpha1.LabelGroup: group.Name, v1alpha1.LabelEpoch: epoch})
			if err != nil || len(shards.Items) > 0 {
				t.Errorf("%d shards are left (%v)", len(shards.Items), err)
			}
		})
	}
}

func read(t testing.TB, d *Directory, app *v1alpha1.App, id string) *v1alpha1.Group {
	t.Helper()
	group, err := d.Groups.Get(t.Context(), app, id)
	if err != nil {
		t.Fatal(err)
	}
	return group
}

func TestGroupLeftoversStayUnseen(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	ids := people(t, d, app, 1)
	leftover, err := d.Groups.newGroup(app, team("Staff").Attributes)
	if err != nil {
		t.Fatal(err)
	}
	leftover.Spec.Members = ids
	if err := env.Client.Create(t.Context(), leftover); err != nil {
		t.Fatal(err)
	}
	_, err = d.Groups.Get(t.Context(), app, leftover.Name)
	wantStatus(t, err, 404)
	_, _, err = d.Groups.Update(t.Context(), app, leftover.Name, nil, removeMembers(ids...))
	wantStatus(t, err, 404)
	group := mustCreateGroup(t, d, app, "STAFF")
	eventually(t, "the model knows both", func() bool {
		return d.Groups.model.get(nameOf(leftover)) != nil && d.Groups.model.get(nameOf(group)) != nil
	})
	if _, total := d.Groups.Page(app, 1, 10); total != 1 {
		t.Errorf("%d groups are listed", total)
	}
	if refs := d.Users.GroupsOf(app, ids[0]); refs != nil {
		t.Errorf("member of %v", refs)
	}
	protocol := claims.ForGroups(env.Client, app.Namespace)
	if reaped, err := protocol.Reap(context.Background(), leftover.Name, 0); !reaped || err != nil {
		t.Errorf("not reaped: %v, %v", reaped, err)
	}
	if reaped, err := protocol.Reap(context.Background(), group.Name, 0); reaped || err != nil {
		t.Errorf("an effective group was reaped: %v, %v", reaped, err)
	}
}

// TestGroupWithALongName is one that people wrote: its name fits no label, so that its shards are read one by one.
func TestGroupWithALongName(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	d.members.inlineLimit = 4
	ids := people(t, d, app, 10)
	group := &v1alpha1.Group{Spec: v1alpha1.GroupSpec{App: app.Name, DisplayName: "Staff", DisplayNameKey: "staff", Members: []string{ids[3], ids[1]}}}
	group.Namespace, group.Name = app.Namespace, strings.Repeat("staff-", 15)+"1"
	if err := env.Client.Create(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if ensured, err := claims.ForGroups(env.Client, app.Namespace).Ensure(t.Context(), group.Name); !ensured || err != nil {
		t.Fatal(ensured, err)
	}
	wantMembers(t, d, app, group.Name, ids[1], ids[3])
	for _, step := range []struct {
		change MembersChange
		want   []string
	}{{addMembers(ids...), ids}, {removeMembers(ids[2:4]...), slices.Concat(ids[:2], ids[4:])}, {replaceAll(ids[5:]...), ids[5:]}} {
		if _, changed, err := d.Groups.Update(t.Context(), app, group.Name, nil, step.change); err != nil || !changed {
			t.Fatal(changed, err)
		}
		wantMembers(t, d, app, group.Name, slices.Clone(step.want)...)
	}
	if err := d.Groups.Delete(t.Context(), app, group.Name); err != nil {
		t.Fatal(err)
	}
	var shards v1alpha1.MemberShardList
	if err := env.Client.List(t.Context(), &shards, client.InNamespace(app.Namespace)); err != nil || len(shards.Items) != 0 {
		t.Errorf("%d shards are left (%v)", len(shards.Items), err)
	}
}
