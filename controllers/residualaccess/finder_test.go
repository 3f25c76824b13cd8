package residualaccess

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func roleBinding(name, role string, subjects ...string) *rbacv1.RoleBinding {
	b := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	}
	for _, subject := range subjects {
		kind, of, _ := strings.Cut(subject, "/")
		b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: kind, Name: of})
	}
	return b
}

// marked gives a binding the labels of an App's.
func marked(b *rbacv1.RoleBinding, namespace, app string) *rbacv1.RoleBinding {
	b.Labels = map[string]string{v1alpha1.LabelAppNamespace: namespace, v1alpha1.LabelApp: app}
	return b
}

// isMade knows the bindings that a test has this operator make by their names.
func isMade(binding client.Object) bool { return binding.GetName() != "copied" }

// scene is a Finder with one leaver, which it was asked about, and what it tells of.
type scene struct {
	*testing.T
	finder *Finder
	leaver *v1alpha1.User
	told   int
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, finder: NewFinder(nil, func(*v1alpha1.User) []string { return []string{"Staff"} }, nil, isMade)}
	s.leaver = &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "jane"}, Status: v1alpha1.UserStatus{KubernetesUsername: "okta:jane"}}
	s.finder.OnChange(func(users []types.NamespacedName) {
		if !slices.Equal(users, []types.NamespacedName{{Namespace: "ns", Name: "jane"}}) {
			t.Errorf("told of %v", users)
		}
		s.told++
	})
	return s
}

// found returns what still names the leaver, as "binding role subject", and how many times a change was told of since the last call.
func (s *scene) found() string {
	s.Helper()
	prefix := "okta:"
	list, count, err := s.finder.Of(s.Context(), s.leaver, &v1alpha1.KubernetesMapping{GroupPrefix: &prefix})
	if err != nil || count != len(list) {
		s.Fatalf("%d of %d: %v", len(list), count, err)
	}
	var texts []string
	for _, one := range list {
		texts = append(texts, one.Name+" "+one.Role+" "+one.Subject)
	}
	told := s.told
	s.told = 0
	return fmt.Sprint(strings.Join(texts, ", "), "; told ", told)
}

// A binding by another hand that comes to name a leaver, or a group of its, is told of when it appears, changes and goes.
func TestForeignBindings(t *testing.T) {
	s := newScene(t)
	handler := s.finder.watchForeign()
	step := func(what string, act func(toolscache.ResourceEventHandler), want string) {
		t.Helper()
		act(handler)
		if got := s.found(); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	first := roleBinding("b", "view", "User/okta:jane", "User/okta:joe", "User/okta:jane", "ServiceAccount/okta:jane")
	step("before it is asked", func(toolscache.ResourceEventHandler) {}, "; told 0")
	step("another's", func(h toolscache.ResourceEventHandler) { h.OnAdd(roleBinding("other", "view", "User/okta:joe"), false) }, "; told 0")
	step("it appears", func(h toolscache.ResourceEventHandler) { h.OnAdd(first, false) }, "b ClusterRole/view User/okta:jane; told 1")
	step("the same again", func(h toolscache.ResourceEventHandler) { h.OnUpdate(first, first) }, "b ClusterRole/view User/okta:jane; told 0")
	edit := roleBinding("b", "edit", "User/okta:jane")
	step("another role", func(h toolscache.ResourceEventHandler) { h.OnUpdate(first, edit) }, "b ClusterRole/edit User/okta:jane; told 1")
	step("its group", func(h toolscache.ResourceEventHandler) { h.OnAdd(roleBinding("g", "view", "Group/okta:Staff"), false) },
		"b ClusterRole/edit User/okta:jane, g ClusterRole/view Group/okta:Staff; told 1")
	step("without it", func(h toolscache.ResourceEventHandler) { h.OnUpdate(edit, roleBinding("b", "edit", "User/okta:joe")) }, "g ClusterRole/view Group/okta:Staff; told 1")
	step("it goes", func(h toolscache.ResourceEventHandler) {
		h.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "ns/g", Obj: roleBinding("g", "view", "Group/okta:Staff")})
	}, "; told 1")
	s.finder.Forget(types.NamespacedName{Namespace: "ns", Name: "jane"})
	handler.OnAdd(first, false)
	if s.told != 0 || len(s.finder.asked)+len(s.finder.askedBy) > 0 {
		t.Errorf("a user that has access again is told of: %d, %v", s.told, s.finder.asked)
	}
}

// A group that the user left lately, or that the status tells of already, still counts: tokens name it until they expire.
func TestFormerGroups(t *testing.T) {
	s := newScene(t)
	handler := s.finder.watchForeign()
	handler.OnAdd(roleBinding("left", "view", "Group/okta:Left"), false)
	handler.OnAdd(roleBinding("shown", "view", "Group/okta:Shown"), false)
	s.finder.Left("ns", "Left", []string{"joe", "jane"})
	s.finder.Left("elsewhere", "Left", []string{"jane"})
	s.leaver.Status.ResidualAccess = []v1alpha1.ResidualAccess{{Subject: "Group/okta:Shown"}, {Subject: "User/okta:former"}}
	if got := s.found(); got != "left ClusterRole/view Group/okta:Left, shown ClusterRole/view Group/okta:Shown; told 0" {
		t.Error(got)
	}
}

func TestFormerMembershipsAreBounded(t *testing.T) {
	var former formerMemberships
	now := time.Now()
	user := func(i int) types.NamespacedName { return types.NamespacedName{Name: fmt.Sprint(i)} }
	former.add(user(-1), "old", now.Add(-formerLifetime-time.Second))
	for i := range maxFormer + 3 {
		former.add(user(i), "g", now)
	}
	if len(former.left) != maxFormer || len(former.users) != maxFormer {
		t.Errorf("%d departures of %d users are kept", len(former.left), len(former.users))
	}
	for i, want := range map[int]int{-1: 0, 2: 0, 3: 1, maxFormer + 2: 1} {
		if got := former.of(user(i)); len(got) != want {
			t.Errorf("user %d: %v", i, got)
		}
	}
	former = formerMemberships{users: map[types.NamespacedName][]departure{user(1): {{user(1), "old", now.Add(-formerLifetime - time.Second)}, {user(1), "new", now}}}}
	if got := former.of(user(1)); !slices.Equal(got, []string{"new"}) {
		t.Errorf("after its lifetime a group still counts: %v", got)
	}
}

// A binding of this operator names a leaver by the name of another User; what only carries the label is by another hand.
func TestOwnBindings(t *testing.T) {
	s := newScene(t)
	s.found()
	handler := s.finder.watchOwn()
	own := marked(roleBinding("own", "view", "User/okta:jane", "Group/okta:Staff"), "ns", "app")
	handler.OnAdd(own, false)
	if s.told != 1 || !s.finder.own.mayName("okta:jane") || s.finder.own.mayName("okta:Staff") {
		t.Errorf("told %d times; counts %v", s.told, s.finder.own.counts)
	}
	if handler.OnUpdate(own, own); s.told != 1 {
		t.Errorf("told %d times of a binding that names the same", s.told)
	}
	handler.OnUpdate(own, marked(roleBinding("own", "view"), "ns", "app"))
	if s.finder.own.mayName("okta:jane") || len(s.finder.own.counts) > 0 {
		t.Errorf("counts %v", s.finder.own.counts)
	}
	if got := s.found(); got != "; told 1" {
		t.Errorf("of an App: %s", got)
	}
	unowned := roleBinding("forged", "admin", "User/okta:jane")
	unowned.Labels = map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue}
	handler.OnAdd(unowned, false)
	if got := s.found(); got != "forged ClusterRole/admin User/okta:jane; told 1" {
		t.Errorf("of no App: %s", got)
	}
	handler.OnUpdate(unowned, marked(roleBinding("forged", "admin"), "ns", "app"))
	if got := s.found(); got != "; told 1" {
		t.Errorf("it became an App's: %s", got)
	}
	handler.OnAdd(marked(roleBinding("copied", "view", "User/okta:jane"), "ns", "app"), false)
	if got := s.found(); got != "copied ClusterRole/view User/okta:jane; told 1" || s.finder.own.mayName("okta:jane") {
		t.Errorf("a copy with the labels of an App's: %s", got)
	}
}

// What belongs to an App that this operator does not serve is none of its bindings.
func TestBindingsOfAppsElsewhere(t *testing.T) {
	finder := NewFinder(nil, nil, []string{"ns"}, isMade)
	names := []string{"okta:jane"}
	here, elsewhere := marked(roleBinding("a", "view", "User/okta:jane", "User/okta:joe"), "ns", "app"), marked(roleBinding("b", "view", "User/okta:jane"), "other", "app")
	if got := finder.accessBy(here, kindRoleBinding, here.RoleRef, names); len(got) != 1 || got[0].App != "ns/app" || got[0].Subject != "User/okta:jane" {
		t.Errorf("found %v", got)
	}
	if got := finder.accessBy(elsewhere, kindRoleBinding, elsewhere.RoleRef, names); got != nil {
		t.Errorf("found %v", got)
	}
	if got := finder.usersOf(here); !slices.Equal(got, []string{"okta:jane", "okta:joe"}) || finder.usersOf(elsewhere) != nil || finder.usersOf(nil) != nil {
		t.Errorf("users %v, %v", got, finder.usersOf(elsewhere))
	}
}
