package directory

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
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

// humanOrders are what the oracle sorts by: more than are kept of one App.
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
