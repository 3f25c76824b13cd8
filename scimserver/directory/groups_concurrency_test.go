package directory

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// patiently makes a change again as long as the directory asks for that.
func patiently(t testing.TB, change func() error) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		err := change()
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) || time.Now().After(end) {
			if err != nil {
				t.Errorf("change: %v", err)
			}
			return
		}
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
	}
}

// TestPatchesAcrossTheFlip has two replicas add and remove members of one group, which grows past the inline limit and
// shrinks again, while a third renames it. Each client has members of its own, so that it knows what must be there.
func TestPatchesAcrossTheFlip(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	replicas := []*Directory{replica(t, app), replica(t, app), replica(t, app)}
	for _, d := range replicas {
		d.members.inlineLimit = 40
	}
	const writers, each, rounds = 8, 12, 25
	ids := people(t, replicas[0], app, writers*each)
	group := mustCreateGroup(t, replicas[0], app, "Staff")
	var clients, renamer sync.WaitGroup
	var done atomic.Bool
	names := 0
	renamer.Go(func() {
		for ; !done.Load(); names++ {
			patiently(t, func() error {
				_, _, err := replicas[2].Groups.Update(t.Context(), app, group.Name, setting("displayName", fmt.Sprint("Staff ", names)), MembersChange{})
				return err
			})
		}
	})
	held := make([]map[string]bool, writers)
	for n := range writers {
		own := ids[n*each : (n+1)*each]
		held[n] = map[string]bool{}
		clients.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 7))
			for round := range rounds {
				var delta protocol.MembershipDelta
				for _, id := range own {
					switch fate := random.IntN(4); {
					case fate == 0, round < rounds/2 && fate == 1:
						delta.Add = append(delta.Add, id)
						held[n][id] = true
					case fate == 2:
						delta.Remove = append(delta.Remove, id)
						delete(held[n], id)
					}
				}
				patiently(t, func() error {
					_, _, err := replicas[n%2].Groups.Update(t.Context(), app, group.Name, nil, MembersChange{Delta: delta})
					return err
				})
				// What is acknowledged is there at once, on another replica too.
				found := memberIDs(t, replicas[(n+1)%2], app, group.Name)
				for _, id := range own {
					if slices.Contains(found, id) != held[n][id] {
						t.Errorf("round %d: %s is a member: %v", round, id, !held[n][id])
					}
				}
			}
		})
	}
	clients.Wait()
	done.Store(true)
	renamer.Wait()

	var want []string
	for _, of := range held {
		for id := range of {
			want = append(want, id)
		}
	}
	final := read(t, replicas[0], app, group.Name)
	if final.Spec.Sharding == nil {
		t.Error("the group never flipped")
	}
	if final.Spec.DisplayName != fmt.Sprint("Staff ", names-1) {
		t.Errorf("named %s after %d renames", final.Spec.DisplayName, names)
	}
	t.Logf("%d renames, %d generations", names, final.Generation)
	for _, d := range replicas {
		wantMembers(t, d, app, group.Name, slices.Clone(want)...)
		eventually(t, "every replica has the members in memory", func() bool {
			slices.Sort(want)
			return slices.Equal(idsOf(d.Groups.CachedMembers(final)), want)
		})
	}
}

// TestChangesOfOneGroupAreWrittenTogether counts generations: fewer than requests.
func TestChangesOfOneGroupAreWrittenTogether(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	ids := people(t, d, app, 64)
	group := mustCreateGroup(t, d, app, "Staff")
	var clients sync.WaitGroup
	for _, id := range ids {
		clients.Go(func() {
			if _, _, err := d.Groups.Update(t.Context(), app, group.Name, nil, addMembers(id)); err != nil {
				t.Error(err)
			}
		})
	}
	// One refused request among them harms no other.
	clients.Go(func() {
		_, _, err := d.Groups.Update(t.Context(), app, group.Name, setting("displayName", nil), addMembers(ids...))
		wantStatus(t, err, 400)
	})
	clients.Wait()
	wantMembers(t, d, app, group.Name, slices.Clone(ids)...)
	if final := read(t, d, app, group.Name); final.Generation > 32 {
		t.Errorf("%d generations for 64 requests at once", final.Generation)
	}
}

func TestSameGroupNamesOverTwoReplicas(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	replicas := []*Directory{replica(t, app), replica(t, app)}
	var clients sync.WaitGroup
	var created atomic.Int64
	for n := range 16 {
		clients.Go(func() {
			_, err := replicas[n%2].Groups.Create(t.Context(), app, team([]string{"Staff", "sTAFF"}[n/8]))
			if err == nil {
				created.Add(1)
			} else if !expected(err) {
				t.Errorf("create: %v", err)
			}
		})
	}
	clients.Wait()
	if created.Load() != 1 {
		t.Errorf("%d groups were created under one name", created.Load())
	}
	for _, d := range replicas {
		eventually(t, "every replica lists it", func() bool { _, total := d.Groups.Page(app, 1, 10); return total == 1 })
	}
}
