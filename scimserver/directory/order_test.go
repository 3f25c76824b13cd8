package directory

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/names"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// human is a user as the tests of orders write it, and as their oracle sorts it: by Go's own comparisons, with nothing of the
// package.
type human struct {
	id, userName, title, externalID string
	active                          bool
	modified                        time.Time
	created                         time.Time
	version                         int
	unverified, gone                bool
}

func (h *human) name() types.NamespacedName {
	return types.NamespacedName{Namespace: wiki.Namespace, Name: h.id}
}

func (h *human) uid() types.UID { return types.UID("uid of " + h.id) }

// object is the next version of the user's object.
func (h *human) object() *v1alpha1.User {
	h.version++
	user := &v1alpha1.User{
		ObjectMeta: metav1.ObjectMeta{Namespace: wiki.Namespace, Name: h.id, UID: h.uid(), ResourceVersion: strconv.Itoa(h.version)},
		Spec:       v1alpha1.UserSpec{App: wiki.Name, CreatedAt: &metav1.MicroTime{Time: h.created}, LastModified: &metav1.MicroTime{Time: h.modified}},
	}
	attributes := []any{"active", h.active, "nickName", fmt.Sprint("version ", h.version)}
	if h.title != "" {
		attributes = append(attributes, "title", h.title)
	}
	if h.externalID != "" {
		attributes = append(attributes, "externalId", h.externalID)
	}
	if err := setResource(&user.Spec, person(h.userName, attributes...)); err != nil {
		panic(err)
	}
	if h.unverified {
		return user
	}
	return reserve(user)
}

// orders are what the oracle sorts by: more than are kept of one App.
var humanOrders = map[string]func(a, b *human) int{
	"userName":          func(a, b *human) int { return cmp.Compare(strings.ToLower(a.userName), strings.ToLower(b.userName)) },
	"title":             func(a, b *human) int { return compareTexts(strings.ToLower(a.title), strings.ToLower(b.title)) },
	"externalId":        func(a, b *human) int { return compareTexts(a.externalID, b.externalID) },
	"active":            func(a, b *human) int { return boolean(a.active) - boolean(b.active) },
	"meta.lastModified": func(a, b *human) int { return a.modified.Compare(b.modified) },
}

// compareTexts has what is missing last.
func compareTexts(a, b string) int {
	return cmp.Or(boolean(a == "")-boolean(b == ""), cmp.Compare(a, b))
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sortedHumans is the oracle: all users that clients see, sorted.
func sortedHumans(all []*human, by string, descending bool) (ids []string) {
	var seen []*human
	for _, h := range all {
		if !h.gone && !h.unverified {
			seen = append(seen, h)
		}
	}
	slices.SortFunc(seen, func(a, b *human) int {
		byKey := humanOrders[by](a, b)
		if descending {
			byKey = -byKey
		}
		return cmp.Or(byKey, a.created.Compare(b.created), cmp.Compare(a.id, b.id))
	})
	for _, h := range seen {
		ids = append(ids, h.id)
	}
	return ids
}

type direction struct {
	by         string
	descending bool
}

func allDirections() (all []direction) {
	for by := range humanOrders {
		all = append(all, direction{by, false}, direction{by, true})
	}
	return all
}

func (o direction) String() string {
	if o.descending {
		return o.by + " descending"
	}
	return o.by
}

func (o direction) sort(t testing.TB, d *Directory) protocol.Sort {
	t.Helper()
	sortOrder := ""
	if o.descending {
		sortOrder = "descending"
	}
	return sortOf(t, d, o.by, sortOrder)
}

func sortOf(t testing.TB, d *Directory, by, sortOrder string) protocol.Sort {
	t.Helper()
	parsed, err := protocol.ParseSort(by, sortOrder)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := parsed.Bind(d.Users.Schemas(wiki))
	if err != nil {
		t.Fatal(err)
	}
	return bound
}

// someHuman has keys that many others have, too, or none.
func someHuman(i int, random *rand.Rand) *human {
	h := &human{
		id: fmt.Sprintf("h%05d", i), userName: fmt.Sprintf("name-%d-%d", random.IntN(1000), i), created: epoch.Add(time.Duration(i/7) * time.Second),
	}
	h.shuffle(random)
	return h
}

func (h *human) shuffle(random *rand.Rand) {
	h.title = []string{"", "", "Clerk", "clerk", "Boss", "driver", "Émile's"}[random.IntN(7)]
	h.externalID = []string{"", "A", "a", "B", fmt.Sprint("x", random.IntN(50))}[random.IntN(5)]
	h.active = random.IntN(3) > 0
	h.modified = h.created.Add(time.Duration(random.IntN(20)) * time.Hour)
}

// change does to one human what users go through, and tells the read model as the informer, the requests and the verifier do.
func (h *human) change(d *Directory, random *rand.Rand) {
	put := func() { d.Users.model.put(newEntry(h.object()), "") }
	switch random.IntN(7) {
	case 0:
		h.shuffle(random)
		put()
	case 1: // rename
		h.userName = fmt.Sprintf("name-%d-%s", random.IntN(1000), h.id)
		put()
	case 2: // rename, and verified later
		h.userName, h.unverified = fmt.Sprintf("late-%d-%s", random.IntN(1000), h.id), true
		put()
		if random.IntN(2) == 0 {
			d.Users.model.distrust(h.name(), names.Fold(h.userName))
		}
		d.Users.model.verify(h.name(), names.Fold(h.userName))
		h.unverified = false
	case 3: // deactivate, or the way back
		h.active = !h.active
		put()
	case 4: // an answer that comes late
		late := h.object()
		put()
		d.Users.model.put(newEntry(late), names.Fold(h.userName))
	case 5:
		if !h.gone {
			d.Users.model.hide(h.name())
			d.Users.model.remove(h.name(), h.uid())
			h.gone = true
			d.Users.model.put(newEntry(h.object()), names.Fold(h.userName)) // brings no deleted user back
		}
	case 6:
		d.Users.model.verify(h.name(), names.Fold(h.userName)) // once more
	}
	if h.gone && random.IntN(2) == 0 { // another user comes
		h.id, h.version, h.gone = h.id+"n", 0, false
		h.shuffle(random)
		put()
	}
}

// page is how orders are read: from a place on, by index, or backwards.
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
