package faults_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// groupNames are what groups are called at times: some of them earn roles, in whatever case they are written.
var groupNames = [][]string{
	{"Crowd", "crowd of old", "CROWD"},
	{"Writers", "writers", "Poets"},
	{"Owners", "OWNERS", "Former owners"},
	{"On call", "Off duty"},
}

// chaosGroup is one pushed group. No person of limited means is ever in the group of the owners.
type chaosGroup struct {
	okta.PushedGroup
	names  []string
	pushed bool
	// sometimes are people that join and leave it; always stay unless the group is emptied.
	sometimes, always []okta.GroupMember
}

// makeGroups makes the groups that Okta pushes.
func (c *chaos) makeGroups() {
	big, held := c.apps[large], c.apps[guarded]
	for _, names := range groupNames {
		group := &chaosGroup{names: names, sometimes: c.crowd[:40]}
		group.Name = names[0]
		big.groups = append(big.groups, group)
	}
	big.groups[0].always, big.groups[0].sometimes = c.crowd[40:], slices.Concat(c.crowd[:40], c.strays)
	big.groups[2].sometimes = c.free
	for _, i := range []int{0, 1, 3} {
		group := &chaosGroup{names: groupNames[i], sometimes: c.guarded}
		group.Name = groupNames[i][0]
		held.groups = append(held.groups, group)
	}
}

// pushGroups plays Okta's group push until ctx ends.
func (c *chaos) pushGroups(ctx context.Context, random *rand.Rand, app *chaosApp) {
	for ctx.Err() == nil {
		group, scim := app.groups[random.IntN(len(app.groups))], app.clients[random.IntN(2)]
		app.open.RLock()
		err := c.push(random, group, scim)
		app.open.RUnlock()
		if err != nil {
			c.t.Error(err)
			return
		}
		if !c.outgrown(app, app.groups[0]) {
			return
		}
		pause(ctx, between(random, 0, 150*time.Millisecond))
	}
}

// push does one thing to one group.
func (c *chaos) push(random *rand.Rand, group *chaosGroup, scim *okta.Client) error {
	ctx := c.t.Context()
	if !group.pushed {
		group.Members = append(slices.Clone(group.always), some(random, group.sometimes)...)
		err := c.patiently(func() error { _, err := scim.PushGroup(ctx, &group.PushedGroup); return err })
		if err == nil {
			group.pushed = true
			c.count("group pushed")
		}
		return err
	}
	chance := random.IntN(100)
	switch {
	case chance < 20:
		name := group.names[random.IntN(len(group.names))]
		c.count("group renamed")
		return c.patiently(func() error { _, err := scim.RenameGroup(ctx, &group.PushedGroup, name); return err })
	case chance < 30:
		c.count("group emptied")
		group.Members = nil
		return c.patiently(func() error { _, err := scim.PushNow(ctx, &group.PushedGroup); return err })
	case chance < 37:
		group.pushed = false
		c.count("group deleted")
		return c.patiently(func() error { _, err := scim.DeleteGroup(ctx, &group.PushedGroup); return err })
	case chance < 45:
		// An external id of the group names it, too, whatever it is called.
		id := []string{"", "00g-writers", "00g-owners"}[random.IntN(3)]
		if id == "00g-owners" && &group.names[0] != &groupNames[2][0] {
			id = "00g-others"
		}
		return c.patiently(func() error {
			answer, err := scim.Do(ctx, http.MethodPatch, "/Groups/"+group.ID, okta.PatchBody(okta.ObjectOf("op", "replace", "value", okta.ObjectOf("externalId", id))))
			if err == nil {
				err = answer.ExpectStatus(http.StatusOK, http.StatusNoContent)
			}
			return err
		})
	}
	c.count("members changed")
	wanted := append(slices.Clone(group.always), some(random, group.sometimes)...)
	leave, join := without(group.Members, wanted), without(wanted, group.Members)
	before := group.Members
	return c.patiently(func() error {
		group.Members = before
		_, err := scim.ChangeMembers(ctx, &group.PushedGroup, leave, join)
		return err
	})
}

// some chooses half of the people, more or less.
func some(random *rand.Rand, members []okta.GroupMember) []okta.GroupMember {
	chosen := slices.Clone(members)
	random.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	return chosen[:random.IntN(len(chosen)+1)]
}

func without(members, others []okta.GroupMember) []okta.GroupMember {
	var rest []okta.GroupMember
	for _, member := range members {
		if !slices.Contains(others, member) {
			rest = append(rest, member)
		}
	}
	return rest
}

// outgrown notes when the group is in shards. It says whether the group could be read.
func (c *chaos) outgrown(app *chaosApp, group *chaosGroup) bool {
	if !group.pushed {
		return true
	}
	object := &v1alpha1.Group{}
	if err := c.client.Get(c.t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: group.ID}, object); err != nil {
		c.t.Errorf("a group that was acknowledged is not there: %v", err)
		return false
	}
	if object.Spec.Sharding != nil {
		c.count("group outgrew its object")
	}
	return true
}
