package revocation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/userlookup"
)

// keeper knows an App with the prefix okta: that denies requests, one with the longer prefix okta:x:, and users by their names.
func keeper(users map[string]bool) *Keeper {
	k := &Keeper{Namespace: "system", index: userlookup.New(func(types.NamespacedName) []*v1alpha1.User { return nil })}
	for name, prefix := range map[string]string{"app": "okta:", "longer": "okta:x:"} {
		app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
		app.Spec.Kubernetes.UsernamePrefix, app.Spec.Deactivation.DenyRequests = &prefix, true
		k.index.PutApp(app)
	}
	for name, active := range users {
		user := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: v1alpha1.UserSpec{App: "app", UserName: name, UserNameKey: name, Active: active}}
		user.Status.ReservedKey, user.Status.KubernetesUsername, user.Status.BoundAs = name, "okta:"+name, "okta:"+name
		k.index.PutUser(user)
	}
	return k
}

func listWith(entries map[string]time.Time) *appList {
	return &appList{app: types.NamespacedName{Namespace: "ns", Name: "app"}, prefix: "okta:", entries: entries}
}

// An App denies names of its own prefix alone, and none of Kubernetes' own, however it came to bind them.
func TestOwnNames(t *testing.T) {
	k := keeper(nil)
	names := []string{"okta:left", "other:left", "okta:x:jane", "system:kube-scheduler", ""}
	for prefix, want := range map[string][]string{
		"okta:": {"okta:left"}, "okta:x:": {"okta:x:jane"}, "system:": {}, "": {"other:left"}, "nowhere:": {},
	} {
		if got := k.own(prefix, names); !slices.Equal(got, want) {
			t.Errorf("of the prefix %q: %q, want %q", prefix, got, want)
		}
	}
	if !slices.Equal(names, []string{"okta:left", "other:left", "okta:x:jane", "system:kube-scheduler", ""}) {
		t.Errorf("the caller's names have become %q", names)
	}
}

// A list denies no user that may have access, no name that is another App's, and nothing that has expired.
func TestContent(t *testing.T) {
	k := keeper(map[string]bool{"back": true, "left": false})
	now := time.Now()
	later := now.Add(time.Hour)
	l := listWith(map[string]time.Time{
		"okta:left": later, "okta:gone": later, "okta:back": later, "okta:x:other": later, "okta:over": now, "okta:tab\tbed": later,
	})
	content, omitted := k.content(l, now)
	if names := slices.Sorted(maps.Keys(content)); !slices.Equal(names, []string{"okta:gone", "okta:left"}) || omitted != 1 {
		t.Errorf("the list has %q and omits %d", names, omitted)
	}
	if _, kept := l.entries["okta:over"]; kept {
		t.Error("what has expired is kept")
	}
	if _, kept := l.entries["okta:back"]; !kept {
		t.Error("a user that is back for now is forgotten: it may leave again while its tokens are valid")
	}
}

// Where there is no room, the revocations longest ago are left out, by number and by length.
func TestContentIsBounded(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		name  func(i int) string
		count int
	}{
		"by number": {func(i int) string { return fmt.Sprintf("okta:%04d", i) }, v1alpha1.MaxRevocations + 3},
		"by length": {func(i int) string { return fmt.Sprintf("okta:%s%04d", strings.Repeat("x", 300), i) }, v1alpha1.MaxRevocations - 1},
	} {
		entries := map[string]time.Time{}
		for i := range test.count {
			entries[test.name(i)] = now.Add(time.Minute + time.Duration(i)*time.Second)
		}
		content, omitted := keeper(nil).content(listWith(entries), now)
		if omitted == 0 || len(content)+int(omitted) != test.count || len(content) > v1alpha1.MaxRevocations {
			t.Errorf("%s: %d are listed and %d omitted", name, len(content), omitted)
		}
		length := 0
		for listed, expires := range content {
			length += len(v1alpha1.RevocationEntry(listed, expires))
			if expires.Before(entries[test.name(int(omitted))]) {
				t.Errorf("%s: %s is listed, and one that left later is not", name, listed)
			}
		}
		if length > v1alpha1.MaxRevocationText {
			t.Errorf("%s: %d bytes", name, length)
		}
	}
}

// What another hand wrote counts, for a lifetime at most; what it took away comes back, if a User supports it.
func TestMerge(t *testing.T) {
	k := keeper(map[string]bool{"left": false, "back": true})
	soon, late := time.Now().Add(time.Hour).Truncate(time.Second), time.Now().Add(1000*time.Hour).Truncate(time.Second)
	l := listWith(map[string]time.Time{"okta:left": soon, "okta:gone": soon, "okta:kept": late})
	l.listed = maps.Clone(l.entries)
	theirs := &v1alpha1.RevocationList{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "9"}}
	theirs.Spec.SetUsers(map[string]time.Time{"okta:kept": late, "okta:added": soon, "okta:forever": late, "system:kube-scheduler": soon})
	k.merge(l, theirs)
	if names := slices.Sorted(maps.Keys(l.entries)); !slices.Equal(names, []string{"okta:added", "okta:forever", "okta:kept", "okta:left"}) {
		t.Errorf("the entries are %q", names)
	}
	if until := time.Until(l.entries["okta:forever"]); until > lifetime {
		t.Errorf("an entry by another hand counts for %v", until)
	}
	if !l.entries["okta:kept"].Equal(late) || !l.entries["okta:left"].Equal(soon) || l.object != theirs {
		t.Errorf("entries %v of %v", l.entries, l.object)
	}
	k.merge(l, nil)
	if names := slices.Sorted(maps.Keys(l.entries)); l.object != nil || len(l.listed) > 0 || !slices.Equal(names, []string{"okta:left"}) {
		t.Errorf("after the list was deleted: %q, listed %v", names, l.listed)
	}
}

// A list is written where its content, prefix or number of omitted people differs, and not otherwise.
func TestPlanOfAList(t *testing.T) {
	k := keeper(map[string]bool{"left": false})
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	l := listWith(map[string]time.Time{})
	if object, _ := k.plan(l); object != nil {
		t.Errorf("an empty list is written: %v", object)
	}
	l.entries["okta:left"] = expires
	object, content := k.plan(l)
	if object == nil || object.ResourceVersion != "" || object.Namespace != "system" || object.Name != v1alpha1.RevocationListName(l.app) ||
		object.Spec.Prefix != "okta:" || !maps.EqualFunc(object.Spec.Users(), content, time.Time.Equal) || len(content) != 1 {
		t.Fatalf("planned %+v with %v", object, content)
	}
	object.ResourceVersion = "1"
	l.object, l.listed = object, content
	if again, _ := k.plan(l); again != nil {
		t.Errorf("the same is written again: %v", again)
	}
	l.prefix = "okta:l"
	if again, _ := k.plan(l); again == nil || again.ResourceVersion != "1" || again.Spec.Prefix != "okta:l" {
		t.Errorf("another prefix: %v", again)
	}
	l.prefix, l.entries = "okta:", map[string]time.Time{}
	if again, content := k.plan(l); again == nil || len(content) != 0 {
		t.Errorf("none is left: %v", again)
	}
}

// An App that denies nothing any more has no list, and what it had denied is not denied again when it does.
func TestContentOfAnAppThatDeniesNothing(t *testing.T) {
	l := listWith(map[string]time.Time{"okta:left": time.Now().Add(time.Hour)})
	l.lifted = true
	if content, omitted := keeper(nil).content(l, time.Now()); len(content) > 0 || omitted > 0 || len(l.entries) > 0 {
		t.Errorf("the list has %v and omits %d; %v is kept", content, omitted, l.entries)
	}
}
