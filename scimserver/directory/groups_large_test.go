package directory

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// remember puts users into the read model alone, as if the watch had told of them. A user that the read model knows need not
// be written.
func remember(t testing.TB, d *Directory, app *v1alpha1.App, count int) []string {
	t.Helper()
	ids := make([]string, count)
	for i := range ids {
		user, err := d.Users.newUser(app, person(fmt.Sprintf("person%d@example.com", i)))
		if err != nil {
			t.Fatal(err)
		}
		user.UID, user.ResourceVersion = types.UID(user.Name), "1"
		d.Users.model.put(newEntry(user), user.Spec.UserNameKey)
		ids[i] = user.Name
	}
	slices.Sort(ids)
	return ids
}

// requestLimit is what Okta waits for a change of a group.
const requestLimit = 60 * time.Second

// TestLargeGroup pushes 100,000 members, and prints what each kind of request takes.
func TestLargeGroup(t *testing.T) {
	const count = 100_000
	app := newApp(t)
	d := replica(t, app)
	ids := remember(t, d, app, count+1000)
	members, more := ids[:count], ids[count:]
	group := mustCreateGroup(t, d, app, "Everybody")
	timed := func(what string, request func() error) {
		t.Helper()
		begun := time.Now()
		if err := request(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		took := time.Since(begun)
		t.Logf("%-40s %v", what, took.Round(time.Millisecond))
		if took > requestLimit {
			t.Errorf("%s took %v", what, took)
		}
	}
	update := func(change MembersChange, changes bool) func() error {
		return func() error {
			_, changed, err := d.Groups.Update(t.Context(), app, group.Name, nil, change)
			if err == nil && changed != changes {
				err = fmt.Errorf("changed: %v", changed)
			}
			return err
		}
	}
	listed := func(want int) func() error {
		return func() error {
			group, err := d.Groups.Get(t.Context(), app, group.Name)
			if err != nil {
				return err
			}
			found, err := d.Groups.Members(t.Context(), group)
			if err == nil && len(found) != want {
				err = fmt.Errorf("%d members, want %d", len(found), want)
			}
			return err
		}
	}
	timed("PUT 100,000 into an empty group", update(replaceAll(members...), true))
	timed("GET with members", listed(count))
	timed("GET without members", func() error { _, err := d.Groups.Get(t.Context(), app, group.Name); return err })
	timed("PUT the same 100,000", update(replaceAll(members...), false))
	timed("PUT 100,000 with one other", update(replaceAll(append(slices.Clone(members[1:]), more[0])...), true))
	timed("PATCH one", update(addMembers(members[0]), true))
	timed("PATCH a present member", update(addMembers(members[0]), false))
	timed("PATCH 1,000", update(addMembers(more...), true))
	timed("PATCH 1,000 out", update(removeMembers(more...), true))
	timed("GET with members", listed(count))
	timed("find by a member", func() error {
		found, err := d.Groups.Find(t.Context(), app, groupFilter(t, d, `id eq "`+group.Name+`" and members eq "`+members[7]+`"`), baseURL)
		if err == nil && len(found) != 1 {
			err = fmt.Errorf("found %d", len(found))
		}
		return err
	})
	eventually(t, "the members are in memory", func() bool { return d.members.index.Count(nameOf(group)) == count })
	if refs := d.Users.GroupsOf(app, members[3]); len(refs) != 1 {
		t.Errorf("groups of a member: %v", refs)
	}
	checkSizes(t, app)
	timed("PUT one", update(replaceAll(members[0]), true))
	timed("PUT 100,000 again", update(replaceAll(members...), true))
	timed("DELETE", func() error { return d.Groups.Delete(t.Context(), app, group.Name) })
	timed("POST with 100,000", func() error {
		made, err := d.Groups.Create(t.Context(), app, protocol.GroupResource{
			Attributes: protocol.Resource{Attributes: map[string]any{"displayName": "everybody"}}, Members: members, MembersSet: true,
		})
		group = made
		return err
	})
	timed("GET with members", listed(count))
}

// checkSizes holds every object of a namespace against the bound on all of them.
func checkSizes(t testing.TB, app *v1alpha1.App) {
	t.Helper()
	var groups v1alpha1.GroupList
	var shards v1alpha1.MemberShardList
	for _, list := range []client.ObjectList{&groups, &shards} {
		if err := env.Client.List(t.Context(), list, client.InNamespace(app.Namespace)); err != nil {
			t.Fatal(err)
		}
	}
	largest := 0
	measure := func(object any) {
		body, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(body))
	}
	for i := range groups.Items {
		measure(&groups.Items[i])
	}
	for i := range shards.Items {
		measure(&shards.Items[i])
	}
	t.Logf("%d shards, the largest object has %d bytes", len(shards.Items), largest)
	if largest > 256<<10 || len(shards.Items) == 0 {
		t.Errorf("%d shards, the largest object has %d bytes", len(shards.Items), largest)
	}
}
