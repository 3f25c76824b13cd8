package earned

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

var (
	viewer = RoleInScope{Namespace: "ns", App: "app", Role: "viewer", Scope: "default"}
	editor = RoleInScope{Namespace: "ns", App: "app", Role: "editor", Scope: "default"}
	other  = RoleInScope{Namespace: "ns", App: "other", Role: "viewer", Scope: "default"}
)

func user(name string) types.NamespacedName { return types.NamespacedName{Namespace: "ns", Name: name} }

func generation(uid string) AppGeneration {
	return AppGeneration{Name: types.NamespacedName{Namespace: "ns", Name: "app"}, UID: types.UID(uid)}
}

// Every change of what a user has earned is a new revision and makes the user dirty under each key that it concerns: the
// keys that the user holds before or after.
func TestSetMarksDirty(t *testing.T) {
	base := Entry{App: generation("1"), Subject: "okta:a", Keys: []RoleInScope{viewer}}
	for name, test := range map[string]struct {
		change        func(*Entry)
		viewer, other bool
	}{
		"nothing":            {func(*Entry) {}, false, false},
		"another generation": {func(e *Entry) { e.App = generation("2") }, true, false},
		"another name":       {func(e *Entry) { e.Subject = "okta:b" }, true, false},
		"one more":           {func(e *Entry) { e.Keys = append(e.Keys, other) }, true, true},
		"none any more":      {func(e *Entry) { e.Keys = nil }, true, false},
		"another in place":   {func(e *Entry) { e.Keys = []RoleInScope{other} }, true, true},
		"by a group":         {func(e *Entry) { e.Groups = map[RoleInScope]string{viewer: "staff"} }, true, false},
		"kept":               {func(e *Entry) { e.Kept = map[RoleInScope]bool{viewer: true} }, true, false},
		"an empty map":       {func(e *Entry) { e.Kept = map[RoleInScope]bool{} }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var x Index
			first := x.Set(user("a"), base)
			if got := x.DrainDirty(viewer); !slices.Equal(got, []string{"a"}) {
				t.Fatalf("dirty after the first: %v", got)
			}
			entry := base
			entry.Keys = slices.Clone(base.Keys)
			test.change(&entry)
			second := x.Set(user("a"), entry)
			if changed := test.viewer || test.other; (first != second) != changed {
				t.Errorf("revision %d, then %d", first, second)
			}
			for key, want := range map[RoleInScope]bool{viewer: test.viewer, other: test.other} {
				if got := len(x.DrainDirty(key)) == 1; got != want {
					t.Errorf("%v: dirty %v, want %v", key, got, want)
				}
			}
		})
	}
}

// A run that fails gives the users back, and the next one finds them, even where the key has no holder any more.
func TestMarkDirtyUndoesDrain(t *testing.T) {
	var x Index
	x.Set(user("a"), Entry{Keys: []RoleInScope{viewer}})
	x.Set(user("a"), Entry{})
	drained := x.DrainDirty(viewer)
	if !slices.Equal(drained, []string{"a"}) || len(x.DrainDirty(viewer)) > 0 {
		t.Fatalf("drained %v, and more", drained)
	}
	x.MarkDirty(viewer, drained)
	if got := x.DrainDirty(viewer); !slices.Equal(got, drained) {
		t.Errorf("drained %v again", got)
	}
	if len(x.keys) > 0 {
		t.Errorf("%d keys without holders are remembered", len(x.keys))
	}
	var fresh Index
	fresh.MarkDirty(viewer, []string{"a"})
	if got := fresh.DrainDirty(viewer); !slices.Equal(got, []string{"a"}) {
		t.Errorf("marked in an empty index: %v", got)
	}
}

// A forgotten user counts as not evaluated: the standing is absent, which is not the same as holding nothing.
func TestForgetIsNotEarnedNothing(t *testing.T) {
	var x Index
	x.Set(user("a"), Entry{App: generation("1"), Subject: "okta:a", Keys: []RoleInScope{viewer}})
	x.Set(user("b"), Entry{App: generation("1")})
	if got := x.Evaluated(generation("1")); got != 2 {
		t.Errorf("%d evaluated", got)
	}
	standings := x.Standings(viewer, []string{"a", "b", "c"})
	want := v1alpha1.AppRoleSubject{User: "a", Name: "okta:a"}
	if a := standings["a"]; !a.Evaluated || !a.Holds || a.Subject != want || !a.IsCurrent(generation("1")) || a.IsCurrent(generation("2")) {
		t.Errorf("a: %+v", a)
	}
	if b := standings["b"]; !b.Evaluated || b.Holds {
		t.Errorf("b: %+v", b)
	}
	if _, found := standings["c"]; found {
		t.Error("c was never evaluated")
	}
	x.Forget(user("a"))
	if _, evaluated := x.Get(user("a")); evaluated || len(x.Standings(viewer, []string{"a"})) > 0 || x.Evaluated(generation("1")) != 1 {
		t.Error("a counts as evaluated")
	}
	if len(x.Held()) > 0 || !slices.Equal(x.DrainDirty(viewer), []string{"a"}) {
		t.Error("viewer is held by the forgotten user, or no run looks at them")
	}
}

func TestHeldKeys(t *testing.T) {
	var x Index
	x.Set(user("a"), Entry{Keys: []RoleInScope{viewer, other}})
	x.Set(user("b"), Entry{Keys: []RoleInScope{editor, viewer}})
	ofApp := slices.SortedFunc(slices.Values(x.OfApp("ns", "app")), Compare)
	if !slices.Equal(ofApp, []RoleInScope{editor, viewer}) {
		t.Errorf("of the App: %v", ofApp)
	}
	if held := x.Held(); len(held) != 3 {
		t.Errorf("held: %v", held)
	}
	if got := x.Holders(viewer); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("holders: %v", got)
	}
	if x.Holders(RoleInScope{}) != nil || len(x.OfApp("other", "app")) > 0 {
		t.Error("holders of an unheld role")
	}
	kept := Standing{App: generation("1"), Kept: true}
	if kept.IsCurrent(generation("1")) {
		t.Error("a kept role counts as earned")
	}
}
