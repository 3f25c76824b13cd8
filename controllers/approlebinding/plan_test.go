package approlebinding

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

var viewer = inScope("ns", "app", "viewer", "default")

// testPolicy compiles an App that grants the ClusterRole view.
func testPolicy(t *testing.T, mode string) *access.Policy {
	t.Helper()
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app"}}
	app.Spec.Mode = mode
	app.Spec.Roles = []v1alpha1.Role{{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: "view"}}}}
	app.Spec.Scopes.List = []v1alpha1.Scope{{Name: "default", Namespaces: []string{"a", "b"}}}
	policy, fieldErrors := (&access.Cache{}).Compile(app)
	if len(fieldErrors) > 0 {
		t.Fatal(fieldErrors)
	}
	return policy
}

func testMember(user string, current bool) packing.Member {
	return packing.Member{AppRoleSubject: v1alpha1.AppRoleSubject{User: user, Name: "n-" + user}, Current: current}
}

func testSubject(user string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "n-" + user}
}

func nativeID(namespace string, index int32) overlay.ID {
	return overlay.ID{Kind: overlay.KindRoleBinding, Namespace: namespace, Name: nativeName(viewer, index, viewRef)}
}

// exists returns a native binding of a chunk as it is, by ID.
func exists(version, namespace string, index int32, users ...string) (overlay.ID, native) {
	id := nativeID(namespace, index)
	var subjects []rbacv1.Subject
	for _, user := range users {
		subjects = append(subjects, testSubject(user))
	}
	object := buildNative(viewer, id, index, viewRef, subjects, nil)
	object.SetResourceVersion(version)
	return id, nativeOf(object)
}

// baseInput is one chunk of an App in force with the namespaces a and b as scope, and with the right to bind everything.
func baseInput(t *testing.T, members ...packing.Member) input {
	in := input{
		key: viewer, namespaces: []string{"a", "b"}, names: newNativeNames(viewer, 1), chunks: []packing.Chunk{*packing.NewChunk(0, members...)},
		natives: map[overlay.ID]native{}, unlabelled: map[overlay.ID]bool{},
		mayBind: func(string, rbacv1.RoleRef) (bool, error) { return true, nil },
	}
	in.policy, in.grants = testPolicy(t, v1alpha1.ModeEnforce), []v1alpha1.Grant{{ClusterRole: "view"}}
	return in
}

func (in *input) add(id overlay.ID, existing native) { in.natives[id] = existing }

// texts of what a plan wants, by namespace: "a: jane joe".
func (p *plan) texts() []string {
	var texts []string
	for _, id := range slices.SortedFunc(maps.Keys(p.desired), overlay.Compare) {
		want := p.desired[id]
		text := id.Namespace + ":"
		if id.Kind == overlay.KindClusterRoleBinding {
			text = "cluster:"
		}
		for _, subject := range want.subjects {
			text += " " + strings.TrimPrefix(subject.Name, "n-")
		}
		if want.retiring {
			text += " (retiring)"
		}
		texts = append(texts, text)
	}
	return texts
}

func TestPlan(t *testing.T) {
	jane, joe, late := testMember("jane", true), testMember("joe", true), testMember("late", false)
	for name, test := range map[string]struct {
		members []packing.Member
		change  func(*input)
		want    []string
		waiting bool
		refused string
	}{
		"nobody":     {},
		"two users":  {members: []packing.Member{jane, joe}, want: []string{"a: jane joe", "b: jane joe"}},
		"everywhere": {members: []packing.Member{jane}, change: func(in *input) { in.clusterWide, in.namespaces = true, nil }, want: []string{"cluster: jane"}},
		"observed": {members: []packing.Member{jane}, change: func(in *input) {
			in.policy = testPolicy(t, v1alpha1.ModeObserve)
			in.add(exists("1", "a", 0, "jane"))
		}},
		"the App is gone": {members: []packing.Member{jane}, change: func(in *input) {
			in.appState = appState{}
			in.add(exists("1", "a", 0, "jane"))
		}},
		"the App is invalid: none joins, leavers leave": {members: []packing.Member{jane, joe}, change: func(in *input) {
			in.appState = appState{frozen: true}
			in.add(exists("1", "a", 0, "jane", "leaver"))
			in.add(exists("1", "b", 0, "leaver"))
		}, want: []string{"a: jane"}},
		"not evaluated: added to none": {members: []packing.Member{jane, late}, change: func(in *input) {
			in.add(exists("1", "a", 0, "late"))
		}, want: []string{"a: jane late", "b: jane"}, waiting: true},
		"a namespace left the scope": {members: []packing.Member{jane, late}, change: func(in *input) {
			in.namespaces = []string{"a"}
			in.add(exists("1", "a", 0, "jane", "late"))
			in.add(exists("1", "b", 0, "jane", "late"))
		}, want: []string{"a: jane late", "b: late (retiring)"}, waiting: true},
		"a namespace left the scope, all are evaluated": {members: []packing.Member{jane}, change: func(in *input) {
			in.namespaces = []string{"a"}
			in.add(exists("1", "b", 0, "jane"))
		}, want: []string{"a: jane"}},
		"the right to bind was taken away": {members: []packing.Member{jane, late}, change: func(in *input) {
			in.mayBind = func(namespace string, _ rbacv1.RoleRef) (bool, error) { return namespace != "b", nil }
			in.add(exists("1", "b", 0, "jane", "late"))
		}, want: []string{"a: jane"}, waiting: true, refused: `ClusterRole "view" in namespace b`},
		"the right to bind cannot be found out": {members: []packing.Member{jane}, change: func(in *input) {
			in.mayBind = func(string, rbacv1.RoleRef) (bool, error) { return false, errors.New("away") }
			in.add(exists("1", "b", 0, "jane", "leaver"))
		}, want: []string{"b: jane"}, refused: "away"},
		"a chunk that is not looked at": {members: []packing.Member{jane}, change: func(in *input) {
			in.chunks = append(in.chunks, packing.Chunk{Index: 1})
			in.add(exists("1", "a", 1, "other"))
		}, want: []string{"a: jane", "b: jane"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := baseInput(t, test.members...)
			if test.change != nil {
				test.change(&in)
			}
			p := newPlan(in)
			if got := p.texts(); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if p.waiting[0] != test.waiting {
				t.Errorf("waiting: %v", p.waiting)
			}
			if err := errors.Join(p.refused.err(), p.unknown); (err != nil) != (test.refused != "") || err != nil && !strings.Contains(err.Error(), test.refused) {
				t.Errorf("refused: %v", err)
			}
			for id := range p.natives {
				if !p.known[id] {
					t.Errorf("%v is there and not known", id)
				}
			}
		})
	}
}

// A run takes no part in native bindings that its labels claim for it and its names do not, nor in those of chunks that it
// does not look at.
func TestPlanLeavesOthersAlone(t *testing.T) {
	in := baseInput(t, testMember("jane", true))
	foreign := overlay.ID{Kind: overlay.KindRoleBinding, Namespace: "a", Name: nativeName(inScope("ns", "app", "admin", "default"), 0, viewRef)}
	_, object := exists("1", "a", 0, "mallory")
	in.add(foreign, object)
	surplus, existing := exists("1", "a", 7, "mallory") // of an AppRoleBinding that is gone
	in.add(surplus, existing)
	p := newPlan(in)
	if _, found := p.natives[foreign]; found || p.known[foreign] {
		t.Error("the binding of another key would be deleted")
	}
	if _, found := p.natives[surplus]; !found || p.desired[surplus].chunk != nil {
		t.Error("a binding without an AppRoleBinding stays for ever")
	}
}

// Users that come or go by the run itself are traffic; a subject that nothing explains is an edit.
func TestMovedSubjects(t *testing.T) {
	in := baseInput(t, testMember("jane", true), testMember("new", true))
	in.dirty = []string{"touched"}
	existing := in.key
	binding := &v1alpha1.AppRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: bindingName(existing, 0), Generation: 3}}
	for _, user := range []string{"jane", "leaver", "touched"} {
		binding.Spec.Subjects = append(binding.Spec.Subjects, v1alpha1.AppRoleSubject{User: user, Name: "n-" + user})
	}
	in.chunks[0].Existing = binding
	for own, want := range map[bool][]string{true: {"leaver", "new", "touched"}, false: {"new", "touched"}} {
		in.memory.generations = map[string]int64{binding.Name: 2}
		if own {
			in.memory.generations[binding.Name] = 3
		}
		p := newPlan(in)
		var moved []string
		for subject := range p.moved {
			moved = append(moved, strings.TrimPrefix(subject.Name, "n-"))
		}
		slices.Sort(moved)
		if !slices.Equal(moved, want) {
			t.Errorf("own %v: moved %v, want %v", own, moved, want)
		}
		_, edited := exists("2", "a", 0, "mallory", "leaver", "new")
		text := p.differences(nativeID("a", 0), edited.object)
		if !strings.Contains(text, "User n-mallory had been added") || strings.Contains(text, "n-new") || own && strings.Contains(text, "leaver") {
			t.Errorf("own %v: differences%s", own, text)
		}
	}
}

// What differs from what the last run left, before anything is written, is an edit by others.
func TestEditsAreFound(t *testing.T) {
	in := baseInput(t, testMember("jane", true))
	in.memory.natives = map[overlay.ID]string{nativeID("a", 0): "1", nativeID("b", 0): "1"}
	for name, test := range map[string]struct {
		change func(*input)
		want   map[string]string
	}{
		"none": {func(in *input) {
			in.add(exists("1", "a", 0, "jane"))
			in.add(exists("1", "b", 0, "jane"))
		}, nil},
		"changed and deleted": {func(in *input) { in.add(exists("2", "a", 0, "jane")) }, map[string]string{"a": reasonChanged, "b": reasonDeleted}},
		"without labels": {func(in *input) {
			in.add(exists("1", "a", 0, "jane"))
			in.add(exists("1", "b", 0, "jane"))
			in.unlabelled = map[overlay.ID]bool{nativeID("b", 0): true}
		}, map[string]string{"b": reasonChanged}},
		"not seen before": {func(in *input) {
			in.memory.natives = nil
			in.add(exists("9", "a", 0, "jane"))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			in := in
			in.natives, in.unlabelled = map[overlay.ID]native{}, map[overlay.ID]bool{}
			test.change(&in)
			p := newPlan(in)
			found := map[string]string{}
			for id, edits := range newEdits(p, newObjects(p), liveReader{}, nil).byID {
				found[id.Namespace] = edits[0].reason
			}
			if !maps.Equal(found, test.want) {
				t.Errorf("found %v, want %v", found, test.want)
			}
		})
	}
}

// The next run expects what this one left: an edit that was not undone is found again, and nothing is expected of an object
// after a write without a certain outcome.
func TestMemoryOfARun(t *testing.T) {
	in := baseInput(t, testMember("jane", true), packing.Member{AppRoleSubject: v1alpha1.AppRoleSubject{User: "late", Name: "n-late"}, Unevaluated: true})
	in.generation = earned.AppGeneration{UID: "now"}
	in.memory.natives = map[overlay.ID]string{nativeID("a", 0): "1", nativeID("b", 0): "1", nativeID("gone", 0): "1", nativeID("kept", 5): "4"}
	in.add(exists("2", "a", 0, "mallory"))
	in.add(exists("3", "b", 0, "mallory"))
	p := newPlan(in)
	o := newObjects(p)
	e := newEdits(p, o, liveReader{}, nil)
	id, written := exists("7", "a", 0, "jane")
	o.setNative(id, written.object)
	e.undid(id, written.object)
	e.noteOutcome(nativeID("b", 0), errors.New("no answer"))
	binding := &v1alpha1.AppRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: bindingName(viewer, 0), Generation: 4}}
	o.setBinding(0, binding)

	m := memory{natives: maps.Clone(in.memory.natives), generations: map[string]int64{}, waiting: map[int32]bool{}, unevaluated: map[int32]bool{}}
	m.record(p, o, e, true)
	want := map[overlay.ID]string{nativeID("a", 0): "7", nativeID("gone", 0): "1", nativeID("kept", 5): "4"}
	if !maps.Equal(m.natives, want) {
		t.Errorf("natives %v, want %v", m.natives, want)
	}
	if !m.clean || m.app != in.generation || m.generations[binding.Name] != 4 || !m.unevaluated[0] || !m.waiting[0] || !m.lastFull.IsZero() {
		t.Errorf("remembered %+v", m)
	}
	e.noteUncertain(overlay.ID{Kind: overlay.KindAppRoleBinding, Namespace: "ns", Name: binding.Name})
	p.full = true
	m.record(p, o, e, false)
	if _, expected := m.natives[nativeID("kept", 5)]; expected || m.clean || len(m.generations) > 0 || m.lastFull.IsZero() {
		t.Errorf("after a full run: %+v", m)
	}
}

// Memory that is not worth keeping is dropped; what a run is told is a copy.
func TestMemories(t *testing.T) {
	var all memories
	if m := all.read(viewer); m.known || all.isSettled(viewer, earned.AppGeneration{}) {
		t.Errorf("of a key that was never run: %+v", m)
	}
	all.write(viewer, func(m *memory) bool {
		m.known, m.waiting = true, map[int32]bool{1: true}
		return true
	})
	if all.isSettled(viewer, earned.AppGeneration{}) {
		t.Error("settled while a member waits")
	}
	all.write(viewer, func(m *memory) bool { m.waiting = nil; return true })
	if !all.isSettled(viewer, earned.AppGeneration{}) || all.isSettled(viewer, earned.AppGeneration{UID: "other"}) {
		t.Error("settled for one state of the App only")
	}
	copied := all.read(viewer)
	copied.known = false
	if !all.read(viewer).known {
		t.Error("a copy changed the original")
	}
	all.write(viewer, func(*memory) bool { return false })
	if len(all.keys) > 0 {
		t.Error("not dropped")
	}
}

func TestGrantRequests(t *testing.T) {
	var all grantRequests
	user := types.NamespacedName{Namespace: "ns", Name: "jane"}
	first := all.add(user, 1, 2)
	if first == nil || all.add(user, 1, 2) != nil {
		t.Fatal("the same request twice")
	}
	failure := errors.New("refused")
	if finished := all.finish(viewer, []*grantRequest{first}, failure); len(finished) > 0 {
		t.Error("finished after one of two runs")
	}
	if _, done := all.take(user, 1); done {
		t.Error("taken before it has finished")
	}
	second := all.add(user, 2, 1) // the user's entry changed meanwhile
	if finished := all.finish(inScope("ns", "app", "other", "default"), []*grantRequest{first}, nil); len(finished) > 0 {
		t.Error("the request of an older revision is told of")
	}
	if finished := all.finish(viewer, []*grantRequest{second}, failure); !slices.Equal(finished, []types.NamespacedName{user}) {
		t.Errorf("finished %v", finished)
	}
	if _, done := all.take(user, 1); done {
		t.Error("taken by another revision")
	}
	if failed, done := all.take(user, 2); !done || !errors.Is(failed[viewer], failure) {
		t.Errorf("results %v, %v", failed, done)
	}
	if _, done := all.take(user, 2); done {
		t.Error("taken twice")
	}
	third := all.add(user, 3, 1)
	all.cancel(user)
	if finished := all.finish(viewer, []*grantRequest{third}, nil); len(finished) > 0 || fmt.Sprint(all.byUser) != "map[]" {
		t.Errorf("after it was cancelled: %v, %v", finished, all.byUser)
	}
}

// Edits that come between a write of a run and its read-back are each told, in their order. One that comes before a write is a part
// of that which the write undoes. What no write undid is expected by the next run.
func TestEditsAfterAWrite(t *testing.T) {
	in := baseInput(t, testMember("jane", true))
	id := nativeID("a", 0)
	in.memory.natives = map[overlay.ID]string{id: "1", nativeID("b", 0): "1"}
	in.add(exists("2", "a", 0, "jane", "first"))
	in.add(exists("1", "b", 0, "jane"))
	p := newPlan(in)
	o := newObjects(p)
	e := newEdits(p, o, liveReader{}, nil)
	e.of(id).described, e.of(id).what = true, ": User n-first had been added"
	write := func(version string) {
		_, written := exists(version, "a", 0, "jane")
		e.undid(id, written.object)
		o.setNative(id, written.object)
	}
	meet := func(before, after string, users ...string) {
		_, met := exists(after, "a", 0, users...)
		e.meet(id, before, met.object)
	}
	meet("1", "3", "jane", "first", "second") // before the first write
	write("4")
	meet("4", "5", "jane", "third")
	write("6")
	e.meet(id, "6", nil)
	versions := map[overlay.ID]string{id: "6"}
	e.expect(versions)
	if versions[id] != "6" {
		t.Errorf("expects %v of a deletion that is not undone, want what was deleted", versions)
	}
	var undone []string
	for _, one := range e.byID[id] {
		if one.undone {
			undone = append(undone, e.textOf(id, one)+" "+one.restored)
		}
	}
	want := []string{
		"RoleBinding a/" + id.Name + " was changed by another client; it was restored: User n-first had been added, User n-second had been added 4",
		"RoleBinding a/" + id.Name + " was changed by another client; it was restored: User n-third had been added 6",
	}
	if !slices.Equal(undone, want) {
		t.Errorf("tells %q, want %q", undone, want)
	}
}
