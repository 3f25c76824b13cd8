package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	// residents are in the group from its creation on, and never change. With them the group is just below the 500 members
	// that it has inline, so that the others carry it over the limit.
	residents = 470
	writers   = 6
	// owned is how many people each writer adds and removes; no other writer touches them.
	owned = 28
	// shared are people that all writers add or remove: half of them only comes, half only goes.
	shared = 8
	// season is how long one group is changed: each has its own moment at which it outgrows its object.
	season = 5 * time.Second
)

// raceFor is how long all seasons take together. FAULTS_GROUP_RACE, a duration such as 1m, makes it longer.
func raceFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("FAULTS_GROUP_RACE")
	if text == "" {
		return 4 * season
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("FAULTS_GROUP_RACE: %v", err)
	}
	return duration
}

// Two servers change the members of one group while a third party renames it, the group outgrows its object, and one server
// or the other is killed. Every change that was acknowledged is there in the end, and in every read in between.
func TestServersKilledWhileChangingMembers(t *testing.T) {
	random := dice(t)
	f := newFleet(t)
	ids := f.people(t, residents+writers*owned+shared)
	t.Run("the moment of outgrowing", func(t *testing.T) { f.outgrow(t, ids) })
	total := counts{}
	seasons := max(1, int(raceFor(t)/season))
	for range seasons {
		r := newMemberRace(t, f, ids, random)
		r.run()
		r.check()
		total.add(r.counts)
		if t.Failed() {
			break
		}
	}
	operator.NothingLargerThan(t, f.app, 256<<10)
	t.Logf("%d seasons: %+v", seasons, total)
	if total.Acknowledged == 0 || total.CutOff == 0 || total.Looks == 0 {
		t.Error("nothing was acknowledged, or cut off, or looked at: the test has tested nothing")
	}
}

type counts struct{ Acknowledged, CutOff, Busy, Looks, Renames, Kills int }

func (c *counts) add(other counts) {
	c.Acknowledged += other.Acknowledged
	c.CutOff += other.CutOff
	c.Busy += other.Busy
	c.Looks += other.Looks
	c.Renames += other.Renames
	c.Kills += other.Kills
}

// memberRace is one season of one group.
type memberRace struct {
	t         *testing.T
	fleet     *fleet
	random    *rand.Rand
	group     string
	residents []string
	coming    []string
	going     []string
	owned     [writers][]string

	mu     sync.Mutex
	counts counts
	// known says of each person of a writer whether they are a member. It has no entry for a person while their last change
	// is not acknowledged.
	known [writers]map[string]bool
	came  map[string]bool
}

func newMemberRace(t *testing.T, f *fleet, ids []string, random *rand.Rand) *memberRace {
	t.Helper()
	r := &memberRace{t: t, fleet: f, random: random, came: map[string]bool{}}
	r.residents, ids = ids[:residents], ids[residents:]
	r.coming, r.going, ids = ids[:shared/2], ids[shared/2:shared], ids[shared:]
	for writer := range writers {
		r.owned[writer], ids = ids[:owned], ids[owned:]
		r.known[writer] = map[string]bool{}
		for _, id := range r.owned[writer] {
			r.known[writer][id] = false
		}
	}
	group := &okta.PushedGroup{Name: fmt.Sprintf("season %d", people.Add(1))}
	for _, id := range slices.Concat(r.residents, r.going) {
		group.Members = append(group.Members, okta.GroupMember{ID: id, UserName: "member"})
	}
	if err := patiently(t.Context(), recovery, func() error { _, err := f.clients[0].PushGroup(t.Context(), group); return err }); err != nil {
		t.Fatal(err)
	}
	r.group = group.ID
	return r
}

func (r *memberRace) run() {
	ctx, cancel := context.WithTimeout(r.t.Context(), season)
	defer cancel()
	var wait sync.WaitGroup
	for writer := range writers {
		own := rand.New(rand.NewPCG(r.random.Uint64(), 0))
		wait.Go(func() {
			for ctx.Err() == nil {
				r.write(own, writer)
			}
		})
	}
	own := rand.New(rand.NewPCG(r.random.Uint64(), 0))
	wait.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			r.rename(own, fmt.Sprintf("%s renamed %d", r.group, i))
			pause(ctx, between(own, 10*time.Millisecond, 60*time.Millisecond))
		}
	})
	for ctx.Err() == nil {
		pause(ctx, between(r.random, 20*time.Millisecond, 1200*time.Millisecond))
		r.fleet.strike(r.t, r.random.IntN(2))
		r.counts.Kills++
	}
	wait.Wait()
}

// write makes one change of some of a writer's own people, and of the shared ones, and looks now and then.
func (r *memberRace) write(random *rand.Rand, writer int) {
	chosen := slices.Clone(r.owned[writer])
	random.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	chosen = chosen[:1+random.IntN(len(chosen)/2)]
	split := random.IntN(len(chosen) + 1)
	join, leave := chosen[:split], chosen[split:]
	var operations []okta.Object
	if random.IntN(2) == 0 {
		operations = append(operations, okta.ObjectOf("op", "remove", "path", "members", "value", values(slices.Concat(leave, r.going))))
	} else {
		for _, id := range slices.Concat(leave, r.going) {
			operations = append(operations, okta.ObjectOf("op", "remove", "path", "members["+okta.Equals("value", id)+"]"))
		}
	}
	operations = append(operations, okta.ObjectOf("op", "add", "path", "members", "value", values(slices.Concat(join, r.coming))))
	server := random.IntN(2)
	acknowledged := r.send(r.fleet.clients[server], http.MethodPatch, okta.PatchBody(operations...))
	r.mu.Lock()
	for _, id := range chosen {
		delete(r.known[writer], id)
		if acknowledged {
			r.known[writer][id] = slices.Contains(join, id)
		}
	}
	if acknowledged {
		for _, id := range r.coming {
			r.came[id] = true
		}
		for _, id := range r.going {
			r.came[id] = false
		}
	}
	r.mu.Unlock()
	if acknowledged && random.IntN(8) == 0 {
		r.look(r.fleet.clients[1-server], writer)
	}
}

func values(ids []string) []any {
	list := make([]any, len(ids))
	for i, id := range ids {
		list[i] = okta.ObjectOf("value", id)
	}
	return list
}

// send says whether a change was acknowledged. A server that is gone, or busy, may have made it, or a part of it.
func (r *memberRace) send(server *okta.Client, method string, body []byte) bool {
	ctx, cancel := context.WithTimeout(r.t.Context(), recovery)
	defer cancel()
	answer, err := server.Do(ctx, method, "/Groups/"+r.group, body)
	if err == nil {
		err = answer.ExpectStatus(http.StatusOK, http.StatusNoContent)
	}
	_, busy := tooManyRequests(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.counts.Acknowledged++
	case busy:
		r.counts.Busy++
	case answered(err):
		r.t.Error(err)
	default:
		r.counts.CutOff++
	}
	return err == nil
}

// rename gives the group another name, by PATCH or by a PUT that says nothing of members.
func (r *memberRace) rename(random *rand.Rand, name string) {
	method, body := http.MethodPatch, okta.PatchBody(okta.ObjectOf("op", "replace", "value", okta.ObjectOf("id", r.group, "displayName", name)))
	if random.IntN(2) == 0 {
		method, body = http.MethodPut, okta.ObjectOf("schemas", []any{okta.SchemaGroup}, "displayName", name).Encode()
	}
	if r.send(r.fleet.clients[random.IntN(2)], method, body) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.counts.Renames++
	}
}

// look reads the group in the midst of it: only this writer has touched its own people.
func (r *memberRace) look(server *okta.Client, writer int) {
	answer, err := server.Do(r.t.Context(), http.MethodGet, "/Groups/"+r.group, nil)
	if err == nil {
		err = answer.ExpectGroup()
	}
	if err != nil {
		if answered(err) {
			r.t.Error(err)
		}
		return
	}
	members := setOf(answer.Members())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Looks++
	r.compare("in the midst", members, writer)
}

func setOf(ids []string) map[string]bool {
	set := map[string]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// compare holds the members against what is known of residents, shared people and one writer's people.
func (r *memberRace) compare(when string, members map[string]bool, writer int) {
	var lost, kept []string
	expect := func(id string, member bool) {
		switch {
		case member && !members[id]:
			lost = append(lost, id)
		case !member && members[id]:
			kept = append(kept, id)
		}
	}
	for _, id := range r.residents {
		expect(id, true)
	}
	for id, member := range r.came {
		expect(id, member)
	}
	for id, member := range r.known[writer] {
		expect(id, member)
	}
	if len(lost)+len(kept) > 0 {
		r.t.Errorf("%s: of writer %d, %d acknowledged members are lost: %.300q; %d acknowledged removals are undone: %.300q",
			when, writer, len(lost), lost, len(kept), kept)
	}
}

// check compares all sources in the end: each server, live and from memory, and the Group itself.
func (r *memberRace) check() {
	r.t.Helper()
	final := fmt.Sprintf("%s in the end", r.group)
	rename := okta.PatchBody(okta.ObjectOf("op", "replace", "path", "displayName", "value", final))
	if err := patiently(r.t.Context(), recovery, func() error {
		answer, err := r.fleet.clients[0].Do(r.t.Context(), http.MethodPatch, "/Groups/"+r.group, rename)
		if err == nil {
			err = answer.ExpectStatus(http.StatusNoContent)
		}
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	var first []string
	for number, server := range r.fleet.clients {
		answer, err := server.Do(r.t.Context(), http.MethodGet, "/Groups/"+r.group, nil)
		if err == nil {
			err = answer.ExpectGroup()
		}
		if err != nil {
			r.t.Fatal(err)
		}
		members := slices.Sorted(slices.Values(answer.Members()))
		for writer := range writers {
			r.compare(fmt.Sprintf("server %d in the end", number), setOf(members), writer)
		}
		if answer.Text("displayName") != final {
			r.t.Errorf("server %d has the name %q, want %q", number, answer.Text("displayName"), final)
		}
		if first == nil {
			first = members
		} else if !slices.Equal(first, members) {
			r.t.Errorf("the servers have %d and %d members", len(first), len(members))
		}
		harness.Eventually(r.t, recovery, fmt.Sprintf("server %d's memory", number), func(ctx context.Context) error {
			return r.remembered(ctx, server, first)
		})
	}
	group := &v1alpha1.Group{}
	if err := operator.Env.Client.Get(r.t.Context(), client.ObjectKey{Namespace: r.fleet.app.Namespace, Name: r.group}, group); err != nil {
		r.t.Fatal(err)
	}
	if group.Spec.Sharding == nil {
		r.t.Errorf("the group has not outgrown its object: it has %d members", len(first))
	}
	r.t.Logf("%d members in the end: %+v", len(first), r.counts)
}

// remembered compares what a server has in memory, from watches, with the members that it read live.
func (r *memberRace) remembered(ctx context.Context, server *okta.Client, want []string) error {
	list, err := server.Do(ctx, http.MethodGet, "/Groups?sortBy=displayName&count=1000", nil)
	if err == nil {
		err = list.ExpectGroups()
	}
	if err != nil {
		return err
	}
	for _, group := range list.Resources() {
		if okta.At(group, "id") != r.group {
			continue
		}
		got := slices.Sorted(slices.Values(okta.MembersIn(group)))
		if !slices.Equal(got, want) {
			return fmt.Errorf("it has %d members, want %d", len(got), len(want))
		}
		return nil
	}
	return fmt.Errorf("it has no group %s", r.group)
}
