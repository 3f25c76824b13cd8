package controllers_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// provisionMany writes users of alternating departments, several at a time.
func (d *directory) provisionMany(count int, departments ...string) []*v1alpha1.User {
	d.Helper()
	users := make([]*v1alpha1.User, count)
	slots := make(chan struct{}, 8)
	var group sync.WaitGroup
	for i := range users {
		department := departments[i%len(departments)]
		users[i] = d.newUser(fmt.Sprintf("%s-%04d", strings.ToLower(department), i), "")
		users[i].Spec.Enterprise = &v1alpha1.EnterpriseUser{Department: department}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			d.provision(users[i])
		})
	}
	group.Wait()
	return users
}

// watchNatives calls see with every state of the directory's RoleBindings until stop is called.
func (w *world) watchNatives(see func(watch.EventType, *rbacv1.RoleBinding)) (stop func()) {
	w.Helper()
	watching, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	events, err := watching.Watch(ctx, &rbacv1.RoleBindingList{}, client.MatchingLabels{v1alpha1.LabelAppNamespace: w.namespace})
	if err != nil {
		cancel()
		w.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			if binding, isBinding := event.Object.(*rbacv1.RoleBinding); isBinding {
				see(event.Type, binding)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// everybodyIn waits until native bindings of a ClusterRole name exactly some users.
func (w *world) everybodyIn(clusterRole string, users []*v1alpha1.User) {
	w.Helper()
	want := make([]string, len(users))
	for i, user := range users {
		want[i] = "okta:" + user.Spec.UserName
	}
	slices.Sort(want)
	w.eventually(func() string {
		var got []string
		for _, native := range w.natives() {
			if native.RoleRef.Name == clusterRole {
				for _, subject := range native.Subjects {
					got = append(got, subject.Name)
				}
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Sprintf("%s names %d people, want %d", clusterRole, len(got), len(want))
		}
		return ""
	})
}

func namesOf(subjects []rbacv1.Subject) map[string]bool {
	names := make(map[string]bool, len(subjects))
	for _, subject := range subjects {
		names[subject.Name] = true
	}
	return names
}

// An App is edited so that at once fewer people earn a role, and the role grants more. A binding that only the new
// specification asks for never names a person that does not earn the role by it, whatever is evaluated first. A person that
// keeps the role never loses what both specifications give.
func TestNobodyIsGrantedByHalfAnEdit(t *testing.T) {
	get, list, del := bindable("get"), bindable("list"), bindable("delete")
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.RoleAssignment.Default = nil
		spec.Roles = []v1alpha1.Role{{
			Name: "engineer", When: `user.department in ["Platform", "Sales"]`,
			Grants: []v1alpha1.Grant{{ClusterRole: get}, {ClusterRole: list}},
		}}
	})
	users := w.provisionMany(400, "Platform", "Sales")
	stay := slices.DeleteFunc(slices.Clone(users), func(u *v1alpha1.User) bool { return u.Spec.Enterprise.Department == "Sales" })
	w.everybodyIn(get, users)
	w.everybodyIn(list, users)

	kept := map[string]map[string]bool{} // by the names of the bindings that both ask for
	for _, native := range w.natives() {
		if native.RoleRef.Name == get {
			kept[native.Name] = namesOf(native.Subjects)
		}
	}
	var mutex sync.Mutex
	problems, states := map[string]bool{}, 0
	stop := w.watchNatives(func(kind watch.EventType, binding *rbacv1.RoleBinding) {
		mutex.Lock()
		defer mutex.Unlock()
		for _, subject := range binding.Subjects {
			if binding.RoleRef.Name == del && !strings.HasPrefix(subject.Name, "okta:platform-") {
				problems["a user was in the new binding and must not: "+subject.Name] = true
			}
		}
		if binding.RoleRef.Name == del {
			states++
		}
		if binding.RoleRef.Name != get {
			return
		}
		kept[binding.Name] = namesOf(binding.Subjects)
		if kind == watch.Deleted {
			kept[binding.Name] = nil
		}
		for _, user := range stay {
			named := false
			for _, names := range kept {
				named = named || names["okta:"+user.Spec.UserName]
			}
			if !named {
				problems["a user lost what it keeps: "+user.Spec.UserName] = true
			}
		}
	})
	update(w, w.app, func(app *v1alpha1.App) {
		app.Spec.Roles[0].When = `user.department == "Platform"`
		app.Spec.Roles[0].Grants = []v1alpha1.Grant{{ClusterRole: get}, {ClusterRole: del}}
	})
	w.everybodyIn(del, stay)
	w.everybodyIn(get, stay)
	w.everybodyIn(list, nil)
	stop()
	for problem := range problems {
		t.Error(problem)
	}
	if states == 0 {
		t.Error("the new binding was not seen: the watch shows nothing")
	}
}

// In a namespace that an edit puts into a scope, a binding names only people that earn the role by that edit.
func TestNobodyIsGrantedByHalfAnEditOfAScope(t *testing.T) {
	elsewhere := env.Namespace(t, nil)
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.RoleAssignment.Default = nil
		spec.Roles = []v1alpha1.Role{{
			Name: "engineer", When: `user.department in ["Platform", "Sales"]`, Grants: []v1alpha1.Grant{{ClusterRole: bindable("get")}},
		}}
		spec.Scopes.List = []v1alpha1.Scope{{Name: "all", Namespaces: []string{env.Namespace(t, nil)}}}
	})
	users := w.provisionMany(200, "Platform", "Sales")
	w.everybodyIn(bindable("get"), users)
	problems := make(chan string, 1000)
	stop := w.watchNatives(func(_ watch.EventType, binding *rbacv1.RoleBinding) {
		for _, subject := range binding.Subjects {
			if binding.Namespace == elsewhere && !strings.HasPrefix(subject.Name, "okta:platform-") {
				select {
				case problems <- subject.Name:
				default:
				}
			}
		}
	})
	update(w, w.app, func(app *v1alpha1.App) {
		app.Spec.Roles[0].When = `user.department == "Platform"`
		app.Spec.Scopes.List[0].Namespaces = append(app.Spec.Scopes.List[0].Namespaces, elsewhere)
	})
	w.eventuallyCan("okta:"+users[0].Spec.UserName, "get", elsewhere, true)
	for _, user := range users {
		if user.Spec.Enterprise.Department == "Sales" {
			w.eventuallyCondition(user, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonNoRole)
		}
	}
	stop()
	select {
	case name := <-problems:
		t.Errorf("%s was in the new namespace", name)
	default:
	}
}
