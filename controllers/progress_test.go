package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// A change of an App shows how far the evaluation of its users has come, and that it is through.
func TestEvaluationIsVisible(t *testing.T) {
	w := newWorld(t, nil)
	const people = 400
	for i := range people {
		w.provision(w.newUser(fmt.Sprint("person", i), ""))
	}
	through := func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
			return err.Error()
		}
		evaluation := w.app.Status.Evaluation
		if evaluation == nil || evaluation.Generation != w.app.Generation || evaluation.Users != evaluation.Done || w.app.Status.Users != people {
			return fmt.Sprintf("generation %d, status %+v, evaluation %+v", w.app.Generation, w.app.Status, evaluation)
		}
		return ""
	}
	w.eventually(through)
	watcher, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	events, err := watcher.Watch(w.ctx, &v1alpha1.AppList{}, client.InNamespace(w.namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.RoleAssignment.Default = []string{"admin"} })
	w.eventually(through)
	w.eventuallyCondition(w.app, v1alpha1.ConditionReconciling, metav1.ConditionFalse, v1alpha1.ReasonReady)
	underWay := 0
	for {
		seen, isApp := (<-events.ResultChan()).Object.(*v1alpha1.App)
		if !isApp || seen.Generation != w.app.Generation || seen.Status.Evaluation.Generation != seen.Generation {
			continue
		}
		evaluation := seen.Status.Evaluation
		if evaluation.Done == people {
			break
		}
		if evaluation.Users != people || !meta.IsStatusConditionTrue(seen.Status.Conditions, v1alpha1.ConditionReconciling) {
			t.Errorf("evaluation %+v, conditions %+v", evaluation, seen.Status.Conditions)
		}
		underWay++
	}
	if underWay == 0 {
		t.Error("nothing was seen of the evaluation while it was under way")
	}
}

func (d *directory) eventuallyMissing(want ...string) {
	d.Helper()
	d.eventually(func() string {
		if err := env.Client.Get(d.ctx, client.ObjectKeyFromObject(d.app), d.app); err != nil {
			return err.Error()
		}
		var got []string
		for _, scope := range d.app.Status.MissingScopes {
			got = append(got, scope.Name)
		}
		if !slices.Equal(got, want) {
			return fmt.Sprintf("missing scopes %v, want %v", got, want)
		}
		return ""
	})
}

func TestMissingScopes(t *testing.T) {
	region := fmt.Sprintf("r-%d", userCount.Add(1))
	there := env.Namespace(t, nil)
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		spec.Attributes = []v1alpha1.CustomAttribute{{Name: "regions"}}
		spec.Scopes = v1alpha1.Scopes{FromAttribute: "regions", List: []v1alpha1.Scope{
			{Name: "us1", Namespaces: []string{"us-" + there, "us-too-" + there}},
			{Name: "emea2", NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"region": region}}},
			{Name: "here", Namespaces: []string{there, "never-" + there}},
			{Name: "everywhere", ClusterWide: true},
		}}
	})
	one := w.provision(w.newUser("one", `{"regions":"us1"}`))
	both := w.provision(w.newUser("both", `{"regions":"us1,here"}`))
	all := w.provision(w.newUser("all", ""))
	w.eventuallyMissing("emea2", "us1")
	c := w.eventuallyCondition(w.app, v1alpha1.ConditionScopesFound, metav1.ConditionFalse, v1alpha1.ReasonMissingScope)
	if !strings.Contains(c.Message, `"emea2", "us1"`) {
		t.Errorf("message = %q", c.Message)
	}
	c = w.eventuallyCondition(one, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonMissingScope)
	if !strings.Contains(c.Message, "us-"+there) || len(one.Status.Roles) != 1 {
		t.Errorf("message = %q, roles %v", c.Message, one.Status.Roles)
	}
	w.eventuallyCondition(both, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonMissingScope)
	w.eventuallyCondition(both, v1alpha1.ConditionAccessGranted, metav1.ConditionTrue, v1alpha1.ReasonGranted)
	w.eventuallyCondition(all, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	w.createNamespace("us-" + there)
	w.eventuallyMissing("emea2")
	w.eventuallyCondition(one, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.eventuallyCondition(both, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.eventuallyCan("okta:one", "get", "us-"+there, true)
	namespace := w.namespaceObject(there)
	update(w, namespace, func(n *corev1.Namespace) { n.Labels = map[string]string{"region": region} })
	w.eventuallyMissing()
	w.eventuallyCondition(w.app, v1alpha1.ConditionScopesFound, metav1.ConditionTrue, v1alpha1.ReasonScopesFound)
	update(w, namespace, func(n *corev1.Namespace) { n.Labels = nil })
	w.eventuallyMissing("emea2")

	// A namespace on its way out does not count, and is no error.
	if err := env.Client.Delete(w.ctx, w.namespaceObject("us-"+there)); err != nil {
		t.Fatal(err)
	}
	w.eventuallyMissing("emea2", "us1")
	w.eventuallyCondition(one, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonMissingScope)
}

// In Observe everything is computed and shown, groups' roles, too, and nothing is bound.
func TestObserveShowsGroups(t *testing.T) {
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		byGroups("Staff")(spec)
		spec.Mode = v1alpha1.ModeObserve
	})
	user := w.provision(w.newUser("ada", ""))
	g := w.push("Staff", membership.InlineLimit, user.Name)
	w.eventuallyRoles(user, `admin: member of group "Staff"`)
	w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonObserved)
	w.eventually(func() string {
		bindings := w.bindings()
		return unless(len(bindings) == 1 && len(bindings[0].Spec.Subjects) == 1 && bindings[0].Spec.Mode == v1alpha1.ModeObserve, "one binding shows the users that would be bound")
	})
	if natives := w.natives(); len(natives) > 0 {
		t.Errorf("%d native bindings", len(natives))
	}
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.Mode = v1alpha1.ModeEnforce })
	w.eventuallyCan("okta:ada", "delete", w.namespace, true)
	w.setMembers(g)
	w.eventuallyCan("okta:ada", "delete", w.namespace, false)
}

func TestGroupsAsSubjects(t *testing.T) {
	empty := ""
	w := newWorld(t, func(spec *v1alpha1.AppSpec) {
		byGroups("Staff", "system:masters")(spec)
		spec.SubjectMode = v1alpha1.SubjectModeGroup
		spec.Kubernetes.GroupPrefix = &empty
	})
	ada, bob := w.provision(w.newUser("ada", "")), w.provision(w.newUser("bob", ""))
	cyd, dan := w.provision(w.newUser("cyd", "")), w.provision(w.newUser("dan", `{"role":"admin"}`))
	w.push("Staff", membership.InlineLimit, ada.Name, bob.Name)
	w.push("system:masters", membership.InlineLimit, cyd.Name)
	for _, user := range []*v1alpha1.User{ada, bob, dan} {
		w.eventuallyGranted(user)
	}
	c := w.eventuallyCondition(cyd, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSubject)
	if !strings.Contains(c.Message, "system:masters") || len(cyd.Status.Roles) > 0 {
		t.Errorf("message %q, roles %v", c.Message, cyd.Status.Roles)
	}
	w.eventually(func() string {
		for _, native := range w.natives() {
			var names []string
			for _, subject := range native.Subjects {
				names = append(names, subject.Kind+" "+subject.Name)
			}
			slices.Sort(names)
			if want := []string{rbacv1.GroupKind + " Staff", rbacv1.UserKind + " okta:dan"}; !slices.Equal(names, want) {
				return fmt.Sprintf("%s names %v, want %v", native.RoleRef.Name, names, want)
			}
		}
		return unless(len(w.natives()) == 2, "both grants are bound")
	})
	for _, user := range []*v1alpha1.User{ada, dan, cyd} {
		update(w, user, func(u *v1alpha1.User) { u.Spec.Active = false })
	}
	w.eventuallyCondition(dan, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	w.eventuallyCondition(cyd, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	c = w.eventuallyCondition(ada, v1alpha1.ConditionAccessRevoked, metav1.ConditionFalse, v1alpha1.ReasonBoundByGroup)
	if !strings.Contains(c.Message, "until they expire") {
		t.Errorf("message %q", c.Message)
	}
	// It stays true at another look, after a restart, too.
	update(w, ada, func(u *v1alpha1.User) { u.Spec.Title = "Dr" })
	w.eventuallyCondition(ada, v1alpha1.ConditionAccessRevoked, metav1.ConditionFalse, v1alpha1.ReasonBoundByGroup)
	w.stop()
	update(w, ada, func(u *v1alpha1.User) { u.Spec.Title = "" })
	w.start()
	w.eventuallyCondition(ada, v1alpha1.ConditionAccessRevoked, metav1.ConditionFalse, v1alpha1.ReasonBoundByGroup)
	// Nothing binds by a group any more.
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.SubjectMode = v1alpha1.SubjectModeUsers })
	w.eventuallyCondition(ada, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	w.eventuallyCan("okta:bob", "delete", w.namespace, true)
}
