package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// patched is how many users the PATCHes take in turn; all of them are in each group that is measured.
const patched = 100

// patched is the user of the i-th PATCH.
func (t *tenant) patched(i int) string {
	return t.members[(t.firstGrouped()+i/2%patched)%len(t.members)].id
}

// firstGrouped is the index of the first member of the groups that are measured: half-way, so that the users of the first
// pages, and of the last, are in as many groups as any.
func (t *tenant) firstGrouped() int { return len(t.members) / 2 }

// makeGroups creates an App's groups: three of the sizes that are measured, and many small ones. Members are spread over all
// users.
func (d *largeDirectory) makeGroups(ctx context.Context, t *tenant, groups int) error {
	sizes := d.plan.groupSizesWithin(len(t.members))
	for len(sizes) < groups {
		sizes = append(sizes, d.plan.groupMembers)
	}
	next := 0
	for i, size := range sizes {
		first := next
		if i < len(d.plan.groupSizes) {
			first = t.firstGrouped()
		} else {
			next += size
		}
		members := make([]string, size)
		for j := range members {
			members[j] = t.members[(first+j)%len(t.members)].id
		}
		d.progress.sayOften("creating group %d of %d in App %s", i+1, len(sizes), t.app)
		id, err := t.scim.createGroup(ctx, fmt.Sprintf("Group %04d", i), members)
		if err != nil {
			return fmt.Errorf("creating a group of %d: %w", size, err)
		}
		if _, known := d.groups[size]; !known && t == d.large {
			d.groups[size] = id
		}
	}
	return nil
}

// groupSizesWithin cuts the sizes to what so many users make.
func (p plan) groupSizesWithin(users int) []int {
	sizes := make([]int, len(p.groupSizes))
	for i, size := range p.groupSizes {
		sizes[i] = min(size, users)
	}
	return sizes
}

// measurePatches takes members out of groups and puts them back, one a request.
func (d *largeDirectory) measurePatches(ctx context.Context) error {
	sizes := d.plan.groupSizesWithin(len(d.large.members))
	patch := func(size int) side {
		return side{name: fmt.Sprintf("group of %d", size), prepare: func(n int) (operation, error) {
			bodies, err := d.patches(n)
			return func(ctx context.Context, i int) error {
				answer, err := d.large.scim.do(ctx, http.MethodPatch, "/Groups/"+d.groups[size], bodies[i])
				if err != nil {
					return err
				}
				return answer.expect(http.StatusNoContent)
			}, err
		}}
	}
	n := max(1, d.plan.reads/200) * 10 // even in the short round, too: a user that was removed comes back
	comparisons := []comparison{{
		name: benchmarkLargePatch(d.plan.groupSizes[0]), title: fmt.Sprintf("PATCH of one member, group of %d : bare read and write of it", sizes[0]),
		subject: patch(sizes[0]), baseline: side{name: "bare read and write", prepare: d.bareChanges(d.groups[sizes[0]])}, n: n, concurrency: 1,
	}}
	for i, size := range sizes[1:] {
		comparisons = append(comparisons, comparison{
			name: benchmarkLargePatch(d.plan.groupSizes[i+1]), title: fmt.Sprintf("the same, group of %d : of %d", size, sizes[0]),
			subject: patch(size), baseline: patch(sizes[0]), n: n, concurrency: 1,
		})
	}
	return d.compareEach(ctx, comparisons)
}

// patches take one of the users in all three groups out of one, and put them back, in turns.
func (d *largeDirectory) patches(n int) ([][]byte, error) {
	bodies := make([][]byte, n)
	for i := range bodies {
		id := d.large.patched(i)
		operation := map[string]any{"op": "remove", "path": `members[value eq "` + id + `"]`}
		if i%2 == 1 {
			operation = map[string]any{"op": "add", "path": "members", "value": []any{map[string]string{"value": id}}}
		}
		var err error
		if bodies[i], err = json.Marshal(map[string]any{
			"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": []any{operation},
		}); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

// bareChanges does the same to an inline group as a client of the API server would: it reads the group and writes it.
func (d *largeDirectory) bareChanges(id string) func(int) (operation, error) {
	return func(int) (operation, error) {
		return func(ctx context.Context, i int) error {
			group := &v1alpha1.Group{}
			if err := d.bare.Get(ctx, d.key(id), group); err != nil {
				return err
			}
			somebody := d.large.patched(i)
			at, found := slices.BinarySearch(group.Spec.Members, somebody)
			if found != (i%2 == 0) {
				return fmt.Errorf("%s is a member: %t", somebody, found)
			}
			if found {
				group.Spec.Members = slices.Delete(group.Spec.Members, at, at+1)
			} else {
				group.Spec.Members = slices.Insert(group.Spec.Members, at, somebody)
			}
			return d.bare.Update(ctx, group)
		}, nil
	}
}
