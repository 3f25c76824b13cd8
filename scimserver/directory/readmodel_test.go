package directory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

var wiki = &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "wiki"}}

// offline is a Directory without watches: a test feeds its read model.
func offline() *Directory {
	d, err := newDirectory(nil)
	if err != nil {
		panic(err)
	}
	d.apps.put(wiki)
	return d
}

func stored(name, userName string, version int, created time.Time) *v1alpha1.User {
	user := &v1alpha1.User{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid of " + name), ResourceVersion: strconv.Itoa(version)},
		Spec:       v1alpha1.UserSpec{App: "wiki", CreatedAt: &metav1.MicroTime{Time: created}, Active: true},
	}
	if err := setResource(&user.Spec, person(userName, "externalId", "x-"+userName)); err != nil {
		panic(err)
	}
	return user
}

func reserve(user *v1alpha1.User) *v1alpha1.User {
	user.Status.ReservedKey = user.Spec.UserNameKey
	user.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionNameReserved, Status: metav1.ConditionTrue}}
	return user
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestPagesAreStableAndComplete(t *testing.T) {
	d := offline()
	const n = 1003
	var want []string
	for i := range n {
		// Many share a creation time: the name decides then.
		name := fmt.Sprintf("u%04d", i)
		want = append(want, name)
		d.Users.model.put(newEntry(reserve(stored(name, name, 1, epoch.Add(time.Duration(i/10)*time.Second)))), "")
	}
	for _, i := range rand.Perm(n) { // updates move no user
		user := reserve(stored(want[i], want[i]+"-renamed", 2, epoch.Add(time.Duration(i/10)*time.Second)))
		d.Users.model.put(newEntry(user), "")
	}
	var got []string
	for start := 1; start <= n; start += 100 {
		users, total := d.Users.Page(wiki, start, 100)
		page, pageTotal, err := d.Users.List(wiki, baseURL, start, 100)
		if err != nil || total != n || pageTotal != n || len(page) != len(users) {
			t.Fatalf("page at %d: %d of %d, %v", start, len(page), total, err)
		}
		for i, user := range users {
			got = append(got, user.ID())
			var listed struct{ ID string }
			if err := json.Unmarshal(page[i], &listed); err != nil || listed.ID != user.ID() {
				t.Fatalf("page at %d shows %q for %s: %v", start, listed.ID, user.ID(), err)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages show %d users out of order or more than once", len(got))
	}
	var forward, backward []string
	for place := (&Entry{}); ; {
		users, total := d.Users.After(wiki, place.CreatedAt(), place.ID(), 90)
		if total != n {
			t.Fatalf("%d users in all", total)
		}
		if len(users) == 0 {
			break
		}
		forward, place = append(forward, namesOfEntries(users)...), users[len(users)-1]
	}
	for place := (*Entry)(nil).at(positionOf(epoch.Add(time.Hour), "z")); ; {
		users := d.Users.Before(wiki, place.CreatedAt(), place.ID(), 90)
		if len(users) == 0 {
			break
		}
		backward, place = append(namesOfEntries(users), backward...), users[0]
	}
	if !slices.Equal(forward, want) || !slices.Equal(backward, want) {
		t.Errorf("pages by place show %d users forward and %d backward, want %d in order", len(forward), len(backward), n)
	}
	for _, odd := range [][2]int{{n + 1, 10}, {1, 0}, {1, -1}, {n + 1000, 1}} {
		if users, total := d.Users.Page(wiki, odd[0], odd[1]); len(users) != 0 || total != n {
			t.Errorf("startIndex %d count %d: %d of %d", odd[0], odd[1], len(users), total)
		}
	}
	if users, _ := d.Users.Page(wiki, -5, 2); len(users) != 2 || users[0].ID() != want[0] {
		t.Error("a negative startIndex is not the first")
	}
}

func namesOfEntries(entries []*Entry) (ids []string) {
	for _, entry := range entries {
		ids = append(ids, entry.ID())
	}
	return ids
}

// TestEditedByHand: what only the server says is not taken from values that were edited into the attributes.
func TestEditedByHand(t *testing.T) {
	d := offline()
	user := reserve(stored("ada-x", "ada", 1, epoch))
	user.Spec.Active = false
	user.Spec.Attributes = &runtime.RawExtension{Raw: []byte(`{"active":true,"groups":[{"value":"admins"}],"id":"other","meta":{"location":"elsewhere"},"userName":5,"nickName":["x"]}`)}
	user.Spec.Extensions = &runtime.RawExtension{Raw: []byte(`{"urn:x":"no object"}`)}
	d.Users.model.put(newEntry(user), "")
	page, _, err := d.Users.List(wiki, baseURL, 1, 10)
	if err != nil || len(page) != 1 {
		t.Fatalf("listed %d, %v", len(page), err)
	}
	var listed struct {
		ID, UserName string
		Active       *bool
		Groups       []any
		Meta         struct{ Location string }
	}
	if err := json.Unmarshal(page[0], &listed); err != nil || listed.ID != "ada-x" || listed.UserName != "ada" || listed.Active == nil || *listed.Active ||
		listed.Groups != nil || listed.Meta.Location != baseURL+"/Users/ada-x" {
		t.Errorf("listed is %s: %v", page[0], err)
	}
}

func TestListedBytesAreWhatGetRenders(t *testing.T) {
	d := offline()
	user := reserve(stored("ada-x", `a "location":"/Users/ada-x`, 1, epoch))
	d.Users.model.put(newEntry(user), "")
	for _, base := range []string{baseURL, `http://h"ost\x`, ""} {
		page, _, err := d.Users.List(wiki, base, 1, 10)
		if err != nil {
			t.Fatal(err)
		}
		resource, err := Resource(user)
		if err != nil {
			t.Fatal(err)
		}
		want, err := d.Users.Schemas(wiki).Render(resource, Meta(user, base), protocol.Projection{})
		if err != nil || !bytes.Equal(page[0], want) {
			t.Errorf("listed\n%s, want\n%s (%v)", page[0], want, err)
		}
	}
}

func TestOnlyEffectiveUsersShow(t *testing.T) {
	d := offline()
	count := func(want int, when string) {
		t.Helper()
		if got := d.Users.Count(wiki); got != want {
			t.Errorf("%s: %d users, want %d", when, got, want)
		}
	}
	name := types.NamespacedName{Namespace: "ns", Name: "u"}
	if !d.Users.model.put(newEntry(stored("u", "ada", 1, epoch)), "") {
		t.Error("no verification is asked for")
	}
	count(0, "unverified")
	d.Users.model.verify(name, "bob")
	count(0, "verified for another name")
	d.Users.model.verify(name, "ada")
	count(1, "verified")
	d.Users.model.put(newEntry(stored("u", "ada", 2, epoch)), "")
	count(1, "verified before")
	renamed := stored("u", "bob", 3, epoch)
	renamed.Status = reserve(stored("u", "ada", 2, epoch)).Status
	if !d.Users.model.put(newEntry(renamed), "") {
		t.Error("no verification of the new name is asked for")
	}
	count(1, "renamed, the status speaks of the old name: the new one was claimed before")
	d.Users.model.distrust(name, "ada")
	count(1, "distrusted by the old name")
	d.Users.model.distrust(name, "bob")
	count(0, "the claim of the new name does not name the user")
	if !d.Users.model.put(newEntry(renamed), "") {
		t.Error("no verification is asked for again")
	}
	count(0, "seen once more")
	d.Users.model.put(newEntry(reserve(stored("u", "bob", 4, epoch))), "")
	count(1, "reserved")
	d.Users.model.put(newEntry(stored("u", "ada", 3, epoch)), "ada") // late, and older
	if entry := d.Users.model.byKey(appName(wiki), "bob"); entry == nil || d.Users.model.byKey(appName(wiki), "ada") != nil {
		t.Error("an older state overwrote a newer one")
	}
	d.Users.model.hide(name)
	count(0, "deleted here")
	d.Users.model.put(newEntry(reserve(stored("u", "bob", 5, epoch))), "bob")
	count(0, "deleted here, and written before that")
	d.Users.model.remove(name, "uid of u")
	d.Users.model.put(newEntry(reserve(stored("u", "bob", 4, epoch))), "bob")
	count(0, "gone")
	restored := reserve(stored("u", "bob", 9, epoch))
	restored.UID = "another"
	d.Users.model.put(newEntry(restored), "")
	count(1, "restored from a backup")
	d.Users.model.remove(name, "uid of u")
	count(1, "the late removal of the object before it")
	terminating := reserve(stored("u", "bob", 10, epoch))
	terminating.UID, terminating.DeletionTimestamp = "another", &metav1.Time{Time: epoch}
	d.Users.model.put(newEntry(terminating), "")
	count(0, "terminating")
	d.Users.model.remove(name, "another")
	if len(d.Users.model.entries) != 0 || len(d.Users.model.apps) != 0 {
		t.Error("something is left of the last user")
	}
}

func TestIndexesFollowChanges(t *testing.T) {
	d := offline()
	app := appName(wiki)
	for i := range 3 {
		user := reserve(stored(fmt.Sprint("u", i), fmt.Sprint("name", i), 1, epoch))
		user.Spec.ExternalID = "shared"
		user.Spec.Emails = []v1alpha1.MultiValue{{Value: "A@x"}, {Value: "a@X"}, {Value: fmt.Sprint(i, "@x")}}
		d.Users.model.put(newEntry(user), "")
	}
	if got := len(d.Users.model.byExternalID(app, "shared")); got != 3 {
		t.Errorf("%d users by externalId", got)
	}
	if got := len(d.Users.model.byEmail(app, "a@x")); got != 3 {
		t.Errorf("%d users by email", got)
	}
	changed := reserve(stored("u1", "name1", 2, epoch))
	changed.Spec.ExternalID = "own"
	d.Users.model.put(newEntry(changed), "")
	d.Users.model.remove(types.NamespacedName{Namespace: "ns", Name: "u2"}, "uid of u2")
	if got := len(d.Users.model.byExternalID(app, "shared")); got != 1 || len(d.Users.model.byExternalID(app, "own")) != 1 {
		t.Errorf("%d users by externalId after the changes", got)
	}
	if got := len(d.Users.model.byEmail(app, "a@x")); got != 1 || len(d.Users.model.byEmail(app, "1@x")) != 0 {
		t.Errorf("%d users by email after the changes", got)
	}
}

func TestScanIsASnapshot(t *testing.T) {
	d := offline()
	for i := range 200 {
		d.Users.model.put(newEntry(reserve(stored(fmt.Sprintf("u%03d", i), fmt.Sprint("n", i), 1, epoch))), "")
	}
	seen := 0
	d.Users.Scan(wiki, func(*Entry) bool {
		// Changes while it runs neither block nor show.
		d.Users.model.put(newEntry(reserve(stored(fmt.Sprintf("v%03d", seen), fmt.Sprint("m", seen), 1, epoch))), "")
		d.Users.model.remove(types.NamespacedName{Namespace: "ns", Name: fmt.Sprintf("u%03d", 199-seen)}, types.UID(fmt.Sprintf("uid of u%03d", 199-seen)))
		seen++
		return true
	})
	if seen != 200 || d.Users.Count(wiki) != 200 {
		t.Errorf("saw %d users, %d are left", seen, d.Users.Count(wiki))
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	app := newApp(t, v1alpha1.CustomAttribute{Name: "level", Type: protocol.TypeInteger})
	d := replica(t, app)
	ids := map[string]string{}
	for i, name := range []string{"ada", "bob", "cyd"} {
		user := mustCreate(t, d, app, person(name, "externalId", "x-"+name, "level", json.Number(fmt.Sprint(i)),
			"emails", []any{map[string]any{"value": "team@x"}, map[string]any{"value": name + "@x", "type": "work"}}))
		ids[name] = user.Name
	}
	for filter, want := range map[string][]string{
		`userName eq "BOB"`: {"bob"}, `userName eq "nobody"`: nil, `externalId eq "x-cyd"`: {"cyd"}, `externalId eq "X-cyd"`: nil,
		`emails eq "TEAM@x"`: {"ada", "bob", "cyd"}, `emails[type eq "work" and value eq "ada@x"]`: {"ada"},
		`userName eq "cyd" or emails.value eq "team@x"`: {"ada", "bob", "cyd"}, `userName eq "ada" and level gt 0`: nil,
		`level ge 1`: {"bob", "cyd"}, `userName sw "c" or level eq 0`: {"ada", "cyd"}, `not (level pr)`: nil,
		`id eq "` + ids["ada"] + `"`: {"ada"}, `id eq "a/b"`: nil, `meta.location eq "` + baseURL + `/Users/` + ids["bob"] + `"`: {"bob"},
	} {
		parsed, err := protocol.ParseFilter(filter)
		if err != nil {
			t.Fatal(err)
		}
		bound, err := parsed.Bind(d.Users.Schemas(app))
		if err != nil {
			t.Fatal(err)
		}
		if users, err := d.Users.Find(t.Context(), app, bound, baseURL); err != nil || !slices.Equal(namesOf(users), want) {
			t.Errorf("%s finds %v, want %v (%v)", filter, namesOf(users), want, err)
		}
	}
}

func TestSchemasFollowTheApp(t *testing.T) {
	t.Parallel()
	app := newApp(t, v1alpha1.CustomAttribute{Name: "level"}, v1alpha1.CustomAttribute{Name: "LEVEL"})
	d := replica(t, app)
	mustCreate(t, d, app, person("ada", "level", "3"))
	before := d.Users.Schemas(app)
	if _, err := before.DecodeUser([]byte(`{"userName":"x","level":["3","4"]}`)); err == nil {
		t.Error("level is not the App's attribute")
	}
	if _, _, err := d.Users.List(app, baseURL, 1, 1); err != nil {
		t.Fatal(err)
	}
	app = app.DeepCopy()
	app.Spec.Attributes[0].MultiValued = true
	if err := env.Client.Update(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the schemas change", func() bool { return d.Users.Schemas(app) != before })
	if _, err := d.Users.Schemas(app).DecodeUser([]byte(`{"userName":"x","level":["3","4"]}`)); err != nil {
		t.Error(err)
	}
	if err := env.Client.Delete(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the App is gone", func() bool { _, found := d.App(appName(app)); return !found })
}

func BenchmarkPage(b *testing.B) {
	d := offline()
	for i := range 10000 {
		name := fmt.Sprintf("u%05d", i)
		d.Users.model.put(newEntry(reserve(stored(name, name, 1, epoch))), "")
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, _, err := d.Users.List(wiki, baseURL, 1+i%100*100, 100); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	user := stored("u", "ada@example.com", 1, epoch)
	schemas := SchemasOf(wiki)
	b.ReportAllocs()
	for b.Loop() {
		resource, err := Resource(user)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := schemas.Render(resource, Meta(user, baseURL), protocol.Projection{}); err != nil {
			b.Fatal(err)
		}
	}
}
