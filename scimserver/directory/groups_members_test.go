package directory

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

func TestUnknownMembersAreLeftOut(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d, other := replica(t, app), replica(t, app)
	ids := people(t, d, app, 2)
	elsewhere := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: "desk"}}
	if err := env.Client.Create(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	stranger := mustCreate(t, d, elsewhere, person("stranger"))
	unknown := []string{"Not An Id", "nobody-aaaaaaaaaa", stranger.Name}
	// A replica that has not seen the users yet asks for them.
	late, err := newDirectory(other.Users.live)
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*Directory{"a": d, "b": other, "c": late} {
		group := mustCreateGroup(t, d, app, name, slices.Concat(ids, unknown)...)
		wantMembers(t, d, app, group.Name, slices.Clone(ids)...)
		if note := group.Annotations[v1alpha1.AnnotationUnknownMembers]; note != `{"count":3,"ids":["Not An Id","nobody-aaaaaaaaaa","`+stranger.Name+`"]}` {
			t.Errorf("%s: noted %s", name, note)
		}
		before := read(t, d, app, group.Name)
		// One more unknown is noted; clients see no change.
		updated, changed, err := d.Groups.Update(t.Context(), app, group.Name, nil, addMembers("nobody-bbbbbbbbbb", ids[0]))
		if err != nil || changed || updated.Generation != before.Generation || !updated.Spec.LastModified.Equal(before.Spec.LastModified) {
			t.Errorf("%s: changed %v, %v", name, changed, err)
		}
		if note := updated.Annotations[v1alpha1.AnnotationUnknownMembers]; note != `{"count":1,"ids":["nobody-bbbbbbbbbb"]}` {
			t.Errorf("%s: noted %s", name, note)
		}
		if updated, _, err = d.Groups.Update(t.Context(), app, group.Name, nil, replaceAll(ids...)); err != nil || updated.Annotations[v1alpha1.AnnotationUnknownMembers] != "" {
			t.Errorf("%s: a full push left the note %v, %v", name, updated.Annotations, err)
		}
	}
	// More than are read one by one.
	many := make([]string, readOneByOne+1)
	for i := range many {
		many[i] = fmt.Sprintf("nobody-%d", i)
	}
	group := mustCreateGroup(t, late, app, "many", slices.Concat(many, ids)...)
	wantMembers(t, d, app, group.Name, slices.Clone(ids)...)
}

// TestMembersAreUsers shows that inactive users stay members, and that deleted ones are not shown.
func TestMembersAreUsers(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	ids := people(t, d, app, 3)
	group := mustCreateGroup(t, d, app, "staff", ids...)
	if _, err := d.Users.Update(t.Context(), app, ids[0], setting("active", false)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Users.Delete(t.Context(), app, ids[1], 0); err != nil {
		t.Fatal(err)
	}
	wantMembers(t, d, app, group.Name, ids[0], ids[2])
	if refs := d.Users.GroupsOf(app, ids[1]); refs != nil {
		t.Errorf("a deleted user is in %v", refs)
	}
	if got := idsOf(d.Groups.CachedMembers(group)); !slices.Equal(got, []string{ids[0], ids[2]}) {
		t.Errorf("members in memory %v", got)
	}
}

func TestConditionsOnGroups(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d, other := replica(t, app), replica(t, app)
	ids := people(t, d, app, 12)
	is := func(version string) Precondition { return Precondition{Match: protocol.ParseETags(version)} }
	stale := func(err error) bool {
		var problem *protocol.Error
		return errors.As(err, &problem) && problem.Status == 412
	}
	now := func(id string) string {
		group := read(t, d, app, id)
		members, err := d.Groups.Members(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		return GroupMetaWith(group, "", members).Version
	}
	for name, limit := range map[string]int{"inline": 500, "sharded": 0} {
		d.members.inlineLimit, other.members.inlineLimit = limit, limit
		group := mustCreateGroup(t, d, app, name, ids[:2]...)
		version := now(group.Name)
		// Of many requests with the same version, one may write.
		var clients sync.WaitGroup
		wins := make(chan string, 10)
		for i := range 10 {
			clients.Go(func() {
				_, _, err := []*Directory{d, other}[i%2].Groups.Update(t.Context(), app, group.Name, nil, addMembers(ids[2+i]), is(version))
				switch {
				case err == nil:
					wins <- ids[2+i]
				case !stale(err):
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		clients.Wait()
		if len(wins) != 1 {
			t.Fatalf("%s: %d writers had the version", name, len(wins))
		}
		wantMembers(t, d, app, group.Name, ids[0], ids[1], <-wins)
		if _, _, err := d.Groups.Update(t.Context(), app, group.Name, setting("displayName", "x"+name), MembersChange{}, is(version)); !stale(err) {
			t.Errorf("%s: renamed on a stale version: %v", name, err)
		}
		if err := d.Groups.Delete(t.Context(), app, group.Name, is(version)); !stale(err) {
			t.Errorf("%s: deleted on a stale version: %v", name, err)
		}
		version = now(group.Name)
		if _, _, err := d.Groups.Update(t.Context(), app, group.Name, setting("displayName", "x"+name), addMembers(ids...), is(version)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantMembers(t, d, app, group.Name, slices.Clone(ids)...)
	}
}
