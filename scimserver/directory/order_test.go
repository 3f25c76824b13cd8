package directory

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/names"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// places returns the ids of a page. Orders are read from a place on, by index, or backwards.
func places(users []Sorted) (ids []string) {
	for _, one := range users {
		ids = append(ids, one.User.ID())
	}
	return ids
}

// forward reads everything after one place after the other.
func forward(t testing.TB, d *Directory, by protocol.Sort, count int) (ids []string) {
	t.Helper()
	page, _, ok, _ := d.Users.Ordered(t.Context(), wiki, by, 1, count)
	for ok && len(page) > 0 {
		ids = append(ids, places(page)...)
		last := throughCursor(t, page[len(page)-1])
		page, _, ok, _ = d.Users.OrderedAfter(t.Context(), wiki, by, last.Key, last.User.CreatedAt(), last.User.ID(), count)
	}
	if !ok {
		t.Error("no order is kept")
	}
	return ids
}

// backward reads everything before one place after the other, from the end, which it finds by going on from about there.
func backward(t testing.TB, d *Directory, by protocol.Sort, count int) (ids []string) {
	t.Helper()
	var page []Sorted
	for len(page) == 0 {
		_, total, ok, _ := d.Users.Ordered(t.Context(), wiki, by, 1, 0)
		if !ok || total == 0 {
			t.Error("no order is kept")
			return nil
		}
		page, _, _, _ = d.Users.Ordered(t.Context(), wiki, by, total, 1)
	}
	for next := page; len(next) > 0; {
		page = next[len(next)-1:]
		next, _, _, _ = d.Users.OrderedAfter(t.Context(), wiki, by, page[0].Key, page[0].User.CreatedAt(), page[0].User.ID(), count)
	}
	for len(page) > 0 {
		ids = append(places(page), ids...)
		first := throughCursor(t, page[0])
		page, _ = d.Users.OrderedBefore(t.Context(), wiki, by, first.Key, first.User.CreatedAt(), first.User.ID(), count)
	}
	return ids
}

// byIndex reads everything by startIndex.
func byIndex(t testing.TB, d *Directory, by protocol.Sort, count int) (ids []string) {
	t.Helper()
	for {
		page, total, ok, _ := d.Users.Ordered(t.Context(), wiki, by, len(ids)+1, count)
		if !ok {
			t.Error("no order is kept")
		}
		ids = append(ids, places(page)...)
		if len(page) == 0 || len(ids) >= total {
			return ids
		}
	}
}

// throughCursor is a place as a client gives it back.
func throughCursor(t testing.TB, place Sorted) Sorted {
	t.Helper()
	text, err := json.Marshal(place.Key)
	if err == nil {
		err = json.Unmarshal(text, &place.Key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return place
}

// TestOrdersFollowEveryChange reads all orders, more than are kept, while users come, change, are renamed, verified,
// deactivated and go. A user that stays throughout with the same key is on exactly one page. After each round every order is
// what sorting all visible users gives.
func TestOrdersFollowEveryChange(t *testing.T) {
	t.Parallel()
	const writers, rounds = 4, 12
	d := offline()
	random := rand.New(rand.NewPCG(1, 7))
	var people []*human
	steady := map[string]bool{}
	for i := range 600 {
		h := someHuman(i, random)
		people = append(people, h)
		if i%2 == 0 {
			steady[h.id] = true
		}
		d.Users.model.put(newEntry(h.object()), "")
	}
	directions := allDirections()
	for round := range rounds {
		var writing, reading sync.WaitGroup
		var written atomic.Bool
		for w := range writers {
			writing.Go(func() {
				random := rand.New(rand.NewPCG(uint64(round), uint64(w)))
				for range 300 {
					h := people[(2*random.IntN(len(people)/2/writers)+1)+len(people)/writers*w]
					h.change(d, random)
					// A steady user is written again, in the same place.
					same := people[2*random.IntN(len(people)/2/writers)+len(people)/writers*w]
					d.Users.model.put(newEntry(same.object()), "")
				}
			})
		}
		for r := range 3 {
			reading.Go(func() {
				random := rand.New(rand.NewPCG(uint64(round), uint64(r)))
				for last := false; !last; {
					last = written.Load()
					o := directions[random.IntN(len(directions))]
					by, count := o.sort(t, d), 1+random.IntN(60)
					once(t, fmt.Sprint(o, " forward"), forward(t, d, by, count), steady)
					once(t, fmt.Sprint(o, " backward"), backward(t, d, by, count), steady)
				}
			})
		}
		writing.Wait()
		written.Store(true)
		reading.Wait()
		for _, o := range directions {
			by, count := o.sort(t, d), 1+random.IntN(200)
			want := sortedHumans(people, o.by, o.descending)
			for how, read := range map[string]func(testing.TB, *Directory, protocol.Sort, int) []string{"after": forward, "before": backward, "index": byIndex} {
				if got := read(t, d, by, count); !slices.Equal(got, want) {
					t.Fatalf("round %d, by %s, by %s, pages of %d: %d users, want %d in another order", round, o, how, count, len(got), len(want))
				}
			}
		}
	}
}

// once checks that no user was shown twice, and every steady user once.
func once(t testing.TB, how string, ids []string, steady map[string]bool) {
	t.Helper()
	seen := map[string]int{}
	for _, id := range ids {
		seen[id]++
	}
	for id := range steady {
		if seen[id] != 1 {
			t.Errorf("%s: %s was there throughout and was shown %d times", how, id, seen[id])
			return
		}
	}
}

// TestPagesByIndexAreStable: writes that change no user's place move no page by index.
func TestPagesByIndexAreStable(t *testing.T) {
	t.Parallel()
	d := offline()
	random := rand.New(rand.NewPCG(3, 4))
	var people []*human
	everybody := map[string]bool{}
	for i := range 300 {
		people = append(people, someHuman(i, random))
		everybody[people[i].id] = true
		d.Users.model.put(newEntry(people[i].object()), "")
	}
	stop := make(chan struct{})
	var writing sync.WaitGroup
	for w := range 2 {
		writing.Go(func() {
			random := rand.New(rand.NewPCG(5, uint64(w)))
			for {
				select {
				case <-stop:
					return
				default:
				}
				h := people[2*random.IntN(len(people)/2)+w]
				d.Users.model.put(newEntry(h.object()), "")
				d.Users.model.verify(h.name(), names.Fold(h.userName))
			}
		})
	}
	for range 5 {
		for _, o := range allDirections() {
			ids := byIndex(t, d, o.sort(t, d), 1+random.IntN(40))
			once(t, o.String(), ids, everybody)
			if want := sortedHumans(people, o.by, o.descending); !slices.Equal(ids, want) {
				t.Errorf("%s: pages are not in order", o)
			}
		}
	}
	close(stop)
	writing.Wait()
}

// TestOrdersMakeRoom: the order asked for longest ago goes, and comes back as it should be.
func TestOrdersMakeRoom(t *testing.T) {
	t.Parallel()
	d := offline()
	random := rand.New(rand.NewPCG(5, 6))
	var people []*human
	next := 0
	add := func(n int) {
		for range n {
			h := someHuman(next, random)
			next++
			people = append(people, h)
			d.Users.model.put(newEntry(h.object()), "")
		}
	}
	add(50)
	directions := slices.SortedFunc(slices.Values(allDirections()), func(a, b direction) int { return cmp.Compare(a.String(), b.String()) })
	kept := func() (kept []direction) {
		for _, o := range directions {
			if d.Users.orders.byApp[appName(wiki)][o.sort(t, d).Order()] != nil {
				kept = append(kept, o)
			}
		}
		return kept
	}
	ask := func(o direction) {
		t.Helper()
		if got, want := byIndex(t, d, o.sort(t, d), 20), sortedHumans(people, o.by, o.descending); !slices.Equal(got, want) {
			t.Errorf("%s: %d users, want %d in another order", o, len(got), len(want))
		}
	}
	for _, o := range directions[:maxOrders] {
		ask(o)
	}
	add(10)
	ask(directions[0]) // not the oldest any more
	ask(directions[maxOrders])
	if got, want := kept(), slices.Concat(directions[:1], directions[2:maxOrders+1]); !slices.Equal(got, want) {
		t.Errorf("kept are %v, want %v", got, want)
	}
	add(10)
	ask(directions[1])
	if len(d.Users.orders.byApp[appName(wiki)]) != maxOrders {
		t.Errorf("%d orders are kept", len(d.Users.orders.byApp[appName(wiki)]))
	}

	// All orders but one were not read for a long time: the next change forgets them.
	for _, o := range d.Users.orders.byApp[appName(wiki)] {
		o.used = o.used.Add(-2 * keepOrder)
	}
	ask(directions[1])
	add(1)
	if got := kept(); !slices.Equal(got, directions[1:2]) {
		t.Errorf("kept are %v, want %v", got, directions[1:2])
	}
	ask(directions[1])
	ask(directions[0])

	// With the last user everything goes.
	for _, h := range people {
		d.Users.model.remove(h.name(), h.uid())
	}
	if _, _, ok, _ := d.Users.Ordered(t.Context(), wiki, directions[0].sort(t, d), 1, 10); ok || len(d.Users.model.apps) != 0 {
		t.Error("something is kept of an App without users")
	}
	people = nil
	add(3)
	ask(directions[0])
}

// TestOrdersPushedOut: a request for an order gets it, however many requests for other orders run at the same time.
func TestOrdersPushedOut(t *testing.T) {
	t.Parallel()
	d := offline()
	random := rand.New(rand.NewPCG(7, 8))
	everybody := map[string]bool{}
	for i := range 100 {
		h := someHuman(i, random)
		everybody[h.id] = true
		d.Users.model.put(newEntry(h.object()), "")
	}
	var asking sync.WaitGroup
	for _, o := range allDirections() {
		asking.Go(func() {
			by := o.sort(t, d)
			for range 50 {
				once(t, o.String(), forward(t, d, by, 30), everybody)
			}
		})
	}
	asking.Wait()
}

// TestOrdersFollowTheSchemas: what was sorted as text is sorted as numbers once the App says so, also where a request that began
// before that comes late.
func TestOrdersFollowTheSchemas(t *testing.T) {
	t.Parallel()
	d := offline()
	for i, level := range []string{"9", "10", "-3"} {
		user := reserve(stored(fmt.Sprint("u", i), "name "+level, 1, epoch))
		if err := setResource(&user.Spec, person("name "+level, "level", level)); err != nil {
			t.Fatal(err)
		}
		d.Users.model.put(newEntry(user), "")
	}
	expect := func(by protocol.Sort, want ...string) {
		t.Helper()
		if got := byIndex(t, d, by, 2); !slices.Equal(got, want) {
			t.Errorf("the order is %v, want %v", got, want)
		}
	}
	asText := sortOf(t, d, "level", "")
	expect(asText, "u2", "u1", "u0")
	declared := wiki.DeepCopy()
	declared.Generation++
	declared.Spec.Attributes = []v1alpha1.CustomAttribute{{Name: "level", Type: protocol.TypeInteger}}
	d.apps.put(declared)
	asNumber := sortOf(t, d, "level", "")
	expect(asText, "u2", "u1", "u0")
	expect(asNumber, "u2", "u0", "u1")
	expect(asText, "u2", "u1", "u0")
	expect(asNumber, "u2", "u0", "u1")
}
